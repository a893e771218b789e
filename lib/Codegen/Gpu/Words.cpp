//===- Words.cpp - Words, floats and inline assembly of a GPU kernel -------===//

#include "Words.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

#include "llvm/ADT/SmallVectorExtras.h"

#include <limits>

using namespace mlir;
using namespace txc::codegen;
using Values = Words::Values;

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

//===-- Words and floats ---------------------------------------------------===//

Int Words::constant(int64_t value) { return word(b.i32(static_cast<int32_t>(value))); }
Int Words::asWord(Value condition) {
  return word(b.createOrFold<arith::ExtUIOp>(b.getI32Type(), condition));
}
Int Words::select(Value condition, Int x, Int y) { return word(b.select(condition, x, y)); }
Int Words::both(Value condition, Value other) { return asWord(condition) & asWord(other); }
Value Words::negative() {
  return b.create<arith::ConstantOp>(b.getF32FloatAttr(-std::numeric_limits<float>::infinity()));
}

// Infinities occur (masked scores), NaN and the sign of zero do not matter.
static arith::FastMathFlagsAttr fast(GpuBuilder &b) {
  using Flags = arith::FastMathFlags;
  return arith::FastMathFlagsAttr::get(b.getContext(), Flags::contract | Flags::nnan | Flags::nsz);
}
Value Words::add(Value x, Value y) { return b.create<arith::AddFOp>(x, y, fast(b)); }
Value Words::sub(Value x, Value y) { return b.create<arith::SubFOp>(x, y, fast(b)); }
Value Words::mul(Value x, Value y) { return b.create<arith::MulFOp>(x, y, fast(b)); }
Value Words::max(Value x, Value y) { return b.intrinsic("llvm.nvvm.fmax.f", b.getF32Type(), {x, y}); }
Value Words::exp2(Value x) { return b.intrinsic("llvm.nvvm.ex2.approx.ftz.f", b.getF32Type(), x); }
Value Words::log2(Value x) { return b.intrinsic("llvm.nvvm.lg2.approx.ftz.f", b.getF32Type(), x); }
Value Words::reciprocal(Value x) { return b.intrinsic("llvm.nvvm.rcp.approx.ftz.f", b.getF32Type(), x); }

Int Words::packBf16(Value low, Value high) {
  Value pair = b.intrinsic("llvm.nvvm.ff2bf16x2.rn", VectorType::get({2}, b.getBF16Type()), {high, low});
  return word(b.create<LLVM::BitcastOp>(b.getI32Type(), pair));
}
std::pair<Value, Value> Words::unpackBf16(Int pair) {
  return {b.bitcast(pair << 16, b.getF32Type()), b.bitcast(pair & 0xffff0000, b.getF32Type())};
}

//===-- Inline assembly ----------------------------------------------------===//

Values Words::assembly(const Twine &text, const Twine &constraints, ValueRange operands, TypeRange results,
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
std::string Words::operandList(size_t first, size_t count) {
  std::string text = "{";
  for (size_t i = 0; i < count; ++i)
    text += (i ? ", $" : "$") + std::to_string(first + i);
  return text + "}";
}
std::string Words::repeat(StringRef constraint, size_t count) {
  std::string text;
  for (size_t i = 0; i < count; ++i)
    text += (text.empty() ? "" : ",") + constraint.str();
  return text;
}
std::string Words::joined(std::initializer_list<std::string> parts) {
  std::string text;
  for (const std::string &part : parts)
    if (!part.empty())
      text += (text.empty() ? "" : ",") + part;
  return text;
}

//===-- Where this thread is -----------------------------------------------===//

Int Words::thread() { return word(b.create<NVVM::ThreadIdXOp>(b.getI32Type())); }
Int Words::blockX() { return word(b.create<NVVM::BlockIdXOp>(b.getI32Type())); }
Int Words::blockY() { return word(b.create<NVVM::BlockIdYOp>(b.getI32Type())); }
Int Words::gridX() { return word(b.create<NVVM::GridDimXOp>(b.getI32Type())); }
Int Words::uniform(Int value) { return word(shuffleFrom(value, constant(0))); }
Value Words::shuffleFrom(Value value, Int lane) {
  return b.create<NVVM::ShflOp>(value.getType(), b.i32(-1), value, lane, b.i32(31), NVVM::ShflKind::idx,
                                UnitAttr());
}
void Words::exitIf(Int condition) {
  assembly("{ .reg .pred P1; setp.ne.b32 P1, $0, 0; @P1 exit; }", "r", {condition});
}

//===-- Control ------------------------------------------------------------===//

void Words::ifElse(Value condition, llvm::function_ref<void()> then, llvm::function_ref<void()> otherwise) {
  auto op = b.create<scf::IfOp>(condition, /*withElseRegion=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPoint(op.thenBlock()->getTerminator());
  then();
  b.setInsertionPoint(op.elseBlock()->getTerminator());
  otherwise();
}

Values Words::ifElse(Value condition, TypeRange types, llvm::function_ref<Values()> then,
                      llvm::function_ref<Values()> otherwise) {
  auto op = b.create<scf::IfOp>(types, condition, /*addThenBlock=*/true, /*addElseBlock=*/true);
  OpBuilder::InsertionGuard guard(b);
  b.setInsertionPointToStart(op.thenBlock());
  b.create<scf::YieldOp>(then());
  b.setInsertionPointToStart(op.elseBlock());
  b.create<scf::YieldOp>(otherwise());
  return op.getResults();
}

Values Words::whileLoop(ValueRange carried, TypeRange passed,
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

Values Words::whileLoop(ValueRange carried, llvm::function_ref<Value(ValueRange)> before,
                         llvm::function_ref<Values(ValueRange)> body) {
  return whileLoop(
      carried, carried.getTypes(),
      [&](ValueRange values) { return std::make_pair(before(values), Values(values)); }, body);
}

//===-- Shared memory ------------------------------------------------------===//

Int Words::dynamicShared() { return word(b.create<LLVM::PtrToIntOp>(b.getI32Type(), b.dynamicShared())); }

std::array<Int, 4> Words::loadWords(Int address) {
  SmallVector<Type> types(4, b.getI32Type());
  Values words =
      assembly("ld.shared.v4.b32 {$0, $1, $2, $3}, [$4];", "=r,=r,=r,=r,r", {address}, TypeRange(types));
  return {word(words[0]), word(words[1]), word(words[2]), word(words[3])};
}
void Words::storeWords(Int address, std::array<Int, 4> words) {
  assembly("st.shared.v4.b32 [$0], {$1, $2, $3, $4};", "r,r,r,r,r",
           {address, words[0], words[1], words[2], words[3]});
}
std::pair<Value, Value> Words::loadFloats(Int address, int64_t offset) {
  SmallVector<Type> types(2, b.getF32Type());
  Values floats = assembly("ld.shared.v2.f32 {$0, $1}, [$2+" + Twine(offset) + "];", "=f,=f,r", {address},
                           TypeRange(types));
  return {floats[0], floats[1]};
}
void Words::storeFloats(Int address, int64_t offset, ValueRange four) {
  assembly("st.shared.v4.f32 [$0+" + Twine(offset) + "], {$1, $2, $3, $4};", "r,f,f,f,f",
           {address, four[0], four[1], four[2], four[3]});
}

//===-- Global memory ------------------------------------------------------===//

Value Words::at(Value pointer, Value offset) { return b.address(pointer, offset, b.getI8Type()); }
Value Words::at(Value pointer, Int index, int64_t elementBytes) {
  return at(pointer, b.mul(b.extendTo(index, b.getI64Type()), b.i64(elementBytes)));
}
SmallVector<Int> Words::loadWordsIf(Value pointer, Int condition) {
  SmallVector<Type> types(4, b.getI32Type());
  Values words =
      assembly("{ .reg .pred P1; setp.ne.b32 P1, $5, 0; mov.b32 $0, 0; mov.b32 $1, 0; mov.b32 $2, 0; "
               "mov.b32 $3, 0; @P1 ld.global.nc.v4.b32 {$0, $1, $2, $3}, [$4]; }",
               "=&r,=&r,=&r,=&r,l,r", {pointer, condition}, TypeRange(types), /*memory=*/false);
  return llvm::map_to_vector(words, [&](Value w) { return word(w); });
}
Value Words::loadFloatIf(Value pointer, Int condition) {
  return assembly("{ .reg .pred P1; setp.ne.b32 P1, $2, 0; mov.b32 $0, 0; @P1 ld.global.nc.f32 $0, [$1]; }",
                  "=&f,l,r", {pointer, condition}, b.getF32Type(), /*memory=*/false)
      .front();
}
Int Words::fetchAdd(Value pointer, int64_t amount) {
  return word(
      assembly("atom.global.add.u32 $0, [$1], " + Twine(amount) + ";", "=r,l", {pointer}, b.getI32Type())
          .front());
}
void Words::storeWord(Value pointer, Int value) {
  assembly("st.global.u32 [$0], $1;", "l,r", {pointer, value});
}
