//===- safetensors.cpp - Files of named tensors -----------------------------===//
#include "checkpoint/safetensors.h"

#include "support/file.h"
#include "support/json.h"
#include "support/text.h"

#include <algorithm>
#include <cstring>
#include <set>

namespace txc {

using Json = nlohmann::json;

uint64_t TensorEntry::elements() const {
  uint64_t count = 1;
  for (uint64_t dim : shape)
    count *= dim;
  return count;
}

const TensorEntry *SafetensorsHeader::find(std::string_view name) const {
  for (const TensorEntry &tensor : tensors)
    if (tensor.name == name)
      return &tensor;
  return nullptr;
}

uint64_t dtypeBytes(std::string_view dtype) {
  static const std::map<std::string_view, uint64_t> known = {
      {"BOOL", 1}, {"U8", 1},  {"I8", 1},  {"F8_E4M3", 1}, {"F8_E5M2", 1}, {"U16", 2}, {"I16", 2}, {"F16", 2},
      {"BF16", 2}, {"U32", 4}, {"I32", 4}, {"F32", 4},     {"U64", 8},     {"I64", 8}, {"F64", 8}};
  auto found = known.find(dtype);
  return found == known.end() ? 0 : found->second;
}

// A key that an object has twice, which the parser would silently drop; "" if
// there is none. `text` is valid JSON.
static std::string repeatedKey(std::string_view text) {
  std::vector<std::set<std::string>> open;
  std::string repeated;
  auto look = [&](int, Json::parse_event_t event, Json &value) {
    if (event == Json::parse_event_t::object_start)
      open.emplace_back();
    else if (event == Json::parse_event_t::object_end && !open.empty())
      open.pop_back();
    else if (event == Json::parse_event_t::key && !open.empty() &&
             !open.back().insert(value.get<std::string>()).second)
      repeated = value.get<std::string>();
    return true;
  };
  [[maybe_unused]] const Json parsed = Json::parse(text, look, false);
  return repeated;
}

static bool parseNumbers(const Json &array, std::vector<uint64_t> &numbers) {
  if (!array.is_array() || array.size() > 64)
    return false;
  for (const Json &number : array) {
    if (!number.is_number_unsigned())
      return false;
    numbers.push_back(number.get<uint64_t>());
  }
  return true;
}

Result<SafetensorsHeader> parseSafetensors(std::string_view text, uint64_t fileBytes,
                                           const std::string &path) {
  auto bad = [&](const std::string &what) {
    return Status::failed(path + ": not a sound safetensors file: " + what);
  };
  if (fileBytes < 8 || text.size() < 8)
    return bad("it has " + std::to_string(fileBytes) + " bytes, not even the 8 of the header's length");
  uint64_t length = 0;
  for (int i = 7; i >= 0; --i)
    length = length << 8 | static_cast<uint8_t>(text[static_cast<size_t>(i)]);
  if (length > SafetensorsHeader::kLargestHeader || length > fileBytes - 8 || length > text.size() - 8)
    return bad("its header would have " + std::to_string(length) + " bytes, the file has " +
               std::to_string(fileBytes) + " and a header may have " +
               std::to_string(SafetensorsHeader::kLargestHeader));
  std::string_view json = text.substr(8, length);
  if (json.empty() || json[0] != '{')
    return bad("its header is no JSON object");
  Result<Json> parsed = parseUnorderedJson(json, 4);
  if (!parsed.ok())
    return bad("its header is " + parsed.status().message());
  if (!parsed->is_object())
    return bad("its header is no JSON object");
  if (std::string key = repeatedKey(json); !key.empty())
    return bad("its header has '" + key + "' twice");

  SafetensorsHeader header;
  header.dataBegin = 8 + length;
  const uint64_t dataBytes = fileBytes - header.dataBegin;
  for (const auto &[name, value] : parsed->items()) {
    if (name == "__metadata__") {
      if (!value.is_object())
        return bad("__metadata__ is no object");
      for (const auto &[key, entry] : value.items()) {
        if (!entry.is_string())
          return bad("'" + key + "' of __metadata__ is no text");
        header.metadata[key] = entry.get<std::string>();
      }
      continue;
    }
    TensorEntry tensor;
    tensor.name = name;
    if (!value.is_object() || value.size() != 3 || !value.contains("dtype") || !value["dtype"].is_string() ||
        !value.contains("shape") || !value.contains("data_offsets"))
      return bad("'" + name + "' is not described by dtype, shape and data_offsets");
    tensor.dtype = value["dtype"].get<std::string>();
    const uint64_t size = dtypeBytes(tensor.dtype);
    if (size == 0)
      return bad("'" + name + "' has the unknown dtype '" + tensor.dtype + "'");
    std::vector<uint64_t> offsets;
    if (!parseNumbers(value["shape"], tensor.shape))
      return bad("the shape of '" + name + "' is no list of sizes");
    if (!parseNumbers(value["data_offsets"], offsets) || offsets.size() != 2 || offsets[0] > offsets[1] ||
        offsets[1] > dataBytes)
      return bad("data_offsets of '" + name + "' are not within the file's " + std::to_string(dataBytes) +
                 " bytes of data");
    uint64_t bytes = size;
    for (uint64_t dim : tensor.shape)
      if (__builtin_mul_overflow(bytes, dim, &bytes))
        return bad("the shape of '" + name + "' has more elements than can be counted");
    tensor.begin = offsets[0];
    tensor.bytes = offsets[1] - offsets[0];
    if (bytes != tensor.bytes)
      return bad("'" + name + "' has " + std::to_string(tensor.bytes) + " bytes, its dtype and shape need " +
                 std::to_string(bytes));
    header.tensors.push_back(std::move(tensor));
  }
  std::sort(header.tensors.begin(), header.tensors.end(), [](const TensorEntry &a, const TensorEntry &b) {
    return a.begin != b.begin ? a.begin < b.begin : a.bytes < b.bytes;
  });
  uint64_t at = 0;
  for (const TensorEntry &tensor : header.tensors) {
    if (tensor.begin != at)
      return bad("'" + tensor.name + "' begins at byte " + std::to_string(tensor.begin) +
                 " of the data, what is before it ends at " + std::to_string(at));
    at += tensor.bytes;
  }
  if (at != dataBytes)
    return bad("it has " + std::to_string(dataBytes) + " bytes of data, its tensors have " +
               std::to_string(at));
  return header;
}

std::string layOutSafetensors(std::vector<TensorEntry> &tensors,
                              const std::map<std::string, std::string> &metadata) {
  nlohmann::ordered_json json = nlohmann::ordered_json::object();
  if (!metadata.empty())
    json["__metadata__"] = metadata;
  uint64_t at = 0;
  for (TensorEntry &tensor : tensors) {
    tensor.begin = at;
    tensor.bytes = tensor.elements() * dtypeBytes(tensor.dtype);
    at += tensor.bytes;
    json[tensor.name] = {
        {"dtype", tensor.dtype}, {"shape", tensor.shape}, {"data_offsets", {tensor.begin, at}}};
  }
  std::string text = json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  text.resize((text.size() + 7) / 8 * 8, ' ');
  std::string length;
  for (int i = 0; i < 8; ++i)
    length += static_cast<char>(text.size() >> (8 * i) & 0xff);
  return length + text;
}

Result<SafetensorsFile> SafetensorsFile::open(const std::string &path) {
  SafetensorsFile out;
  out.path_ = path;
  uint64_t fileBytes = 0;
  Result<std::shared_ptr<const int>> file = openForReading(path, fileBytes);
  if (!file.ok())
    return file.status();
  out.file_ = *file;
  std::string text(static_cast<size_t>(std::min<uint64_t>(fileBytes, 8)), '\0');
  if (Status status = readExactly(*out.file_, 0, text.data(), text.size(), path); !status.ok())
    return status;
  uint64_t length = 0;
  if (text.size() == 8)
    std::memcpy(&length, text.data(), 8); // little endian, as x86-64 is
  if (text.size() == 8 && length <= std::min(fileBytes - 8, SafetensorsHeader::kLargestHeader)) {
    text.resize(8 + length);
    if (Status status = readExactly(*out.file_, 8, text.data() + 8, length, path); !status.ok())
      return status;
  }
  Result<SafetensorsHeader> header = parseSafetensors(text, fileBytes, path);
  if (!header.ok())
    return header.status();
  out.header_ = std::move(*header);
  return out;
}

Status SafetensorsFile::read(const TensorEntry &tensor, uint64_t offset, void *data, uint64_t bytes) const {
  if (offset > tensor.bytes || bytes > tensor.bytes - offset)
    return Status::failed(path_ + ": tensor '" + tensor.name + "' has only " + std::to_string(tensor.bytes) +
                          " bytes");
  return readExactly(*file_, header_.dataBegin + tensor.begin + offset, data, bytes, path_);
}

Result<std::string> SafetensorsFile::read(const TensorEntry &tensor) const {
  std::string data(tensor.bytes, '\0');
  if (Status status = read(tensor, 0, data.data(), data.size()); !status.ok())
    return status;
  return data;
}

} // namespace txc
