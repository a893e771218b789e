//===- Ampere.cpp - What tensor cores from sm_80 on can do -----------------===//

#include "Ampere.h"

using namespace mlir;
using namespace txc::codegen;
using Values = Words::Values;

//===-- Copies from global to shared memory --------------------------------===//

void Ampere::copyChunk(Int to, int64_t toOffset, Value from, int64_t fromOffset, Int bytes) {
  assembly("cp.async.cg.shared.global [$0+" + Twine(toOffset) + "], [$1+" + Twine(fromOffset) + "], 16, $2;",
           "r,l,r", {to, from, bytes});
}
void Ampere::copyChunkIf(Int condition, Int to, int64_t toOffset, Value from, int64_t fromOffset, Int bytes) {
  assembly("{ .reg .pred P1; setp.ne.b32 P1, $3, 0; @P1 cp.async.cg.shared.global [$0+" + Twine(toOffset) +
               "], [$1+" + Twine(fromOffset) + "], 16, $2; }",
           "r,l,r,r", {to, from, bytes, condition});
}
void Ampere::copyFloat(Int to, Value from, Int bytes) {
  assembly("cp.async.ca.shared.global [$0], [$1], 4, $2;", "r,l,r", {to, from, bytes});
}
void Ampere::commitCopies() { assembly("cp.async.commit_group;", "", {}); }
void Ampere::waitCopies(int64_t pending) { assembly("cp.async.wait_group " + Twine(pending) + ";", "", {}); }

//===-- Shared memory ------------------------------------------------------===//

void Ampere::storeShared(Int address, int64_t offset, Int word) {
  assembly("st.shared.b32 [$0+" + Twine(offset) + "], $1;", "r,r", {address, word});
}
std::array<Int, 4> Ampere::loadMatrices(Int address, int64_t offset, bool transposed) {
  SmallVector<Type> types(4, b.getI32Type());
  Values words = assembly("ldmatrix.sync.aligned.m8n8.x4" + Twine(transposed ? ".trans" : "") +
                              ".shared.b16 {$0, $1, $2, $3}, [$4+" + Twine(offset) + "];",
                          "=r,=r,=r,=r,r", {address}, TypeRange(types));
  return {word(words[0]), word(words[1]), word(words[2]), word(words[3])};
}

//===-- Products -----------------------------------------------------------===//

void Ampere::multiply(MutableArrayRef<Value> sums, ArrayRef<Int> a, Int b0, Int b1) {
  assert(sums.size() == 4 && a.size() == 4 && "a 16 x 8 tile and a 16 x 16 operand");
  SmallVector<Type> types(4, b.getF32Type());
  Values results = assembly("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {$0, $1, $2, $3}, "
                            "{$4, $5, $6, $7}, {$8, $9}, {$10, $11, $12, $13};",
                            "=f,=f,=f,=f,r,r,r,r,r,r,f,f,f,f",
                            {a[0], a[1], a[2], a[3], b0, b1, sums[0], sums[1], sums[2], sums[3]},
                            TypeRange(types), /*memory=*/false);
  llvm::copy(results, sums.begin());
}
