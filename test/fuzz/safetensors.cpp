//===- safetensors.cpp - Files of named tensors ------------------------------===//
#include "fuzz.h"

#include "checkpoint/safetensors.h"

using namespace txc;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const fuzz::Folder folder;
  std::string_view bytes = fuzz::asText(data, size);
  // As the beginning of a longer file.
  fuzz::checkSays(parseSafetensors(bytes, uint64_t(size) << 30, "x.safetensors"));
  Result<SafetensorsHeader> header = parseSafetensors(bytes, size, "x.safetensors");
  fuzz::checkSays(header);
  Result<SafetensorsFile> file = SafetensorsFile::open(folder.write("x.safetensors", bytes));
  fuzz::checkSays(file);
  if (file.ok() != header.ok())
    std::abort();
  if (!header.ok())
    return 0;
  uint64_t total = 0;
  for (const TensorEntry &tensor : header->tensors) {
    Result<std::string> content = file->read(tensor);
    if (!content.ok() || *content != bytes.substr(header->dataBegin + tensor.begin, tensor.bytes) ||
        tensor.elements() * dtypeBytes(tensor.dtype) != tensor.bytes)
      std::abort();
    total += tensor.bytes;
  }
  if (header->dataBegin + total != size)
    std::abort();
  // What is written is read again.
  std::vector<TensorEntry> tensors = header->tensors;
  std::string again = layOutSafetensors(tensors, header->metadata);
  if (!parseSafetensors(again, again.size() + total, "x.safetensors").ok())
    std::abort();
  return 0;
}
