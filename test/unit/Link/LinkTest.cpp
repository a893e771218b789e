//===- LinkTest.cpp - step.so as the runtime sees it -----------------------===//
//
// Links a small program written by hand, reads the file, loads it and runs its
// entries on a device that only notes what it is asked to do.
//
//===----------------------------------------------------------------------===//

#include "txc/Link/Link.h"
#include "txc/Cost/Describe.h"
#include "txc/Dialect/Step/Step.h"
#include "txc/Dialect/Tx/Tx.h"
#include "txc/step_abi.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/MLIRContext.h"
#include "mlir/Parser/Parser.h"
#include "llvm/AsmParser/Parser.h"
#include "llvm/IR/LLVMContext.h"
#include "llvm/IR/LegacyPassManager.h"
#include "llvm/IR/Module.h"
#include "llvm/MC/TargetRegistry.h"
#include "llvm/Object/ELFObjectFile.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/SHA256.h"
#include "llvm/Support/SourceMgr.h"
#include "llvm/Support/TargetSelect.h"
#include "llvm/Target/TargetMachine.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <dlfcn.h>

using namespace mlir;
using namespace txc;
namespace sys = llvm::sys;

namespace {

/// Two kernels, one of two phases. `fill.1` needs memset.
constexpr const char *kernels = R"(
declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)
define void @twice.0(ptr %arena, ptr %offsets, i64 %begin, i64 %end) {
  %from = load i64, ptr %offsets
  %to.place = getelementptr i64, ptr %offsets, i64 1
  %to = load i64, ptr %to.place
  %source = getelementptr i8, ptr %arena, i64 %from
  %target = getelementptr i8, ptr %arena, i64 %to
  %value = load float, ptr %source
  %sum = fadd float %value, %value
  store float %sum, ptr %target
  ret void
}
define void @clear.0(ptr %arena, ptr %offsets, i64 %begin, i64 %end) {
  ret void
}
define void @clear.1(ptr %arena, ptr %offsets, i64 %begin, i64 %end) {
  %to = load i64, ptr %offsets
  %target = getelementptr i8, ptr %arena, i64 %to
  call void @llvm.memset.p0.i64(ptr %target, i8 0, i64 %end, i1 false)
  ret void
}
)";

constexpr const char *programText = R"(
module @small attributes {tx.config = "{\22model\22:{\22vocab_size\22:11},\22train\22:{\22ignore_index\22:-5}}", tx.architecture = "1L"} {
  tx.param @w.weight : tensor<3x4xf32> init = normal(2.0e-2) site = 0 decay
  tx.param @wpe.weight : tensor<2x4xf32> init = zeros(0.0) site = 1 decay
  step.program @small arena_bytes 4096 lower_bound 1024 {
    step.alloc @tokens tokens : tensor<3x2xi32> bytes 24 offset 0
    step.alloc @w.weight param : tensor<3x4xf32> bytes 48 offset 64
    step.alloc @wpe.weight param : tensor<2x4xf32> bytes 32 offset 128
    step.alloc @x activation : tensor<6x4xf32> bytes 96 offset 192 in @micro
    step.alloc @y activation : tensor<6x3xf32> bytes 72 offset 320 in @micro
    step.alloc @z activation : tensor<1x1x1x1x6x3xf32> bytes 72 offset 448 in @micro
    step.kernel @twice "row_wise" blocks [7] {
    }
    step.kernel @clear "row_wise" blocks [2, 5] {
    }
    step.entry @init {
      step.fill "w.weight" @w.weight value 3
    }
    step.entry @micro {
      step.launch "clear.x" @clear [@x] offsets [0] inputs 0
      step.gemm "layer" @x, @w.weight transposed, @y m 6 n 3 k 4
        {op = "linear", flops_full = 144 : i64, flops_causal = 72 : i64}
      step.gemm "layer" @y transposed, @x, @w.weight accumulate m 3 n 4 k 6
      step.launch "twice.y" @twice [@y, @z] offsets [4, 8] inputs 1
    }
    OBJECT
  }
}
)";

constexpr const char *ranksText = R"(
module @ranks {
  tx.param @w.weight : tensor<10x10xf32> init = normal(2.0e-2) site = 0 decay
  step.program @ranks arena_bytes 4096 lower_bound 1024 num_ranks 2 zero_level 1 {
    step.alloc @w.weight param : tensor<64xf32> bytes 256 shard_of 100 offset 0
    step.alloc @w.grad grad : tensor<100xf32> bytes 400 slot 512 offset 256
    step.alloc @w.grad_shard grad_shard : tensor<64xf32> bytes 256 shard_of 100 offset 768
    step.alloc @loss loss : tensor<2xf32> bytes 8 offset 1024
    step.kernel @twice "row_wise" blocks [7] {
    }
    step.kernel @clear "row_wise" blocks [2, 5] {
    }
    step.entry @micro {
      step.collective "gradients" exchange [@w.grad] to [@w.grad_shard] counts [64] event 0
      step.collective "loss" all_reduce by max [@loss, @loss] to [@loss, @loss] counts [1, 1] offsets [0, 0, 4, 4] event 2
      step.wait 2
      step.wait 0
    }
    OBJECT
  }
}
)";

std::string compile(const char *text) {
  llvm::InitializeNativeTarget();
  llvm::InitializeNativeTargetAsmPrinter();
  llvm::LLVMContext context;
  llvm::SMDiagnostic error;
  auto module = llvm::parseAssemblyString(text, error, context);
  EXPECT_TRUE(module) << error.getMessage().str();
  std::string why;
  const llvm::Target *target = llvm::TargetRegistry::lookupTarget("x86_64-pc-linux-gnu", why);
  std::unique_ptr<llvm::TargetMachine> machine(
      target->createTargetMachine("x86_64-pc-linux-gnu", "x86-64", "", {}, llvm::Reloc::PIC_));
  module->setTargetTriple("x86_64-pc-linux-gnu");
  module->setDataLayout(machine->createDataLayout());
  llvm::SmallString<0> bytes;
  llvm::raw_svector_ostream os(bytes);
  llvm::legacy::PassManager passes;
  EXPECT_FALSE(machine->addPassesToEmitFile(passes, os, nullptr, llvm::CodeGenFileType::ObjectFile));
  passes.run(*module);
  return bytes.str().str();
}

class Link : public testing::Test {
protected:
  Link() {
    context.loadDialect<tx::TxDialect, step::StepDialect, arith::ArithDialect, func::FuncDialect>();
    context.getDiagEngine().registerHandler([this](Diagnostic &diagnostic) {
      errors += diagnostic.str() + "\n";
      for (Diagnostic &note : diagnostic.getNotes())
        errors += "note: " + note.str() + "\n";
      return success();
    });
  }
  void SetUp() override {
    if (const char *now = std::getenv("TMPDIR"))
      temporary = now;
    ASSERT_FALSE(sys::fs::createUniqueDirectory("txc-link-test", folder));
    setenv("TMPDIR", folder.c_str(), 1); // what failing links keep is removed with it
    module = parse(compile(kernels));
    ASSERT_TRUE(module) << errors;
  }
  void TearDown() override {
    temporary.empty() ? unsetenv("TMPDIR") : setenv("TMPDIR", temporary.c_str(), 1);
    sys::fs::remove_directories(folder);
  }

  static std::string quoted(llvm::StringRef object) {
    std::string text;
    llvm::raw_string_ostream os(text);
    os << "step.object \"x86-64-v3\" \"";
    for (unsigned char byte : object)
      os << '\\' << llvm::format_hex_no_prefix(byte, 2, /*Upper=*/true);
    os << '"';
    return text;
  }
  OwningOpRef<ModuleOp> parse(llvm::StringRef object) {
    std::string text = programText, word = "OBJECT";
    text.replace(text.find(word), word.size(), object.empty() ? "" : quoted(object));
    return parseSourceString<ModuleOp>(text, &context);
  }
  std::string linked() {
    FailureOr<std::string> bytes = link::linkProgram(*module);
    EXPECT_TRUE(succeeded(bytes)) << errors;
    return succeeded(bytes) ? *bytes : "";
  }
  std::string write(llvm::StringRef bytes) {
    std::string path = (folder + "/step.so").str();
    std::error_code error;
    llvm::raw_fd_ostream(path, error) << bytes;
    return path;
  }

  MLIRContext context;
  std::string errors, temporary;
  llvm::SmallString<64> folder;
  OwningOpRef<ModuleOp> module;
};

/// Notes commands; kernels run.
struct NotingDevice {
  std::vector<std::string> seen;
  std::vector<const txc_gemm_t *> gemms;
  std::vector<const txc_launch_t *> launches;
  const txc_fill_t *fill = nullptr;
  std::vector<const txc_collective_t *> collectives;
  std::vector<uint32_t> waits; ///< events
  int failAt = -1;
  txc_device_t table{
      sizeof(txc_device_t), TXC_STEP_ABI_VERSION, this, launch, gemm, doFill, collective, wait};

  int32_t note(const char *name) {
    seen.push_back(name);
    return static_cast<int>(seen.size()) - 1 == failAt ? 42 : 0;
  }
  static int32_t launch(void *self, char *arena, const txc_launch_t *command) {
    auto *device = static_cast<NotingDevice *>(self);
    device->launches.push_back(command);
    command->kernel(arena, command->offsets, 0, command->blocks);
    return device->note(command->name);
  }
  static int32_t gemm(void *self, char *arena, const txc_gemm_t *command) {
    auto *device = static_cast<NotingDevice *>(self);
    device->gemms.push_back(command);
    return device->note(command->name);
  }
  static int32_t doFill(void *self, char *arena, const txc_fill_t *command) {
    static_cast<NotingDevice *>(self)->fill = command;
    return static_cast<NotingDevice *>(self)->note(command->name);
  }
  static int32_t collective(void *self, char *arena, const txc_collective_t *command) {
    static_cast<NotingDevice *>(self)->collectives.push_back(command);
    return static_cast<NotingDevice *>(self)->note(command->name);
  }
  static int32_t wait(void *self, char *arena, const txc_wait_t *command) {
    static_cast<NotingDevice *>(self)->waits.push_back(command->event);
    return static_cast<NotingDevice *>(self)->note(command->name);
  }
};

TEST_F(Link, TablesAndEntriesSayWhatTheProgramSays) {
  std::string path = write(linked());
  void *library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  ASSERT_TRUE(library) << dlerror();
  auto query = reinterpret_cast<txc_step_query_fn>(dlsym(library, TXC_QUERY_SYMBOL));
  ASSERT_TRUE(query);
  EXPECT_EQ(query(TXC_STEP_ABI_VERSION + 1), nullptr);
  const txc_step_t *step = query(TXC_STEP_ABI_VERSION);
  ASSERT_TRUE(step);
  EXPECT_EQ(step->struct_size, sizeof(txc_step_t));
  EXPECT_STREQ(step->target, "cpu:x86-64-v3");
  EXPECT_EQ(step->arena_bytes, 4096u);
  EXPECT_EQ(step->arena_lower_bound, 1024u);
  EXPECT_EQ(step->batch_size, 3);
  EXPECT_EQ(step->block_size, 2);
  EXPECT_EQ(step->vocab_size, 11);
  EXPECT_EQ(step->ignore_index, -5);
  EXPECT_EQ(step->num_parameters, 20u);
  EXPECT_EQ(step->flops_per_token_full, 24u);
  EXPECT_EQ(step->flops_per_token_causal, 12u);
  ASSERT_EQ(step->num_flops, 1u);
  EXPECT_STREQ(step->flops[0].op, "linear");
  ASSERT_EQ(step->num_kernels, 3u); // one per phase
  EXPECT_STREQ(step->kernels[2].name, "clear.1");

  ASSERT_EQ(step->num_buffers, 6u);
  EXPECT_STREQ(step->buffers[1].name, "w.weight");
  EXPECT_EQ(step->buffers[1].kind, TXC_BUFFER_PARAM);
  EXPECT_EQ(step->buffers[1].entry, UINT32_MAX);
  EXPECT_EQ(step->buffers[0].dtype, TXC_DTYPE_I32);
  // A launch of two phases is two commands.
  const txc_buffer_t &x = step->buffers[3], &y = step->buffers[4], &z = step->buffers[5];
  EXPECT_EQ(x.entry, 1u);
  EXPECT_EQ(x.begin, 0u);
  EXPECT_EQ(x.end, 3u);
  EXPECT_EQ(y.begin, 2u);
  EXPECT_EQ(y.end, 4u);
  EXPECT_EQ(z.rank, 4u);
  EXPECT_EQ(z.shape[2], 6);
  EXPECT_EQ(z.shape[3], 3);

  ASSERT_EQ(step->num_entries, 2u);
  const txc_entry_t &init = step->entries[0], &micro = step->entries[1];
  EXPECT_STREQ(micro.name, "micro");
  EXPECT_EQ(micro.num_commands, 5u);
  alignas(64) float arena[1024];
  for (float &value : arena)
    value = 9;
  NotingDevice device;
  EXPECT_EQ(init.run(&device.table, reinterpret_cast<char *>(arena)), 0);
  ASSERT_TRUE(device.fill);
  EXPECT_EQ(device.fill->offset, 64u);
  EXPECT_EQ(device.fill->bytes, 48u);
  EXPECT_EQ(device.fill->value, 3);
  device.seen.clear();
  EXPECT_EQ(micro.run(&device.table, reinterpret_cast<char *>(arena)), 0);
  EXPECT_EQ(device.seen, (std::vector<std::string>{"clear.x", "clear.x", "layer", "layer", "twice.y"}));
  EXPECT_EQ(device.launches[0]->blocks, 2);
  EXPECT_EQ(device.launches[1]->blocks, 5);
  EXPECT_EQ(device.launches[2]->kernel_index, 0u);
  EXPECT_EQ(device.launches[2]->num_args, 2u);
  EXPECT_EQ(arena[(448 + 8) / 4], 18); // twice.y
  char *cleared = reinterpret_cast<char *>(arena) + 192;
  EXPECT_EQ(cleared[4], 0); // memset of 5 bytes
  EXPECT_NE(cleared[7], 0);
  const txc_gemm_t &forward = *device.gemms[0], &weight = *device.gemms[1];
  EXPECT_EQ(std::make_tuple(forward.transpose_a, forward.transpose_b, forward.accumulate),
            std::make_tuple(0u, 1u, uint32_t(TXC_ACCUMULATE_NEVER)));
  EXPECT_EQ(std::make_tuple(forward.lda, forward.ldb, forward.ldc), std::make_tuple(4, 4, 3));
  EXPECT_EQ(std::make_tuple(forward.a, forward.b, forward.c), std::make_tuple(192u, 64u, 320u));
  EXPECT_EQ(std::make_tuple(weight.transpose_a, weight.transpose_b, weight.accumulate),
            std::make_tuple(1u, 0u, uint32_t(TXC_ACCUMULATE_ALWAYS)));
  EXPECT_EQ(std::make_tuple(weight.lda, weight.ldb, weight.ldc), std::make_tuple(3, 4, 4));

  // A status that is not 0 ends the entry.
  NotingDevice failing;
  failing.failAt = 2;
  EXPECT_EQ(micro.run(&failing.table, reinterpret_cast<char *>(arena)), 42);
  EXPECT_EQ(failing.seen.size(), 3u);
  dlclose(library);
}

TEST_F(Link, Collectives) {
  std::string text = ranksText;
  module =
      parseSourceString<ModuleOp>(text.replace(text.find("OBJECT"), 6, quoted(compile(kernels))), &context);
  ASSERT_TRUE(module) << errors;
  void *library = dlopen(write(linked()).c_str(), RTLD_NOW | RTLD_LOCAL);
  ASSERT_TRUE(library) << dlerror();
  auto query = reinterpret_cast<txc_step_query_fn>(dlsym(library, TXC_QUERY_SYMBOL));
  const txc_step_t *step = query(TXC_STEP_ABI_VERSION);
  ASSERT_TRUE(step);
  EXPECT_EQ(step->num_ranks, 2u);
  EXPECT_EQ(step->zero_level, 1u);
  EXPECT_EQ(step->num_events, 3u);
  EXPECT_EQ(step->buffers[0].full_elements, 100u);
  EXPECT_EQ(step->buffers[1].full_elements, 0u);
  EXPECT_EQ(step->buffers[1].bytes, 400u); // without the padding of its slot
  NotingDevice device;
  EXPECT_EQ(step->entries[0].run(&device.table, nullptr), 0);
  EXPECT_EQ(device.seen, (std::vector<std::string>{"gradients", "loss", "loss", "gradients"}));
  EXPECT_EQ(device.waits, (std::vector<uint32_t>{2, 0}));
  ASSERT_EQ(device.collectives.size(), 2u);
  const txc_collective_t &gradients = *device.collectives[0], &loss = *device.collectives[1];
  EXPECT_EQ(gradients.kind, uint32_t(TXC_COLLECTIVE_EXCHANGE));
  EXPECT_EQ(gradients.dtype, uint32_t(TXC_DTYPE_F32));
  EXPECT_EQ(gradients.event, 0u);
  ASSERT_EQ(gradients.num_parts, 1u);
  EXPECT_EQ(std::make_tuple(gradients.parts[0].send, gradients.parts[0].receive, gradients.parts[0].count),
            std::make_tuple(256u, 768u, 64u));
  EXPECT_EQ(loss.kind, uint32_t(TXC_COLLECTIVE_ALL_REDUCE));
  EXPECT_EQ(loss.op, uint32_t(TXC_REDUCE_MAX));
  ASSERT_EQ(loss.num_parts, 2u);
  EXPECT_EQ(std::make_tuple(loss.parts[1].send, loss.parts[1].receive, loss.parts[1].count),
            std::make_tuple(1028u, 1028u, 1u));
  dlclose(library);
}

TEST_F(Link, FileNeedsNothingAndExportsOneSymbol) {
  std::string bytes = linked();
  auto parsed = llvm::object::ObjectFile::createELFObjectFile(llvm::MemoryBufferRef(bytes, "step.so"));
  ASSERT_TRUE(static_cast<bool>(parsed));
  auto *elf = llvm::cast<llvm::object::ELF64LEObjectFile>(parsed->get());
  std::vector<std::string> dynamic;
  for (const llvm::object::SymbolRef &symbol : elf->getDynamicSymbolIterators())
    if (auto name = llvm::cantFail(symbol.getName()); !name.empty())
      dynamic.push_back(name.str());
  EXPECT_EQ(dynamic, std::vector<std::string>{TXC_QUERY_SYMBOL});
  for (const auto &entry : llvm::cantFail(elf->getELFFile().dynamicEntries()))
    EXPECT_NE(entry.getTag(), llvm::ELF::DT_NEEDED);
  bool note = false, stack = false;
  for (const auto &header : llvm::cantFail(elf->getELFFile().program_headers())) {
    note |= header.p_type == llvm::ELF::PT_NOTE;
    if (header.p_type == llvm::ELF::PT_GNU_STACK) {
      stack = true;
      EXPECT_EQ(header.p_flags & llvm::ELF::PF_X, 0u);
    }
  }
  EXPECT_TRUE(note);
  EXPECT_TRUE(stack);
}

TEST_F(Link, NoteHoldsTheHash) {
  std::string bytes = linked();
  uint64_t magic = TXC_NOTE_MAGIC;
  size_t place = bytes.find(std::string(reinterpret_cast<char *>(&magic), 8));
  ASSERT_NE(place, std::string::npos);
  txc_note_t note;
  memcpy(&note, &bytes[place], sizeof(note));
  EXPECT_EQ(note.abi_version, TXC_STEP_ABI_VERSION);
  EXPECT_EQ(note.target_kind, uint32_t(TXC_TARGET_CPU_X86_64));
  EXPECT_EQ(note.target_level, 3u);
  memset(&bytes[place + offsetof(txc_note_t, sha256)], 0, 32);
  std::array<uint8_t, 32> hash = llvm::SHA256::hash(llvm::arrayRefFromStringRef(bytes));
  EXPECT_EQ(memcmp(hash.data(), note.sha256, 32), 0);
  // The header of the note, as readelf reads it.
  uint32_t sizes[3];
  memcpy(sizes, &bytes[place - 16], sizeof(sizes));
  EXPECT_EQ(sizes[0], 4u);
  EXPECT_EQ(sizes[1], sizeof(txc_note_t));
  EXPECT_EQ(sizes[2], TXC_NOTE_TYPE);
  EXPECT_EQ(memcmp(&bytes[place - 4], "txc", 4), 0);
}

TEST_F(Link, SameModuleSameBytesAnywhere) {
  std::string first = linked();
  std::string place = (folder + "/elsewhere").str();
  ASSERT_FALSE(sys::fs::create_directory(place));
  llvm::SmallString<128> current;
  sys::fs::current_path(current);
  setenv("TMPDIR", place.c_str(), 1);
  sys::fs::set_current_path(place);
  std::string second = linked();
  sys::fs::set_current_path(current);
  setenv("TMPDIR", folder.c_str(), 1);
  EXPECT_TRUE(first == second);
  // Nothing is left behind.
  std::error_code error;
  EXPECT_EQ(sys::fs::directory_iterator(place, error), sys::fs::directory_iterator());
}

TEST_F(Link, MetadataIsReadWithoutLoading) {
  std::string bytes = linked();
  llvm::Expected<std::string> text = link::readMetadata({bytes, "step.so"});
  ASSERT_TRUE(static_cast<bool>(text)) << llvm::toString(text.takeError());
  auto value = llvm::cantFail(llvm::json::parse(*text));
  step::ProgramOp program = *module->getOps<step::ProgramOp>().begin();
  EXPECT_EQ(value, llvm::json::Value(cost::describeModule(*module, program, "cpu:x86-64-v3")));
  const llvm::json::Object &root = *value.getAsObject();
  EXPECT_EQ(root.getString("architecture_name"), "1L");
  EXPECT_EQ(root.getObject("parameters")->getInteger("total"), 20);
  EXPECT_EQ(root.getObject("parameters")->getInteger("non_embedding"), 12);
  EXPECT_EQ(root.getObject("flops_per_token")->getInteger("full"), 24);
  EXPECT_EQ(root.getArray("buffers")->size(), 6u);
  EXPECT_EQ(root.getInteger("vocab_size"), 11);
  // Numbers of commands count the phases of launches, as in the table.
  const llvm::json::Object &y = *(*root.getArray("buffers"))[4].getAsObject();
  EXPECT_EQ(y.getInteger("begin"), 2);
  EXPECT_EQ(y.getInteger("end"), 4);
  EXPECT_EQ((*root.getArray("entries"))[1].getAsObject()->getInteger("commands"), 5);

  // A file cut short anywhere is refused, or has its metadata whole.
  for (size_t size = 0; size < bytes.size(); size += 97) {
    llvm::Expected<std::string> found =
        link::readMetadata({llvm::StringRef(bytes).take_front(size), "cut.so"});
    if (found) {
      EXPECT_EQ(*found, *text);
    }
    llvm::consumeError(found.takeError());
  }
}

TEST_F(Link, ProgramsThatCannotBeLinkedAreRefused) {
  auto refused = [&](llvm::StringRef object) {
    errors.clear();
    OwningOpRef<ModuleOp> other = parse(object);
    EXPECT_TRUE(other) << errors;
    EXPECT_TRUE(failed(link::linkProgram(*other)));
    return errors;
  };
  EXPECT_NE(refused("").find("run the codegen stage first"), std::string::npos);
  EXPECT_NE(refused("not ELF").find("does not hold an ELF object; found 7 bytes"), std::string::npos);
  EXPECT_NE(refused(compile("define void @twice.0() { ret void }")).find("does not define 'clear.0'"),
            std::string::npos);
  std::string undefined = refused(compile("declare void @expf()\n"
                                          "define void @twice.0() { call void @expf() ret void }\n"
                                          "define void @clear.0() { ret void }\n"
                                          "define void @clear.1() { ret void }"));
  EXPECT_NE(undefined.find("undefined symbol: expf"), std::string::npos) << undefined;
  EXPECT_NE(undefined.find("note: repeat it with: "), std::string::npos) << undefined;
  // What the message names is still there.
  size_t at = undefined.rfind(' ') + 1;
  std::string kept = undefined.substr(at, undefined.rfind("/kernels.o") - at);
  EXPECT_TRUE(sys::fs::exists(kept + "/tables.o")) << kept;

  errors.clear();
  EXPECT_TRUE(failed(link::linkProgram(*module, {"/nowhere/ld.lld"})));
  EXPECT_NE(errors.find("/nowhere/ld.lld"), std::string::npos) << errors;
}

} // namespace
