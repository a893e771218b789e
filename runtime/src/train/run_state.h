//===- run_state.h - What of a run is saved and restored --------------------===//
//
// Between a step's buffers and a checkpoint. Saved are PARAM, MOMENT1 and MOMENT2;
// restored too are COMPUTE and COMPUTE_SHARD, which are PARAM rounded to their type.
// Gradients are not: states are saved between iterations, and the first micro batch
// of the next overwrites them.
//
// A shard [rank * S, (rank + 1) * S) of a tensor is saved without what lies past the
// tensor's end, and restored from whatever pieces a checkpoint has, with zeros
// past the end. So a state fits any number of ranks and any ZeRO level.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_TRAIN_RUN_STATE_H
#define TXC_RUNTIME_TRAIN_RUN_STATE_H

#include "checkpoint/checkpoint.h"
#include "device/device.h"
#include "interchange/layouts.h"
#include "loader/step_file.h"
#include "support/status.h"

#include <nlohmann/json.hpp>

#include <functional>
#include <string>
#include <vector>

namespace txc {

// What this rank saves, and where it lies. Pieces have no data yet: it is what
// Device::copyOut gives for `ranges`, one after the other, model before optimizer.
struct SavedTensors {
  std::vector<TensorPiece> model, optimizer;
  std::vector<ArenaRange> ranges;
};
// `metadata` is the step's. Tensors that all ranks have are saved by rank 0.
Result<SavedTensors> savedTensors(const StepFile &step, const nlohmann::ordered_json &metadata, int64_t rank);

// Reads elements [begin, begin + count) of a weight, or of NAME.moment1 or .moment2.
using TensorReader =
    std::function<Status(const std::string &name, uint64_t begin, uint64_t count, float *out)>;
// Fills the step's weights, copies of them, and with `moments` both moments, else
// leaves these alone.
Status restoreTensors(const StepFile &step, Device &device, int64_t rank, bool moments,
                      const TensorReader &read);

// The step's weights and options, to which those of a file or checkpoint must fit.
interchange::Model modelOf(const StepFile &step, const nlohmann::ordered_json &metadata);

// The nearest bf16 value, ties to even; NaN stays NaN.
uint16_t roundToBf16(float value);

} // namespace txc

#endif // TXC_RUNTIME_TRAIN_RUN_STATE_H
