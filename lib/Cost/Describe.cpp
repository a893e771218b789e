//===- Describe.cpp - What a planned program is known to cost -------------===//
//
// Everything is read from the program itself (commands, buffers, parameters),
// not from the spec: an edited .mlir is described as it is. Parts of the model
// are told apart by their paths: blocks.N.attn*, blocks.N.ffn*, lm_head.
//
//===----------------------------------------------------------------------===//

#include "txc/Cost/Describe.h"
#include "txc/Cost/Theory.h"

#include "txc/Dialect/Tx/Tx.h"
#include "txc/Import/Options.h"
#include "txc/Plan/Lifetimes.h"
#include "txc/Support/Version.h"
#include "txc/step_abi.h"

#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/Format.h"

#include <map>

using namespace mlir;
namespace json = llvm::json;

namespace txc::cost {

static step::EntryOp findEntry(step::ProgramOp program, StringRef name) {
  for (auto entry : program.getOps<step::EntryOp>())
    if (entry.getSymName() == name)
      return entry;
  return {};
}

SmallVector<LedgerLine> getLedger(step::ProgramOp program) {
  llvm::MapVector<std::pair<StringRef, StringRef>, LedgerLine> lines;
  if (step::EntryOp micro = findEntry(program, "micro")) {
    for (Operation &command : micro.getBody().front()) {
      auto full = command.getAttrOfType<IntegerAttr>("flops_full");
      auto causal = command.getAttrOfType<IntegerAttr>("flops_causal");
      auto op = command.getAttrOfType<StringAttr>("op");
      auto name = command.getAttrOfType<StringAttr>("name");
      if (!full || !causal || !op || !name)
        continue;
      LedgerLine &line = lines[{name.getValue(), op.getValue()}];
      line.name = name.str();
      line.op = op.str();
      line.full += full.getInt();
      line.causal += causal.getInt();
    }
  }
  return llvm::map_to_vector(lines, [](const auto &entry) { return entry.second; });
}

int64_t getTokensPerMicroBatch(step::ProgramOp program) {
  for (auto alloc : program.getOps<step::AllocOp>())
    if (alloc.getKind() == step::BufferKind::Tokens)
      return cast<ShapedType>(alloc.getType()).getNumElements();
  return 0;
}

namespace {

/// What the entry's commands read and write, each input and output once.
int64_t getBytesMoved(step::EntryOp entry) {
  int64_t bytes = 0;
  for (Operation &command : entry.getBody().front())
    if (auto attribute = command.getAttrOfType<IntegerAttr>("bytes"))
      bytes += attribute.getInt();
  return bytes;
}

/// The commands of an entry in order, a launch once per phase of its kernel. What
/// a command moves and computes stands at its first phase.
json::Array describeCommands(step::ProgramOp program, step::EntryOp entry) {
  SmallVector<int64_t> numbers = plan::numberCommands(program, entry);
  json::Array list;
  for (auto [index, command] : llvm::enumerate(entry.getBody().front()))
    for (int64_t phase = 0; phase < numbers[index + 1] - numbers[index]; ++phase) {
      json::Object item;
      if (auto name = command.getAttrOfType<StringAttr>("name"))
        item["name"] = name.getValue();
      else if (auto wait = dyn_cast<step::WaitOp>(command))
        item["name"] = wait.getCollective().getName();
      if (auto launch = dyn_cast<step::LaunchOp>(command))
        item["op"] = launch.getKernel();
      else if (auto op = command.getAttrOfType<StringAttr>("op"))
        item["op"] = op.getValue();
      for (auto [key, attribute] : {std::pair("bytes", "bytes"), std::pair("flops", "flops_causal")})
        if (auto value = command.getAttrOfType<IntegerAttr>(attribute))
          item[key] = phase == 0 ? value.getInt() : 0;
      list.push_back(std::move(item));
    }
  return list;
}

json::Object describeParameters(ModuleOp module, ArrayRef<LedgerLine> ledger, int64_t tokens) {
  int64_t total = 0, positions = 0;
  json::Array list;
  for (auto param : module.getOps<tx::ParamOp>()) {
    auto type = cast<ShapedType>(param.getType());
    int64_t elements = type.getNumElements();
    list.push_back(json::Object{{"name", param.getSymName()},
                                {"shape", json::Array(type.getShape())},
                                {"bytes", elements * ((type.getElementTypeBitWidth() + 7) / 8)},
                                {"decay", param.getDecay()}});
    total += elements;
    if (param.getSymName() == "wpe.weight")
      positions = elements;
  }
  // A weight of a product costs 6 FLOPs per token.
  uint64_t products = 0;
  for (const LedgerLine &line : ledger)
    if (!StringRef(line.op).starts_with("attention"))
      products += line.full;
  return json::Object{{"total", total},
                      {"trainable", total},
                      {"non_embedding", total - positions},
                      {"matmul", tokens ? static_cast<int64_t>(products / 6 / tokens) : 0},
                      {"list", std::move(list)}};
}

json::Object describeFlops(ArrayRef<LedgerLine> ledger, int64_t tokens) {
  uint64_t full = 0, causal = 0, attentionFull = 0, attentionCausal = 0, ffn = 0, logits = 0;
  llvm::StringSet<> layers;
  for (const LedgerLine &line : ledger) {
    full += line.full;
    causal += line.causal;
    StringRef rest = line.name;
    if (rest == "lm_head")
      logits += line.full;
    if (!rest.consume_front("blocks."))
      continue;
    auto [layer, part] = rest.split('.');
    layers.insert(layer);
    if (part == "attn" || part.starts_with("attn.")) {
      attentionFull += line.full;
      attentionCausal += line.causal;
    } else if (part.starts_with("ffn.")) {
      ffn += line.full;
    }
  }
  if (!tokens)
    return {};
  auto perToken = [&](uint64_t flops) { return static_cast<int64_t>(flops / tokens); };
  json::Object object{{"full", perToken(full)}, {"causal", perToken(causal)}, {"logits", perToken(logits)}};
  if (uint64_t count = layers.size()) {
    object["attention_per_layer_full"] = perToken(attentionFull / count);
    object["attention_per_layer_causal"] = perToken(attentionCausal / count);
    object["ffn_per_layer"] = perToken(ffn / count);
    if (ffn) {
      object["attention_to_ffn_full"] = double(attentionFull) / double(ffn);
      object["attention_to_ffn_causal"] = double(attentionCausal) / double(ffn);
    }
  }
  return object;
}

StringRef dtypeName(Type type) {
  if (type.isF32())
    return "f32";
  if (type.isBF16())
    return "bf16";
  if (type.isF64())
    return "f64";
  return type.isInteger(32) ? "i32" : "u8";
}

/// An option by its name, which is unique over all sections.
std::optional<int64_t> findInteger(const json::Object &config, StringRef key) {
  for (const auto &[name, section] : config)
    if (const json::Object *options = section.getAsObject())
      if (std::optional<int64_t> value = options->getInteger(key))
        return value;
  return config.getInteger(key);
}

json::Array describeBuffers(step::ProgramOp program) {
  llvm::StringMap<std::pair<int64_t, int64_t>> lifetimes;
  for (auto entry : program.getOps<step::EntryOp>()) {
    SmallVector<int64_t> numbers = plan::numberCommands(program, entry);
    for (plan::Lifetime lifetime : plan::getLifetimes(program, entry))
      lifetimes[lifetime.alloc.getSymName()] = {numbers[lifetime.first], numbers[lifetime.last + 1] - 1};
  }
  json::Array buffers;
  for (auto alloc : program.getOps<step::AllocOp>()) {
    auto type = cast<ShapedType>(alloc.getType());
    json::Object buffer{{"name", alloc.getSymName()},
                        {"kind", stringifyBufferKind(alloc.getKind())},
                        {"dtype", dtypeName(type.getElementType())},
                        {"shape", json::Array(type.getShape())},
                        {"bytes", static_cast<int64_t>(alloc.getBytes())}};
    if (alloc.getShardOf())
      buffer["full_elements"] = static_cast<int64_t>(alloc.getShardOf());
    buffer["offset"] = alloc.getOffset() ? json::Value(static_cast<int64_t>(*alloc.getOffset())) : nullptr;
    buffer["entry"] = alloc.getEntry() ? json::Value(*alloc.getEntry()) : nullptr;
    if (auto it = lifetimes.find(alloc.getSymName()); it != lifetimes.end()) {
      buffer["begin"] = it->second.first;
      buffer["end"] = it->second.second;
    }
    buffers.push_back(std::move(buffer));
  }
  return buffers;
}

/// The GPU functions of a kernel, a phase each, and what they cost; empty before
/// codegen, and for a CPU. What only ptxas knows is absent where it did not run.
json::Array describeFunctions(step::KernelOp kernel) {
  json::Array functions;
  if (std::optional<ArrayAttr> geometry = kernel.getGeometry())
    for (auto phase : geometry->getAsRange<step::GeometryAttr>()) {
      json::Object function{{"name", phase.getFunction().getValue()},
                            {"grid", json::Array(phase.getGrid())},
                            {"threads", phase.getBlock()[0] * phase.getBlock()[1] * phase.getBlock()[2]},
                            {"dynamic_shared_bytes", phase.getShared()}};
      for (auto [key, value] :
           {std::pair("static_shared_bytes", phase.getStaticShared()),
            std::pair("registers", phase.getRegisters()), std::pair("spill_bytes", phase.getSpills())})
        if (value >= 0)
          function[key] = value;
      functions.push_back(std::move(function));
    }
  return functions;
}

} // namespace

json::Object describeModule(ModuleOp module, step::ProgramOp program, StringRef target) {
  json::Object object{{"abi_version", static_cast<int64_t>(TXC_STEP_ABI_VERSION)},
                      {"compiler", getCompilerVersion()},
                      {"target", target.str()},
                      {"name", program.getSymName()},
                      {"num_ranks", static_cast<int64_t>(program.getNumRanks())},
                      {"zero_level", static_cast<int64_t>(program.getZeroLevel())}};
  if (auto architecture = module->getAttrOfType<StringAttr>("tx.architecture"))
    object["architecture_name"] = architecture.getValue();
  if (auto config = module->getAttrOfType<StringAttr>("tx.config")) {
    if (llvm::Expected<json::Value> value = json::parse(config.getValue()))
      object["config"] = std::move(*value);
    else
      llvm::consumeError(value.takeError());
  }

  const json::Object *config = object.getObject("config");
  for (StringRef key : {"vocab_size", "ignore_index"})
    if (std::optional<int64_t> value = config ? findInteger(*config, key) : std::nullopt)
      object[key] = *value;
  for (auto alloc : program.getOps<step::AllocOp>())
    if (auto type = cast<ShapedType>(alloc.getType());
        alloc.getKind() == step::BufferKind::Tokens && type.getRank() == 2) {
      object["batch_size"] = type.getDimSize(0);
      object["block_size"] = type.getDimSize(1);
    }

  SmallVector<LedgerLine> ledger = getLedger(program);
  int64_t tokens = getTokensPerMicroBatch(program);
  object["parameters"] = describeParameters(module, ledger, tokens);
  object["flops_per_token"] = describeFlops(ledger, tokens);
  json::Array lines;
  for (const LedgerLine &line : ledger)
    lines.push_back(json::Object{{"name", line.name},
                                 {"op", line.op},
                                 {"full", static_cast<int64_t>(line.full)},
                                 {"causal", static_cast<int64_t>(line.causal)}});
  object["ledger"] = std::move(lines);

  object["arena_bytes"] = static_cast<int64_t>(program.getArenaBytes());
  object["arena_lower_bound"] = static_cast<int64_t>(program.getLowerBound());
  std::map<std::string, int64_t> byKind;
  for (auto alloc : program.getOps<step::AllocOp>())
    byKind[stringifyBufferKind(alloc.getKind()).str()] += plan::slotBytes(alloc);
  json::Object kinds;
  for (const auto &[kind, bytes] : byKind)
    kinds[kind] = bytes;
  object["bytes_by_kind"] = std::move(kinds);
  object["buffers"] = describeBuffers(program);
  json::Array entries;
  for (auto entry : program.getOps<step::EntryOp>())
    entries.push_back(json::Object{{"name", entry.getSymName()},
                                   {"commands", plan::numberCommands(program, entry).back()},
                                   {"bytes_moved", getBytesMoved(entry)},
                                   {"list", describeCommands(program, entry)}});
  object["entries"] = std::move(entries);
  json::Array kernels;
  for (auto kernel : program.getOps<step::KernelOp>()) {
    json::Object item{{"name", kernel.getSymName()},
                      {"kind", kernel.getKind()},
                      {"blocks", json::Array(kernel.getBlocks())},
                      {"workspace_bytes", json::Array(kernel.getWorkspace())}};
    if (json::Array functions = describeFunctions(kernel); !functions.empty())
      item["functions"] = std::move(functions);
    kernels.push_back(std::move(item));
  }
  object["kernels"] = std::move(kernels);
  return object;
}

//===----------------------------------------------------------------------===//
// For people
//===----------------------------------------------------------------------===//

namespace {

// 1234567 as "1,234,567".
std::string grouped(int64_t number) {
  std::string digits = std::to_string(number), text;
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i && (digits.size() - i) % 3 == 0 && digits[i - 1] != '-')
      text += ',';
    text += digits[i];
  }
  return text;
}

std::string mebibytes(int64_t bytes) {
  std::string text;
  llvm::raw_string_ostream(text) << llvm::format("%.1f MiB", bytes / 1048576.0);
  return text;
}

StringRef stringOf(const json::Object &object, StringRef key) { return object.getString(key).value_or("?"); }
int64_t integerOf(const json::Object &object, StringRef key) { return object.getInteger(key).value_or(0); }

void printLine(llvm::raw_ostream &os, StringRef label, const Twine &value) {
  os << "  " << llvm::left_justify(label, 28) << value << '\n';
}

void printTheory(const json::Object &description, llvm::raw_ostream &os) {
  llvm::SmallVector<GpuTheory> rows = getTheory(description);
  if (rows.empty())
    return;
  os << "\nTheory, " << getPrecision(description) << ", dense (configs/gpus.yaml)\n  "
     << llvm::left_justify("GPU", 26) << llvm::right_justify("peak", 16)
     << llvm::right_justify("tokens/s at 50% MFU", 22) << llvm::right_justify("memory", 10) << '\n';
  for (const GpuTheory &row : rows)
    os << "  " << llvm::left_justify(row.gpu, 26) << llvm::format("%9.1f TFLOP/s", row.peakTflops)
       << llvm::right_justify(grouped(static_cast<int64_t>(row.halfPeakRate)), 22)
       << llvm::format("%7.0f GB", row.memoryBytes / 1e9) << (row.fits ? "" : "  too small for the arena")
       << '\n';
}

void printEntries(const json::Object &description, llvm::raw_ostream &os) {
  const json::Array *entries = description.getArray("entries");
  if (!entries)
    return;
  os << "\nEntries\n  " << llvm::left_justify("name", 26) << llvm::right_justify("commands", 10)
     << llvm::right_justify("bytes moved", 22) << '\n';
  for (const json::Value &value : *entries)
    if (const json::Object *entry = value.getAsObject())
      os << "  " << llvm::left_justify(stringOf(*entry, "name"), 26)
         << llvm::right_justify(grouped(integerOf(*entry, "commands")), 10)
         << llvm::right_justify(grouped(integerOf(*entry, "bytes_moved")), 22) << '\n';
}

/// Kernels that share a function are one line.
void printFunctions(const json::Object &description, llvm::raw_ostream &os) {
  llvm::StringSet<> printed;
  const json::Array *kernels = description.getArray("kernels");
  for (const json::Value &value : kernels ? *kernels : json::Array()) {
    const json::Object *kernel = value.getAsObject();
    const json::Array *functions = kernel ? kernel->getArray("functions") : nullptr;
    for (const json::Value &value : functions ? *functions : json::Array()) {
      const json::Object *function = value.getAsObject();
      if (!function)
        continue;
      if (printed.empty())
        os << "\nGPU kernels\n  " << llvm::right_justify("threads", 10)
           << llvm::right_justify("registers", 12) << llvm::right_justify("shared bytes", 15)
           << llvm::right_justify("spilled bytes", 16) << "  function\n";
      if (!printed.insert(stringOf(*function, "name")).second)
        continue;
      auto number = [&](StringRef key) {
        std::optional<int64_t> count = function->getInteger(key);
        return count ? grouped(*count) : "-";
      };
      int64_t shared =
          integerOf(*function, "dynamic_shared_bytes") + integerOf(*function, "static_shared_bytes");
      os << "  " << llvm::right_justify(number("threads"), 10) << llvm::right_justify(number("registers"), 12)
         << llvm::right_justify(grouped(shared), 15) << llvm::right_justify(number("spill_bytes"), 16) << "  "
         << stringOf(*function, "name") << '\n';
    }
  }
}

void printLedger(const json::Object &description, llvm::raw_ostream &os) {
  const json::Array *ledger = description.getArray("ledger");
  const json::Object *flops = description.getObject("flops_per_token");
  if (!ledger || ledger->empty() || !flops)
    return;
  // Sums over the layers, by what stands after the block number.
  SmallVector<LedgerLine> groups;
  int64_t total = 0;
  for (const json::Value &value : *ledger) {
    const json::Object *line = value.getAsObject();
    if (!line)
      continue;
    StringRef name = stringOf(*line, "name");
    std::string group = name.str();
    if (StringRef rest = name; rest.consume_front("blocks."))
      group = ("blocks.*." + rest.split('.').second).str();
    StringRef op = stringOf(*line, "op");
    LedgerLine *sum =
        llvm::find_if(groups, [&](LedgerLine &known) { return known.name == group && known.op == op; });
    if (sum == groups.end()) {
      groups.push_back({group, op.str()});
      sum = &groups.back();
    }
    sum->full += integerOf(*line, "full");
    sum->causal += integerOf(*line, "causal");
    total += integerOf(*line, "full");
  }
  os << "\nFLOP ledger of a micro batch (forward and backward)\n";
  os << "  " << llvm::left_justify("path", 26) << llvm::left_justify("op", 20)
     << llvm::right_justify("full", 22) << llvm::right_justify("causal", 22)
     << llvm::right_justify("share", 8) << '\n';
  for (const LedgerLine &sum : groups)
    os << "  " << llvm::left_justify(sum.name, 26) << llvm::left_justify(sum.op, 20)
       << llvm::right_justify(grouped(sum.full), 22) << llvm::right_justify(grouped(sum.causal), 22)
       << llvm::format("%7.1f%%", total ? 100.0 * sum.full / total : 0) << '\n';
}

void printBuffers(const json::Object &description, llvm::raw_ostream &os) {
  const json::Array *buffers = description.getArray("buffers");
  if (!buffers)
    return;
  os << "\nBuffers\n  " << llvm::right_justify("offset", 16) << llvm::right_justify("bytes", 16) << "  "
     << llvm::left_justify("kind", 12) << llvm::left_justify("lives in", 18) << "name\n";
  for (const json::Value &value : *buffers) {
    const json::Object *buffer = value.getAsObject();
    if (!buffer)
      continue;
    std::string shape, life = "always";
    if (const json::Array *sizes = buffer->getArray("shape"))
      for (const json::Value &size : *sizes)
        shape += (shape.empty() ? "" : "x") + std::to_string(size.getAsInteger().value_or(0));
    if (auto entry = buffer->getString("entry"))
      life =
          (*entry + " " + Twine(integerOf(*buffer, "begin")) + "-" + Twine(integerOf(*buffer, "end"))).str();
    os << "  " << llvm::right_justify(grouped(integerOf(*buffer, "offset")), 16)
       << llvm::right_justify(grouped(integerOf(*buffer, "bytes")), 16) << "  "
       << llvm::left_justify(stringOf(*buffer, "kind"), 12) << llvm::left_justify(life, 18)
       << stringOf(*buffer, "name") << " [" << shape << "] " << stringOf(*buffer, "dtype") << '\n';
  }
}

void printConfig(const json::Object &config, llvm::raw_ostream &os) {
  for (StringRef section : {"model", "train", "parallel"}) {
    const json::Object *keys = config.getObject(section);
    if (!keys)
      continue;
    os << "\n" << section << ":\n";
    std::map<std::string, std::string> sorted;
    for (const auto &[key, value] : *keys) {
      std::string text;
      if (auto string = value.getAsString())
        text = string->str();
      else if (value.getAsNull())
        text = "auto";
      else if (auto number = value.getAsNumber())
        text = import::formatNumber(*number);
      else
        llvm::raw_string_ostream(text) << value;
      sorted[key.str()] = text;
    }
    for (const auto &[key, text] : sorted)
      printLine(os, key, text);
  }
}

} // namespace

void printDescription(const json::Object &description, llvm::raw_ostream &os) {
  os << stringOf(description, "name") << ": " << stringOf(description, "architecture_name") << '\n';
  printLine(os, "Compiler", stringOf(description, "compiler"));
  printLine(os, "Target", stringOf(description, "target"));
  const int64_t ranks = integerOf(description, "num_ranks"), level = integerOf(description, "zero_level");
  if (ranks > 1) {
    const int64_t sequences = integerOf(description, "batch_size");
    printLine(os, "Parallelism",
              "dp:" + grouped(ranks) + (level ? ", ZeRO-" + grouped(level) : std::string()) +
                  "  (memory is that of one rank)");
    printLine(os, "Micro batch",
              grouped(sequences) + " sequences of a rank, " + grouped(sequences * ranks) + " of all at once");
  }
  if (const json::Object *parameters = description.getObject("parameters")) {
    printLine(os, "Parameters", grouped(integerOf(*parameters, "total")));
    printLine(os, "  without positions", grouped(integerOf(*parameters, "non_embedding")));
    printLine(os, "  in matrix products", grouped(integerOf(*parameters, "matmul")));
  }
  if (const json::Object *flops = description.getObject("flops_per_token")) {
    printLine(os, "FLOPs per token, full",
              grouped(integerOf(*flops, "full")) + "  (attention over the whole square)");
    printLine(os, "FLOPs per token, causal",
              grouped(integerOf(*flops, "causal")) + "  (the pairs that it sees)");
    if (auto full = flops->getNumber("attention_to_ffn_full"))
      os << "  " << llvm::left_justify("Attention / FFN", 26)
         << llvm::format("%.3f full, %.3f causal\n", *full,
                         flops->getNumber("attention_to_ffn_causal").value_or(0));
  }
  int64_t arena = integerOf(description, "arena_bytes"), bound = integerOf(description, "arena_lower_bound");
  printLine(os, ranks > 1 ? "Memory per rank" : "Memory",
            grouped(arena) + " bytes (" + mebibytes(arena) + ")");
  printLine(os, "  lower bound", grouped(bound) + " bytes (" + mebibytes(bound) + ")");
  if (const json::Object *kinds = description.getObject("bytes_by_kind")) {
    std::map<std::string, int64_t> sorted;
    for (const auto &[kind, bytes] : *kinds)
      sorted[kind.str()] = bytes.getAsInteger().value_or(0);
    for (const auto &[kind, bytes] : sorted) {
      bool shares = kind == "activation" || kind == "workspace" || kind == "communication" ||
                    kind == "cache" || kind == "logits" || StringRef(kind).starts_with("decode_");
      printLine(os, "  " + kind, grouped(bytes) + (shares ? " bytes, places shared" : " bytes"));
    }
  }
  printTheory(description, os);
  if (const json::Object *config = description.getObject("config"))
    printConfig(*config, os);
  printEntries(description, os);
  printFunctions(description, os);
  printLedger(description, os);
  printBuffers(description, os);
}

} // namespace txc::cost
