//===- Words.h - Words, floats and inline assembly of a GPU kernel ---------===//
//
// For kernels whose threads count in 32 bits and use instructions that MLIR 19
// has no op for, or an op that costs registers: those are inline assembly (PTX
// ISA). Shared memory is addressed by 32-bit byte addresses (Int).
//
//===----------------------------------------------------------------------===//
#ifndef TXC_CODEGEN_GPU_WORDS_H
#define TXC_CODEGEN_GPU_WORDS_H

#include "txc/Codegen/GpuBuilder.h"

namespace txc::codegen {

/// An i32 of each thread with the operators of C; division, remainder and right
/// shift are unsigned.
struct Int {
  GpuBuilder *b = nullptr;
  mlir::Value value;
  operator mlir::Value() const { return value; }
  mlir::Value eq(Int other) const, ult(Int other) const, slt(Int other) const, sgt(Int other) const;
  mlir::Value eq(int64_t other) const, ult(int64_t other) const, slt(int64_t other) const;
};
#define TXC_INT_OPERATOR(op) Int operator op(Int a, Int b), operator op(Int a, int64_t b);
TXC_INT_OPERATOR(+)
TXC_INT_OPERATOR(-)
TXC_INT_OPERATOR(*)
TXC_INT_OPERATOR(/)
TXC_INT_OPERATOR(%)
TXC_INT_OPERATOR(&)
TXC_INT_OPERATOR(|)
TXC_INT_OPERATOR(^)
TXC_INT_OPERATOR(<<)
TXC_INT_OPERATOR(>>)
#undef TXC_INT_OPERATOR

class Words {
public:
  using Value = mlir::Value;
  using Type = mlir::Type;
  using Values = llvm::SmallVector<Value>;

  explicit Words(GpuBuilder &b) : b(b) {}
  GpuBuilder &b;

  //===-- Words and floats -------------------------------------------------===//
  Int constant(int64_t value);
  Int word(Value value) { return {&b, value}; }
  Int asWord(Value condition); ///< 1 or 0
  Int select(Value condition, Int a, Int b);
  Int both(Value condition, Value other); ///< 1 if both hold, else 0
  Value negative();                       ///< -infinity
  Value add(Value a, Value b), sub(Value a, Value b), mul(Value a, Value b);
  Value max(Value a, Value b);
  Value exp2(Value x), log2(Value x), reciprocal(Value x); ///< approximate, 2 ulp
  Int packBf16(Value low, Value high);
  std::pair<Value, Value> unpackBf16(Int pair);

  //===-- Where this thread is ---------------------------------------------===//
  Int thread(), blockX(), blockY(), gridX();
  /// `value`, which all lanes of the warp share, as ptxas likes to know it.
  Int uniform(Int value);
  Value shuffleXor(Value value, int64_t mask) { return b.shuffleXor(value, mask); }
  /// `value` of lane `lane`.
  Value shuffleFrom(Value value, Int lane);
  /// Ends blocks for which the condition (1 or 0) holds.
  void exitIf(Int condition);

  //===-- Control ----------------------------------------------------------===//
  void ifElse(Value condition, llvm::function_ref<void()> then, llvm::function_ref<void()> otherwise);
  /// Both branches return the values of the if.
  Values ifElse(Value condition, mlir::TypeRange types, llvm::function_ref<Values()> then,
                llvm::function_ref<Values()> otherwise);
  /// Loops over `carried` while `before` holds, returns what is then carried.
  Values whileLoop(mlir::ValueRange carried, llvm::function_ref<Value(mlir::ValueRange)> before,
                   llvm::function_ref<Values(mlir::ValueRange)> body);
  /// The same where `before` also says what `body` gets, and the loop returns.
  Values whileLoop(mlir::ValueRange carried, mlir::TypeRange passed,
                   llvm::function_ref<std::pair<Value, Values>(mlir::ValueRange)> before,
                   llvm::function_ref<Values(mlir::ValueRange)> body);

  //===-- Shared memory ----------------------------------------------------===//
  Int dynamicShared(); ///< its first byte
  std::array<Int, 4> loadWords(Int address);
  void storeWords(Int address, std::array<Int, 4> words);
  std::pair<Value, Value> loadFloats(Int address, int64_t offset);
  void storeFloats(Int address, int64_t offset, mlir::ValueRange four);

  //===-- Global memory ----------------------------------------------------===//
  /// Address of byte `offset` (i64).
  Value at(Value pointer, Value offset);
  Value at(Value pointer, Int index, int64_t elementBytes);
  /// 16 bytes, or 4, that nobody writes; zeros if the condition is 0.
  llvm::SmallVector<Int> loadWordsIf(Value pointer, Int condition);
  Value loadFloatIf(Value pointer, Int condition);
  Int fetchAdd(Value pointer, int64_t amount);
  void storeWord(Value pointer, Int word);

protected:
  /// Operands are numbered from the results on; `memory`: it reads or writes some.
  Values assembly(const llvm::Twine &text, const llvm::Twine &constraints, mlir::ValueRange operands,
                  mlir::TypeRange results = {}, bool memory = true);
  /// "{$first, $first+1, ...}", and as many constraints.
  static std::string operandList(size_t first, size_t count);
  static std::string repeat(llvm::StringRef constraint, size_t count);
  static std::string joined(std::initializer_list<std::string> parts);
};

/// Values that a loop carries: `state.values()` lists where they are kept.
template <typename State> Words::Values pack(State state) {
  Words::Values packed;
  for (mlir::Value *value : state.values())
    packed.push_back(*value);
  return packed;
}
template <typename State> State unpack(State like, mlir::ValueRange packed) {
  for (auto [place, value] : llvm::zip_equal(like.values(), packed))
    *place = value;
  return like;
}

} // namespace txc::codegen

#endif // TXC_CODEGEN_GPU_WORDS_H
