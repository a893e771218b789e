/*===- fake_image.h - Machine code for a GPU that does not exist ------------===//
 *
 * What fake_cuda.cpp takes for a cubin: functions of the host, which get the
 * parameters of a launch.
 */
#ifndef TXC_TEST_FAKE_IMAGE_H
#define TXC_TEST_FAKE_IMAGE_H

#include <stdint.h>

#define FAKE_MAGIC "fake gpu"

struct fake_image {
  char magic[8];
  struct {
    const char *name;
    void (*function)(void **parameters);
  } functions[16];
};

/* What the fake cuTensorMapEncodeTiled puts into the 128 bytes of a map. */
struct fake_tensor_map {
  uint64_t address;
  uint64_t dims[3], strides[2];
  uint32_t box[3];
  int32_t dtype, rank, swizzle, promotion;
};

#endif /* TXC_TEST_FAKE_IMAGE_H */
