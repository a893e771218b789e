//===- case_file.h - Kernels, inputs and expected results in one file ------===//
//
// What a machine with a GPU and without a compiler needs to run the cases that
// CodegenTest --export-gpu-cases wrote. Numbers are little-endian.
//
//   8 bytes   TXCCASE1
//   8 bytes   length of the header
//   header    JSON, padded with spaces:
//     target    "sm_90a"
//     images    [{offset, bytes}]: cubins, or PTX that ends in a zero byte
//     cases     [{group, name, image,
//                 phases: launches one after the other: {function, grid, block,
//                         shared, scalars, maps}, as in step_abi.h;
//                 buffers: inputs, then results: {type, bytes} and either `data`
//                         (offset), or `fill` (random_input.h), or `shares`, the
//                         number of the buffer in whose place it is, or nothing;
//                 arguments: buffers whose addresses a launch passes,
//                 workspaces: bytes of each, passed after them,
//                 results: of the last buffers: {expected (offset), tolerance,
//                         element_tolerance, each_alone}}]
//   data      offsets count from here
//
// What is expected has the type of its buffer; NaN says that the kernel must not
// write the element. `tolerance` limits the norm of all differences, relative to
// the norm of what is expected; `element_tolerance` each difference, relative to
// the element's size plus, unless `each_alone`, the typical size of an element.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_TEST_GPU_CASE_FILE_H
#define TXC_TEST_GPU_CASE_FILE_H

#include "random_input.h"

#include "support/status.h"
#include "txc/step_abi.h"

#include <string>
#include <vector>

namespace txc::test {

using Bytes = std::vector<char>;

struct CaseFile {
  enum Type { F32, BF16, I32, Raw };
  struct Buffer {
    int type = Raw;
    size_t bytes = 0;
    int shares = -1;
    bool given = false, random = false;
    uint64_t data = 0; ///< if given
    Filling filling;   ///< if random
  };
  struct Phase {
    std::string function;
    uint32_t grid[3], block[3], shared;
    std::vector<int32_t> scalars;
    std::vector<txc_tensor_map_t> maps;
  };
  struct Expectation {
    uint64_t expected = 0;
    double tolerance = 0, elementTolerance = 0;
    bool eachAlone = false;
  };
  struct Case {
    std::string group, name;
    size_t image = 0;
    std::vector<Phase> phases;
    std::vector<Buffer> buffers;
    std::vector<size_t> arguments;
    std::vector<size_t> workspaces;
    std::vector<Expectation> results;
  };
  struct Image {
    uint64_t offset, bytes;
  };

  static Result<CaseFile> read(const std::string &path);

  /// The contents of an input before the kernel runs.
  Bytes contents(const Buffer &buffer) const;
  const char *at(uint64_t offset) const { return data.data() + offset; }

  std::string target;
  std::vector<Image> images;
  std::vector<Case> cases;
  Bytes data;
};

/// How far results are from what is expected.
struct Comparison {
  bool ok = true;
  double share = 0;    ///< of what is allowed, the larger of the two measures
  std::string problem; ///< the first element that is wrong, or the norm
};
Comparison compare(const CaseFile &file, const CaseFile::Buffer &buffer,
                   const CaseFile::Expectation &expectation, const char *got, unsigned char poison);

} // namespace txc::test

#endif // TXC_TEST_GPU_CASE_FILE_H
