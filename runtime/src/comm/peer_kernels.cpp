//===- peer_kernels.cpp - Kernels of small all-reduces, as PTX --------------===//
#include "comm/peer_kernels.h"

#include "txc/step_abi.h"

namespace txc {

// $T: type, $O: operation, $S: log2 of an element's bytes.
static constexpr char kReducePtx[] = R"(
.visible .entry reduce_$T_$O(.param .u64 rows, .param .u64 arenas, .param .u32 ranks) {
  .reg .pred %p<3>;
  .reg .b32 %r<8>;
  .reg .b64 %rd<16>;
  .reg .$T %v<3>;
  ld.param.u64 %rd1, [rows];
  ld.param.u64 %rd2, [arenas];
  ld.param.u32 %r1, [ranks];
  mov.u32 %r2, %ctaid.x;
  mul.wide.u32 %rd3, %r2, 40;
  add.s64 %rd3, %rd1, %rd3;
  ld.global.u64 %rd4, [%rd3];
  ld.global.u64 %rd5, [%rd3+16];
  ld.global.u64 %rd6, [%rd3+24];
  mov.u32 %r3, %tid.x;
  cvt.u64.u32 %rd7, %r3;
  mov.u32 %r4, %ntid.x;
  cvt.u64.u32 %rd8, %r4;
element:
  setp.ge.u64 %p1, %rd7, %rd6;
  @%p1 bra done;
  shl.b64 %rd9, %rd7, $S;
  add.s64 %rd10, %rd4, %rd9;
  ld.global.u64 %rd11, [%rd2];
  add.s64 %rd11, %rd11, %rd10;
  ld.volatile.global.$T %v1, [%rd11];
  mov.u32 %r5, 1;
rank:
  setp.ge.u32 %p2, %r5, %r1;
  @%p2 bra store;
  mul.wide.u32 %rd12, %r5, 8;
  add.s64 %rd12, %rd2, %rd12;
  ld.global.u64 %rd11, [%rd12];
  add.s64 %rd11, %rd11, %rd10;
  ld.volatile.global.$T %v2, [%rd11];
  $O.$T %v1, %v1, %v2;
  add.u32 %r5, %r5, 1;
  bra rank;
store:
  add.s64 %rd13, %rd5, %rd9;
  st.global.$T [%rd13], %v1;
  add.u64 %rd7, %rd7, %rd8;
  bra element;
done:
  ret;
}
)";

static constexpr char kUnpackPtx[] = R"(
.visible .entry unpack(.param .u64 rows) {
  .reg .pred %p<2>;
  .reg .b32 %r<6>;
  .reg .b64 %rd<12>;
  ld.param.u64 %rd1, [rows];
  mov.u32 %r2, %ctaid.x;
  mul.wide.u32 %rd3, %r2, 40;
  add.s64 %rd3, %rd1, %rd3;
  ld.global.u64 %rd4, [%rd3+8];
  ld.global.u64 %rd5, [%rd3+16];
  ld.global.u64 %rd6, [%rd3+32];
  mov.u32 %r3, %tid.x;
  cvt.u64.u32 %rd7, %r3;
  mov.u32 %r4, %ntid.x;
  cvt.u64.u32 %rd8, %r4;
word:
  setp.ge.u64 %p1, %rd7, %rd6;
  @%p1 bra done;
  shl.b64 %rd9, %rd7, 2;
  add.s64 %rd10, %rd5, %rd9;
  ld.global.u32 %r5, [%rd10];
  add.s64 %rd11, %rd4, %rd9;
  st.global.u32 [%rd11], %r5;
  add.u64 %rd7, %rd7, %rd8;
  bra word;
done:
  ret;
}
)";

static std::string replaced(std::string text, const std::string &what, const std::string &by) {
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + by.size()))
    text.replace(at, what.size(), by);
  return text;
}
std::string peerKernels() {
  std::string text = ".version 6.0\n.target sm_60\n.address_size 64\n";
  for (const char *type : {"f32", "f64"})
    for (const char *op : {"add", "min", "max"})
      text +=
          replaced(replaced(replaced(kReducePtx, "$T", type), "$O", op), "$S", type[1] == '3' ? "2" : "3");
  return text + kUnpackPtx;
}

std::string peerKernelName(uint32_t dtype, uint32_t op) {
  const char *type = dtype == TXC_DTYPE_F32 ? "f32" : dtype == TXC_DTYPE_F64 ? "f64" : nullptr;
  const char *name = op == TXC_REDUCE_SUM   ? "add"
                     : op == TXC_REDUCE_MIN ? "min"
                     : op == TXC_REDUCE_MAX ? "max"
                                            : nullptr;
  return type && name ? std::string("reduce_") + type + "_" + name : "";
}

} // namespace txc
