//===- KernelBuilder.h - Builds the body of a kernel -----------------------===//
//
// What all kernel emitters share, on the CPU and on a GPU: explicit vectors of
// floats, loads and stores by pointer and element index, loops, elementary
// functions and the counter-based generator. Everything is built from arith,
// scf, vector and llvm ops; nothing here or after it calls a math library.
//
// CpuBuilder and GpuBuilder say where arguments come from and replace what their
// target does better.
//
// Indices and counters are i64, never `index`. Pointers are !llvm.ptr.
// Float functions take a scalar or a vector and return the same type.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_CODEGEN_KERNELBUILDER_H
#define TXC_CODEGEN_KERNELBUILDER_H

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/LLVMDialect.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Vector/IR/VectorOps.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

#include <array>

namespace txc::codegen {

/// Fields of struct txc_hyper, by their place (each has 4 bytes).
enum class HyperField {
  LearningRate,
  Beta1,
  Beta2,
  Epsilon,
  WeightDecay,
  GradClip,
  GradScale,
  BiasCorrection1,
  BiasCorrection2,
  SeedLo,
  SeedHi,
  StepLo,
  StepHi,
  Rank,
  NumRanks,
  SkipNonfinite,
};

class KernelBuilder : public mlir::ImplicitLocOpBuilder {
public:
  using Value = mlir::Value;
  using Type = mlir::Type;

  virtual ~KernelBuilder() = default;

  /// Attribute of a function some of whose arguments are the values of these
  /// sites: it is shared by kernels that differ in them.
  static constexpr const char *sitesName = "tx.sites";

  const int64_t lanes; ///< floats in the widest vector that a thread works on

  //===-- Arguments of the function ----------------------------------------===//
  /// Address of launch argument `index`: inputs, then results, then workspaces.
  virtual Value argument(unsigned index) = 0;
  /// A field of the txc_hyper at `hyper` (i32 from the seeds on).
  Value hyper(Value hyper, HyperField field);

  //===-- Types and constants ----------------------------------------------===//
  Type ptrType();
  static int64_t lanesOf(Type type); ///< 1 for a scalar
  /// `element`, or a vector of it for lanes > 0.
  static Type shaped(Type element, int64_t lanes);
  /// The type of `like` with another element type.
  static Type shapedLike(Value like, Type element);
  Value i64(int64_t value);
  Value i32(int64_t value);
  Value f32(double value);
  Value f64(double value);
  /// A constant of the type of `like` (a float or integer, scalar or vector).
  Value constant(Value like, double value);
  Value intConstant(Value like, int64_t value);
  /// All lanes equal.
  Value splat(Value scalar, int64_t lanes);
  /// 0, 1, 2, ... as vector<lanes x i32>.
  Value iota(int64_t lanes);

  //===-- Arithmetic (folds constants) -------------------------------------===//
  Value fadd(Value a, Value b);
  Value fsub(Value a, Value b);
  Value fmul(Value a, Value b);
  virtual Value fdiv(Value a, Value b);
  Value fneg(Value a);
  Value fma(Value a, Value b, Value c); ///< a * b + c, rounded once
  Value fmax(Value a, Value b);         ///< a > b ? a : b, so b if either is NaN
  Value fmin(Value a, Value b);         ///< a < b ? a : b, so b if either is NaN
  Value fcmp(mlir::arith::CmpFPredicate predicate, Value a, Value b);
  Value add(Value a, Value b);
  Value sub(Value a, Value b);
  Value mul(Value a, Value b);
  Value divu(Value a, Value b);
  Value remu(Value a, Value b);
  Value mins(Value a, Value b);
  Value maxs(Value a, Value b);
  Value icmp(mlir::arith::CmpIPredicate predicate, Value a, Value b);
  Value select(Value condition, Value a, Value b);
  Value bitcast(Value a, Type element);  ///< same shape, other element type of that width
  Value truncTo(Value a, Type element);  ///< integer, or f64 to f32
  Value extendTo(Value a, Type element); ///< unsigned integer, or f32 to f64

  virtual Value roundToBf16(Value a); ///< f32 rounded to nearest even, as f32

  //===-- Memory -----------------------------------------------------------===//
  /// Address of element `index` (an i64).
  Value address(Value pointer, Value index, Type element);
  Value load(Value pointer, Value index, Type element);
  void store(Value value, Value pointer, Value index);
  /// `lanes` elements from `index` on, where `mask` (may be null) is set, 0
  /// elsewhere. bf16 elements come as f32.
  virtual Value loadVector(Value pointer, Value index, Type element, int64_t lanes, Value mask = {});
  /// The reverse; f32 values are rounded to nearest even if `element` is bf16.
  virtual void storeVector(Value value, Value pointer, Value index, Type element, Value mask = {});
  /// Elements pointer[indices[l]], an i32 vector of indices.
  Value gather(Value pointer, Value indices, Type element, Value mask = {});
  /// Lanes [0, valid) set.
  Value tailMask(int64_t lanes, int64_t valid);
  Value tailMask(int64_t lanes, Value valid); ///< i64, may exceed `lanes`

  //===-- Control ----------------------------------------------------------===//
  using LoopBody = llvm::function_ref<llvm::SmallVector<Value>(Value iv, mlir::ValueRange carried)>;
  /// for (iv = lower; iv < upper; iv += step), returns the carried values.
  llvm::SmallVector<Value> forLoop(Value lower, Value upper, Value step, mlir::ValueRange init,
                                   LoopBody body);
  void forLoop(Value lower, Value upper, Value step, llvm::function_ref<void(Value iv)> body);
  void ifThen(Value condition, llvm::function_ref<void()> body);

  //===-- Across lanes -----------------------------------------------------===//
  Value shuffle(Value a, Value b, llvm::ArrayRef<int32_t> indices);
  Value reduceAdd(Value vector); ///< pairwise, in a fixed order
  Value reduceMax(Value vector);
  Value reduceMin(Value vector);

  //===-- Elementary functions (f32 unless said otherwise) -----------------===//
  virtual Value sqrt(Value x);    ///< any float type
  virtual Value exp(Value x);     ///< 2 ulp; 0 below -87.3, infinity above 88.4
  virtual Value log(Value x);     ///< 2 ulp for positive normal x
  virtual Value sigmoid(Value x); ///< 1 / (1 + exp(-x))
  /// sigmoid(x) and 1 - sigmoid(x), both to 3 ulp.
  virtual std::pair<Value, Value> sigmoidPair(Value x);
  /// Phi(x), the normal distribution function, and exp(-x^2/2).
  virtual std::pair<Value, Value> normalCdf(Value x);
  /// (sin, cos) of `turns` full turns, 0 <= turns < 1.
  std::pair<Value, Value> sinCosTurns(Value turns);

  //===-- The counter-based generator (Philox4x32-10) ----------------------===//
  struct Generator {
    Value seedLo, seedHi, stepLo; ///< i32 scalars
  };
  /// Reads seed and step; `step` replaces the step if given.
  Generator generator(Value hyper);
  /// `site` as an i32 scalar. Every use of an op's site must go through this (or
  /// dropoutKeep, dropoutScale): the function may serve kernels of other sites.
  virtual Value site(int32_t site) = 0;
  /// All words are i32 of one shape; keys are i32 scalars.
  std::array<Value, 4> philox(std::array<Value, 4> counter, Value keyLo, Value keyHi);
  /// The random block of elements `element` (i64 scalar), element + 1, ... one
  /// per lane. `site` is an i32 scalar. `bound`: all elements are below it.
  std::array<Value, 4> random(const Generator &generator, Value element, int64_t lanes, Value site,
                              int64_t bound);
  /// Mask of the elements that dropout with probability `p` keeps.
  Value dropoutKeep(const Generator &generator, Value element, int64_t lanes, int32_t site, double p,
                    int64_t bound);
  /// What dropout multiplies by: 1 / (1 - p) where kept, 0 elsewhere.
  Value dropoutScale(const Generator &generator, Value element, int64_t lanes, int32_t site, double p,
                     int64_t bound);

protected:
  KernelBuilder(mlir::Operation *function, int64_t lanes);

  /// The low and the high words of a * factor.
  virtual std::pair<Value, Value> multiplyWide(Value a, uint32_t factor);

private:
  Value foldReduce(Value vector, llvm::function_ref<Value(Value, Value)> combine);
};

} // namespace txc::codegen

#endif // TXC_CODEGEN_KERNELBUILDER_H
