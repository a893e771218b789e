//===- tuning_cache.cpp - Algorithms that were chosen by measurement -------===//
#include "device/tuning_cache.h"

#include "support/file.h"
#include "support/json.h"
#include "support/text.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

namespace txc {

using Json = nlohmann::ordered_json;

static std::string cacheFolder() {
  if (const char *folder = std::getenv("XDG_CACHE_HOME"); folder && folder[0] == '/')
    return std::string(folder) + "/txc";
  const char *home = std::getenv("HOME");
  return home && *home ? std::string(home) + "/.cache/txc" : "";
}

static std::string fileName(const std::string &text) {
  std::string out;
  for (char c : text)
    out += std::isalnum(static_cast<unsigned char>(c)) || c == '.' ? c : '-';
  return out;
}

static std::string toHex(const cuda::LtAlgorithm &algorithm) {
  std::string out;
  for (uint64_t word : algorithm.opaque)
    out += format("%016llx", static_cast<unsigned long long>(word));
  return out;
}

static bool fromHex(const std::string &text, cuda::LtAlgorithm &algorithm) {
  if (text.size() != 128 || text.find_first_not_of("0123456789abcdef") != std::string::npos)
    return false;
  for (size_t i = 0; i < 8; ++i)
    algorithm.opaque[i] = std::strtoull(text.substr(16 * i, 16).c_str(), nullptr, 16);
  return true;
}

// What is wrong with the text; empty if nothing is.
static std::string parse(const std::string &text, TuningCache &cache) {
  Result<Json> parsed = parseJson(text);
  if (!parsed.ok())
    return "it is " + parsed.status().message();
  const Json &file = *parsed;
  if (!file.is_object())
    return "it is not a JSON object";
  if (file.value("gpu", Json()) != cache.gpu || file.value("library", Json()) != cache.library)
    return "it is of another GPU or library version";
  auto products = file.find("products");
  if (products == file.end() || !products->is_object())
    return "it has no products";
  for (const auto &[shape, entry] : products->items()) {
    TunedProduct product;
    if (!entry.is_object() || !entry.contains("algorithm") || !entry["algorithm"].is_string() ||
        !fromHex(entry["algorithm"].get<std::string>(), product.algorithm))
      return "the entry of " + shape + " has no algorithm of 128 hexadecimal digits";
    auto number = [&](const char *key) {
      auto found = entry.find(key);
      return found != entry.end() && found->is_number() ? found->get<double>() : 0.0;
    };
    product.microseconds = number("microseconds");
    product.firstMicroseconds = number("first_microseconds");
    product.candidates = static_cast<int>(std::clamp(number("candidates"), 0.0, 1e6));
    cache.products[shape] = product;
  }
  return "";
}

TuningCache TuningCache::load(const std::string &gpu, const std::string &library) {
  TuningCache cache;
  cache.gpu = gpu;
  cache.library = library;
  std::string folder = cacheFolder();
  if (folder.empty())
    return cache;
  cache.path = folder + "/products-" + fileName(gpu) + "-" + fileName(library) + ".json";
  if (!isFile(cache.path))
    return cache;
  Result<std::string> text = readFile(cache.path);
  std::string wrong = text.ok() ? parse(*text, cache) : text.status().message();
  if (!wrong.empty()) {
    cache.products.clear();
    cache.warning = cache.path + ": ignored: " + wrong + "; --tune writes it anew";
  }
  return cache;
}

Status TuningCache::save() const {
  if (path.empty())
    return Status::failed("cannot keep the choices of --tune: neither XDG_CACHE_HOME nor HOME is set");
  TuningCache all = load(gpu, library);
  for (const auto &[shape, product] : products)
    all.products[shape] = product;
  Json file = {{"gpu", gpu}, {"library", library}, {"products", Json::object()}};
  for (const auto &[shape, product] : all.products)
    file["products"][shape] = {{"algorithm", toHex(product.algorithm)},
                               {"microseconds", product.microseconds},
                               {"first_microseconds", product.firstMicroseconds},
                               {"candidates", product.candidates}};
  std::error_code error;
  std::filesystem::create_directories(std::filesystem::path(path).parent_path(), error);
  if (error)
    return Status::failed(path + ": cannot keep the choices of --tune: " + error.message());
  return writeFileAtomically(path, file.dump(1) + "\n");
}

} // namespace txc
