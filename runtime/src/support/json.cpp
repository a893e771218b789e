//===- json.cpp - JSON from files that are not trusted ----------------------===//
#include "support/json.h"

#include <algorithm>

namespace txc {

template <typename Json> static Result<Json> parse(std::string_view text, int maxDepth) {
  bool tooDeep = false;
  auto keep = [&](int depth, typename Json::parse_event_t, Json &) {
    tooDeep |= depth > maxDepth;
    return depth <= maxDepth;
  };
  try {
    Json value = Json::parse(text, keep);
    if (tooDeep)
      return Status::failed("nested deeper than " + std::to_string(maxDepth) + " levels");
    return value;
  } catch (const typename Json::parse_error &error) {
    std::string_view before = text.substr(0, error.byte == 0 ? 0 : error.byte - 1);
    size_t line = 1 + static_cast<size_t>(std::count(before.begin(), before.end(), '\n'));
    size_t column = before.size() - (before.rfind('\n') + 1) + 1;
    return Status::failed("not valid JSON at line " + std::to_string(line) + ", column " +
                          std::to_string(column));
  } catch (const typename Json::exception &error) {
    std::string what = error.what(); // "[json.exception.out_of_range.406] number overflow parsing '1e999'"
    size_t end = what.find("] ");
    return Status::failed("not valid JSON: " + (end == std::string::npos ? what : what.substr(end + 2)));
  }
}

Result<nlohmann::ordered_json> parseJson(std::string_view text, int maxDepth) {
  return parse<nlohmann::ordered_json>(text, maxDepth);
}

Result<nlohmann::json> parseUnorderedJson(std::string_view text, int maxDepth) {
  return parse<nlohmann::json>(text, maxDepth);
}

} // namespace txc
