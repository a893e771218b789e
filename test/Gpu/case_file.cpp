//===- case_file.cpp - Kernels, inputs and expected results in one file ----===//
#include "case_file.h"

#include "support/text.h"

#include "nlohmann/json.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>

namespace txc::test {

static size_t elementBytes(int type) { return type == CaseFile::BF16 ? 2 : type == CaseFile::Raw ? 1 : 4; }

template <size_t N, typename T> static void copyNumbers(const nlohmann::json &from, T (&to)[N]) {
  if (from.size() > N)
    throw std::runtime_error(format("%zu numbers where %zu fit", from.size(), N));
  std::fill(to, to + N, T(0));
  std::transform(from.begin(), from.end(), to, [](const nlohmann::json &number) { return number.get<T>(); });
}

static txc_tensor_map_t readMap(const nlohmann::json &json) {
  txc_tensor_map_t map = {};
  map.argument = json.at("argument");
  map.dtype = json.at("dtype");
  map.rank = static_cast<uint32_t>(json.at("dims").size());
  map.swizzle = json.at("swizzle");
  map.offset = json.at("offset");
  copyNumbers(json.at("dims"), map.dims);
  copyNumbers(json.at("strides"), map.strides);
  copyNumbers(json.at("box"), map.box);
  return map;
}

static CaseFile::Buffer readBuffer(const nlohmann::json &json) {
  CaseFile::Buffer buffer;
  static const char *const names[] = {"f32", "bf16", "i32", "raw"};
  buffer.type = static_cast<int>(std::find(names, names + 4, json.at("type").get<std::string>()) - names);
  if (buffer.type > CaseFile::Raw)
    throw std::runtime_error("unknown type " + json.at("type").dump());
  buffer.bytes = json.at("bytes");
  buffer.shares = json.value("shares", -1);
  if ((buffer.given = json.contains("data")))
    buffer.data = json["data"];
  if ((buffer.random = json.contains("fill"))) {
    const nlohmann::json &fill = json["fill"];
    buffer.filling = {fill.at("kind"),  fill.at("seed"),    fill.at("scale"),
                      fill.at("limit"), fill.at("ignores"), fill.at("ignored")};
  }
  return buffer;
}

static CaseFile::Case readCase(const nlohmann::json &json) {
  CaseFile::Case made;
  made.group = json.at("group");
  made.name = json.at("name");
  made.image = json.at("image");
  for (const nlohmann::json &phase : json.at("phases")) {
    CaseFile::Phase &to = made.phases.emplace_back();
    to.function = phase.at("function");
    copyNumbers(phase.at("grid"), to.grid);
    copyNumbers(phase.at("block"), to.block);
    to.shared = phase.at("shared");
    to.scalars = phase.at("scalars").get<std::vector<int32_t>>();
    for (const nlohmann::json &map : phase.at("maps"))
      to.maps.push_back(readMap(map));
  }
  for (const nlohmann::json &buffer : json.at("buffers"))
    made.buffers.push_back(readBuffer(buffer));
  made.arguments = json.at("arguments").get<std::vector<size_t>>();
  made.workspaces = json.at("workspaces").get<std::vector<size_t>>();
  for (const nlohmann::json &result : json.at("results"))
    made.results.push_back({result.at("expected"), result.at("tolerance"), result.at("element_tolerance"),
                            result.at("each_alone")});
  return made;
}

/// What of the file's numbers does not fit together, or nothing.
static std::string check(const CaseFile &file) {
  auto inside = [&](uint64_t offset, uint64_t bytes) {
    return offset <= file.data.size() && bytes <= file.data.size() - offset;
  };
  for (const CaseFile::Image &image : file.images)
    if (!inside(image.offset, image.bytes))
      return "an image lies beyond the end";
  for (const CaseFile::Case &c : file.cases) {
    if (c.image >= file.images.size() || c.results.empty() || c.results.size() > c.buffers.size())
      return c.name + " names no image or no results";
    for (size_t i = 0; i < c.buffers.size(); ++i) {
      const CaseFile::Buffer &buffer = c.buffers[i];
      if (buffer.shares >= static_cast<int>(i) || (buffer.given && !inside(buffer.data, buffer.bytes)) ||
          (buffer.random && buffer.filling.limit < 1) ||
          (buffer.shares >= 0 && c.buffers[static_cast<size_t>(buffer.shares)].bytes < buffer.bytes))
        return c.name + format(": buffer %zu is wrong", i);
    }
    for (size_t i = 0; i < c.results.size(); ++i)
      if (!inside(c.results[i].expected, c.buffers[c.buffers.size() - c.results.size() + i].bytes))
        return c.name + " expects what lies beyond the end";
    for (size_t argument : c.arguments)
      if (argument >= c.buffers.size())
        return c.name + " passes a buffer that it does not have";
    for (const CaseFile::Phase &phase : c.phases)
      for (const txc_tensor_map_t &map : phase.maps)
        if (map.argument >= c.arguments.size() + c.workspaces.size())
          return c.name + " has a tensor map of an argument that it does not have";
  }
  return "";
}

Result<CaseFile> CaseFile::read(const std::string &path) {
  std::ifstream stream(path, std::ios::binary);
  if (!stream)
    return Status::failed(path + ": cannot be opened");
  std::string text((std::istreambuf_iterator<char>(stream)), std::istreambuf_iterator<char>());
  uint64_t length = 0;
  if (text.size() >= 16)
    std::memcpy(&length, text.data() + 8, 8);
  if (text.compare(0, 8, "TXCCASE1") != 0 || length > text.size() - 16)
    return Status::failed(path +
                          ": is no whole file of cases; make it again with CodegenTest --export-gpu-cases");
  CaseFile file;
  try {
    nlohmann::json json = nlohmann::json::parse(text.data() + 16, text.data() + 16 + length);
    file.target = json.at("target");
    for (const nlohmann::json &image : json.at("images"))
      file.images.push_back({image.at("offset"), image.at("bytes")});
    for (const nlohmann::json &one : json.at("cases"))
      file.cases.push_back(readCase(one));
  } catch (const std::exception &error) {
    return Status::failed(path + ": " + error.what());
  }
  file.data.assign(text.begin() + static_cast<long>(16 + length), text.end());
  if (std::string problem = check(file); !problem.empty())
    return Status::failed(path + ": " + problem);
  return file;
}

Bytes CaseFile::contents(const Buffer &buffer) const {
  if (buffer.given)
    return Bytes(at(buffer.data), at(buffer.data) + buffer.bytes);
  Bytes bytes(buffer.bytes);
  size_t size = elementBytes(buffer.type), i = 0;
  for (double value : fill(buffer.filling, buffer.bytes / size)) {
    if (buffer.type == BF16) {
      uint16_t half = roundToBf16(static_cast<float>(value));
      std::memcpy(&bytes[i], &half, 2);
    } else if (buffer.type == I32) {
      int32_t whole = static_cast<int32_t>(value);
      std::memcpy(&bytes[i], &whole, 4);
    } else {
      float number = static_cast<float>(value);
      std::memcpy(&bytes[i], &number, 4);
    }
    i += size;
  }
  return bytes;
}

static double load(const char *from, int type, size_t index) {
  if (type == CaseFile::BF16) {
    uint16_t half;
    std::memcpy(&half, from + 2 * index, 2);
    return fromBf16(half);
  }
  if (type == CaseFile::I32) {
    int32_t whole;
    std::memcpy(&whole, from + 4 * index, 4);
    return whole;
  }
  float number;
  std::memcpy(&number, from + 4 * index, 4);
  return number;
}

Comparison compare(const CaseFile &file, const CaseFile::Buffer &buffer,
                   const CaseFile::Expectation &expectation, const char *got, unsigned char poison) {
  Comparison result;
  const char *expected = file.at(expectation.expected);
  const size_t size = elementBytes(buffer.type), count = buffer.bytes / size;
  double expectedSquares = 0, squares = 0, compared = 0;
  for (size_t i = 0; i < count; ++i) {
    double e = load(expected, buffer.type, i);
    if (std::isnan(e))
      continue;
    expectedSquares += e * e;
    ++compared;
  }
  auto fail = [&](const std::string &problem) {
    if (result.ok)
      result.problem = problem;
    result.ok = false;
  };
  const double typical = expectation.eachAlone ? 0 : std::sqrt(expectedSquares / std::max(compared, 1.0));
  for (size_t i = 0; i < count; ++i) {
    double e = load(expected, buffer.type, i), g = load(got, buffer.type, i);
    if (std::isnan(e)) {
      for (size_t byte = 0; byte < size; ++byte)
        if (static_cast<unsigned char>(got[i * size + byte]) != poison)
          fail(format("element %zu of %zu was written and is none of the kernel's: %.9g", i, count, g));
      continue;
    }
    double difference = std::fabs(g - e),
           allowed = expectation.elementTolerance * (std::fabs(e) + typical + 1e-30);
    squares += difference * difference;
    if (!(difference <= allowed))
      fail(format("element %zu of %zu is %.9g, expected %.9g +- %.3g", i, count, g, e, allowed));
    if (allowed > 0)
      result.share = std::max(result.share, difference / allowed);
  }
  const double norm = std::sqrt(squares),
               limit = expectation.tolerance * (std::sqrt(expectedSquares) + 1e-30);
  if (!(norm <= limit))
    fail(format("differs by %.3g of its norm, expected at most %.3g",
                norm / std::sqrt(expectedSquares + 1e-300), expectation.tolerance));
  if (limit > 0)
    result.share = std::max(result.share, norm / limit);
  return result;
}

} // namespace txc::test
