//===- Frame.h - Values and state of an evaluation -------------------------===//
//
// Every float is a double, whatever its type in the program: the oracle computes
// the mathematics. Only where a program rounds by itself, at a tx.cast to bf16
// and where tx.init and tx.adamw write the bf16 copy of a weight, does the oracle
// round too, so that it is a reference for bf16 programs; State says whether.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_INTERP_FRAME_H
#define TXC_INTERP_FRAME_H

#include "txc/Dialect/Tx/Tx.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/BuiltinOps.h"
#include "llvm/ADT/MapVector.h"

#include <memory>
#include <variant>
#include <vector>

namespace txc::interp {

/// A tensor in row-major order; a row is the innermost dimension.
template <typename T> struct Array {
  Array() = default;
  explicit Array(llvm::ArrayRef<int64_t> shape)
      : shape(shape), data(mlir::ShapedType::getNumElements(shape)) {}

  int64_t size() const { return data.size(); }
  int64_t width() const { return shape.empty() ? 1 : shape.back(); }
  int64_t rows() const { return width() ? size() / width() : 0; }
  T *row(int64_t r) { return data.data() + r * width(); }
  const T *row(int64_t r) const { return data.data() + r * width(); }
  T &operator[](int64_t i) { return data[i]; }
  T operator[](int64_t i) const { return data[i]; }

  llvm::SmallVector<int64_t> shape;
  std::vector<T> data;
};
using Tensor = Array<double>;
using IntTensor = Array<int32_t>;

/// `!tx.hyper`: struct txc_hyper of step_abi.h.
struct Hyper {
  double learningRate = 0, beta1 = 0, beta2 = 0, epsilon = 0, weightDecay = 0, gradClip = 0, gradScale = 1;
  double biasCorrection1 = 1, biasCorrection2 = 1;
  uint64_t seed = 0, step = 0;
  bool skipNonfinite = false;
};

/// `value` rounded to bf16, to nearest even.
double roundToBFloat16(double value);

/// What outlives a function on one rank: the tensors of each parameter of a module,
/// and its caches, which have a value only.
class State {
public:
  /// Without `rounds`, every cast is exact: for finite differences.
  explicit State(mlir::ModuleOp module, bool rounds = true, int64_t rank = 0);
  bool getRounds() const { return rounds; }
  int64_t getRank() const { return rank; }

  Tensor &get(mlir::StringAttr param, tx::State state) {
    return params[param].tensors[static_cast<int>(state)];
  }
  tx::ParamOp getParam(mlir::StringAttr name) { return params[name].op; }
  /// All parameters, in the order of the module.
  llvm::ArrayRef<mlir::StringAttr> getNames() const { return names; }
  /// The flat elements of a parameter that its value has on this rank: the first, and
  /// how many are not padding.
  std::pair<int64_t, int64_t> getOwned(mlir::StringAttr param);
  /// Makes the bf16 copy of a parameter's value (of its shard, if ranks share it).
  void keepCompute(mlir::StringAttr param);
  /// Fills a parameter as its tx.param says; its gradient and moments become zero.
  void initialise(mlir::StringAttr param, uint64_t seed);
  /// Gives all parameters normal values of standard deviation `scale`, plus 1 where
  /// tx.param says ones.
  void randomise(uint64_t seed, double scale);

private:
  struct Param {
    tx::ParamOp op;
    Tensor tensors[7];
  };
  bool rounds;
  int64_t rank;
  llvm::DenseMap<mlir::StringAttr, Param> params;
  llvm::SmallVector<mlir::StringAttr> names;
};

/// What an SSA value may be. Shared, so that kernels pass tensors without copies.
using Datum =
    std::variant<std::monostate, std::shared_ptr<const Tensor>, std::shared_ptr<const IntTensor>, Hyper>;

/// The values of one block while it is evaluated.
class Frame {
public:
  explicit Frame(State &state) : state(state) {}

  const Tensor &get(mlir::Value value) const {
    return *std::get<std::shared_ptr<const Tensor>>(values.at(value));
  }
  const IntTensor &getInts(mlir::Value value) const {
    return *std::get<std::shared_ptr<const IntTensor>>(values.at(value));
  }
  /// A copy: setting a value moves those that are not shared.
  Hyper getHyper(mlir::Value value) const { return std::get<Hyper>(values.at(value)); }
  double getScalar(mlir::Value value) const { return get(value)[0]; }

  /// A tensor of zeros that becomes `result`, to be filled by the rule.
  Tensor &create(mlir::Value result);
  void set(mlir::Value value, Datum datum) { values[value] = std::move(datum); }
  const Datum &getDatum(mlir::Value value) const { return values.at(value); }
  State &getState() { return state; }

  /// Evaluates a block whose arguments are `arguments`; the operands of its
  /// terminator are the results. An op without a rule is an error.
  mlir::LogicalResult run(mlir::Block &block, llvm::ArrayRef<Datum> arguments,
                          llvm::SmallVectorImpl<Datum> &results);
  /// Evaluates one op by its rule.
  mlir::LogicalResult interpret(mlir::Operation &op);

private:
  State &state;
  llvm::DenseMap<mlir::Value, Datum> values;
};

/// Checks that `function` is a straight-line program of so many arguments.
mlir::LogicalResult checkCallable(mlir::func::FuncOp function, size_t arguments);

/// Evaluates a function on a fresh frame.
mlir::LogicalResult call(mlir::func::FuncOp function, State &state, llvm::ArrayRef<Datum> arguments,
                         llvm::SmallVectorImpl<Datum> &results);

} // namespace txc::interp

#endif // TXC_INTERP_FRAME_H
