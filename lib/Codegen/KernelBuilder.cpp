//===- KernelBuilder.cpp - Builds the body of a kernel ---------------------===//
//
// The polynomials are Chebyshev fits of the stated degree (mpmath.chebyfit on
// the reduced range); test/unit/Codegen/ElementaryTest.cpp holds them to the
// errors that KernelBuilder.h states.
//
//===----------------------------------------------------------------------===//

#include "txc/Codegen/KernelBuilder.h"

using namespace mlir;
using namespace txc::codegen;

KernelBuilder::KernelBuilder(Operation *function, int64_t lanes)
    : ImplicitLocOpBuilder(function->getLoc(), function->getContext()), lanes(lanes) {
  setInsertionPointToEnd(&function->getRegion(0).front());
}

Value KernelBuilder::hyper(Value hyper, HyperField field) {
  Type type = field < HyperField::SeedLo ? Type(getF32Type()) : Type(getI32Type());
  return load(hyper, i64(static_cast<int64_t>(field)), type);
}

//===-- Types and constants ------------------------------------------------===//

Type KernelBuilder::ptrType() { return LLVM::LLVMPointerType::get(getContext()); }

int64_t KernelBuilder::lanesOf(Type type) {
  auto vector = dyn_cast<VectorType>(type);
  return vector ? vector.getNumElements() : 1;
}

Type KernelBuilder::shaped(Type element, int64_t lanes) {
  return lanes > 0 ? Type(VectorType::get({lanes}, element)) : element;
}

Type KernelBuilder::shapedLike(Value like, Type element) {
  auto vector = dyn_cast<VectorType>(like.getType());
  return vector ? Type(vector.clone(element)) : element;
}

Value KernelBuilder::i64(int64_t value) { return create<arith::ConstantOp>(getI64IntegerAttr(value)); }
Value KernelBuilder::i32(int64_t value) {
  return create<arith::ConstantOp>(IntegerAttr::get(getI32Type(), APInt(32, value, true)));
}
Value KernelBuilder::f32(double value) { return create<arith::ConstantOp>(getF32FloatAttr(value)); }
Value KernelBuilder::f64(double value) { return create<arith::ConstantOp>(getF64FloatAttr(value)); }

Value KernelBuilder::constant(Value like, double value) {
  Type type = like.getType();
  TypedAttr scalar = FloatAttr::get(getElementTypeOrSelf(type), value);
  if (auto vector = dyn_cast<VectorType>(type))
    return create<arith::ConstantOp>(
        cast<TypedAttr>(static_cast<Attribute>(DenseElementsAttr::get(vector, Attribute(scalar)))));
  return create<arith::ConstantOp>(scalar);
}

Value KernelBuilder::intConstant(Value like, int64_t value) {
  Type type = like.getType();
  unsigned width = getElementTypeOrSelf(type).getIntOrFloatBitWidth();
  TypedAttr scalar = IntegerAttr::get(getElementTypeOrSelf(type), APInt(64, value, true).trunc(width));
  if (auto vector = dyn_cast<VectorType>(type))
    return create<arith::ConstantOp>(
        cast<TypedAttr>(static_cast<Attribute>(DenseElementsAttr::get(vector, Attribute(scalar)))));
  return create<arith::ConstantOp>(scalar);
}

Value KernelBuilder::splat(Value scalar, int64_t lanes) {
  auto type = VectorType::get({lanes}, scalar.getType());
  if (auto constant = scalar.getDefiningOp<arith::ConstantOp>())
    return create<arith::ConstantOp>(cast<TypedAttr>(
        static_cast<Attribute>(DenseElementsAttr::get(type, Attribute(constant.getValue())))));
  return create<vector::SplatOp>(type, scalar);
}

Value KernelBuilder::iota(int64_t lanes) {
  SmallVector<int32_t> values(lanes);
  for (int64_t i = 0; i < lanes; ++i)
    values[i] = i;
  return create<arith::ConstantOp>(
      DenseIntElementsAttr::get(VectorType::get({lanes}, getI32Type()), ArrayRef<int32_t>(values)));
}

//===-- Arithmetic ---------------------------------------------------------===//

Value KernelBuilder::fadd(Value a, Value b) { return createOrFold<arith::AddFOp>(a, b); }
Value KernelBuilder::fsub(Value a, Value b) { return createOrFold<arith::SubFOp>(a, b); }
Value KernelBuilder::fmul(Value a, Value b) { return createOrFold<arith::MulFOp>(a, b); }
Value KernelBuilder::fdiv(Value a, Value b) { return createOrFold<arith::DivFOp>(a, b); }
Value KernelBuilder::fneg(Value a) { return createOrFold<arith::NegFOp>(a); }
Value KernelBuilder::fma(Value a, Value b, Value c) { return create<LLVM::FMAOp>(a, b, c); }
Value KernelBuilder::fmax(Value a, Value b) { return select(fcmp(arith::CmpFPredicate::OGT, a, b), a, b); }
Value KernelBuilder::fmin(Value a, Value b) { return select(fcmp(arith::CmpFPredicate::OLT, a, b), a, b); }
Value KernelBuilder::fcmp(arith::CmpFPredicate predicate, Value a, Value b) {
  return createOrFold<arith::CmpFOp>(predicate, a, b);
}
Value KernelBuilder::add(Value a, Value b) { return createOrFold<arith::AddIOp>(a, b); }
Value KernelBuilder::sub(Value a, Value b) { return createOrFold<arith::SubIOp>(a, b); }
Value KernelBuilder::mul(Value a, Value b) { return createOrFold<arith::MulIOp>(a, b); }
Value KernelBuilder::divu(Value a, Value b) { return createOrFold<arith::DivUIOp>(a, b); }
Value KernelBuilder::remu(Value a, Value b) { return createOrFold<arith::RemUIOp>(a, b); }
Value KernelBuilder::mins(Value a, Value b) { return createOrFold<arith::MinSIOp>(a, b); }
Value KernelBuilder::maxs(Value a, Value b) { return createOrFold<arith::MaxSIOp>(a, b); }
Value KernelBuilder::icmp(arith::CmpIPredicate predicate, Value a, Value b) {
  return createOrFold<arith::CmpIOp>(predicate, a, b);
}
Value KernelBuilder::select(Value condition, Value a, Value b) {
  return createOrFold<arith::SelectOp>(condition, a, b);
}
Value KernelBuilder::bitcast(Value a, Type element) {
  return createOrFold<arith::BitcastOp>(shapedLike(a, element), a);
}
Value KernelBuilder::truncTo(Value a, Type element) {
  if (isa<FloatType>(element))
    return create<arith::TruncFOp>(shapedLike(a, element), a);
  return createOrFold<arith::TruncIOp>(shapedLike(a, element), a);
}
Value KernelBuilder::extendTo(Value a, Type element) {
  if (isa<FloatType>(element))
    return create<arith::ExtFOp>(shapedLike(a, element), a);
  return createOrFold<arith::ExtUIOp>(shapedLike(a, element), a);
}

// Adds 0x7fff and the lowest bit that stays; a NaN keeps its upper bits, quiet.
Value KernelBuilder::roundToBf16(Value a) {
  Value bits = bitcast(a, getI32Type());
  Value lowest =
      create<arith::AndIOp>(create<arith::ShRUIOp>(bits, intConstant(bits, 16)), intConstant(bits, 1));
  Value rounded = add(bits, add(lowest, intConstant(bits, 0x7fff)));
  Value quiet = create<arith::OrIOp>(bits, intConstant(bits, 0x400000));
  Value chosen = select(fcmp(arith::CmpFPredicate::UNO, a, a), quiet, rounded);
  return bitcast(create<arith::AndIOp>(chosen, intConstant(chosen, 0xffff0000)), getF32Type());
}

//===-- Memory -------------------------------------------------------------===//

Value KernelBuilder::address(Value pointer, Value index, Type element) {
  // bf16 is moved as i16.
  if (element.isBF16())
    element = getI16Type();
  return create<LLVM::GEPOp>(pointer.getType(), element, pointer, ArrayRef<LLVM::GEPArg>{index});
}

Value KernelBuilder::load(Value pointer, Value index, Type element) {
  return create<LLVM::LoadOp>(element, address(pointer, index, element), element.getIntOrFloatBitWidth() / 8);
}

void KernelBuilder::store(Value value, Value pointer, Value index) {
  Type element = value.getType();
  create<LLVM::StoreOp>(value, address(pointer, index, element), element.getIntOrFloatBitWidth() / 8);
}

Value KernelBuilder::loadVector(Value pointer, Value index, Type element, int64_t lanes, Value mask) {
  Type stored = element.isBF16() ? Type(getI16Type()) : element;
  Type type = shaped(stored, lanes);
  unsigned alignment = stored.getIntOrFloatBitWidth() / 8;
  Value from = address(pointer, index, stored);
  Value value;
  if (mask) {
    Value zero = create<arith::ConstantOp>(cast<TypedAttr>(getZeroAttr(type)));
    value = create<LLVM::MaskedLoadOp>(type, from, mask, ValueRange(zero), alignment);
  } else {
    value = create<LLVM::LoadOp>(type, from, alignment);
  }
  if (element.isBF16()) {
    Value wide = extendTo(value, getI32Type());
    value = bitcast(create<arith::ShLIOp>(wide, intConstant(wide, 16)), getF32Type());
  }
  return value;
}

void KernelBuilder::storeVector(Value value, Value pointer, Value index, Type element, Value mask) {
  if (element.isBF16()) {
    Value bits = bitcast(roundToBf16(value), getI32Type());
    value = truncTo(create<arith::ShRUIOp>(bits, intConstant(bits, 16)), getI16Type());
  }
  Type stored = getElementTypeOrSelf(value.getType());
  unsigned alignment = stored.getIntOrFloatBitWidth() / 8;
  Value to = address(pointer, index, stored);
  if (mask)
    create<LLVM::MaskedStoreOp>(value, to, mask, alignment);
  else
    create<LLVM::StoreOp>(value, to, alignment);
}

Value KernelBuilder::gather(Value pointer, Value indices, Type element, Value mask) {
  int64_t n = lanesOf(indices.getType());
  Type pointers = LLVM::getFixedVectorType(pointer.getType(), n);
  Value from = create<LLVM::GEPOp>(pointers, element, pointer, ArrayRef<LLVM::GEPArg>{indices});
  Type type = shaped(element, n);
  if (!mask)
    mask = splat(create<arith::ConstantOp>(getBoolAttr(true)), n);
  Value zero = create<arith::ConstantOp>(cast<TypedAttr>(getZeroAttr(type)));
  return create<LLVM::masked_gather>(type, from, mask, ValueRange(zero), element.getIntOrFloatBitWidth() / 8);
}

Value KernelBuilder::tailMask(int64_t lanes, int64_t valid) {
  SmallVector<bool> bits(lanes);
  for (int64_t i = 0; i < lanes; ++i)
    bits[i] = i < valid;
  return create<arith::ConstantOp>(
      DenseElementsAttr::get(VectorType::get({lanes}, getI1Type()), ArrayRef<bool>(bits)));
}

Value KernelBuilder::tailMask(int64_t lanes, Value valid) {
  Value bounded = truncTo(mins(valid, i64(lanes)), getI32Type());
  return icmp(arith::CmpIPredicate::slt, iota(lanes), splat(bounded, lanes));
}

//===-- Control ------------------------------------------------------------===//

SmallVector<Value> KernelBuilder::forLoop(Value lower, Value upper, Value step, ValueRange init,
                                          LoopBody body) {
  auto loop = create<scf::ForOp>(lower, upper, step, init);
  OpBuilder::InsertionGuard guard(*this);
  if (init.empty()) {
    setInsertionPoint(loop.getBody()->getTerminator());
    body(loop.getInductionVar(), {});
    return {};
  }
  setInsertionPointToStart(loop.getBody());
  SmallVector<Value> next = body(loop.getInductionVar(), loop.getRegionIterArgs());
  create<scf::YieldOp>(next);
  return llvm::to_vector(llvm::map_range(loop.getResults(), [](OpResult r) -> Value { return r; }));
}

void KernelBuilder::forLoop(Value lower, Value upper, Value step, llvm::function_ref<void(Value)> body) {
  forLoop(lower, upper, step, {}, [&](Value iv, ValueRange) -> SmallVector<Value> {
    body(iv);
    return {};
  });
}

void KernelBuilder::ifThen(Value condition, llvm::function_ref<void()> body) {
  auto op = create<scf::IfOp>(condition, /*withElseRegion=*/false);
  OpBuilder::InsertionGuard guard(*this);
  setInsertionPoint(op.thenBlock()->getTerminator());
  body();
}

//===-- Across lanes -------------------------------------------------------===//

Value KernelBuilder::shuffle(Value a, Value b, ArrayRef<int32_t> indices) {
  return create<LLVM::ShuffleVectorOp>(a, b, indices);
}

Value KernelBuilder::foldReduce(Value vector, llvm::function_ref<Value(Value, Value)> combine) {
  for (int64_t n = lanesOf(vector.getType()); n > 1; n /= 2) {
    assert(n % 2 == 0 && "a power of two");
    SmallVector<int32_t> low(n / 2), high(n / 2);
    for (int64_t i = 0; i < n / 2; ++i) {
      low[i] = i;
      high[i] = i + n / 2;
    }
    vector = combine(shuffle(vector, vector, low), shuffle(vector, vector, high));
  }
  return create<vector::ExtractOp>(vector, 0);
}

Value KernelBuilder::reduceAdd(Value vector) {
  bool isFloat = isa<FloatType>(getElementTypeOrSelf(vector.getType()));
  return foldReduce(vector, [&](Value a, Value b) { return isFloat ? fadd(a, b) : add(a, b); });
}
Value KernelBuilder::reduceMax(Value vector) {
  return foldReduce(vector, [&](Value a, Value b) { return fmax(a, b); });
}
Value KernelBuilder::reduceMin(Value vector) {
  return foldReduce(vector, [&](Value a, Value b) { return fmin(a, b); });
}

//===-- Elementary functions -----------------------------------------------===//

/// Horner's rule, highest coefficient first.
static Value polynomial(KernelBuilder &b, Value x, ArrayRef<double> coefficients) {
  Value sum = b.constant(x, coefficients.front());
  for (double c : coefficients.drop_front())
    sum = b.fma(sum, x, b.constant(x, c));
  return sum;
}

Value KernelBuilder::sqrt(Value x) { return create<LLVM::SqrtOp>(x); }

// 2^n * exp(r) with n = round(x / ln 2). Adding 1.5 * 2^23 leaves n in the low
// bits of the sum. n = -127 gives a scale of 0, n = 128 one of infinity.
Value KernelBuilder::exp(Value x) {
  x = fmin(constant(x, 89.0), fmax(constant(x, -88.0), x)); // a NaN stays
  Value magic = constant(x, 12582912.0);
  Value shifted = fma(x, constant(x, 1.44269504088896341), magic);
  Value n = fsub(shifted, magic);
  Value r = fma(n, constant(x, -0.693147182464599609375), x);
  r = fma(n, constant(x, 1.904654299957768e-9), r);
  Value q = polynomial(*this, r, {0.001392617612, 0.008363173075, 0.04166655466, 0.1666657703, 0.5});
  Value p = fadd(fma(q, fmul(r, r), r), constant(x, 1.0));
  Value bits = bitcast(shifted, getI32Type());
  bits = create<arith::ShLIOp>(add(bits, intConstant(bits, 127)), intConstant(bits, 23));
  return fmul(p, bitcast(bits, getF32Type()));
}

// x = 2^e * (1 + z) with 1 + z in [sqrt(1/2), sqrt(2)).
Value KernelBuilder::log(Value x) {
  Value bits = bitcast(x, getI32Type());
  Value e = create<arith::ShRSIOp>(sub(bits, intConstant(bits, 0x3f3504f3)), intConstant(bits, 23));
  Value mantissa = sub(bits, create<arith::ShLIOp>(e, intConstant(bits, 23)));
  Value z = fsub(bitcast(mantissa, getF32Type()), constant(x, 1.0));
  Value p = polynomial(*this, z,
                       {-0.07902743772, 0.1262231985, -0.1299818376, 0.1421449592, -0.1664128146,
                        0.2000104509, -0.2500030642, 0.3333333073});
  Value z2 = fmul(z, z);
  Value small = fma(fmul(z2, z), p, fmul(z2, constant(x, -0.5)));
  Value exponent = create<arith::SIToFPOp>(x.getType(), e);
  small = fma(exponent, constant(x, -1.904654299957768e-9), small);
  return fma(exponent, constant(x, 0.693147182464599609375), fadd(z, small));
}

Value KernelBuilder::sigmoid(Value x) {
  Value one = constant(x, 1.0);
  return fdiv(one, fadd(one, exp(fneg(x))));
}

// With t = exp(-|x|), both are 1 / (1 + t) or t / (1 + t): nothing cancels.
std::pair<Value, Value> KernelBuilder::sigmoidPair(Value x) {
  Value one = constant(x, 1.0);
  Value t = exp(fneg(create<LLVM::FAbsOp>(x)));
  Value large = fdiv(one, fadd(one, t)), small = fmul(t, large);
  Value positive = fcmp(arith::CmpFPredicate::OGT, x, constant(x, 0.0));
  return {select(positive, large, small), select(positive, small, large)};
}

// Phi(-a) = exp(-a^2/2) * t * P(t), t = 1 / (1 + 0.26 a), for a >= 0.
std::pair<Value, Value> KernelBuilder::normalCdf(Value x) {
  Value one = constant(x, 1.0);
  Value gaussian = exp(fmul(fmul(x, x), constant(x, -0.5)));
  Value a = create<LLVM::FAbsOp>(x);
  Value t = fdiv(one, fma(a, constant(x, 0.26), one));
  Value p = polynomial(*this, t,
                       {0.0331520876777, -0.165915661593, 0.279087262986, -0.183309724449, 0.183988611338,
                        0.0408452188184, 0.105753945559, 0.10261401476, 0.103784247836});
  Value tail = fmul(fmul(gaussian, t), p);
  Value cdf = select(fcmp(arith::CmpFPredicate::OGT, x, constant(x, 0.0)), fsub(one, tail), tail);
  return {cdf, gaussian};
}

// Quarter turns are taken off exactly; the rest is at most 1/8 turn.
std::pair<Value, Value> KernelBuilder::sinCosTurns(Value turns) {
  Value magic = constant(turns, 12582912.0);
  Value shifted = fma(turns, constant(turns, 4.0), magic);
  Value quarter = bitcast(shifted, getI32Type());
  Value a = fma(fsub(shifted, magic), constant(turns, -0.25), turns);
  Value a2 = fmul(a, a);
  Value s =
      fmul(a, polynomial(*this, a2, {41.47283324, -76.69786635, 81.60520471, -41.34170215, 6.283185307}));
  Value c = polynomial(*this, a2, {59.22016896, -85.44284467, 64.93931614, -19.73920865, 1.0});
  Value odd = icmp(arith::CmpIPredicate::ne, create<arith::AndIOp>(quarter, intConstant(quarter, 1)),
                   intConstant(quarter, 0));
  // The sine changes sign in quarters 2 and 3, the cosine in 1 and 2.
  auto signOf = [&](Value q) {
    Value bit = create<arith::AndIOp>(q, intConstant(q, 2));
    return create<arith::ShLIOp>(bit, intConstant(q, 30)).getResult();
  };
  auto flip = [&](Value v, Value sign) {
    return bitcast(create<arith::XOrIOp>(bitcast(v, getI32Type()), sign), getF32Type());
  };
  Value sine = flip(select(odd, c, s), signOf(quarter));
  Value cosine = flip(select(odd, s, c), signOf(add(quarter, intConstant(quarter, 1))));
  return {sine, cosine};
}

//===-- The counter-based generator ----------------------------------------===//

KernelBuilder::Generator KernelBuilder::generator(Value hyperPointer) {
  return {hyper(hyperPointer, HyperField::SeedLo), hyper(hyperPointer, HyperField::SeedHi),
          hyper(hyperPointer, HyperField::StepLo)};
}

/// The two words of the products of all lanes of `a` with a constant.
std::pair<Value, Value> KernelBuilder::multiplyWide(Value a, uint32_t factor) {
  Type wide = getI64Type();
  int64_t n = lanesOf(a.getType());
  if (n % 2) {
    Value w = extendTo(a, wide);
    Value product = mul(w, intConstant(w, factor));
    Value high = create<arith::ShRUIOp>(product, intConstant(product, 32));
    return {truncTo(product, getI32Type()), truncTo(high, getI32Type())};
  }
  // Even and odd lanes apart, each as 64-bit lanes: a 32 x 32 -> 64 multiplication.
  Value pairs = create<LLVM::BitcastOp>(shaped(wide, n / 2), a);
  Value c = intConstant(pairs, factor), low32 = intConstant(pairs, 0xffffffff);
  Value shift = intConstant(pairs, 32), high32 = intConstant(pairs, static_cast<int64_t>(0xffffffff00000000));
  Value even = mul(create<arith::AndIOp>(pairs, low32), c);
  Value odd = mul(create<arith::ShRUIOp>(pairs, shift), c);
  Value low = create<arith::OrIOp>(create<arith::AndIOp>(even, low32), create<arith::ShLIOp>(odd, shift));
  Value high = create<arith::OrIOp>(create<arith::ShRUIOp>(even, shift), create<arith::AndIOp>(odd, high32));
  return {create<LLVM::BitcastOp>(a.getType(), low), create<LLVM::BitcastOp>(a.getType(), high)};
}

std::array<Value, 4> KernelBuilder::philox(std::array<Value, 4> counter, Value keyLo, Value keyHi) {
  int64_t n = isa<VectorType>(counter[0].getType()) ? lanesOf(counter[0].getType()) : 0;
  auto spread = [&](Value key) { return n ? splat(key, n) : key; };
  for (unsigned round = 0; round < 10; ++round) {
    if (round) {
      keyLo = add(keyLo, i32(0x9E3779B9));
      keyHi = add(keyHi, i32(0xBB67AE85));
    }
    auto [low0, high0] = multiplyWide(counter[0], 0xD2511F53);
    auto [low1, high1] = multiplyWide(counter[2], 0xCD9E8D57);
    Value word0 = create<arith::XOrIOp>(create<arith::XOrIOp>(high1, counter[1]), spread(keyLo));
    Value word2 = create<arith::XOrIOp>(create<arith::XOrIOp>(high0, counter[3]), spread(keyHi));
    counter = {word0, low1, word2, low0};
  }
  return counter;
}

std::array<Value, 4> KernelBuilder::random(const Generator &generator, Value element, int64_t lanes,
                                           Value site, int64_t bound) {
  Value first = splat(truncTo(element, getI32Type()), lanes);
  Value low = add(first, iota(lanes));
  Value high = intConstant(low, 0);
  if (bound > (int64_t(1) << 32)) {
    Value upper = truncTo(create<arith::ShRUIOp>(element, i64(32)), getI32Type());
    Value carry = extendTo(icmp(arith::CmpIPredicate::ult, low, first), getI32Type());
    high = add(splat(upper, lanes), carry);
  }
  return philox({low, high, splat(site, lanes), splat(generator.stepLo, lanes)}, generator.seedLo,
                generator.seedHi);
}

// u >= p on 24-bit integers: w0 >> 8 >= p * 2^24.
Value KernelBuilder::dropoutKeep(const Generator &generator, Value element, int64_t lanes, int32_t site,
                                 double p, int64_t bound) {
  Value word = random(generator, element, lanes, this->site(site), bound)[0];
  Value u = create<arith::ShRUIOp>(word, intConstant(word, 8));
  return icmp(arith::CmpIPredicate::uge, u, intConstant(u, static_cast<int64_t>(std::ceil(p * 16777216.0))));
}

Value KernelBuilder::dropoutScale(const Generator &generator, Value element, int64_t lanes, int32_t site,
                                  double p, int64_t bound) {
  Value keep = dropoutKeep(generator, element, lanes, site, p, bound);
  Value scale = splat(f32(1.0 / (1.0 - p)), lanes);
  return select(keep, scale, constant(scale, 0.0));
}
