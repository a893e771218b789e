//===- Hopper.cpp - What only sm_90a can do --------------------------------===//

#include "Hopper.h"

using namespace mlir;
using namespace txc::codegen;
using Values = Hopper::Values;

Ring Ring::next(Hopper &h, int64_t stages) const {
  Int following = stage + 1;
  Value wraps = following.eq(stages);
  return {h.select(wraps, h.constant(0), following), h.select(wraps, parity ^ 1, parity)};
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

//===-- Between blocks and threads -----------------------------------------===//

void Hopper::waitForFlag(Value pointer, Int wanted) {
  assembly(
      "{ .reg .pred P1; .reg .b32 v; LAB_WAIT: ld.acquire.gpu.global.b32 v, [$0]; setp.eq.u32 P1, v, $1; "
      "@P1 bra.uni DONE; bra.uni LAB_WAIT; DONE: }",
      "l,r", {pointer, wanted});
}
void Hopper::releaseFlag(Value pointer, Int value) {
  assembly("st.release.gpu.global.b32 [$0], $1;", "l,r", {pointer, value});
}
void Hopper::storeMatrices(Int address, ArrayRef<Int> four) {
  assembly("stmatrix.sync.aligned.m8n8.x4.shared.b16 [$0], {$1, $2, $3, $4};", "r,r,r,r,r",
           {address, four[0], four[1], four[2], four[3]});
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
