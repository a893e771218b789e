//===- Spec.h - What the user asked for -------------------------*- C++ -*-===//
//
// A spec as struct: every key of Options.def under its own name, resolved (no
// `auto` left in the model), and checked. loadSpec is the only way to get one
// from a file.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_IMPORT_SPEC_H
#define TXC_IMPORT_SPEC_H

#include "llvm/ADT/ArrayRef.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/raw_ostream.h"

#include <cstdint>
#include <optional>
#include <string>

namespace txc::import {

// clang-format off
#define TXC_ENUM_BEGIN(Enum) enum class Enum {
#define TXC_ENUM_VALUE(Enum, Name, text, meaning) Name,
#define TXC_ENUM_END(Enum) };
#include "txc/Import/Options.def"
// clang-format on

// The text of a choice, as a spec writes it.
#define TXC_ENUM_BEGIN(Enum) llvm::StringRef stringify(Enum value);
#include "txc/Import/Options.def"

struct Spec {
#define TXC_INT(section, key, default_, min, max, tool, meaning) int64_t key = default_;
#define TXC_AUTO_INT(section, key, min, max, tool, derived, meaning) int64_t key = 0;
#define TXC_REAL(section, key, default_, min, max, tool, meaning) double key = default_;
#define TXC_AUTO_REAL(section, key, min, max, tool, derived, meaning) double key = 0;
#define TXC_BOOL(section, key, default_, tool, meaning) bool key = default_;
#define TXC_CHOICE(section, key, Enum, Default, tool, meaning) Enum key = Enum::Default;
#define TXC_STRING(section, key, default_, tool, meaning) std::string key = default_;
#include "txc/Import/Options.def"

  // File name without folder and extension, e.g. "arch_llama".
  std::string name;

  // Elements of all heads' queries, and of all heads' keys (or values).
  int64_t queryWidth() const { return n_head * head_dim; }
  int64_t kvWidth() const { return n_kv_head * head_dim; }
  // The same for every spec that differs in other keys only, e.g.
  // "12L-12H-768D-RoPE-RMS-SwiGLU-PreNorm".
  std::string architectureName() const;
  // {"model": {...}, "train": {...}, "parallel": {...}} with every key. An
  // `auto` that only the runtime can resolve (lr_decay_iters) is null.
  llvm::json::Object toJson() const;
};

// One --key=value of the command line.
struct Override {
  std::string key;
  std::string value;
};

// How loading ended. The values are exit codes.
enum class LoadStatus { Ok = 0, BadSpec = 1, BadUsage = 2 };

// Reads `path` and what it inherits by `base:`, applies the overrides, fills
// in what is derived and checks everything. Prints each error to `errors` as
//   file:line:column: error: what was found; what was expected; remedy
// with the source line; an override's location is the override itself.
LoadStatus loadSpec(llvm::StringRef path, llvm::ArrayRef<Override> overrides, llvm::raw_ostream &errors,
                    Spec &spec);

// The same for text in memory (`base:` is relative to `name`'s folder).
LoadStatus parseSpec(llvm::StringRef text, llvm::StringRef name, llvm::ArrayRef<Override> overrides,
                     llvm::raw_ostream &errors, Spec &spec);

// Chooses what `auto` means on the target: dtype, recompute, loss_chunks.
void settleForTarget(Spec &spec, bool isGpu);

} // namespace txc::import

#endif // TXC_IMPORT_SPEC_H
