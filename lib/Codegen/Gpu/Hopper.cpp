//===- Hopper.cpp - What only sm_90a can do --------------------------------===//

#include "Hopper.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

#include "llvm/ADT/SmallVectorExtras.h"

#include <limits>

using namespace mlir;
using namespace txc::codegen;
using Values = Hopper::Values;

//===-- Int ----------------------------------------------------------------===//

static Int literal(Int like, int64_t value) { return {like.b, like.b->i32(static_cast<int32_t>(value))}; }

#define TXC_INT_OPERATOR(op, Op)                                                                             \
  Int txc::codegen::operator op(Int a, Int b) {                                                              \
    return {a.b, a.b->createOrFold<arith::Op>(a.value, b.value)};                                            \
  }                                                                                                          \
  Int txc::codegen::operator op(Int a, int64_t b) { return a op literal(a, b); }
TXC_INT_OPERATOR(+, AddIOp)
TXC_INT_OPERATOR(-, SubIOp)
TXC_INT_OPERATOR(*, MulIOp)
TXC_INT_OPERATOR(/, DivUIOp)
TXC_INT_OPERATOR(%, RemUIOp)
TXC_INT_OPERATOR(&, AndIOp)
TXC_INT_OPERATOR(|, OrIOp)
TXC_INT_OPERATOR(^, XOrIOp)
TXC_INT_OPERATOR(<<, ShLIOp)
TXC_INT_OPERATOR(>>, ShRUIOp)
#undef TXC_INT_OPERATOR

Value Int::eq(Int other) const { return b->icmp(arith::CmpIPredicate::eq, value, other.value); }
Value Int::ult(Int other) const { return b->icmp(arith::CmpIPredicate::ult, value, other.value); }
Value Int::slt(Int other) const { return b->icmp(arith::CmpIPredicate::slt, value, other.value); }
Value Int::sgt(Int other) const { return b->icmp(arith::CmpIPredicate::sgt, value, other.value); }
Value Int::eq(int64_t other) const { return eq(literal(*this, other)); }
Value Int::ult(int64_t other) const { return ult(literal(*this, other)); }
Value Int::slt(int64_t other) const { return slt(literal(*this, other)); }

Ring Ring::next(Hopper &h, int64_t stages) const {
  Int following = stage + 1;
  Value wraps = following.eq(stages);
  return {h.select(wraps, h.constant(0), following), h.select(wraps, parity ^ 1, parity)};
}

//===-- Words and floats ---------------------------------------------------===//

Int Hopper::constant(int64_t value) { return word(b.i32(static_cast<int32_t>(value))); }
Int Hopper::asWord(Value condition) {
  return word(b.createOrFold<arith::ExtUIOp>(b.getI32Type(), condition));
}
Int Hopper::select(Value condition, Int x, Int y) { return word(b.select(condition, x, y)); }
Int Hopper::both(Value condition, Value other) { return asWord(condition) & asWord(other); }
Value Hopper::negative() {
  return b.create<arith::ConstantOp>(b.getF32FloatAttr(-std::numeric_limits<float>::infinity()));
}

// Infinities occur (masked scores), NaN and the sign of zero do not matter.
static arith::FastMathFlagsAttr fast(GpuBuilder &b) {
  using Flags = arith::FastMathFlags;
  return arith::FastMathFlagsAttr::get(b.getContext(), Flags::contract | Flags::nnan | Flags::nsz);
}
Value Hopper::add(Value x, Value y) { return b.create<arith::AddFOp>(x, y, fast(b)); }
Value Hopper::sub(Value x, Value y) { return b.create<arith::SubFOp>(x, y, fast(b)); }
Value Hopper::mul(Value x, Value y) { return b.create<arith::MulFOp>(x, y, fast(b)); }
Value Hopper::max(Value x, Value y) { return b.intrinsic("llvm.nvvm.fmax.f", b.getF32Type(), {x, y}); }
Value Hopper::exp2(Value x) { return b.intrinsic("llvm.nvvm.ex2.approx.ftz.f", b.getF32Type(), x); }
Value Hopper::log2(Value x) { return b.intrinsic("llvm.nvvm.lg2.approx.ftz.f", b.getF32Type(), x); }
Value Hopper::reciprocal(Value x) { return b.intrinsic("llvm.nvvm.rcp.approx.ftz.f", b.getF32Type(), x); }

Int Hopper::packBf16(Value low, Value high) {
  Value pair = b.intrinsic("llvm.nvvm.ff2bf16x2.rn", VectorType::get({2}, b.getBF16Type()), {high, low});
  return word(b.create<LLVM::BitcastOp>(b.getI32Type(), pair));
}
std::pair<Value, Value> Hopper::unpackBf16(Int pair) {
  return {b.bitcast(pair << 16, b.getF32Type()), b.bitcast(pair & 0xffff0000, b.getF32Type())};
}

//===-- Inline assembly ----------------------------------------------------===//

Values Hopper::assembly(const Twine &text, const Twine &constraints, ValueRange operands, TypeRange results,
                        bool memory) {
  Type type = LLVM::LLVMVoidType::get(b.getContext());
  if (results.size() == 1)
    type = results.front();
  else if (results.size() > 1)
    type = LLVM::LLVMStructType::getLiteral(b.getContext(), llvm::to_vector(results));
  std::string all = constraints.str();
  if (memory)
    all += all.empty() ? "~{memory}" : ",~{memory}";
  auto op = b.create<LLVM::InlineAsmOp>(
      results.empty() ? TypeRange() : TypeRange(type), operands, text.str(), all, /*has_side_effects=*/true,
      /*is_align_stack=*/false, LLVM::AsmDialectAttr::get(b.getContext(), LLVM::AsmDialect::AD_ATT),
      ArrayAttr());
  Values values;
  if (results.size() == 1)
    values.push_back(op.getRes());
  else
    for (size_t i = 0; i < results.size(); ++i)
      values.push_back(b.create<LLVM::ExtractValueOp>(op.getRes(), i));
  return values;
}

//===-- Where this thread is -----------------------------------------------===//

Int Hopper::thread() { return word(b.create<NVVM::ThreadIdXOp>(b.getI32Type())); }
Int Hopper::blockX() { return word(b.create<NVVM::BlockIdXOp>(b.getI32Type())); }
Int Hopper::blockY() { return word(b.create<NVVM::BlockIdYOp>(b.getI32Type())); }
Int Hopper::gridX() { return word(b.create<NVVM::GridDimXOp>(b.getI32Type())); }
Int Hopper::uniform(Int value) { return word(shuffleFrom(value, constant(0))); }
Value Hopper::shuffleFrom(Value value, Int lane) {
  return b.create<NVVM::ShflOp>(value.getType(), b.i32(-1), value, lane, b.i32(31), NVVM::ShflKind::idx,
                                UnitAttr());
}
void Hopper::exitIf(Int condition) {
  assembly("{ .reg .pred P1; setp.ne.b32 P1, $0, 0; @P1 exit; }", "r", {condition});
}

//===-- Control ------------------------------------------------------------===//

void Hopper::ifElse(Value condition, llvm::function_ref<void()> then, llvm::function_ref<void()> otherwise) {
  auto op = b.create<scf::IfOp>(condition, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(op.thenBlock()->getTerminator());
  then();
  b.setInsertionPoint(op.elseBlock()->getTerminator());
  otherwise();
}

Values Hopper::ifElse(Value condition, TypeRange types, llvm::function_ref<Values()> then,
                      llvm::function_ref<Values()> otherwise) {
  auto op = b.create<scf::IfOp>(types, condition, /*addThenBlock=*/true, /*addElseBlock=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(op.thenBlock());
  b.create<scf::YieldOp>(then());
  b.setInsertionPointToStart(op.elseBlock());
  b.create<scf::YieldOp>(otherwise());
  return op.getResults();
}

Values Hopper::whileLoop(ValueRange carried, TypeRange passed,
                         llvm::function_ref<std::pair<Value, Values>(ValueRange)> before,
                         llvm::function_ref<Values(ValueRange)> body) {
  auto op = b.create<scf::WhileOp>(passed, carried);
  OpBuilder::InsertionGuard guard(b);
  auto createBlock = [&](Region &region, TypeRange types) {
    return b.createBlock(&region, {}, types, SmallVector<Location>(types.size(), b.getLoc()));
  };
  Block *first = createBlock(op.getBefore(), carried.getTypes());
  auto [holds, values] = before(first->getArguments());
  b.create<scf::ConditionOp>(holds, values);
  Block *second = createBlock(op.getAfter(), passed);
  b.create<scf::YieldOp>(body(second->getArguments()));
  return op.getResults();
}

Values Hopper::whileLoop(ValueRange carried, llvm::function_ref<Value(ValueRange)> before,
                         llvm::function_ref<Values(ValueRange)> body) {
  return whileLoop(
      carried, carried.getTypes(),
      [&](ValueRange values) { return std::make_pair(before(values), Values(values)); }, body);
}

//===-- Shared memory ------------------------------------------------------===//

Int Hopper::dynamicShared() { return word(b.create<LLVM::PtrToIntOp>(b.getI32Type(), b.dynamicShared())); }

std::array<Int, 4> Hopper::loadWords(Int address) {
  SmallVector<Type> types(4, b.getI32Type());
  Values words =
      assembly("ld.shared.v4.b32 {$0, $1, $2, $3}, [$4];", "=r,=r,=r,=r,r", {address}, TypeRange(types));
  return {word(words[0]), word(words[1]), word(words[2]), word(words[3])};
}
void Hopper::storeWords(Int address, std::array<Int, 4> words) {
  assembly("st.shared.v4.b32 [$0], {$1, $2, $3, $4};", "r,r,r,r,r",
           {address, words[0], words[1], words[2], words[3]});
}
std::pair<Value, Value> Hopper::loadFloats(Int address, int64_t offset) {
  SmallVector<Type> types(2, b.getF32Type());
  Values floats = assembly("ld.shared.v2.f32 {$0, $1}, [$2+" + Twine(offset) + "];", "=f,=f,r", {address},
                           TypeRange(types));
  return {floats[0], floats[1]};
}
void Hopper::storeFloats(Int address, int64_t offset, ValueRange four) {
  assembly("st.shared.v4.f32 [$0+" + Twine(offset) + "], {$1, $2, $3, $4};", "r,f,f,f,f",
           {address, four[0], four[1], four[2], four[3]});
}
void Hopper::storeMatrices(Int address, ArrayRef<Int> four) {
  assembly("stmatrix.sync.aligned.m8n8.x4.shared.b16 [$0], {$1, $2, $3, $4};", "r,r,r,r,r",
           {address, four[0], four[1], four[2], four[3]});
}

//===-- Barriers -----------------------------------------------------------===//

void Hopper::initBarrier(Int barrier, int64_t arrivals) {
  assembly("mbarrier.init.shared.b64 [$0], $1;", "r,r", {barrier, constant(arrivals)});
}
void Hopper::fenceBarrierInit() { assembly("fence.mbarrier_init.release.cluster;", "", {}); }
void Hopper::wait(Int barrier, Int parity) {
  assembly("{ .reg .pred P1; LAB_WAIT: mbarrier.try_wait.parity.shared.b64 P1, [$0], $1, 10000000; "
           "@P1 bra.uni DONE; bra.uni LAB_WAIT; DONE: }",
           "r,r", {barrier, parity});
}
void Hopper::arrive(Int barrier) { assembly("mbarrier.arrive.shared.b64 _, [$0];", "r", {barrier}); }
// Predicated, not a branch: a branch between wgmmas makes ptxas serialise them.
void Hopper::arriveIf(Int barrier, Int condition) {
  assembly("{ .reg .pred P1; setp.ne.b32 P1, $1, 0; @P1 mbarrier.arrive.shared.b64 _, [$0]; }", "r,r",
           {barrier, condition});
}
void Hopper::arriveExpecting(Int barrier, int64_t bytes) {
  assembly("mbarrier.arrive.expect_tx.shared.b64 _, [$0], $1;", "r,r", {barrier, constant(bytes)});
}
void Hopper::syncNamed(Int name, int64_t threads) {
  assembly("bar.sync $0, $1;", "r,r", {name, constant(threads)});
}
void Hopper::arriveNamed(Int name, int64_t threads) {
  assembly("bar.arrive $0, $1;", "r,r", {name, constant(threads)});
}
void Hopper::fenceSharedForAsync() { assembly("fence.proxy.async.shared::cta;", "", {}); }
void Hopper::fenceGlobalForAsync() { assembly("fence.proxy.async;", "", {}); }
void Hopper::setRegisters(int64_t count, bool raise) {
  assembly("setmaxnreg." + Twine(raise ? "inc" : "dec") + ".sync.aligned.u32 " + Twine(count) + ";", "", {});
}

//===-- The copy engine ----------------------------------------------------===//

/// "{$first, $first+1, ...}" and as many constraints.
static std::string operandList(size_t first, size_t count) {
  std::string text = "{";
  for (size_t i = 0; i < count; ++i)
    text += (i ? ", $" : "$") + std::to_string(first + i);
  return text + "}";
}
static std::string repeat(StringRef constraint, size_t count) {
  std::string text;
  for (size_t i = 0; i < count; ++i)
    text += (text.empty() ? "" : ",") + constraint.str();
  return text;
}
static std::string joined(std::initializer_list<std::string> parts) {
  std::string text;
  for (const std::string &part : parts)
    if (!part.empty())
      text += (text.empty() ? "" : ",") + part;
  return text;
}

void Hopper::loadTile(Int to, Value map, ArrayRef<Int> coordinates, Int barrier) {
  size_t n = coordinates.size();
  Values operands = {to, map, barrier};
  operands.append(coordinates.begin(), coordinates.end());
  assembly("cp.async.bulk.tensor." + Twine(n) +
               "d.shared::cluster.global.mbarrier::complete_tx::bytes [$0], [$1, " + operandList(3, n) +
               "], [$2];",
           "r,l,r," + repeat("r", n), operands);
}
void Hopper::storeTile(Int from, Value map, ArrayRef<Int> coordinates) {
  size_t n = coordinates.size();
  Values operands = {from, map};
  operands.append(coordinates.begin(), coordinates.end());
  assembly("cp.async.bulk.tensor." + Twine(n) + "d.global.shared::cta.bulk_group [$1, " + operandList(2, n) +
               "], [$0];",
           "r,l," + repeat("r", n), operands);
}
void Hopper::loadBytes(Int to, Value from, int64_t bytes, Int barrier) {
  assembly("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [$0], [$1], $2, [$3];",
           "r,l,r,r", {to, from, constant(bytes), barrier});
}
void Hopper::storeBytes(Value to, Int from, int64_t bytes) {
  assembly("cp.async.bulk.global.shared::cta.bulk_group [$0], [$1], $2;", "l,r,r",
           {to, from, constant(bytes)});
}
void Hopper::addFloats(Value to, Int from, int64_t bytes) {
  assembly("cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32 [$0], [$1], $2;", "l,r,r",
           {to, from, constant(bytes)});
}
void Hopper::commitStores() { assembly("cp.async.bulk.commit_group;", "", {}); }
void Hopper::waitStores(int64_t pending, bool read) {
  assembly("cp.async.bulk.wait_group" + Twine(read ? ".read" : "") + " " + Twine(pending) + ";", "", {});
}

//===-- Global memory between blocks ---------------------------------------===//

Value Hopper::at(Value pointer, Value offset) { return b.address(pointer, offset, b.getI8Type()); }
Value Hopper::at(Value pointer, Int index, int64_t elementBytes) {
  return at(pointer, b.mul(b.extendTo(index, b.getI64Type()), b.i64(elementBytes)));
}
SmallVector<Int> Hopper::loadWordsIf(Value pointer, Int condition) {
  SmallVector<Type> types(4, b.getI32Type());
  Values words =
      assembly("{ .reg .pred P1; setp.ne.b32 P1, $5, 0; mov.b32 $0, 0; mov.b32 $1, 0; mov.b32 $2, 0; "
               "mov.b32 $3, 0; @P1 ld.global.nc.v4.b32 {$0, $1, $2, $3}, [$4]; }",
               "=&r,=&r,=&r,=&r,l,r", {pointer, condition}, TypeRange(types), /*memory=*/false);
  return llvm::map_to_vector(words, [&](Value w) { return word(w); });
}
Value Hopper::loadFloatIf(Value pointer, Int condition) {
  return assembly("{ .reg .pred P1; setp.ne.b32 P1, $2, 0; mov.b32 $0, 0; @P1 ld.global.nc.f32 $0, [$1]; }",
                  "=&f,l,r", {pointer, condition}, b.getF32Type(), /*memory=*/false)
      .front();
}
Int Hopper::fetchAdd(Value pointer, int64_t amount) {
  return word(
      assembly("atom.global.add.u32 $0, [$1], " + Twine(amount) + ";", "=r,l", {pointer}, b.getI32Type())
          .front());
}
void Hopper::storeWord(Value pointer, Int value) {
  assembly("st.global.u32 [$0], $1;", "l,r", {pointer, value});
}
void Hopper::waitForFlag(Value pointer, Int wanted) {
  assembly(
      "{ .reg .pred P1; .reg .b32 v; LAB_WAIT: ld.acquire.gpu.global.b32 v, [$0]; setp.eq.u32 P1, v, $1; "
      "@P1 bra.uni DONE; bra.uni LAB_WAIT; DONE: }",
      "l,r", {pointer, wanted});
}
void Hopper::releaseFlag(Value pointer, Int value) {
  assembly("st.release.gpu.global.b32 [$0], $1;", "l,r", {pointer, value});
}

//===-- wgmma --------------------------------------------------------------===//

// Bits 0-13 address / 16, 16-29 leading offset / 16, 32-45 stride / 16 between
// groups of eight rows (1024 bytes), 62-63 the 128-byte swizzle.
Value Hopper::descriptor(Int address, int64_t leading) {
  uint64_t rest = (uint64_t(1) << 62) | (uint64_t(1024 / 16) << 32) | (uint64_t(leading / 16) << 16);
  Value low = b.extendTo((address & 0x3ffff) >> 4, b.getI64Type());
  return b.createOrFold<arith::OrIOp>(low, b.i64(static_cast<int64_t>(rest)));
}
Value Hopper::advance(Value descriptor, int64_t bytes) {
  return bytes ? b.add(descriptor, b.i64(bytes / 16)) : descriptor;
}
void Hopper::wgmmaFence() { assembly("wgmma.fence.sync.aligned;", "", {}); }
void Hopper::wgmmaCommit() { assembly("wgmma.commit_group.sync.aligned;", "", {}); }

Values Hopper::multiply(int64_t n, ValueRange sums, ValueRange a, Value descriptorB, Transposed transposed) {
  size_t results = n / 2, first = results + sums.size();
  bool registers = a.size() > 1;
  std::string operandA = registers ? operandList(first, 4) : "$" + std::to_string(first);
  std::string layout = std::to_string(transposed.b);
  if (!registers)
    layout = std::to_string(transposed.a) + ", " + layout;
  std::string tied;
  for (size_t i = 0; i < sums.size(); ++i)
    tied += (i ? "," : "") + std::to_string(i);
  Values operands(sums);
  operands.append(a.begin(), a.end());
  operands.push_back(descriptorB);
  SmallVector<Type> types(results, b.getF32Type());
  return assembly("{ .reg .pred p; setp.ne.b32 p, " + Twine(sums.empty() ? 0 : 1) +
                      ", 0; wgmma.mma_async.sync.aligned.m64n" + Twine(n) + "k16.f32.bf16.bf16 " +
                      operandList(0, results) + ", " + operandA + ", $" + Twine(first + a.size()) +
                      ", p, 1, 1, " + layout + "; }",
                  joined({repeat("=f", results), tied, registers ? repeat("r", 4) : "l", "l"}), operands,
                  TypeRange(types));
}
Values Hopper::wgmma(int64_t n, ValueRange sums, Value a, Value descriptorB, Transposed transposed) {
  return multiply(n, sums, a, descriptorB, transposed);
}
Values Hopper::wgmma(int64_t n, ValueRange sums, ArrayRef<Int> a, Value descriptorB, Transposed transposed) {
  Values words(a.begin(), a.end());
  return multiply(n, sums, words, descriptorB, transposed);
}

Values Hopper::wgmmaWait(int64_t pending, ValueRange values, ArrayRef<Int> held) {
  std::string tied;
  for (size_t i = 0; i < values.size(); ++i)
    tied += (i ? "," : "") + std::to_string(i);
  Values operands(values);
  operands.append(held.begin(), held.end());
  SmallVector<Type> types(values.size(), b.getF32Type());
  return assembly("wgmma.wait_group.sync.aligned " + Twine(pending) + ";",
                  joined({repeat("=f", values.size()), tied, repeat("r", held.size())}), operands,
                  TypeRange(types));
}
