//===- product_tuning.h - Choosing algorithms of products by measurement ---===//
//
// Candidates of a shape are what the library proposes, and what differs from that in
// the cluster of blocks, the order of tiles or the option whose meaning the library
// keeps to itself, as far as the library says that it can run it:
//
//   each             once to load its code, then timed alone
//   the best 24      in turns, so that a change of the clock meets all of them
//   the best six     again under a load that lasts: a chip at its power limit lowers
//                    its clock, for some more than for others
//
// What the library did not propose is chosen only if, on random operands, it gives
// what the proposal gives up to rounding, everywhere, and the same bits twice.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_RUNTIME_DEVICE_PRODUCT_TUNING_H
#define TXC_RUNTIME_DEVICE_PRODUCT_TUNING_H

#include "device/cublas_lt.h"

namespace txc {

class ProductTuning {
public:
  ProductTuning(const CublasLt &library, const cuda::Driver &driver, cuda::Address arena,
                cuda::Stream stream);
  ~ProductTuning();

  // The arena should hold what products meet in training: times depend on it.
  Status measure(const CublasLt::Shape &shape);
  // Settles every measured shape. Writes to operands and results in the arena.
  Result<std::map<std::string, TunedProduct>> choose();

private:
  struct Candidate {
    cuda::LtAlgorithm algorithm;
    bool proposed;
    double milliseconds = 0;
  };
  struct Measured {
    const CublasLt::Shape *shape;
    std::vector<Candidate> ranking; // best first, the last one proposed
    double firstMilliseconds;       // of the library's first proposal
    int count;
  };

  // Runs it `repeats` times without a pause; milliseconds of one.
  double time(const CublasLt::Shape &shape, const cuda::LtAlgorithm &algorithm, int repeats);
  Result<std::vector<Candidate>> findCandidates(const CublasLt::Shape &shape, int &repeats);
  // Times them in turns, and the best of them again; returns these, best first, the
  // library's first proposal among them.
  std::vector<Candidate> rank(const CublasLt::Shape &shape, std::vector<Candidate> candidates, int repeats);

  void fillOperands(const txc_gemm_t &p);
  // Visits the result of one run, in pieces.
  template <typename Visitor>
  Status compute(const CublasLt::Shape &shape, const cuda::LtAlgorithm &algorithm, Visitor visit);
  Result<bool> givesTheSame(const Measured &measured, const cuda::LtAlgorithm &algorithm);

  // What went wrong since the last call, if anything.
  Status failure(const CublasLt::Shape &shape) const;

  const CublasLt &library_;
  const cuda::Driver &driver_;
  cuda::Address arena_;
  cuda::Stream stream_;
  cuda::Event begin_ = nullptr, end_ = nullptr;
  cuda::Result result_ = cuda::kSuccess;
  cuda::LtStatus status_ = 0;
  std::vector<Measured> measured_;
  std::vector<unsigned char> piece_;
};

} // namespace txc

#endif // TXC_RUNTIME_DEVICE_PRODUCT_TUNING_H
