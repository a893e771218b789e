//===- product_tuning.cpp - Choosing algorithms of products by measurement -===//
#include "device/product_tuning.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>

namespace txc {

using cuda::LtAlgorithm;
using cuda::LtHeuristicResult;

static constexpr int kMostProposals = 24;
// The best so many proposals and neighbours have their own neighbours looked at.
static constexpr size_t kParents = 4;
static constexpr size_t kInTurns = 24;
static constexpr int kRounds = 7;
// Products shorter than this are timed several at a time.
static constexpr double kTimedMilliseconds = 0.2;
static constexpr int kMostRepeats = 20;
// Candidates this close to the fastest are timed under a load that lasts. Shorter
// products than the last figure leave the chip cool.
static constexpr double kFinalist = 1.04;
static constexpr size_t kMostFinalists = 6;
static constexpr double kSustainedFromMilliseconds = 0.05;
static constexpr double kWarmMilliseconds = 15, kSustainedMilliseconds = 30;
// The library's first proposal stays unless another is clearly better: by its share,
// less where measurements are long, and by what one kernel after another costs or saves.
static constexpr double kClearly = 0.99, kClearlyAfterLong = 0.995;
static constexpr double kSwitchMilliseconds = 1e-3;

static constexpr size_t kPieceBytes = size_t(16) << 20;

ProductTuning::ProductTuning(const CublasLt &library, const cuda::Driver &driver, cuda::Address arena,
                             cuda::Stream stream)
    : library_(library), driver_(driver), arena_(arena), stream_(stream) {
  result_ = driver_.eventCreate(&begin_, 0);
  if (result_ == cuda::kSuccess)
    result_ = driver_.eventCreate(&end_, 0);
}

ProductTuning::~ProductTuning() {
  for (cuda::Event event : {begin_, end_})
    if (event)
      driver_.eventDestroy(event);
}

Status ProductTuning::failure(const CublasLt::Shape &shape) const {
  if (status_ != 0)
    return library_.fail(*shape.first, "timing it", status_);
  if (result_ != cuda::kSuccess)
    return driver_.error(result_, "timing matrix product '" +
                                      std::string(shape.first->name ? shape.first->name : "?") + "'");
  return {};
}

static bool isSame(const LtAlgorithm &a, const LtAlgorithm &b) { return std::memcmp(&a, &b, sizeof(a)) == 0; }

//===-- Measuring -----------------------------------------------------------===//

double ProductTuning::time(const CublasLt::Shape &shape, const LtAlgorithm &algorithm, int repeats) {
  float milliseconds = 0;
  if (result_ == cuda::kSuccess)
    result_ = driver_.eventRecord(begin_, stream_);
  for (int i = 0; i < repeats && status_ == 0 && result_ == cuda::kSuccess; ++i)
    status_ = library_.enqueue(shape, algorithm, *shape.first, arena_, stream_, /*first=*/true);
  if (result_ == cuda::kSuccess)
    result_ = driver_.eventRecord(end_, stream_);
  if (result_ == cuda::kSuccess)
    result_ = driver_.eventSynchronize(end_);
  if (result_ == cuda::kSuccess)
    result_ = driver_.eventElapsedTime(&milliseconds, begin_, end_);
  return static_cast<double>(milliseconds) / repeats;
}

Result<std::vector<ProductTuning::Candidate>> ProductTuning::findCandidates(const CublasLt::Shape &shape,
                                                                            int &repeats) {
  Result<std::vector<LtHeuristicResult>> proposals = library_.candidates(shape, kMostProposals);
  if (!proposals.ok())
    return proposals.status();
  std::vector<Candidate> found;
  std::set<std::vector<uint64_t>> seen;
  repeats = 0;
  auto add = [&](const LtAlgorithm &algorithm, bool proposed) {
    if (result_ != cuda::kSuccess ||
        !seen.insert({std::begin(algorithm.opaque), std::end(algorithm.opaque)}).second)
      return;
    // Once to load code; a candidate that cannot be started is out.
    time(shape, algorithm, 1);
    const double once = status_ == 0 ? time(shape, algorithm, std::max(repeats, 1)) : 0;
    if (status_ == 0)
      found.push_back({algorithm, proposed, once});
    status_ = 0;
    if (repeats == 0 && !found.empty())
      repeats = std::clamp(static_cast<int>(kTimedMilliseconds / std::max(once, 1e-4)), 1, kMostRepeats);
  };
  for (const LtHeuristicResult &proposal : *proposals)
    add(proposal.algorithm, true);
  const size_t numProposals = found.size();
  for (int generation = 0; generation < 2; ++generation) {
    std::vector<Candidate> parents = found;
    if (generation == 1) {
      std::stable_sort(parents.begin(), parents.end(), [](const Candidate &a, const Candidate &b) {
        return a.milliseconds < b.milliseconds;
      });
      parents.resize(std::min(parents.size(), kParents));
    } else {
      parents.resize(numProposals);
    }
    for (const Candidate &parent : parents)
      for (const LtAlgorithm &neighbour : library_.neighbours(shape, parent.algorithm))
        add(neighbour, false);
  }
  if (Status status = failure(shape); !status.ok())
    return status;
  if (numProposals == 0)
    return library_.fail(*shape.first, "no algorithm of cuBLASLt runs", 0);
  return found;
}

std::vector<ProductTuning::Candidate> ProductTuning::rank(const CublasLt::Shape &shape,
                                                          std::vector<Candidate> candidates, int repeats) {
  auto isFaster = [](const Candidate &a, const Candidate &b) { return a.milliseconds < b.milliseconds; };
  // The library's first stays in the race, at the front.
  std::stable_sort(candidates.begin() + 1, candidates.end(), isFaster);
  candidates.resize(std::min(candidates.size(), kInTurns + 1));
  std::vector<std::vector<double>> times(candidates.size());
  for (int round = 0; round < kRounds; ++round)
    for (size_t i = 0; i < candidates.size(); ++i)
      times[i].push_back(time(shape, candidates[i].algorithm, repeats));
  for (size_t i = 0; i < candidates.size(); ++i) {
    std::nth_element(times[i].begin(), times[i].begin() + kRounds / 2, times[i].end());
    candidates[i].milliseconds = times[i][kRounds / 2];
  }
  const Candidate first = candidates.front();
  std::stable_sort(candidates.begin(), candidates.end(), isFaster);
  const double fastest = candidates.front().milliseconds;
  if (fastest < kSustainedFromMilliseconds)
    return candidates;

  std::vector<Candidate> finalists = {first};
  for (const Candidate &candidate : candidates)
    if (candidate.milliseconds <= kFinalist * fastest && finalists.size() <= kMostFinalists &&
        !isSame(candidate.algorithm, first.algorithm))
      finalists.push_back(candidate);
  for (Candidate &finalist : finalists)
    finalist.milliseconds = 0;
  for (int turn = 0; turn < 2; ++turn, std::reverse(finalists.begin(), finalists.end()))
    for (Candidate &finalist : finalists) {
      time(shape, finalist.algorithm, static_cast<int>(kWarmMilliseconds / fastest) + 1);
      finalist.milliseconds +=
          time(shape, finalist.algorithm, static_cast<int>(kSustainedMilliseconds / fastest) + 1) / 2;
    }
  std::stable_sort(finalists.begin(), finalists.end(), isFaster);
  return finalists;
}

Status ProductTuning::measure(const CublasLt::Shape &shape) {
  int repeats = 0;
  Result<std::vector<Candidate>> candidates = findCandidates(shape, repeats);
  if (!candidates.ok())
    return candidates.status();
  const LtAlgorithm first = candidates->front().algorithm;
  Measured measured{&shape, rank(shape, *candidates, repeats), 0, static_cast<int>(candidates->size())};
  if (Status status = failure(shape); !status.ok())
    return status;
  std::vector<Candidate> &ranking = measured.ranking;
  auto at = std::find_if(ranking.begin(), ranking.end(),
                         [&](const Candidate &candidate) { return isSame(candidate.algorithm, first); });
  const double fastest = ranking.front().milliseconds;
  measured.firstMilliseconds = at->milliseconds;
  const double clearly = fastest < kSustainedFromMilliseconds ? kClearly : kClearlyAfterLong;
  if (fastest >= std::min(clearly * at->milliseconds, at->milliseconds - kSwitchMilliseconds))
    std::rotate(ranking.begin(), at, at + 1);
  measured_.push_back(std::move(measured));
  return {};
}

//===-- Checking ------------------------------------------------------------===//

static uint64_t elementBytes(uint32_t dtype) { return dtype == TXC_DTYPE_BF16 ? 2 : 4; }

// Of rows from the first to the end of the last.
static uint64_t spanBytes(int64_t rows, int64_t columns, int64_t leading, uint32_t batch, int64_t stride,
                          uint32_t dtype) {
  const int64_t one = (rows - 1) * leading + columns;
  return static_cast<uint64_t>((batch > 1 ? (batch - 1) * stride : 0) + one) * elementBytes(dtype);
}

static float valueOf(const unsigned char *bytes, uint32_t dtype) {
  uint32_t bits = 0;
  if (dtype == TXC_DTYPE_BF16) {
    uint16_t half;
    std::memcpy(&half, bytes, sizeof(half));
    bits = static_cast<uint32_t>(half) << 16;
  } else {
    std::memcpy(&bits, bytes, sizeof(bits));
  }
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

// Uniform between -1 and 1.
void ProductTuning::fillOperands(const txc_gemm_t &p) {
  const uint64_t size = elementBytes(p.dtype);
  // Not a multiple of any row, so that rows differ.
  piece_.resize((size_t(1) << 22) - 4 * 1009);
  uint64_t state = 1;
  auto fill = [&](uint64_t offset, uint64_t bytes) {
    for (size_t at = 0; at < piece_.size(); at += size) {
      state = state * 6364136223846793005ull + 1442695040888963407ull;
      const float value = static_cast<float>(static_cast<int32_t>(state >> 32)) * 0x1p-31f;
      uint32_t bits;
      std::memcpy(&bits, &value, sizeof(bits));
      if (size == 2)
        bits >>= 16;
      std::memcpy(&piece_[at], &bits, size);
    }
    for (uint64_t done = 0; done < bytes && result_ == cuda::kSuccess; done += piece_.size())
      result_ = driver_.memcpyHtoDAsync(arena_ + offset + done, piece_.data(),
                                        std::min<uint64_t>(bytes - done, piece_.size()), stream_);
    if (result_ == cuda::kSuccess)
      result_ = driver_.streamSynchronize(stream_);
  };
  fill(p.a,
       spanBytes(p.transpose_a ? p.k : p.m, p.transpose_a ? p.m : p.k, p.lda, p.batch, p.stride_a, p.dtype));
  fill(p.b,
       spanBytes(p.transpose_b ? p.n : p.k, p.transpose_b ? p.k : p.n, p.ldb, p.batch, p.stride_b, p.dtype));
}

template <typename Visitor>
Status ProductTuning::compute(const CublasLt::Shape &shape, const LtAlgorithm &algorithm, Visitor visit) {
  const txc_gemm_t &p = *shape.first;
  const uint64_t bytes = spanBytes(p.m, p.n, p.ldc, p.batch, p.stride_c, p.dtype_c);
  // An element that is not written stays NaN, or zero where the product adds to it.
  const bool inPlace = p.accumulate == TXC_ACCUMULATE_ALWAYS && p.addend == p.c;
  if (result_ == cuda::kSuccess)
    result_ = driver_.memsetD8Async(arena_ + p.c, inPlace ? 0 : 0xff, bytes, stream_);
  if (result_ == cuda::kSuccess)
    status_ = library_.enqueue(shape, algorithm, p, arena_, stream_, /*first=*/true);
  piece_.resize(kPieceBytes);
  for (uint64_t at = 0; at < bytes && status_ == 0 && result_ == cuda::kSuccess; at += kPieceBytes) {
    const size_t count = std::min<uint64_t>(kPieceBytes, bytes - at);
    result_ = driver_.memcpyDtoHAsync(piece_.data(), arena_ + p.c + at, count, stream_);
    if (result_ == cuda::kSuccess)
      result_ = driver_.streamSynchronize(stream_);
    if (result_ == cuda::kSuccess)
      visit(at, count);
  }
  return failure(shape);
}

Result<bool> ProductTuning::givesTheSame(const Measured &measured, const LtAlgorithm &algorithm) {
  const CublasLt::Shape &shape = *measured.shape;
  const txc_gemm_t &p = *shape.first;
  const uint64_t size = elementBytes(p.dtype_c);
  fillOperands(p);
  std::vector<unsigned char> expected(spanBytes(p.m, p.n, p.ldc, p.batch, p.stride_c, p.dtype_c));
  Status status = compute(shape, measured.ranking.back().algorithm, [&](uint64_t at, size_t count) {
    std::memcpy(expected.data() + at, piece_.data(), count);
  });
  // An element is a sum of k products of variance 1/9; one that is missing, or of
  // wrong operands, is off by much more than the sum's order explains.
  const float spread = std::sqrt(static_cast<float>(p.k)) / 3;
  const float relative = p.dtype_c == TXC_DTYPE_BF16 ? 0x1p-7f : 0, absolute = 1e-3f * spread;
  const int64_t matrix = p.batch > 1 ? p.stride_c : p.m * p.ldc;
  const bool dense = p.ldc == p.n && matrix == p.m * p.n;
  auto isElement = [&](int64_t index) {
    return dense || (index % matrix % p.ldc < p.n && index % matrix / p.ldc < p.m);
  };
  bool right = true;
  uint64_t hashes[2] = {};
  for (int turn = 0; turn < 2 && status.ok() && right; ++turn)
    status = compute(shape, algorithm, [&](uint64_t at, size_t count) {
      for (size_t i = 0; i < count; i += size) {
        if (!isElement(static_cast<int64_t>((at + i) / size)))
          continue;
        const float before = valueOf(expected.data() + at + i, p.dtype_c),
                    now = valueOf(&piece_[i], p.dtype_c);
        // NaN is not right.
        right = right && std::fabs(now - before) <= relative * std::fabs(before) + absolute;
        uint32_t bits;
        std::memcpy(&bits, &now, sizeof(bits));
        hashes[turn] = (hashes[turn] ^ bits) * 0x9e3779b97f4a7c15ull;
      }
    });
  if (!status.ok())
    return status;
  return right && hashes[0] == hashes[1];
}

Result<std::map<std::string, TunedProduct>> ProductTuning::choose() {
  std::map<std::string, TunedProduct> chosen;
  for (const Measured &measured : measured_)
    for (const Candidate &candidate : measured.ranking) {
      Result<bool> right = true;
      if (!candidate.proposed)
        right = givesTheSame(measured, candidate.algorithm);
      if (!right.ok())
        return right.status();
      if (!*right)
        continue;
      chosen[measured.shape->key] = {candidate.algorithm, candidate.milliseconds * 1e3,
                                     measured.firstMilliseconds * 1e3, measured.count};
      break;
    }
  return chosen;
}

} // namespace txc
