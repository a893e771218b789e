//===- text.cpp - Numbers as people write and read them --------------------===//
#include "support/text.h"

#include "txc/Support/EditDistance.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <limits>

namespace txc {

std::string format(const char *pattern, ...) {
  va_list arguments, again;
  va_start(arguments, pattern);
  va_copy(again, arguments);
  int length = std::vsnprintf(nullptr, 0, pattern, arguments);
  std::string out(length > 0 ? static_cast<size_t>(length) : 0, '\0');
  if (length > 0)
    std::vsnprintf(out.data(), out.size() + 1, pattern, again);
  va_end(again);
  va_end(arguments);
  return out;
}

std::string withCommas(uint64_t value) {
  std::string digits = std::to_string(value);
  for (int64_t at = static_cast<int64_t>(digits.size()) - 3; at > 0; at -= 3)
    digits.insert(static_cast<size_t>(at), ",");
  return digits;
}

std::string withPrefix(double value, int digits) {
  static const char *const prefixes[] = {"", "k", "M", "G", "T", "P", "E"};
  int step = 0;
  while (std::fabs(value) >= 1000 && step < 6) {
    value /= 1000;
    ++step;
  }
  return format("%.*f %s", digits, value, prefixes[step]);
}

std::string bytesToHex(const void *bytes, size_t size) {
  std::string out;
  for (size_t i = 0; i < size; ++i)
    out += format("%02x", static_cast<const unsigned char *>(bytes)[i]);
  return out;
}

bool bytesFromHex(const std::string &text, void *bytes, size_t size) {
  if (text.size() != 2 * size)
    return false;
  for (size_t i = 0; i < size; ++i)
    static_cast<char *>(bytes)[i] =
        static_cast<char>(std::strtol(text.substr(2 * i, 2).c_str(), nullptr, 16));
  return true;
}

std::string bytesText(uint64_t bytes) {
  if (bytes < 1000)
    return format("%llu B", static_cast<unsigned long long>(bytes));
  return withPrefix(static_cast<double>(bytes)) + "B";
}

// Without surrounding blanks, and without underscores between digits. Other
// underscores stay, so that they are errors.
static std::string cleaned(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front())))
    text.remove_prefix(1);
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())))
    text.remove_suffix(1);
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    bool separator = text[i] == '_' && i > 0 && i + 1 < text.size() &&
                     std::isdigit(static_cast<unsigned char>(text[i - 1])) &&
                     std::isdigit(static_cast<unsigned char>(text[i + 1]));
    if (!separator)
      out += text[i];
  }
  // One sign, which std::from_chars takes only if it is a minus.
  if (out.size() > 1 && out[0] == '+' && out[1] != '-')
    out.erase(0, 1);
  return out;
}

Result<double> parseNumber(std::string_view text) {
  std::string clean = cleaned(text);
  double value = 0;
  auto [end, error] = std::from_chars(clean.data(), clean.data() + clean.size(), value);
  if (clean.empty() || error != std::errc() || end != clean.data() + clean.size() || !std::isfinite(value))
    return Status::usage("expected a number, such as 0.1, 6e-4 or 1_000");
  return value;
}

Result<int64_t> parseWholeNumber(std::string_view text) {
  std::string clean = cleaned(text);
  int64_t value = 0;
  auto [end, error] = std::from_chars(clean.data(), clean.data() + clean.size(), value);
  if (!clean.empty() && error == std::errc() && end == clean.data() + clean.size())
    return value;
  Result<double> real = parseNumber(text);
  // Up to 2^53 every whole number has its own double.
  if (!real.ok() || *real != std::floor(*real) || std::fabs(*real) > 9007199254740992.0)
    return Status::usage("expected a whole number, such as 100, 1e3 or 1_000");
  return static_cast<int64_t>(*real);
}

Result<bool> parseTruth(std::string_view text) {
  std::string lower = cleaned(text);
  std::transform(lower.begin(), lower.end(), lower.begin(), [](unsigned char c) { return std::tolower(c); });
  if (lower == "true" || lower == "1" || lower == "yes" || lower == "on")
    return true;
  if (lower == "false" || lower == "0" || lower == "no" || lower == "off")
    return false;
  return Status::usage("expected true or false");
}

std::string nearestName(std::string_view name, const std::vector<std::string> &names) {
  std::string best;
  size_t least = std::max<size_t>(1, name.size() / 3) + 1;
  for (const std::string &candidate : names)
    if (size_t distance = editDistance(name, candidate); distance < least) {
      least = distance;
      best = candidate;
    }
  return best;
}

} // namespace txc
