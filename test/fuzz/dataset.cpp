//===- dataset.cpp - A folder of token files --------------------------------===//
//
// Parts of an input: meta.json (none if it is empty), train.bin, val.bin.
//
//===----------------------------------------------------------------------===//
#include "fuzz.h"

#include "data/dataset.h"

using namespace txc;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const fuzz::Folder folder;
  std::vector<std::string_view> parts = fuzz::split(fuzz::asText(data, size), 3);
  if (parts[0].empty())
    folder.remove("meta.json");
  else
    folder.write("meta.json", parts[0]);
  folder.write("train.bin", parts[1]);
  folder.write("val.bin", parts[2]);

  data::OpenOptions options;
  if (parts[0].empty()) {
    options.dtype = "uint16";
    options.vocabSize = 300;
  }
  auto dataset = data::TokenDataset::open(folder.path(), options);
  fuzz::checkSays(dataset);
  if (!dataset.ok())
    return 0;
  constexpr int64_t batch = 2, block = 4;
  if (!data::checkFits(*dataset, dataset->vocabSize(), block).ok())
    return 0;
  int32_t tokens[batch * block], targets[batch * block];
  if (!data::sampleBatch(dataset->train(), 1, 0, 3, batch, block, tokens, targets).ok())
    std::abort();
  for (int32_t token : tokens)
    if (token < 0 || uint32_t(token) >= dataset->vocabSize())
      std::abort();
  return 0;
}
