//===- sidecar.cpp - meta.json, the description of a data set ---------------===//
#include "data/sidecar.h"

#include "support/file.h"
#include "support/json.h"

namespace txc::data {

using Json = nlohmann::ordered_json;

const char *formatName(TokenFormat format) { return format == TokenFormat::Raw ? "raw" : "llm.c"; }

std::string Sidecar::tokenizerKind() const {
  return tokenizer.is_object() && tokenizer.contains("kind") ? tokenizer["kind"].get<std::string>() : "";
}

static Json splitJson(const SplitInfo &split) {
  return {{"file", split.file}, {"tokens", split.tokens}, {"sha256", split.sha256}};
}

std::string Sidecar::toJson() const {
  Json json;
  json["version"] = 1;
  if (format)
    json["format"] = formatName(*format);
  json["dtype"] = dtype;
  json["vocab_size"] = vocabSize;
  if (!tokenizer.is_null())
    json["tokenizer"] = tokenizer;
  if (train)
    json["splits"]["train"] = splitJson(*train);
  if (val)
    json["splits"]["val"] = splitJson(*val);
  if (valFraction)
    json["val_fraction"] = *valFraction;
  if (source)
    json["source"] = {{"name", source->name},
                      {"bytes", source->bytes},
                      {"sha256", source->sha256},
                      {"fallback", source->fallback}};
  // A line per key. File names need not be UTF-8; JSON must be.
  std::string out;
  for (auto &[key, value] : json.items())
    out += (out.empty() ? "{\n \"" : ",\n \"") + key +
           "\": " + value.dump(-1, ' ', false, Json::error_handler_t::replace);
  return out + "\n}\n";
}

// Reads keys of one object; the first thing that is wrong stays in `status`.
class ObjectReader {
public:
  ObjectReader(const Json &object, std::string where, Status &status)
      : object_(object), where_(std::move(where)), status_(status) {
    if (!object_.is_object())
      wrong("", "an object", object_);
  }

  const Json *find(const char *key, bool required) {
    if (!status_.ok() || !object_.is_object())
      return nullptr;
    auto it = object_.find(key);
    if (it == object_.end()) {
      if (required)
        status_ = Status::failed(where_ + ": lacks `" + key +
                                 "`; write it by hand or run `txdata describe` (docs/data.md has the keys)");
      return nullptr;
    }
    return &*it;
  }
  std::string text(const char *key, bool required) {
    const Json *value = find(key, required);
    if (!value)
      return "";
    if (!value->is_string()) {
      wrong(key, "a string", *value);
      return "";
    }
    return value->get<std::string>();
  }
  uint64_t number(const char *key, bool required, uint64_t least, uint64_t most) {
    const Json *value = find(key, required);
    if (!value)
      return 0;
    // Unsigned in nlohmann's sense: written without a sign, dot or exponent.
    if (!value->is_number_unsigned() || value->get<uint64_t>() < least || value->get<uint64_t>() > most) {
      wrong(key, "a whole number from " + std::to_string(least) + " to " + std::to_string(most), *value);
      return 0;
    }
    return value->get<uint64_t>();
  }
  void wrong(const std::string &key, const std::string &expected, const Json &found) {
    if (!status_.ok())
      return;
    std::string shown = found.dump();
    if (shown.size() > 60)
      shown = shown.substr(0, 57) + "...";
    status_ = Status::failed(where_ + (key.empty() ? "" : ": `" + key + "`") + ": expected " + expected +
                             ", found " + shown);
  }

private:
  const Json &object_;
  std::string where_;
  Status &status_;
};

static std::optional<SplitInfo> readSplit(const Json *splits, const char *name, const std::string &path,
                                          Status &status) {
  if (!splits || !status.ok())
    return std::nullopt;
  ObjectReader all(*splits, path + ": splits", status);
  const Json *json = all.find(name, true);
  if (!json)
    return std::nullopt;
  ObjectReader reader(*json, path + ": splits." + name, status);
  SplitInfo split;
  split.file = reader.text("file", true);
  split.tokens = reader.number("tokens", true, 0, UINT64_MAX);
  split.sha256 = reader.text("sha256", false);
  if (split.file.find_first_of(std::string_view("/\0", 2)) != std::string::npos || split.file == "." ||
      split.file == "..")
    reader.wrong("file", "the name of a file in the same folder", split.file);
  return split;
}

Result<Sidecar> Sidecar::parse(const std::string &text, const std::string &path) {
  constexpr int maxDepth = 16; // a sidecar has 4 levels
  Result<Json> json = parseJson(text, maxDepth);
  if (!json.ok())
    return Status::failed(path + ": " + json.status().message() + "; prepare the data set again or mend the file");
  Status status;
  Sidecar sidecar;
  ObjectReader reader(*json, path, status);
  if (reader.find("version", false))
    reader.number("version", true, 1, 1);
  sidecar.dtype = reader.text("dtype", true);
  if (sidecar.dtype != "uint16" && sidecar.dtype != "uint32")
    reader.wrong("dtype", "\"uint16\" or \"uint32\"", sidecar.dtype);
  sidecar.vocabSize = static_cast<uint32_t>(reader.number("vocab_size", true, 1, INT32_MAX));
  if (const Json *format = reader.find("format", false)) {
    if (*format == "raw")
      sidecar.format = TokenFormat::Raw;
    else if (*format == "llm.c")
      sidecar.format = TokenFormat::LlmC;
    else
      reader.wrong("format", "\"raw\" or \"llm.c\"", *format);
  }
  if (const Json *tokenizer = reader.find("tokenizer", false)) {
    ObjectReader inner(*tokenizer, path + ": tokenizer", status);
    inner.text("kind", true);
    sidecar.tokenizer = *tokenizer;
  }
  const Json *splits = reader.find("splits", false);
  sidecar.train = readSplit(splits, "train", path, status);
  sidecar.val = readSplit(splits, "val", path, status);
  if (const Json *source = reader.find("source", false)) {
    ObjectReader inner(*source, path + ": source", status);
    SourceInfo info;
    info.name = inner.text("name", true);
    info.bytes = inner.number("bytes", false, 0, UINT64_MAX);
    info.sha256 = inner.text("sha256", false);
    if (const Json *fallback = inner.find("fallback", false)) {
      if (!fallback->is_boolean())
        inner.wrong("fallback", "true or false", *fallback);
      else
        info.fallback = fallback->get<bool>();
    }
    sidecar.source = info;
  }
  if (const Json *fraction = reader.find("val_fraction", false)) {
    if (!fraction->is_number())
      reader.wrong("val_fraction", "a number", *fraction);
    else
      sidecar.valFraction = fraction->get<double>();
  }
  if (!status.ok())
    return status;
  return sidecar;
}

Result<std::optional<Sidecar>> Sidecar::readFrom(const std::string &directory) {
  std::string path = directory + "/" + sidecarName;
  if (!isFile(path))
    return std::optional<Sidecar>();
  Result<std::string> text = readFile(path);
  if (!text.ok())
    return text.status();
  Result<Sidecar> sidecar = parse(*text, path);
  if (!sidecar.ok())
    return sidecar.status();
  return std::optional<Sidecar>(std::move(*sidecar));
}

} // namespace txc::data
