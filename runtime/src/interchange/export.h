//===- export.h - Weights as files for other systems ------------------------===//
//
// DIR/model.safetensors in float32, and config.json for transformers. The folder
// comes to be by one rename, after all of it is on the disk; a folder that has
// anything in it is left alone.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_INTERCHANGE_EXPORT_H
#define TXC_RUNTIME_INTERCHANGE_EXPORT_H

#include "checkpoint/file_operations.h"
#include "interchange/weights.h"

namespace txc::interchange {

struct Exported {
  Layout layout;
  uint64_t tensors = 0, bytes = 0;
};

// Hugging Face's layout that can hold the model; if there is none, says why not.
Result<Layout> huggingFaceLayout(const Model &model);

Result<Exported> exportWeights(Weights &weights, const Model &model, Layout layout, const std::string &folder,
                               FileOperations &files = systemFiles());

} // namespace txc::interchange

#endif // TXC_RUNTIME_INTERCHANGE_EXPORT_H
