//===- dump_tensors.h - Tensors of a run as .npy files ---------------------===//
//
// A debugging aid, which the tests use to compare with PyTorch.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_TRAIN_DUMP_TENSORS_H
#define TXC_RUNTIME_TRAIN_DUMP_TENSORS_H

#include "device/device.h"
#include "loader/step_file.h"
#include "support/status.h"

#include <string>

namespace txc {

// Writes one array of f32 or i32, each f32 element times `scale`.
Status writeNpy(const std::string &path, const txc_buffer_t &buffer, const void *values, float scale);

// DIR/init/NAME.npy for every parameter.
Status dumpParameters(const std::string &dir, const StepFile &step, Device &device);
// DIR/iterN/tokens.M.npy and targets.M.npy.
Status dumpBatch(const std::string &dir, const StepFile &step, const int32_t *tokens, const int32_t *targets,
                 int64_t iteration, int64_t micro);
// DIR/iterN/grad/NAME.npy for every parameter, times `scale`.
Status dumpGradients(const std::string &dir, const StepFile &step, Device &device, int64_t iteration,
                     float scale);

} // namespace txc

#endif // TXC_RUNTIME_TRAIN_DUMP_TENSORS_H
