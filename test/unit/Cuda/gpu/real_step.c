/* The toy step with the kernels of gpu_kernels.c: a file of its own, because it has to be
 * compiled again whenever their machine code, which it takes in, is made again. */
#include "../../Runtime/toy_step.c"
