//===- CommandLine.cpp - What txc was asked to do -------------------------===//
//
// Three kinds of options meet on one command line: txc's own, the spec's keys
// (from Options.def), and MLIR's. They are told apart by name here, so that an
// unknown name is looked for among all of them, and only MLIR's reach LLVM's
// command-line library.
//
//===----------------------------------------------------------------------===//

#include "CommandLine.h"

#include "txc/Import/Options.h"
#include "txc/Support/Version.h"

#include "mlir/IR/AsmState.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Support/Timing.h"
#include "llvm/Support/CommandLine.h"

using namespace llvm;

namespace txc::driver {
namespace {

// txc's own options, for hints and --help.
struct OwnOption {
  StringRef name, value, meaning;
};
const OwnOption ownOptions[] = {
    {"output", "FILE", "where to write (also -o FILE); - is standard output"},
    {"target", "auto|cpu", "what step.so runs on; auto is this machine's best"},
    {"cpu", "LEVEL", "x86-64-v3 or x86-64-v4; this machine's level if not given"},
    {"emit", "STAGE", "stop after this stage and write its program (link: step.so)"},
    {"from", "STAGE", "the input is what --emit=STAGE wrote, edited or not: go on from there"},
    {"dump-stages", "DIR", "write the program after every stage to DIR"},
    {"json", "", "explain: print JSON"},
    {"help", "", "print this"},
    {"version", "", "print the version"},
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
  bool parseOption(StringRef name, std::optional<StringRef> value);
  bool parseOwnOption(StringRef name, std::optional<StringRef> value, bool &known);
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
                " as command; expected compile, explain, --help or --version" +
                (word.ends_with(".yaml") ? "; did you mean 'txc compile " + word.str() + "'?" : ""));
  return true;
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
    line.command = Command::Help;
  } else if (name == "version") {
    line.command = Command::Version;
  } else if (name == "json") {
    line.json = true;
  } else if (name == "output") {
    line.output = value->str();
  } else if (name == "dump-stages") {
    line.dumpStages = value->str();
  } else if (name == "target") {
    if (*value != "auto" && *value != "cpu" && *value != "sm_80" && *value != "sm_90a")
      return fail("--target: found " + import::quoteValue(*value) + "; expected auto, cpu, sm_80 or sm_90a");
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
      line.command = Command::Help;
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

void printHelp(raw_ostream &os) {
  os << getCompilerVersion() << R"(: compiles a transformer's whole training step to one file

Usage
  txc compile SPEC.yaml [--key=value ...] [options] -o step.so
  txc explain SPEC.yaml|step.so [--key=value ...] [--json]
  txrun step.so --dataset=NAME        runs it

Options
)";
  for (const OwnOption &option : ownOptions) {
    std::string name = ("--" + option.name + (option.value.empty() ? "" : "=") + option.value).str();
    os << "  " << left_justify(name, 36) << ' ' << option.meaning << '\n';
  }
  os << "  --mlir-print-ir-after-all, --mlir-timing and MLIR's other --mlir-... options\n";
  os << "\nStages, for --emit and --from\n";
  for (const pipeline::StageInfo &info : pipeline::getStages())
    os << "  " << left_justify(info.word, 36) << ' ' << info.summary << '\n';
  os << "\nKeys of the spec that txc takes as --key=value (with their defaults)\n";
  import::printOptionHelp(os, import::Tool::Compile);
  os << "\nKeys that txrun takes\n";
  import::printOptionHelp(os, import::Tool::Run);
  os << "\nExit codes: 0 done, 1 bad input, 2 bad command line. docs/spec.md describes the spec.\n";
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
