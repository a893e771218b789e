/*===- toy_layout.h - Sizes and arena of the toy step -----------------------===*/
#ifndef TOY_LAYOUT_H
#define TOY_LAYOUT_H

/* Vocabulary, batch, block, tokens; sizes of the products on a GPU. */
enum { V = 16, B = 2, T = 8, N = B * T, XM = 48, XN = 32, XK = 64 };

/* Arena. */
enum {
  W = 0,
  BIAS = W + 4 * V * V,
  G = BIAS + 64,
  GBIAS = G + 4 * V * V,
  M1 = GBIAS + 64,
  M1BIAS = M1 + 4 * V * V,
  M2 = M1BIAS + 64,
  M2BIAS = M2 + 4 * V * V,
  TOKENS = M2BIAS + 64,
  TARGETS = TOKENS + 64,
  HYPER = TARGETS + 64,
  LOSS = HYPER + 64,
  STATS = LOSS + 64,
  ONEHOT = STATS + 64,
  LOGITS = ONEHOT + 4 * N * V,
  ROWLOSS = LOGITS + 4 * N * V,
  CPU_ARENA = ROWLOSS + 64,
  /* Only on a GPU: operands of the entries product0 ... product2. */
  XA = (CPU_ARENA + 255) / 256 * 256,
  XB = XA + 2 * 4 * XM * XK,
  XC = XB + 2 * 4 * XK * XN,
  XWORK = XC + 2 * 4 * XM * XN,
  XWORK_BYTES = 1 << 20,
  GPU_ARENA = XWORK + XWORK_BYTES,
};

#endif /* TOY_LAYOUT_H */
