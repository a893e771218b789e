//===- weights.h - The weights of a step from files of any layout -----------===//
#ifndef TXC_RUNTIME_INTERCHANGE_WEIGHTS_H
#define TXC_RUNTIME_INTERCHANGE_WEIGHTS_H

#include "interchange/element_order.h"
#include "interchange/layouts.h"
#include "interchange/tensor_source.h"
#include "support/status.h"

#include <map>
#include <string>
#include <vector>

namespace txc::interchange {

class Weights {
public:
  // The layout is known by the names of the tensors. Fails unless they are this
  // model's, to the last key and shape; says what differs and what to compile.
  static Result<Weights> open(const std::string &path, const Model &model);
  static Result<Weights> of(TensorSource source, const Model &model);

  // Elements [begin, begin + count) of one of our tensors.
  Status read(const std::string &name, uint64_t begin, uint64_t count, float *out);

  Layout layout() const { return layout_; }
  // "models/llama: LlamaForCausalLM, 21 tensors, BF16".
  std::string description() const;
  // What could not be checked.
  const std::vector<std::string> &notes() const { return notes_; }

private:
  Status check(const Model &model);
  Status checkConfig(const Model &model);
  Status checkTensors(const Model &model);
  Status checkTiedHead(const std::string &head);
  Status checkZeros(const Piece &piece, const std::string &name);
  // What the file calls it; its files may leave out the name of the inner model.
  std::string nameInFile(const std::string &name) const;
  Status assemble(const std::string &name);

  TensorSource source_;
  Layout layout_ = Layout::Txc;
  std::vector<Piece> pieces_;                         // `theirs` as in the file
  std::map<std::string, std::vector<size_t>> byOurs_; // into pieces_
  uint64_t headDim_ = 0;
  RopeOrder theirOrder_ = RopeOrder::Interleaved, ourOrder_ = RopeOrder::Interleaved;
  std::vector<std::string> notes_;
  // The last tensor that had to be put together.
  std::string assembled_;
  std::vector<float> values_;
};

} // namespace txc::interchange

#endif // TXC_RUNTIME_INTERCHANGE_WEIGHTS_H
