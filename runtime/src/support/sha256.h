//===- sha256.h - SHA-256 (FIPS 180-4) --------------------------------------===//
#ifndef TXC_RUNTIME_SUPPORT_SHA256_H
#define TXC_RUNTIME_SUPPORT_SHA256_H

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace txc {

// Feed bytes in any pieces with update(), then call finish() once.
class Sha256 {
public:
  Sha256() = default;
  // `portable`: not by the processor's own instructions, even if it has them.
  explicit Sha256(bool portable) : portable_(portable) {}
  void update(const void *bytes, size_t count);
  std::array<uint8_t, 32> finish();

private:
  void block(const uint8_t *bytes);

  std::array<uint32_t, 8> state_ = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                    0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<uint8_t, 64> pending_{};
  size_t pendingCount_ = 0;
  uint64_t total_ = 0;
  bool portable_ = false;
};

// The digest in 64 lower-case hexadecimal digits.
std::string sha256Hex(std::string_view bytes);
std::string toHex(const std::array<uint8_t, 32> &digest);

} // namespace txc

#endif // TXC_RUNTIME_SUPPORT_SHA256_H
