//===- LoadSpec.cpp - From YAML files and --key=value to a Spec -----------===//
//
// 1. Read the file and, by `base:`, those that it starts from: the farthest
//    base first, so that nearer values replace it. The text is checked (size,
//    UTF-8) before it is parsed.
// 2. Apply the overrides of the command line.
// 3. Refuse overrides that cannot change the model.
// 4. Derive what is `auto` and check keys against each other. An error names
//    the value that came last and notes where the others come from.
//
// Guarantees: a Spec whose every value is in its range and whose shapes fit
// together, or at least one error. Nothing here depends on the time, the
// environment or the order of files in a folder.
//
//===----------------------------------------------------------------------===//

#include "Diagnostics.h"
#include "txc/Import/Options.h"
#include "txc/Import/Spec.h"

#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/ConvertUTF.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"

#include <cmath>

using namespace llvm;

namespace txc::import {
namespace {

constexpr uint64_t maxFileBytes = 1 << 20;
constexpr size_t maxBaseDepth = 16;

class Loader {
public:
  Loader(raw_ostream &errors, Spec &spec) : diag(errors), spec(spec), origins(allOptions().size()) {}

  void loadFile(StringRef path, const Origin &reference);
  void loadText(StringRef text, StringRef name);
  void applyOverrides(ArrayRef<Override> overrides);
  void resolve();

  bool ok() const { return diag.numErrors() == 0; }
  LoadStatus status() const {
    if (diag.numUsageErrors())
      return LoadStatus::BadUsage;
    return ok() ? LoadStatus::Ok : LoadStatus::BadSpec;
  }

private:
  bool checkText(const SourceFile &file);
  void applyFile(const YamlNode &root, const SourceFile &file);
  void applySection(Section section, const YamlNode &node, const SourceFile &file, StringMap<Origin> &seen);
  bool checkNew(const YamlNode &key, const SourceFile &file, StringMap<Origin> &seen);
  void unknownKey(const YamlNode &key, const SourceFile &file, Section section);

  const Origin &originOf(StringRef key) const { return origins[findOption(key) - allOptions().data()]; }
  void setOrigin(const OptionInfo &option, Origin origin) {
    origins[&option - allOptions().data()] = std::move(origin);
  }
  // An override that the rest of the spec makes pointless is an error: the user
  // would compare a model with itself.
  void refuseWithoutEffect();
  // Reports at the first of `keys` that the user wrote, and notes the others.
  void conflict(ArrayRef<StringRef> keys, const Twine &message);

  Diagnostics diag;
  Spec &spec;
  Spec beforeOverrides;
  std::vector<Origin> origins;                                  // by option
  std::vector<std::pair<sys::fs::UniqueID, std::string>> chain; // files being read, outermost first
};

Origin at(const YamlNode &node, const SourceFile &file) { return {&file, node.place, ""}; }

StringRef describe(const YamlNode &node) {
  switch (node.kind) {
  case YamlNode::Nothing:
    return "nothing";
  case YamlNode::Scalar:
    return "a value";
  case YamlNode::Sequence:
    return "a list";
  case YamlNode::Map:
    return "a map";
  }
  return "";
}

//===----------------------------------------------------------------------===//
// Files
//===----------------------------------------------------------------------===//

// Line and column of a byte.
YamlPlace placeOfByte(StringRef text, size_t offset) {
  StringRef before = text.take_front(offset);
  size_t newline = before.rfind('\n');
  return {static_cast<unsigned>(before.count('\n') + 1),
          static_cast<unsigned>(newline == StringRef::npos ? offset + 1 : offset - newline)};
}

bool Loader::checkText(const SourceFile &file) {
  StringRef text = file.text;
  size_t zero = text.find('\0');
  const UTF8 *begin = reinterpret_cast<const UTF8 *>(text.begin()), *position = begin;
  bool isUtf8 = isLegalUTF8String(&position, reinterpret_cast<const UTF8 *>(text.end()));
  size_t illegal = isUtf8 ? StringRef::npos : position - begin;
  size_t offset = std::min(zero, illegal);
  if (offset == StringRef::npos)
    return true;
  diag.error({&file, placeOfByte(text, offset), ""},
             Twine("found byte 0x") + Twine::utohexstr(static_cast<unsigned char>(text[offset])) +
                 " at offset " + Twine(offset) + "; expected YAML text in UTF-8");
  return false;
}

void Loader::loadFile(StringRef path, const Origin &reference) {
  auto fail = [&](const Twine &message) {
    if (reference.file)
      diag.error(reference, "base " + quoteValue(path) + ": " + message);
    else
      diag.error({}, path + ": " + message);
  };
  sys::fs::file_status fileStatus;
  if (std::error_code code = sys::fs::status(path, fileStatus))
    return fail(code.message() + "; expected a YAML file");
  if (sys::fs::is_directory(fileStatus))
    return fail("is a folder; expected a YAML file");
  if (!sys::fs::is_regular_file(fileStatus))
    return fail("is not a regular file; expected a YAML file");
  if (fileStatus.getSize() > maxFileBytes)
    return fail("has " + Twine(fileStatus.getSize()) + " bytes; expected a YAML file of at most " +
                Twine(maxFileBytes));

  for (const auto &[id, name] : chain) {
    if (id != fileStatus.getUniqueID())
      continue;
    std::string cycle;
    for (const auto &link : chain)
      cycle += link.second + " -> ";
    return fail("inherits from itself: " + cycle + path);
  }
  if (chain.size() == maxBaseDepth) {
    std::string names;
    for (const auto &link : chain)
      names += link.second + " -> ";
    return fail("more than " + Twine(maxBaseDepth) + " files inherit from each other: " + names + path);
  }

  ErrorOr<std::unique_ptr<MemoryBuffer>> buffer = MemoryBuffer::getFile(path, /*IsText=*/false);
  if (!buffer)
    return fail(buffer.getError().message());
  chain.emplace_back(fileStatus.getUniqueID(), path.str());
  loadText((*buffer)->getBuffer(), path);
  chain.pop_back();
}

void Loader::loadText(StringRef text, StringRef name) {
  text.consume_front("\xef\xbb\xbf");
  const SourceFile *file = diag.addFile(name, text);
  if (!checkText(*file))
    return;
  YamlNode root;
  YamlFailure failure;
  if (!readYaml(file->text, root, failure)) {
    diag.error({file, failure.place, ""}, failure.message);
    return;
  }
  applyFile(root, *file);
}

//===----------------------------------------------------------------------===//
// Keys and values
//===----------------------------------------------------------------------===//

bool Loader::checkNew(const YamlNode &key, const SourceFile &file, StringMap<Origin> &seen) {
  if (key.kind != YamlNode::Scalar || key.text.empty()) {
    diag.error(at(key, file), "found " + describe(key) + " as a key; expected a name");
    return false;
  }
  auto [first, isNew] = seen.try_emplace(key.text, at(key, file));
  if (isNew)
    return true;
  diag.error(at(key, file), "found key " + quoteValue(key.text) + " again; expected it once");
  diag.note(first->second, "the first one is here");
  return false;
}

void Loader::unknownKey(const YamlNode &key, const SourceFile &file, Section section) {
  diag.error(at(key, file), "found unknown key " + quoteValue(key.text) + " in section '" +
                                sectionName(section) + ":'" + unknownKeyHint(key.text));
}

void Loader::applyFile(const YamlNode &root, const SourceFile &file) {
  if (root.kind == YamlNode::Nothing) {
    diag.error({&file, {}, ""}, "found an empty file; expected the sections model:, train: or parallel:");
    return;
  }
  if (root.kind != YamlNode::Map) {
    diag.error(at(root, file), "found " + describe(root) +
                                   " at the top level; expected the sections "
                                   "model:, train: or parallel:");
    return;
  }
  // Inherited values first, wherever `base:` stands.
  StringMap<Origin> seenSections;
  SmallVector<std::pair<Section, const YamlNode *>> sections;
  for (size_t i = 0; i + 1 < root.children.size(); i += 2) {
    const YamlNode &key = root.children[i], &value = root.children[i + 1];
    if (!checkNew(key, file, seenSections))
      continue;
    if (key.text == "base") {
      if (value.kind != YamlNode::Scalar || value.text.empty()) {
        diag.error(at(value.kind == YamlNode::Nothing ? key : value, file),
                   "found " + describe(value) + " as base; expected the name of a YAML file");
        continue;
      }
      if (StringRef(value.text).contains('\0')) {
        diag.error(at(value, file), "found a zero byte in a file name");
        continue;
      }
      SmallString<256> path(value.text);
      if (!sys::path::is_absolute(path)) {
        path = sys::path::parent_path(file.name);
        sys::path::append(path, value.text);
      }
      loadFile(path, at(value, file));
      continue;
    }
    bool isSection = false;
    for (Section section : {Section::Model, Section::Train, Section::Parallel}) {
      if (key.text == sectionName(section)) {
        sections.emplace_back(section, &value);
        isSection = true;
      }
    }
    if (isSection)
      continue;
    if (const OptionInfo *option = findOption(key.text))
      diag.error(at(key, file), "found key '" + option->key + "' at the top level; expected it in section '" +
                                    sectionName(option->section) + ":'");
    else
      diag.error(at(key, file), "found unknown section " + quoteValue(key.text) +
                                    "; expected base:, model:, train: or parallel:" +
                                    unknownKeyHint(key.text, {"base", "model", "train", "parallel"}));
  }
  StringMap<Origin> seen;
  for (auto [section, node] : sections)
    applySection(section, *node, file, seen);

  // d_ff and ffn_expansion say the same thing: the nearer file wins, and one
  // file may not say both.
  auto isHere = [&](StringRef key) { return originOf(key).file == &file; };
  bool givesWidth = isHere("d_ff") && spec.d_ff,
       givesRatio = isHere("ffn_expansion") && spec.ffn_expansion != 0;
  if (givesWidth && givesRatio)
    conflict({"ffn_expansion", "d_ff"}, "found both d_ff and ffn_expansion; expected one of them");
  else if (givesWidth)
    spec.ffn_expansion = 0;
  else if (givesRatio)
    spec.d_ff = 0;
}

void Loader::applySection(Section section, const YamlNode &node, const SourceFile &file,
                          StringMap<Origin> &seen) {
  if (node.kind == YamlNode::Nothing)
    return;
  if (node.kind != YamlNode::Map) {
    diag.error(at(node, file), "found " + describe(node) + " as section '" + sectionName(section) +
                                   ":'; expected keys and values");
    return;
  }
  for (size_t i = 0; i + 1 < node.children.size(); i += 2) {
    const YamlNode &key = node.children[i], &value = node.children[i + 1];
    if (!checkNew(key, file, seen))
      continue;
    const OptionInfo *option = findOption(key.text);
    if (!option) {
      unknownKey(key, file, section);
      continue;
    }
    if (option->section != section) {
      diag.error(at(key, file), "found key '" + option->key + "' in section '" + sectionName(section) +
                                    ":'; expected it in section '" + sectionName(option->section) + ":'");
      continue;
    }
    std::string expected = "a text"; // all that takes what is no scalar below
    bool isScalar = value.kind == YamlNode::Scalar;
    Spec scratch;
    if (option->set(isScalar ? spec : scratch, isScalar ? StringRef(value.text) : "", value.quoted, expected) &&
        isScalar) {
      setOrigin(*option, at(value, file));
      continue;
    }
    Origin place = at(value.kind == YamlNode::Nothing ? key : value, file);
    diag.error(place, "found " + (isScalar ? quoteValue(value.text) : describe(value).str()) + " for '" +
                          option->key + "'; expected " + expected);
  }
}

void Loader::applyOverrides(ArrayRef<Override> overrides) {
  beforeOverrides = spec;
  for (const Override &given : overrides) {
    std::string text = "--" + given.key + "=" + given.value;
    const OptionInfo *option = findOption(given.key);
    if (!option) {
      diag.usageError("unknown option '--" + Twine(given.key) + "'" + unknownKeyHint(given.key));
      continue;
    }
    if (option->tool == Tool::Run) {
      diag.usageError("--" + option->key + " is read when training starts, not when compiling; give " + text +
                      " to txrun, or write it in the spec's section '" + sectionName(option->section) + ":'");
      continue;
    }
    std::string expected;
    if (!option->set(spec, given.value, /*quoted=*/false, expected)) {
      diag.usageError(text + ": found " + quoteValue(given.value) + "; expected " + expected);
      continue;
    }
    setOrigin(*option, {nullptr, {}, text});
    if (option->key == "d_ff" && spec.d_ff)
      spec.ffn_expansion = 0;
    if (option->key == "ffn_expansion" && spec.ffn_expansion != 0)
      spec.d_ff = 0;
  }
}

//===----------------------------------------------------------------------===//
// Keys against each other
//===----------------------------------------------------------------------===//

void Loader::conflict(ArrayRef<StringRef> keys, const Twine &message) {
  auto isWritten = [&](StringRef key) {
    const Origin &origin = originOf(key);
    return origin.file || !origin.override.empty();
  };
  // An override came last of all.
  StringRef culprit = keys.front();
  for (StringRef key : llvm::reverse(keys))
    if (isWritten(key))
      culprit = key;
  for (StringRef key : llvm::reverse(keys))
    if (!originOf(key).override.empty())
      culprit = key;
  diag.error(originOf(culprit), message);
  for (StringRef key : keys) {
    if (key == culprit)
      continue;
    if (isWritten(key))
      diag.note(originOf(key), key + " is set here");
    else
      diag.note({}, key + " is " + findOption(key)->defaultText + " by default");
  }
}

// The ranks of "dp:N", or 0 of any other text.
int64_t ranksOf(StringRef mesh) {
  int64_t ranks;
  if (!mesh.consume_front("dp:") || mesh.getAsInteger(10, ranks) || ranks < 1 || ranks > 1 << 20)
    return 0;
  return ranks;
}

void Loader::refuseWithoutEffect() {
  auto check = [&](StringRef key, bool changes, StringRef decider, StringRef found, StringRef needed) {
    if (changes && !originOf(key).override.empty())
      conflict({key, decider}, "changes nothing: " + decider + " is " + found + "; expected " + decider +
                                   ": " + needed + " with it");
  };
  StringRef ffn = stringify(spec.ffn_type), position = stringify(spec.position_encoding);
  if (spec.ffn_type != FfnType::Standard)
    check("activation", spec.activation != beforeOverrides.activation, "ffn_type", ffn,
          stringify(FfnType::Standard));
  if (spec.position_encoding != PositionEncoding::Rope) {
    StringRef rope = stringify(PositionEncoding::Rope);
    check("rope_theta", spec.rope_theta != beforeOverrides.rope_theta, "position_encoding", position, rope);
    check("rope_layout", spec.rope_layout != beforeOverrides.rope_layout, "position_encoding", position,
          rope);
  }
}

void Loader::resolve() {
  refuseWithoutEffect();
  if (!spec.n_kv_head)
    spec.n_kv_head = spec.n_head;
  if (spec.n_head % spec.n_kv_head != 0)
    conflict({"n_kv_head", "n_head"}, "found n_head " + Twine(spec.n_head) + " and n_kv_head " +
                                          Twine(spec.n_kv_head) + "; expected n_kv_head to divide n_head");
  if (!spec.head_dim) {
    if (spec.n_embd % spec.n_head != 0) {
      conflict({"n_head", "n_embd"}, "found n_embd " + Twine(spec.n_embd) + " and n_head " +
                                         Twine(spec.n_head) +
                                         "; expected n_head to divide n_embd (or set head_dim)");
      return;
    }
    spec.head_dim = spec.n_embd / spec.n_head;
  }
  if (spec.position_encoding == PositionEncoding::Rope && spec.head_dim % 2 != 0)
    conflict({"head_dim", "n_embd", "n_head", "position_encoding"},
             "found head_dim " + Twine(spec.head_dim) + "; expected an even one, since rope rotates pairs");

  if (!spec.d_ff) {
    if (spec.ffn_expansion != 0)
      // A ratio such as 2.6666666666666665 means 8/3.
      spec.d_ff = static_cast<int64_t>(std::floor(spec.ffn_expansion * spec.n_embd + 1e-6));
    else
      spec.d_ff = spec.ffn_type == FfnType::SwiGlu ? 8 * spec.n_embd / 3 : 4 * spec.n_embd;
    if (spec.d_ff < 1 || spec.d_ff > 1048576)
      conflict({"ffn_expansion", "n_embd"},
               "found a feed-forward width of " + Twine(spec.d_ff) + "; expected 1 to 1048576");
  }
  spec.ffn_expansion = static_cast<double>(spec.d_ff) / spec.n_embd;

  int64_t ranks = ranksOf(spec.mesh);
  if (!ranks)
    conflict({"mesh"},
             "found " + quoteValue(spec.mesh) + " for 'mesh'; expected dp:N with N ranks, e.g. dp:1");
  if (ranks == 1 && spec.zero > 0)
    conflict({"zero", "mesh"}, "found zero " + Twine(spec.zero) + " with mesh " + spec.mesh +
                                   ", one rank; expected zero 0, or ranks to share with, e.g. mesh dp:2");

  // Token positions are 32-bit in the data and in the generator's counters,
  // and the ledger's sums are 64-bit.
  int64_t tokens = spec.batch_size * spec.block_size;
  if (tokens > INT32_MAX)
    conflict({"batch_size", "block_size"},
             "found " + Twine(tokens) + " tokens in a micro batch; expected at most " + Twine(INT32_MAX));
  double layer = double(spec.n_embd) * (2.0 * (spec.queryWidth() + spec.kvWidth()) + 3.0 * spec.d_ff);
  double parameters = spec.n_layer * layer + 2.0 * spec.vocab_size * spec.n_embd;
  double attention = 12.0 * spec.n_layer * spec.queryWidth() * spec.block_size;
  if (parameters > 1e13 || (6 * parameters + attention) * tokens > 9e18)
    conflict({"n_embd", "n_layer", "d_ff", "vocab_size", "block_size", "batch_size"},
             "found a model or a micro batch whose FLOPs do not fit in 64 bits; expected a smaller one");
}

StringRef stemOf(StringRef path) { return sys::path::stem(path); }

LoadStatus finish(Loader &loader, ArrayRef<Override> overrides) {
  loader.applyOverrides(overrides);
  if (loader.ok())
    loader.resolve();
  return loader.status();
}

} // namespace

LoadStatus loadSpec(StringRef path, ArrayRef<Override> overrides, raw_ostream &errors, Spec &spec) {
  spec = Spec();
  spec.name = stemOf(path).str();
  Loader loader(errors, spec);
  loader.loadFile(path, {});
  return finish(loader, overrides);
}

LoadStatus parseSpec(StringRef text, StringRef name, ArrayRef<Override> overrides, raw_ostream &errors,
                     Spec &spec) {
  spec = Spec();
  spec.name = stemOf(name).str();
  Loader loader(errors, spec);
  if (text.size() > maxFileBytes) {
    errors << name << ": error: has " << text.size() << " bytes; expected at most " << maxFileBytes << '\n';
    return LoadStatus::BadSpec;
  }
  loader.loadText(text, name);
  return finish(loader, overrides);
}

//===----------------------------------------------------------------------===//
// Spec
//===----------------------------------------------------------------------===//

std::string Spec::architectureName() const {
  std::string text;
  raw_string_ostream os(text);
  os << n_layer << "L-" << n_head << "H-" << n_embd << "D";
  if (n_kv_head < n_head)
    os << "-GQA" << n_kv_head;
  switch (position_encoding) {
  case PositionEncoding::LearnedAbsolute:
    os << "-AbsPos";
    break;
  case PositionEncoding::Rope:
    os << "-RoPE";
    break;
  case PositionEncoding::None:
    os << "-NoPos";
    break;
  }
  switch (normalization) {
  case Normalization::LayerNorm:
    os << "-LN";
    break;
  case Normalization::LayerNormNoBias:
    os << "-LN-NB";
    break;
  case Normalization::RmsNorm:
    os << "-RMS";
    break;
  }
  if (ffn_type == FfnType::SwiGlu)
    os << "-SwiGLU";
  else
    // Both forms of GELU have one name.
    os << '-' << (activation == Activation::GeluTanh ? "GELU" : stringify(activation).upper());
  os << (norm_position == NormPosition::Pre ? "-PreNorm" : "-PostNorm");
  return text;
}

json::Object Spec::toJson() const {
  json::Object model, train, parallel;
  auto in = [&](Section section) -> json::Object & {
    return section == Section::Model ? model : section == Section::Train ? train : parallel;
  };
#define TXC_INT(section, key, default_, min, max, tool, meaning) in(Section::section)[#key] = key;
#define TXC_AUTO_INT(section, key, min, max, tool, derived, meaning)                                         \
  in(Section::section)[#key] = key ? json::Value(key) : json::Value(nullptr);
#define TXC_REAL(section, key, default_, min, max, tool, meaning) in(Section::section)[#key] = key;
#define TXC_AUTO_REAL(section, key, min, max, tool, derived, meaning)                                        \
  in(Section::section)[#key] = key != 0 ? json::Value(key) : json::Value(nullptr);
#define TXC_BOOL(section, key, default_, tool, meaning) in(Section::section)[#key] = key;
#define TXC_CHOICE(section, key, Enum, Default, tool, meaning) in(Section::section)[#key] = stringify(key);
#define TXC_STRING(section, key, default_, tool, meaning) in(Section::section)[#key] = key;
#include "txc/Import/Options.def"
  return json::Object{
      {"model", std::move(model)}, {"train", std::move(train)}, {"parallel", std::move(parallel)}};
}

} // namespace txc::import
