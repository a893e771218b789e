//===- Driver.cpp - The txc program ---------------------------------------===//
//
// compile: spec -> importSpec -> the stages as one pass pipeline -> step.so, or
// the program after the stage that --emit names. explain: the same up to plan,
// described; of a step.so, the description that it carries.
//
// Files appear whole or not at all: each is written beside its place and then
// renamed.
//
//===----------------------------------------------------------------------===//

#include "txc/Driver/Driver.h"
#include "CommandLine.h"

#include "txc/Codegen/Kernel.h"
#include "txc/Cost/Describe.h"
#include "txc/Cost/Theory.h"
#include "txc/Import/ImportSpec.h"
#include "txc/Import/Options.h"
#include "txc/Link/Link.h"
#include "txc/Support/Version.h"

#include "mlir/Parser/Parser.h"
#include "mlir/Pass/Pass.h"
#include "mlir/Pass/PassManager.h"
#include "mlir/Support/Timing.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/BinaryFormat/Magic.h"
#include "llvm/Config/llvm-config.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"

#include <cstdlib>

using namespace mlir;
using txc::pipeline::Stage;

namespace txc::driver {
namespace {

raw_ostream &error() { return llvm::errs() << "error: "; }

//===----------------------------------------------------------------------===//
// Text out
//===----------------------------------------------------------------------===//

// Locations are the paths of values: without them the text could not be read
// back as the same program.
void printModule(ModuleOp module, raw_ostream &os) {
  module.print(os, OpPrintingFlags().enableDebugInfo());
  os << '\n';
}

// Calls `print` on a file that appears at `path` only once it is whole. A device
// or a pipe is written to directly: it cannot be replaced.
LogicalResult write(StringRef path, llvm::function_ref<void(raw_ostream &)> print) {
  auto fail = [&](std::error_code code) {
    error() << "cannot write " << (path == "-" ? "standard output" : path) << ": " << code.message() << '\n';
    return failure();
  };
  // Ends a stream; a full disk shows here.
  auto finish = [&](llvm::raw_fd_ostream &os) {
    print(os);
    os.flush();
    std::error_code code = os.error();
    os.clear_error();
    return code;
  };
  llvm::sys::fs::file_status status;
  bool exists = path != "-" && !llvm::sys::fs::status(path, status);
  if (exists && llvm::sys::fs::is_directory(status))
    return fail(std::make_error_code(std::errc::is_a_directory));
  if (path == "-" || (exists && !llvm::sys::fs::is_regular_file(status))) {
    std::error_code code;
    llvm::raw_fd_ostream os(path, code, llvm::sys::fs::CD_OpenAlways);
    if (!code)
      code = finish(os);
    return code ? fail(code) : success();
  }
  auto mode = static_cast<unsigned>(llvm::sys::fs::all_read | llvm::sys::fs::all_write);
  llvm::Expected<llvm::sys::fs::TempFile> file = llvm::sys::fs::TempFile::create(path + ".%%%%%%.tmp", mode);
  if (!file)
    return fail(llvm::errorToErrorCode(file.takeError()));
  std::error_code code;
  {
    llvm::raw_fd_ostream os(file->FD, /*shouldClose=*/false);
    code = finish(os);
  }
  if (!code)
    code = llvm::errorToErrorCode(file->keep(path));
  else
    llvm::consumeError(file->discard());
  return code ? fail(code) : success();
}

LogicalResult writeModule(ModuleOp module, StringRef path) {
  return write(path, [&](raw_ostream &os) { printModule(module, os); });
}

// Writes the program after a stage, for --dump-stages.
class DumpStage : public PassWrapper<DumpStage, OperationPass<ModuleOp>> {
public:
  MLIR_DEFINE_EXPLICIT_INTERNAL_INLINE_TYPE_ID(DumpStage)
  explicit DumpStage(std::string path) : path(std::move(path)) {}
  StringRef getArgument() const override { return "dump-stage"; }
  void runOnOperation() override {
    if (failed(writeModule(getOperation(), path)))
      signalPassFailure();
    markAllAnalysesPreserved();
  }

private:
  std::string path;
};

// The path of a value, or the place in an .mlir file.
void printLocation(Location loc, raw_ostream &os) {
  if (auto name = dyn_cast<NameLoc>(loc))
    os << name.getName().getValue() << ": ";
  else if (auto file = dyn_cast<FileLineColLoc>(loc))
    os << file.getFilename().getValue() << ':' << file.getLine() << ':' << file.getColumn() << ": ";
  else if (auto fused = dyn_cast<FusedLoc>(loc); fused && !fused.getLocations().empty())
    printLocation(fused.getLocations().front(), os);
  else if (auto call = dyn_cast<CallSiteLoc>(loc))
    printLocation(call.getCallee(), os);
}

void printDiagnostic(Diagnostic &diagnostic) {
  printLocation(diagnostic.getLocation(), llvm::errs());
  switch (diagnostic.getSeverity()) {
  case DiagnosticSeverity::Error:
    llvm::errs() << "error: ";
    break;
  case DiagnosticSeverity::Warning:
    llvm::errs() << "warning: ";
    break;
  default:
    llvm::errs() << "note: ";
  }
  llvm::errs() << diagnostic << '\n';
  for (Diagnostic &note : diagnostic.getNotes())
    printDiagnostic(note);
}

//===----------------------------------------------------------------------===//
// What this version can compile
//===----------------------------------------------------------------------===//

// Settles `auto` and refuses what has no code behind it yet.
LogicalResult checkSupported(const codegen::Target &target, import::Spec &spec) {
  auto notBuilt = [](const Twine &what, StringRef expected) {
    error() << what << " is not built yet in this version; expected " << expected << '\n';
    return failure();
  };
  if (spec.recompute == import::Recompute::Block)
    return notBuilt("recompute: block", "auto, none or pointwise");
  if (spec.dtype == import::DType::BFloat16 && !target.isGpu())
    return notBuilt("dtype: bfloat16 on the CPU", "auto or float32");
  import::settleForTarget(spec, target.isGpu());
  return success();
}

/// What --target and --cpu ask for; `auto` is this machine's GPU, else its CPU.
FailureOr<codegen::Target> findTarget(const CommandLine &line) {
  std::string name = line.target;
  if (name == "auto") {
    std::string gpu = line.cpu.empty() ? codegen::findHostGpu() : "";
    name = gpu.empty() ? "cpu" : gpu;
  }
  if (name == "cpu") {
    name = line.cpu;
  } else if (!line.cpu.empty()) {
    error() << "--cpu=" << line.cpu << " counts only with --target=cpu, found --target=" << line.target
            << '\n';
    return failure();
  }
  std::string message;
  FailureOr<codegen::Target> target = codegen::getTarget(name, message);
  if (failed(target))
    error() << message << '\n';
  return target;
}

//===----------------------------------------------------------------------===//
// Stages
//===----------------------------------------------------------------------===//

// A module and what it was compiled for.
struct Session {
  explicit Session(const DialectRegistry &registry) : context(registry) {
    context.getDiagEngine().registerHandler([](Diagnostic &diagnostic) {
      printDiagnostic(diagnostic);
      return success();
    });
  }
  MLIRContext context;
  OwningOpRef<ModuleOp> module;
  codegen::Target target;
};

// The folders in which a spec is found by its name alone: the user's, and that of
// the configs that came with txc, in share beside bin.
SmallVector<std::string> configFolders() {
  SmallVector<std::string> folders;
  if (const char *folder = std::getenv("TXC_CONFIG_DIR"))
    folders.push_back(folder);
  static int anchor;
  std::string program = llvm::sys::fs::getMainExecutable(nullptr, &anchor);
  SmallString<256> share(llvm::sys::path::parent_path(llvm::sys::path::parent_path(program)));
  llvm::sys::path::append(share, "share", "txc", "configs");
  folders.push_back(share.str().str());
  return folders;
}

// The file of a spec. A word that is no file and has neither folder nor a suffix of
// ours is the name of a config: so is llama_1.4b.
FailureOr<std::string> findSpec(StringRef input) {
  static constexpr StringRef suffixes[] = {".yaml", ".yml", ".json", ".mlir", ".so"};
  if (llvm::sys::fs::exists(input) || input.contains('/') ||
      llvm::is_contained(suffixes, llvm::sys::path::extension(input)))
    return input.str();
  std::vector<std::string> names;
  for (const std::string &folder : configFolders()) {
    std::error_code code;
    for (llvm::sys::fs::directory_iterator it(folder, code), end; !code && it != end; it.increment(code)) {
      if (llvm::sys::path::extension(it->path()) != ".yaml")
        continue;
      names.push_back(llvm::sys::path::stem(it->path()).str());
      if (names.back() == input)
        return it->path();
    }
  }
  SmallVector<StringRef> candidates(names.begin(), names.end());
  llvm::sort(candidates);
  StringRef nearest = import::nearestName(input, candidates);
  error() << input << ": no such file, and no config of this name in " << llvm::join(configFolders(), ", ")
          << (nearest.empty() ? "" : ("; did you mean '" + nearest + "'?").str()) << '\n';
  return failure();
}

ExitCode loadModule(const CommandLine &line, Session &session) {
  if (line.from) {
    if (llvm::sys::fs::is_directory(line.input)) {
      error() << line.input
              << ": is a folder; expected an .mlir file that --emit=" << pipeline::getWord(*line.from)
              << " wrote\n";
      return BadInput;
    }
    session.module = parseSourceFile<ModuleOp>(line.input, &session.context);
    return session.module ? Ok : BadInput;
  }
  FailureOr<std::string> path = findSpec(line.input);
  if (failed(path))
    return BadInput;
  import::Spec spec;
  switch (import::loadSpec(*path, line.overrides, llvm::errs(), spec)) {
  case import::LoadStatus::BadSpec:
    return BadInput;
  case import::LoadStatus::BadUsage:
    return BadUsage;
  case import::LoadStatus::Ok:
    break;
  }
  if (failed(checkSupported(session.target, spec)))
    return BadInput;
  session.module = import::importSpec(session.context, spec);
  return Ok;
}

// What the stages need to know of the spec that the module carries.
pipeline::Options getOptions(const Session &session) {
  pipeline::Options options;
  options.target = session.target.isa().str();
  options.fuse.rotateInAttention = session.target.isGpu() && session.target.gpu->hasWgmma;
  options.fuse.sumInProducts = session.target.isGpu();
  auto text = (*session.module)->getAttrOfType<StringAttr>(import::configAttrName);
  llvm::Expected<llvm::json::Value> config = llvm::json::parse(text ? text.getValue() : "{}");
  if (!config) {
    llvm::consumeError(config.takeError());
    return options;
  }
  auto section = [&](StringRef name) {
    return config->getAsObject() ? config->getAsObject()->getObject(name) : nullptr;
  };
  if (const llvm::json::Object *model = section("model"))
    options.fuse.expandAttention =
        model->getString("attention_backend") == import::stringify(import::AttentionBackend::Manual);
  if (const llvm::json::Object *train = section("train")) {
    options.fuse.rematerialize = train->getString("recompute") == import::stringify(import::Recompute::Pointwise);
    options.fuse.lossChunks = train->getInteger("loss_chunks").value_or(1);
  }
  if (const llvm::json::Object *parallel = section("parallel")) {
    options.shard.mesh = parallel->getString("mesh").value_or(options.shard.mesh);
    options.shard.zero = parallel->getInteger("zero").value_or(options.shard.zero);
    options.shard.bucketMb = parallel->getInteger("bucket_mb").value_or(options.shard.bucketMb);
  }
  return options;
}

// Runs the stages up to `last`.
LogicalResult runStages(const CommandLine &line, Session &session, Stage last) {
  if (!line.dumpStages.empty()) {
    if (std::error_code code = llvm::sys::fs::create_directories(line.dumpStages)) {
      error() << "cannot make the folder " << line.dumpStages << ": " << code.message() << '\n';
      return failure();
    }
  }
  // Declared first, so that it outlives the pass manager that reports to it.
  DefaultTimingManager timing;
  applyDefaultTimingManagerCLOptions(timing);
  TimingScope timingScope = timing.getRootScope();
  PassManager pm(&session.context);
  if (failed(applyPassManagerCLOptions(pm)))
    return failure();
  pm.enableTiming(timingScope);
  pipeline::Options options = getOptions(session);
  for (const pipeline::StageInfo &info : pipeline::getStages()) {
    if (info.stage > last || info.stage == Stage::Link)
      break;
    // The input of --from is what that stage made: only its promise is checked.
    if (line.from && info.stage < *line.from)
      continue;
    if (line.from && info.stage == *line.from)
      pipeline::buildVerifier(pm, info.stage);
    else
      pipeline::buildStage(pm, info.stage, options);
    if (!line.dumpStages.empty()) {
      SmallString<128> path(line.dumpStages);
      llvm::sys::path::append(path, Twine(static_cast<int>(info.stage)) + "-" + info.word + ".mlir");
      pm.addPass(std::make_unique<DumpStage>(path.str().str()));
    }
  }
  return pm.run(*session.module);
}

ExitCode setUp(const CommandLine &line, Session &session) {
  FailureOr<codegen::Target> target = findTarget(line);
  if (failed(target))
    return BadInput;
  session.target = *target;
  return loadModule(line, session);
}

DialectRegistry makeRegistry() {
  DialectRegistry registry;
  pipeline::registerDialects(registry);
  return registry;
}

step::ProgramOp findProgram(ModuleOp module) {
  auto programs = module.getOps<step::ProgramOp>();
  return programs.empty() ? step::ProgramOp() : *programs.begin();
}

//===----------------------------------------------------------------------===//
// Commands
//===----------------------------------------------------------------------===//

ExitCode compile(const CommandLine &line) {
  if (line.output != "-" && llvm::sys::fs::equivalent(line.input, line.output)) {
    error() << "-o " << line.output << " is the input; expected another file\n";
    return BadUsage;
  }
  Session session(makeRegistry());
  if (ExitCode code = setUp(line, session); code != Ok)
    return code;
  if (failed(runStages(line, session, line.emit)))
    return BadInput;
  if (line.emit != Stage::Link)
    return succeeded(writeModule(*session.module, line.output)) ? Ok : BadInput;
  FailureOr<std::string> bytes = link::linkProgram(*session.module);
  if (failed(bytes))
    return BadInput;
  return succeeded(write(line.output, [&](raw_ostream &os) { os << *bytes; })) ? Ok : BadInput;
}

ExitCode printResult(const CommandLine &line, llvm::json::Object description) {
  // Not in step.so: the table of GPUs may grow after it was compiled.
  if (line.json) {
    description["theory"] = cost::describeTheory(description);
    llvm::outs() << llvm::formatv("{0:2}", llvm::json::Value(std::move(description))) << '\n';
  } else {
    cost::printDescription(description, llvm::outs());
  }
  return Ok;
}

ExitCode explainFile(const CommandLine &line, llvm::MemoryBufferRef buffer) {
  if (!line.overrides.empty()) {
    error() << "--" << line.overrides.front().key << ": " << line.input
            << " is compiled already; keys count only with a spec as input\n";
    return BadUsage;
  }
  llvm::Expected<std::string> text = link::readMetadata(buffer);
  if (!text) {
    error() << line.input << ": " << llvm::toString(text.takeError()) << '\n';
    return BadInput;
  }
  llvm::Expected<llvm::json::Value> value = llvm::json::parse(*text);
  if (!value || !value->getAsObject()) {
    if (!value)
      llvm::consumeError(value.takeError());
    error() << line.input << ": its metadata is not a JSON object; compile it again\n";
    return BadInput;
  }
  return printResult(line, std::move(*value->getAsObject()));
}

ExitCode explain(const CommandLine &line) {
  // An ELF file is a step.so; anything else is read as a spec, which says what
  // is wrong with it.
  llvm::file_magic magic;
  if (!llvm::sys::fs::is_directory(line.input) && !llvm::identify_magic(line.input, magic) &&
      magic.is_object()) {
    llvm::ErrorOr<std::unique_ptr<llvm::MemoryBuffer>> buffer = llvm::MemoryBuffer::getFile(line.input);
    if (!buffer) {
      error() << line.input << ": " << buffer.getError().message() << '\n';
      return BadInput;
    }
    return explainFile(line, (*buffer)->getMemBufferRef());
  }
  Session session(makeRegistry());
  if (ExitCode code = setUp(line, session); code != Ok)
    return code;
  if (failed(runStages(line, session, Stage::Plan)))
    return BadInput;
  step::ProgramOp program = findProgram(*session.module);
  if (!program) {
    error() << line.input << ": the plan stage made no step.program\n";
    return BadInput;
  }
  return printResult(line, cost::describeModule(*session.module, program, session.target.name()));
}

} // namespace

int run(int argc, char **argv) {
  if (argc == 2)
    if (std::optional<std::string> text = manual::printed(describeTool(), argv[1])) {
      llvm::outs() << *text;
      return Ok;
    }
  std::optional<CommandLine> line = parseCommandLine(argc, argv, llvm::errs());
  if (!line)
    return BadUsage;
  switch (line->command) {
  case Command::Help:
    llvm::outs() << manual::helpText(describeTool(), line->helpOn);
    return Ok;
  case Command::Version:
    llvm::outs() << getCompilerVersion() << " (LLVM " LLVM_VERSION_STRING ")\n";
    return Ok;
  case Command::SpecReference:
    import::printSpecReference(llvm::outs());
    return Ok;
  case Command::StageReference:
    printStageReference(llvm::outs());
    return Ok;
  case Command::Compile:
    return compile(*line);
  case Command::Explain:
    return explain(*line);
  }
  return BadUsage;
}

} // namespace txc::driver
