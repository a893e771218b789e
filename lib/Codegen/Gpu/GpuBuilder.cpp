//===- GpuBuilder.cpp - Builds the body of a GPU kernel --------------------===//

#include "txc/Codegen/GpuBuilder.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;
using namespace txc::codegen;

static constexpr int globalSpace = 1, sharedSpace = 3;

GpuBuilder::GpuBuilder(LLVM::LLVMFuncOp function, const GpuTarget &target, unsigned numMaps,
                       unsigned numArguments)
    : KernelBuilder(function, /*lanes=*/8), target(target), function(function), numMaps(numMaps),
      numArguments(numArguments) {}

//===-- Arguments and places -----------------------------------------------===//

Value GpuBuilder::argument(unsigned index) {
  assert(index < numArguments && "a launch argument");
  return function.getArgument(numMaps + index);
}
Value GpuBuilder::tensorMap(unsigned index) {
  assert(index < numMaps && "a tensor map");
  return function.getArgument(index);
}

Value GpuBuilder::site(int32_t site) {
  if (auto sites = function->getAttrOfType<DenseI32ArrayAttr>(sitesName))
    if (auto it = llvm::find(sites.asArrayRef(), site); it != sites.asArrayRef().end())
      return function.getArgument(numMaps + numArguments + (it - sites.asArrayRef().begin()));
  return i32(site);
}

template <typename Op> static Value readRegister(GpuBuilder &b) {
  return b.extendTo(b.create<Op>(b.getI32Type()), b.getI64Type());
}
Value GpuBuilder::thread() { return readRegister<NVVM::ThreadIdXOp>(*this); }
Value GpuBuilder::block() { return readRegister<NVVM::BlockIdXOp>(*this); }
Value GpuBuilder::blocks() { return readRegister<NVVM::GridDimXOp>(*this); }
Value GpuBuilder::lane() { return remu(thread(), i64(warpSize)); }
Value GpuBuilder::warp() { return divu(thread(), i64(warpSize)); }
void GpuBuilder::finish() { create<LLVM::ReturnOp>(ValueRange()); }

//===-- Shared memory ------------------------------------------------------===//

Type GpuBuilder::sharedPtrType() { return LLVM::LLVMPointerType::get(getContext(), sharedSpace); }

Value GpuBuilder::shared(int64_t bytes, unsigned alignment) {
  std::string name = (function.getName() + "_shared" + Twine(numShared++)).str();
  {
    OpBuilder::InsertionGuard guard(*this);
    setInsertionPoint(function);
    auto type = LLVM::LLVMArrayType::get(getI8Type(), bytes);
    // The alignment must be explicit: without it ptxas sees .align 1 under wide accesses.
    create<LLVM::GlobalOp>(type, /*isConstant=*/false, LLVM::Linkage::Internal, name, Attribute(), alignment,
                           sharedSpace);
  }
  return create<LLVM::AddressOfOp>(sharedPtrType(), name);
}

Value GpuBuilder::dynamicShared() {
  constexpr const char *name = "txc_dynamic_shared";
  auto module = function->getParentOfType<ModuleOp>();
  if (!module.lookupSymbol(name)) {
    OpBuilder::InsertionGuard guard(*this);
    setInsertionPointToStart(module.getBody());
    create<LLVM::GlobalOp>(LLVM::LLVMArrayType::get(getI8Type(), 0), /*isConstant=*/false,
                           LLVM::Linkage::External, name, Attribute(), /*alignment=*/1024, sharedSpace);
  }
  return create<LLVM::AddressOfOp>(sharedPtrType(), name);
}

//===-- Across threads -----------------------------------------------------===//

void GpuBuilder::barrier() { create<NVVM::Barrier0Op>(); }
void GpuBuilder::warpBarrier() { create<NVVM::SyncWarpOp>(i32(-1)); }

Value GpuBuilder::shuffleXor(Value value, int64_t mask) {
  if (value.getType().getIntOrFloatBitWidth() == 64) {
    Value pair = create<LLVM::BitcastOp>(VectorType::get({2}, getI32Type()), value);
    Value halves = perLane(pair, [&](Value half) { return shuffleXor(half, mask); });
    return create<LLVM::BitcastOp>(value.getType(), halves);
  }
  return create<NVVM::ShflOp>(value.getType(), i32(-1), value, i32(mask), i32(warpSize - 1),
                              NVVM::ShflKind::bfly, UnitAttr());
}

Value GpuBuilder::fold(Fold fold, Value a, Value b) {
  if (fold == Fold::Sum)
    return isa<FloatType>(getElementTypeOrSelf(a.getType())) ? fadd(a, b) : add(a, b);
  return fold == Fold::Max ? fmax(a, b) : fmin(a, b);
}

Value GpuBuilder::warpFold(Fold kind, Value scalar) {
  for (int64_t mask = warpSize / 2; mask; mask /= 2)
    scalar = fold(kind, scalar, shuffleXor(scalar, mask));
  return scalar;
}

// Lanes of a warp first, then every warp folds what the warps found.
SmallVector<Value> GpuBuilder::blockFold(ArrayRef<Fold> folds, ArrayRef<Value> scalars, int64_t threads) {
  SmallVector<Value> results;
  for (auto [kind, scalar] : llvm::zip_equal(folds, scalars))
    results.push_back(warpFold(kind, scalar));
  int64_t warps = threads / warpSize;
  assert(threads % warpSize == 0 && "whole warps");
  if (warps == 1)
    return results;
  Value memory = shared(folds.size() * warps * 8);
  // Each fold has 8 bytes per warp; its elements may be 4 or 8 bytes.
  auto slot = [&](size_t i, Type type) {
    return static_cast<int64_t>(i) * warps * 64 / type.getIntOrFloatBitWidth();
  };
  Value self = warp();
  ifThen(icmp(arith::CmpIPredicate::eq, lane(), i64(0)), [&] {
    for (auto [i, result] : llvm::enumerate(results))
      store(result, memory, add(self, i64(slot(i, result.getType()))));
  });
  barrier();
  for (auto [i, kind] : llvm::enumerate(folds)) {
    Type type = results[i].getType();
    Value total = load(memory, i64(slot(i, type)), type);
    for (int64_t w = 1; w < warps; ++w)
      total = fold(kind, total, load(memory, i64(slot(i, type) + w), type));
    results[i] = total;
  }
  return results;
}

//===-- What the GPU does better -------------------------------------------===//

Value GpuBuilder::intrinsic(StringRef name, Type result, ValueRange operands) {
  return create<LLVM::CallIntrinsicOp>(result, getStringAttr(name), operands, LLVM::FastmathFlagsAttr())
      .getResult(0);
}

Value GpuBuilder::perLane(Value a, llvm::function_ref<Value(Value)> work) {
  auto type = dyn_cast<VectorType>(a.getType());
  if (!type)
    return work(a);
  SmallVector<Value> results;
  for (int64_t i = 0; i < type.getNumElements(); ++i)
    results.push_back(work(create<vector::ExtractOp>(a, i)));
  return create<vector::FromElementsOp>(type.clone(results.front().getType()), results);
}

Value GpuBuilder::fdiv(Value a, Value b) {
  if (!getElementTypeOrSelf(a.getType()).isF32())
    return KernelBuilder::fdiv(a, b);
  Value inverse =
      perLane(b, [&](Value x) { return intrinsic("llvm.nvvm.rcp.approx.ftz.f", getF32Type(), x); });
  return fmul(a, inverse);
}

Value GpuBuilder::exp(Value x) {
  Value scaled = fmul(x, constant(x, 1.44269504088896341));
  return perLane(scaled, [&](Value y) { return intrinsic("llvm.nvvm.ex2.approx.ftz.f", getF32Type(), y); });
}

Value GpuBuilder::packBf16(Value low, Value high) {
  Value pair = intrinsic("llvm.nvvm.ff2bf16x2.rn", VectorType::get({2}, getBF16Type()), {high, low});
  return create<LLVM::BitcastOp>(getI32Type(), pair);
}

Value GpuBuilder::roundToBf16(Value a) {
  return perLane(a, [&](Value x) {
    Value bits = packBf16(f32(0), x); // x in the upper half
    return bitcast(create<arith::AndIOp>(bits, i32(0xffff0000)), getF32Type());
  });
}

static unsigned alignmentOf(Type element, int64_t lanes) {
  return std::min<int64_t>(16, lanes * element.getIntOrFloatBitWidth() / 8);
}

Value GpuBuilder::loadVector(Value pointer, Value index, Type element, int64_t lanes, Value mask) {
  assert(!mask && "chunks of a GPU are whole");
  Value from = address(pointer, index, element);
  if (!element.isBF16())
    return create<LLVM::LoadOp>(shaped(element, lanes), from, alignmentOf(element, lanes));
  if (lanes % 2)
    return KernelBuilder::loadVector(pointer, index, element, lanes, {});
  return unpackPairs(loadPairs(pointer, index, lanes));
}

Value GpuBuilder::loadPairs(Value pointer, Value index, int64_t lanes) {
  Type bf16 = getBF16Type();
  return create<LLVM::LoadOp>(VectorType::get({lanes / 2}, getI32Type()), address(pointer, index, bf16),
                              alignmentOf(bf16, lanes));
}

// A bf16 is the upper half of its f32.
Value GpuBuilder::unpackPairs(Value words) {
  SmallVector<Value> values;
  int64_t pairs = lanesOf(words.getType());
  for (int64_t i = 0; i < pairs; ++i) {
    Value word = create<vector::ExtractOp>(words, i);
    values.push_back(bitcast(create<arith::ShLIOp>(word, i32(16)), getF32Type()));
    values.push_back(bitcast(create<arith::AndIOp>(word, i32(0xffff0000)), getF32Type()));
  }
  return create<vector::FromElementsOp>(VectorType::get({2 * pairs}, getF32Type()), values);
}

Value GpuBuilder::opaque(Value words) {
  return perLane(words, [&](Value word) {
    return create<LLVM::InlineAsmOp>(TypeRange(getI32Type()), ValueRange(word), "", "=r,0",
                                     /*has_side_effects=*/true, /*is_align_stack=*/false,
                                     LLVM::AsmDialectAttr(), ArrayAttr())
        .getResult(0);
  });
}

void GpuBuilder::storeVector(Value value, Value pointer, Value index, Type element, Value mask) {
  assert(!mask && "chunks of a GPU are whole");
  int64_t lanes = lanesOf(value.getType());
  if (!element.isBF16()) {
    Type stored = getElementTypeOrSelf(value.getType());
    create<LLVM::StoreOp>(value, address(pointer, index, stored), alignmentOf(stored, lanes));
    return;
  }
  if (lanes % 2)
    return KernelBuilder::storeVector(value, pointer, index, element, {});
  SmallVector<Value> words;
  for (int64_t i = 0; i < lanes; i += 2)
    words.push_back(packBf16(create<vector::ExtractOp>(value, i), create<vector::ExtractOp>(value, i + 1)));
  Value packed = create<vector::FromElementsOp>(VectorType::get({lanes / 2}, getI32Type()), words);
  create<LLVM::StoreOp>(packed, address(pointer, index, element), alignmentOf(element, lanes));
}

std::pair<Value, Value> GpuBuilder::multiplyWide(Value a, uint32_t factor) {
  Value wide = extendTo(a, getI64Type());
  Value product = mul(wide, intConstant(wide, factor));
  Value high = create<arith::ShRUIOp>(product, intConstant(product, 32));
  return {truncTo(product, getI32Type()), truncTo(high, getI32Type())};
}
