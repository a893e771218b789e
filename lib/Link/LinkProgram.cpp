//===- LinkProgram.cpp - Write step.so -------------------------------------===//
//
// Requires: the codegen stage's guarantee: a planned step.program with the
// functions of all kernels in its step.object.
//
// 1. Tables, metadata, note and entry functions become an object (EmitTables).
// 2. ld.lld links it with the kernels' object, in a folder of its own under the
//    folder for temporary files. A failing command is shown, and the folder
//    stays so that it can be repeated.
// 3. The SHA-256 of the file goes into the note.
//
// Guarantees: one exported symbol, none undefined, no library needed, no
// executable stack; the same module gives the same bytes, since nothing in the
// file names a folder, a time or a machine.
//
//===----------------------------------------------------------------------===//

#include "EmitTables.h"

#include "txc/Link/Link.h"
#include "txc/step_abi.h"

#include "llvm/ADT/ScopeExit.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include "llvm/Support/SHA256.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"

using namespace mlir;
namespace sys = llvm::sys;

namespace txc::link {
namespace {

constexpr StringLiteral triple = "x86_64-pc-linux-gnu";

/// Every kernel phase must be a function of the object.
LogicalResult checkObject(Program &program) {
  auto object = program.object;
  if (!object)
    return success(); // codegen verified the images
  auto parsed =
      llvm::object::ObjectFile::createELFObjectFile(llvm::MemoryBufferRef(object.getCode(), "step.object"));
  if (!parsed) {
    llvm::consumeError(parsed.takeError());
    return mlir::emitError(object.getLoc())
           << "step.object does not hold an ELF object; found " << object.getCode().size() << " bytes";
  }
  llvm::StringSet<> defined;
  for (const llvm::object::SymbolRef &symbol : (*parsed)->symbols()) {
    llvm::Expected<StringRef> name = symbol.getName();
    llvm::Expected<uint32_t> flags = symbol.getFlags();
    if (name && flags && !(*flags & llvm::object::SymbolRef::SF_Undefined))
      defined.insert(*name);
    llvm::consumeError(name.takeError());
    llvm::consumeError(flags.takeError());
  }
  for (step::KernelOp kernel : program.kernels)
    for (size_t phase = 0; phase < kernel.getBlocks().size(); ++phase) {
      std::string symbol = (kernel.getSymName() + "." + Twine(phase)).str();
      if (!defined.contains(symbol))
        return mlir::emitError(kernel.getLoc())
               << "kernel '" << kernel.getSymName() << "' has no machine code: step.object does not define '"
               << symbol << "'; run the codegen stage again";
    }
  return success();
}

FailureOr<SmallString<0>> emitObject(Program &program, StringRef metadata) {
  static bool initialized = [] {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
    LLVMInitializeX86AsmParser();
    return true;
  }();
  (void)initialized;
  std::string error;
  const llvm::Target *target = llvm::TargetRegistry::lookupTarget(triple.str(), error);
  if (!target)
    return mlir::emitError(program.op.getLoc()) << "the program cannot be linked: " << error;
  // The tables of a GPU step hold no kernels: any x86-64 machine can run them.
  StringRef cpu = program.object ? program.object.getTarget() : "x86-64-v3";
  std::unique_ptr<llvm::TargetMachine> machine(
      target->createTargetMachine(triple, cpu, "", {}, llvm::Reloc::PIC_));
  llvm::LLVMContext context;
  llvm::Module module("step", context);
  module.setTargetTriple(triple);
  module.setDataLayout(machine->createDataLayout());
  module.setPICLevel(llvm::PICLevel::BigPIC);
  emitTables(module, program, metadata);
  SmallString<0> bytes;
  llvm::raw_svector_ostream os(bytes);
  llvm::legacy::PassManager passes;
  if (machine->addPassesToEmitFile(passes, os, nullptr, llvm::CodeGenFileType::ObjectFile))
    return mlir::emitError(program.op.getLoc())
           << "the program cannot be linked: LLVM has no object writer for " << triple;
  passes.run(module);
  return bytes;
}

std::string findLinker(const Options &options) {
  if (!options.linker.empty())
    return options.linker;
  if (StringRef known = TXC_LINKER; !known.empty() && sys::fs::can_execute(known))
    return known.str();
  for (StringRef name : {"ld.lld-19", "ld.lld"})
    if (auto found = sys::findProgramByName(name))
      return *found;
  return "";
}

std::string readWhole(const Twine &path) {
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/false, /*RequiresNullTerminator=*/false);
  return buffer ? (*buffer)->getBuffer().str() : "";
}

/// Runs ld.lld on the objects; returns the linked file.
FailureOr<std::string> runLinker(Program &program, StringRef tables, const Options &options) {
  auto fail = [&]() { return mlir::emitError(program.op.getLoc(), "linking failed: "); };
  std::string linker = findLinker(options);
  if (linker.empty())
    return fail() << "found no ld.lld-19 or ld.lld on PATH; install Debian's package lld-19";
  SmallString<128> folder;
  if (std::error_code error = sys::fs::createUniqueDirectory("txc-link", folder)) {
    SmallString<128> parent;
    sys::path::system_temp_directory(/*ErasedOnReboot=*/true, parent);
    return fail() << "cannot make a folder in " << parent << ": " << error.message() << "; set TMPDIR";
  }
  bool keepFolder = false;
  auto removeFolder = llvm::make_scope_exit([&] {
    if (!keepFolder)
      sys::fs::remove_directories(folder);
  });
  auto inFolder = [&](StringRef name) { return (folder + "/" + name).str(); };
  std::string tablesPath = inFolder("tables.o"), kernelsPath = inFolder("kernels.o");
  std::string exportsPath = inFolder("exports.txt"), output = inFolder("step.so"),
              messages = inFolder("ld.txt");
  std::pair<StringRef, StringRef> files[] = {{tablesPath, tables},
                                             {kernelsPath, program.object ? program.object.getCode() : ""},
                                             {exportsPath, "{ global: " TXC_QUERY_SYMBOL "; local: *; };\n"}};
  for (auto [path, contents] : files) {
    std::error_code error;
    llvm::raw_fd_ostream os(path, error);
    if (!error) {
      os << contents;
      os.close();
      error = os.error();
    }
    if (error) {
      os.clear_error();
      return fail() << "cannot write " << path << ": " << error.message();
    }
  }
  std::string script = "--version-script=" + exportsPath;
  SmallVector<StringRef> arguments = {linker,
                                      "-shared",
                                      "-m",
                                      "elf_x86_64",
                                      "--no-undefined",
                                      "-z",
                                      "noexecstack",
                                      "-z",
                                      "relro",
                                      "-z",
                                      "now",
                                      "--hash-style=gnu",
                                      "--build-id=none",
                                      "--eh-frame-hdr",
                                      script,
                                      "-o",
                                      output,
                                      tablesPath};
  if (program.object)
    arguments.push_back(kernelsPath);
  std::string error;
  std::optional<StringRef> redirects[] = {StringRef(""), StringRef(messages), StringRef(messages)};
  int status = sys::ExecuteAndWait(linker, arguments, std::nullopt, redirects, 0, 0, &error);
  if (status != 0) {
    keepFolder = true;
    InFlightDiagnostic diagnostic = fail();
    diagnostic << (error.empty() ? "ld.lld exited with status " + std::to_string(status) : error) << "\n"
               << StringRef(readWhole(messages)).rtrim();
    std::string command;
    llvm::raw_string_ostream os(command);
    llvm::interleave(
        arguments, os, [&](StringRef argument) { sys::printArg(os, argument, /*Quote=*/false); }, " ");
    diagnostic.attachNote() << "repeat it with: " << command;
    return failure();
  }
  std::string bytes = readWhole(output);
  if (bytes.empty())
    return fail() << "ld.lld wrote no " << output;
  return bytes;
}

/// Writes the hash of all bytes (itself read as zero) into the note.
LogicalResult patchHash(Program &program, std::string &bytes) {
  auto parsed = llvm::object::ObjectFile::createELFObjectFile(llvm::MemoryBufferRef(bytes, "step.so"));
  if (parsed)
    for (const llvm::object::ELFSectionRef section : (*parsed)->sections()) {
      llvm::Expected<StringRef> name = section.getName();
      llvm::Expected<StringRef> contents = section.getContents();
      constexpr size_t header = 3 * sizeof(uint32_t) + sizeof(TXC_NOTE_NAME);
      if (name && contents && *name == TXC_NOTE_SECTION && contents->size() == header + sizeof(txc_note_t)) {
        std::array<uint8_t, 32> hash = llvm::SHA256::hash(llvm::arrayRefFromStringRef(bytes));
        size_t place = contents->data() - bytes.data() + header + offsetof(txc_note_t, sha256);
        std::copy(hash.begin(), hash.end(), bytes.begin() + place);
        return success();
      }
      llvm::consumeError(name.takeError());
      llvm::consumeError(contents.takeError());
    }
  else
    llvm::consumeError(parsed.takeError());
  return mlir::emitError(program.op.getLoc(),
                         "linking failed: the linked file lacks its note " TXC_NOTE_SECTION);
}

} // namespace

FailureOr<std::string> linkProgram(ModuleOp module, const Options &options) {
  FailureOr<Program> program = readProgram(module);
  if (failed(program) || failed(checkObject(*program)))
    return failure();
  std::string text;
  llvm::raw_string_ostream(text) << llvm::json::Value(llvm::json::Object(program->description));
  FailureOr<SmallString<0>> tables = emitObject(*program, text);
  if (failed(tables))
    return failure();
  FailureOr<std::string> bytes = runLinker(*program, *tables, options);
  if (failed(bytes) || failed(patchHash(*program, *bytes)))
    return failure();
  return bytes;
}

} // namespace txc::link
