//===- CommandLine.cpp - What txc was asked to do -------------------------===//
//
// Three kinds of options meet on one command line: txc's own, the spec's keys
// (from Options.def), and MLIR's. They are told apart by name here, so that an
// unknown name is looked for among all of them, and only MLIR's reach LLVM's
// command-line library.
//
//===----------------------------------------------------------------------===//

#include "CommandLine.h"

#include "txc/Codegen/Target.h"
#include "txc/Import/Options.h"
#include "txc/Manual/Manual.h"
#include "txc/Support/Version.h"

#include "mlir/IR/AsmState.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Support/Timing.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/CommandLine.h"

using namespace llvm;

namespace txc::driver {
namespace {

// txc's own options: what is read, what --help, the manual and shells show.
// `explains`: it belongs to explain too.
struct OwnOption {
  StringRef name, letter, value, meaning;
  StringRef defaultText;
  bool compiles, explains;
};
const OwnOption ownOptions[] = {
    {"output", "o", "FILE", "Where to write; - is standard output.", "step.so", true, false},
    {"target", "", "auto|cpu|sm_80|sm_86|sm_89|sm_90|sm_90a", "What step.so runs on; auto is this machine's best.",
     "auto", true, true},
    {"cpu", "", "x86-64-v3|x86-64-v4", "Level of the CPU.", "this machine's", true, true},
    {"emit", "", "STAGE", "Stop after this stage and write its program.", "link: step.so", true, false},
    {"from", "", "STAGE", "The input is what --emit=STAGE wrote, edited or not; go on from there.", "", true,
     false},
    {"dump-stages", "", "DIR", "Write the program after every stage to DIR.", "", true, false},
    {"json", "", "", "Print JSON.", "", false, true},
    {"help", "h", "", "Print this.", "", true, true},
    {"version", "", "", "Print the version.", "", false, false},
};

void registerMlirOptions() {
  mlir::registerAsmPrinterCLOptions();
  mlir::registerMLIRContextCLOptions();
  mlir::registerPassManagerCLOptions();
  mlir::registerDefaultTimingManagerCLOptions();
}

bool isMlirOption(StringRef name) {
  return name.starts_with("mlir-") && cl::getRegisteredOptions().count(name);
}

std::string unknownOptionHint(StringRef name) {
  SmallVector<StringRef> others;
  for (const OwnOption &option : ownOptions)
    others.push_back(option.name);
  for (const auto &option : cl::getRegisteredOptions())
    if (option.getKey().starts_with("mlir-"))
      others.push_back(option.getKey());
  llvm::sort(others);
  std::string hint = import::unknownKeyHint(name, others);
  return hint.empty() ? "; see txc --help" : hint;
}

class Parser {
public:
  Parser(int argc, char **argv, raw_ostream &errors)
      : arguments(argv + 1, argv + argc), program(argv[0]), errors(errors) {}

  std::optional<CommandLine> parse();

private:
  // Prints a mistake; its result ends the parsing.
  bool fail(const Twine &message) {
    errors << "error: " << message << '\n';
    return false;
  }
  bool parseCommand();
  static std::string commandHint(StringRef word);
  bool parseOption(StringRef name, std::optional<StringRef> value);
  bool parseOwnOption(StringRef name, std::optional<StringRef> value, bool &known);
  void askForHelp();
  bool parseStage(StringRef name, StringRef value, pipeline::Stage &stage);
  bool checkTogether();

  ArrayRef<char *> arguments;
  const char *program;
  raw_ostream &errors;
  CommandLine line;
  bool emitGiven = false;
  SmallVector<const char *> mlirArguments;
};

bool Parser::parseCommand() {
  if (arguments.empty())
    return fail("expected a command: txc compile SPEC.yaml -o step.so, txc explain SPEC.yaml, or txc --help");
  StringRef word = arguments.front();
  arguments = arguments.drop_front();
  if (word == "compile")
    line.command = Command::Compile;
  else if (word == "explain")
    line.command = Command::Explain;
  else if (word == "help" || word == "--help" || word == "-h")
    line.command = Command::Help;
  else if (word == "--version")
    line.command = Command::Version;
  else if (word == "--print-spec-reference")
    line.command = Command::SpecReference;
  else if (word == "--print-stage-reference")
    line.command = Command::StageReference;
  else
    return fail("found " + import::quoteValue(word) +
                " as command; expected compile, explain, --help or --version" + commandHint(word));
  return true;
}

std::string Parser::commandHint(StringRef word) {
  StringRef meant = word.ends_with(".yaml") ? "" : import::nearestName(word, {"compile", "explain", "help"});
  if (word.ends_with(".yaml"))
    return "; did you mean 'txc compile " + word.str() + "'?";
  return meant.empty() ? "" : "; did you mean 'txc " + meant.str() + "'?";
}

void Parser::askForHelp() {
  line.helpOn = line.command == Command::Compile   ? "compile"
                : line.command == Command::Explain ? "explain"
                                                   : "";
  line.command = Command::Help;
}

bool Parser::parseStage(StringRef name, StringRef value, pipeline::Stage &stage) {
  if (std::optional<pipeline::Stage> found = pipeline::parseStage(value)) {
    stage = *found;
    return true;
  }
  std::string words;
  for (const pipeline::StageInfo &info : pipeline::getStages())
    words += (words.empty() ? "" : ", ") + info.word.str();
  return fail("--" + name + ": found " + import::quoteValue(value) + "; expected one of " + words);
}

// `known` says whether the option is txc's own.
bool Parser::parseOwnOption(StringRef name, std::optional<StringRef> value, bool &known) {
  const OwnOption *option = llvm::find_if(ownOptions, [&](const OwnOption &o) { return o.name == name; });
  known = option != std::end(ownOptions);
  if (!known)
    return true;
  if (option->value.empty() && value)
    return fail("--" + name + " takes no value");
  if (!option->value.empty() && (!value || value->empty()))
    return fail("--" + name + ": expected --" + name + "=" + option->value);

  if (name == "help") {
    askForHelp();
  } else if (name == "version") {
    line.command = Command::Version;
  } else if (name == "json") {
    line.json = true;
  } else if (name == "output") {
    line.output = value->str();
  } else if (name == "dump-stages") {
    line.dumpStages = value->str();
  } else if (name == "target") {
    if (*value != "auto" && *value != "cpu" && !codegen::getGpuTarget(*value))
      return fail("--target: found " + import::quoteValue(*value) + "; expected auto, cpu, " +
                  llvm::join(codegen::getGpuNames(), ", "));
    line.target = value->str();
  } else if (name == "cpu") {
    if (*value != "x86-64-v3" && *value != "x86-64-v4")
      return fail("--cpu: found " + import::quoteValue(*value) + "; expected x86-64-v3 or x86-64-v4");
    line.cpu = value->str();
  } else if (name == "emit") {
    emitGiven = true;
    return parseStage(name, *value, line.emit);
  } else if (name == "from") {
    line.from.emplace();
    return parseStage(name, *value, *line.from);
  }
  return true;
}

bool Parser::parseOption(StringRef name, std::optional<StringRef> value) {
  bool known = false;
  if (!parseOwnOption(name, value, known))
    return false;
  if (known)
    return true;
  if (import::findOption(name)) {
    if (!value)
      return fail("--" + name + ": expected --" + name + "=VALUE");
    line.overrides.push_back({name.str(), value->str()});
    return true;
  }
  if (isMlirOption(name))
    return true;
  return fail("unknown option '--" + name + "'" + unknownOptionHint(name));
}

bool Parser::checkTogether() {
  bool isCompile = line.command == Command::Compile;
  if (line.input.empty())
    return fail(isCompile ? "expected a spec: txc compile SPEC.yaml -o step.so"
                          : "expected a spec or a step.so: txc explain SPEC.yaml");
  if (!isCompile && (emitGiven || line.from || !line.dumpStages.empty() || !line.output.empty()))
    return fail("explain takes neither -o nor --emit, --from and --dump-stages; they belong to txc compile");
  if (isCompile && line.json)
    return fail("--json belongs to txc explain");
  if (line.from && !line.overrides.empty())
    return fail("--" + line.overrides.front().key + ": the program is made already (--from=" +
                pipeline::getWord(*line.from) + "); keys of the spec count only with a spec as input");
  if (line.from && *line.from == pipeline::Stage::Link)
    return fail("--from=link: nothing comes after link");
  if (line.from && line.emit < *line.from)
    return fail("--emit=" + pipeline::getWord(line.emit) +
                " comes before --from=" + pipeline::getWord(*line.from));
  if (line.output.empty())
    line.output = line.emit == pipeline::Stage::Link ? "step.so" : "-";
  if (line.output == "-" && line.emit == pipeline::Stage::Link && isCompile)
    return fail("-o -: step.so is not written to standard output; expected a file name");
  return true;
}

std::optional<CommandLine> Parser::parse() {
  registerMlirOptions();
  if (!parseCommand())
    return std::nullopt;
  mlirArguments.push_back(program);
  for (size_t i = 0; i < arguments.size(); ++i) {
    StringRef argument = arguments[i];
    if (argument == "-h") {
      askForHelp();
    } else if (argument == "-o") {
      if (++i == arguments.size() || !*arguments[i]) {
        fail("-o: expected a file name");
        return std::nullopt;
      }
      line.output = arguments[i];
    } else if (argument.starts_with("--") && argument.size() > 2) {
      auto [name, value] = argument.drop_front(2).split('=');
      bool hasValue = argument.contains('=');
      if (!parseOption(name, hasValue ? std::optional(value) : std::nullopt))
        return std::nullopt;
      if (isMlirOption(name))
        mlirArguments.push_back(arguments[i]);
    } else if (argument.starts_with("-")) {
      fail("unknown option " + import::quoteValue(argument) + "; expected --name=value");
      return std::nullopt;
    } else if (line.command == Command::Help && line.helpOn.empty()) {
      line.helpOn = argument.str();
      if (argument != "compile" && argument != "explain") {
        fail("help: found " + import::quoteValue(argument) + "; expected compile or explain" +
             commandHint(argument));
        return std::nullopt;
      }
    } else if (!line.input.empty()) {
      fail("found a second input " + import::quoteValue(argument) +
           "; expected one, and options as --name=value");
      return std::nullopt;
    } else {
      line.input = argument.str();
    }
  }
  if (line.command != Command::Compile && line.command != Command::Explain)
    return line;
  if (!checkTogether())
    return std::nullopt;
  if (!cl::ParseCommandLineOptions(mlirArguments.size(), mlirArguments.data(), "", &errors))
    return std::nullopt;
  return line;
}

} // namespace

std::optional<CommandLine> parseCommandLine(int argc, char **argv, raw_ostream &errors) {
  return Parser(argc, argv, errors).parse();
}

namespace {

manual::Option optionOf(const OwnOption &own) {
  manual::Option option;
  option.name = own.name.str();
  option.letter = own.letter.str();
  option.meaning = own.meaning.str();
  option.defaultText = own.defaultText.str();
  if (own.value.empty())
    return option;
  option.value = manual::valueOf(own.value.str());
  if (own.value == "STAGE")
    for (const pipeline::StageInfo &info : pipeline::getStages())
      option.value->choices.push_back({info.word.str(), info.summary.str()});
  return option;
}

manual::Group ownGroup(bool OwnOption::*belongs) {
  manual::Group group{"Options", {}};
  for (const OwnOption &own : ownOptions)
    if (own.*belongs)
      group.options.push_back(optionOf(own));
  return group;
}

} // namespace

manual::Tool describeTool() {
  manual::Tool tool;
  tool.name = "txc";
  tool.version = TXC_VERSION;
  tool.meaning = "compiles a transformer's whole training step to one file";
  tool.separateValues = false;
  tool.examples = {{"txc compile configs/arch_llama.yaml -o step.so", ""},
                   {"txc explain configs/arch_llama.yaml --n_layer=6", ""},
                   {"txc compile --help", ""}};
  manual::Group general{"Options", {}};
  for (const OwnOption &own : ownOptions)
    if (own.name == "help" || own.name == "version")
      general.options.push_back(optionOf(own));
  tool.groups = {general};
  tool.notes = {
      "A spec is a YAML file; docs/spec.md describes it. A spec of txc's own configs is found by its "
      "name alone, as in `txc compile arch_llama`.",
      "`txrun step.so --dataset=NAME` runs what txc compiled."};
  tool.environment = {{"TXC_CONFIG_DIR",
                       "a folder in which a spec named without folder and suffix is looked for "
                       "before those that came with txc"}};
  tool.exitCodes = {{"0", "done"}, {"1", "bad input"}, {"2", "bad command line"}};
  tool.seeAlso = {"txdata", "txreport", "txrun"};

  manual::Command compile;
  compile.name = "compile";
  compile.meaning = "compiles a spec, or goes on with what a stage wrote";
  compile.usage = "SPEC.yaml [--key=value ...] [options] -o step.so";
  compile.examples = {
      {"txc compile configs/arch_llama.yaml -o step.so", "for this machine"},
      {"txc compile arch_gpt2 --position_encoding=rope --n_kv_head=4", "one of txc's configs, changed"},
      {"txc compile demo.yaml --emit=fuse -o -", "the program after the stage fuse"},
      {"txc compile fuse.mlir --from=fuse -o step.so", "go on from there"}};
  compile.operands = {{manual::valueOf("SPEC", {".yaml", ".yml", ".mlir"}),
                       "a spec: its file, or the name of one of txc's configs; with --from, an .mlir file"}};
  compile.groups = {ownGroup(&OwnOption::compiles)};
  compile.notes = {
      "In brackets are defaults; a key's default holds when the spec says nothing. MLIR's own options "
      "(--mlir-print-ir-after-all, --mlir-timing, ...) are taken too.",
      "Keys that are read when training starts, such as learning_rate, belong to txrun; see txrun --help."};
  manual::Command explain;
  explain.name = "explain";
  explain.meaning = "shows parameters, FLOPs and memory plan without running";
  explain.usage = "SPEC.yaml|step.so [--key=value ...] [--json]";
  explain.examples = {{"txc explain configs/arch_llama.yaml", ""},
                      {"txc explain arch_gpt2 --normalization=rmsnorm", "what a change does to the figures"},
                      {"txc explain step.so --json", "what is in a compiled step"}};
  explain.operands = {{manual::valueOf("SPEC", {".yaml", ".yml", ".so"}),
                       "a spec (its file, or the name of one of txc's configs) or a compiled step"}};
  explain.groups = {ownGroup(&OwnOption::explains)};
  explain.notes = {"In brackets are defaults; a key's default holds when the spec says nothing."};
  for (manual::Group &group : manual::keyGroups(manual::Keys::Compile)) {
    compile.groups.push_back(group);
    explain.groups.push_back(group);
  }
  tool.commands = {compile, explain};
  return tool;
}

void printStageReference(raw_ostream &os) {
  os << R"(# The stages

<!-- Made by `txc --print-stage-reference` from include/txc/Pipeline/Stages.def. Do not edit. -->

| stage | what it does | requires | guarantees |
|---|---|---|---|
)";
  for (const pipeline::StageInfo &info : pipeline::getStages())
    os << "| `" << info.word << "` | " << info.summary << " | " << info.requires_ << " | " << info.guarantees
       << " |\n";
}

} // namespace txc::driver
