//===- StepFileTest.cpp - What is loaded and what is refused ---------------===//
#include "loader/elf_file.h"
#include "loader/step_file.h"

#include "TempFolder.h"

#include <cstring>
#include <elf.h>
#include <gtest/gtest.h>

using namespace txc;

static const std::string toyDir = TOY_DIR;

static std::string readAll(const std::string &path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

static std::string loadError(const std::string &path) {
  Result<StepFile> step = StepFile::load(path);
  return step.ok() ? "loaded" : step.status().message();
}

#define EXPECT_MENTIONS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST(StepFile, Loads) {
  Result<StepFile> step = StepFile::load(toyDir + "/toy.so");
  ASSERT_TRUE(step.ok()) << step.status().message();
  EXPECT_EQ(step->step().vocab_size, 16);
  EXPECT_EQ(step->contentHash().size(), 64u);
  EXPECT_EQ(step->buffers(TXC_BUFFER_PARAM).size(), 2u);
  EXPECT_STREQ(step->entry("update").name, "update");
  EXPECT_STREQ(step->buffer(TXC_BUFFER_LOSS, "eval").name, "loss");
}

TEST(StepFile, MetadataWithoutLoading) {
  Result<std::string> metadata = readMetadata(toyDir + "/toy.so");
  ASSERT_TRUE(metadata.ok()) << metadata.status().message();
  EXPECT_EQ(metadata->front(), '{');
  EXPECT_EQ(metadata->back(), '}');
  // Also of a step that this machine cannot run.
  EXPECT_TRUE(readMetadata(toyDir + "/cuda.so").ok());
}

TEST(StepFile, RefusesOtherMachinesAndReleases) {
  EXPECT_MENTIONS(loadError(toyDir + "/other_abi.so"), "built for step ABI 9, this txrun speaks 6");
  EXPECT_MENTIONS(loadError(toyDir + "/unknown_kind.so"), "target kind 7");
  EXPECT_MENTIONS(loadError(toyDir + "/level_9.so"), "level 9");
  EXPECT_MENTIONS(loadError(toyDir + "/level_0.so"), "level 0");
}

TEST(StepFile, RefusesAHigherCpuLevel) {
  if (hostCpuLevel() >= 4)
    GTEST_SKIP() << "this machine has the highest level";
  std::string bytes = readAll(toyDir + "/toy.so");
  Result<ElfFile> elf = ElfFile::parse(bytes, "toy.so");
  auto note = elf->findNote(TXC_NOTE_NAME, TXC_NOTE_TYPE);
  bytes[(*note)->offset + offsetof(txc_note_t, target_level)] = 4;
  uint8_t digest[32];
  hashWithHole(bytes, (*note)->offset + offsetof(txc_note_t, sha256), digest);
  std::memcpy(&bytes[(*note)->offset + offsetof(txc_note_t, sha256)], digest, 32);
  Result<txc_note_t> checked = verifyStepBytes(bytes, "toy.so");
  ASSERT_FALSE(checked.ok());
  EXPECT_MENTIONS(checked.status().message(), "this CPU has");
}

TEST(StepFile, RefusesWhatIsNoStep) {
  TempFolder folder;
  folder.write("empty", "");
  folder.write("text", "This is not a step.\n");
  folder.write("magic", "\x7f"
                        "ELF");
  folder.write("other", std::string("\x7f"
                                    "ELF\x01\x01\x01",
                                    7) +
                            std::string(100, '\0'));
  EXPECT_MENTIONS(loadError(folder.file("missing")), "cannot open");
  EXPECT_MENTIONS(loadError(folder.path()), "not a regular file");
  EXPECT_MENTIONS(loadError(folder.file("empty")), "it is empty");
  EXPECT_MENTIONS(loadError(folder.file("text")), "does not begin as an ELF");
  EXPECT_MENTIONS(loadError(folder.file("magic")), "truncated");
  EXPECT_MENTIONS(loadError(folder.file("other")), "expected 64-bit");
  EXPECT_MENTIONS(loadError("/proc/self/exe"), "not a step file");
  // An honest shared object that txc has not made.
  EXPECT_MENTIONS(loadError("/lib/x86_64-linux-gnu/libm.so.6"), "without the note of txc");
}

TEST(StepFile, RefusesEveryTruncation) {
  std::string bytes = readAll(toyDir + "/toy.so");
  ASSERT_TRUE(verifyStepBytes(bytes, "toy.so").ok());
  for (size_t size = 0; size < bytes.size(); size += size < 1024 ? 1 : 61) {
    Result<txc_note_t> note = verifyStepBytes(std::string_view(bytes).substr(0, size), "toy.so");
    ASSERT_FALSE(note.ok()) << size;
    if (size > 4)
      EXPECT_MENTIONS(note.status().message(), "truncated");
  }
  // Something was appended.
  EXPECT_FALSE(verifyStepBytes(bytes + "x", "toy.so").ok());
}

TEST(StepFile, RefusesEveryAlteredByte) {
  std::string bytes = readAll(toyDir + "/toy.so");
  for (size_t at = 0; at < bytes.size(); at += at < 1024 ? 1 : 37)
    for (int bit : {0, 7}) {
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << bit));
      EXPECT_FALSE(verifyStepBytes(bytes, "toy.so").ok()) << "byte " << at << " bit " << bit;
      bytes[at] = static_cast<char>(bytes[at] ^ (1 << bit));
    }
}

TEST(StepFile, SurvivesHeadersFullOfLies) {
  // Headers may say anything; the parser must stay inside the file.
  std::string bytes = readAll(toyDir + "/toy.so");
  const std::string whole = bytes;
  const uint64_t lies[] = {
      0, 1, 63, 64, bytes.size() - 1, bytes.size(), bytes.size() + 1, INT64_MAX, UINT64_MAX - 7, UINT64_MAX};
  Elf64_Ehdr header;
  std::memcpy(&header, whole.data(), sizeof(header));
  std::vector<size_t> places;
  for (size_t at = 16; at < sizeof(header); at += 2)
    places.push_back(at);
  for (size_t i = 0; i < header.e_phnum * sizeof(Elf64_Phdr); i += 8)
    places.push_back(header.e_phoff + i);
  for (size_t i = 0; i < header.e_shnum * sizeof(Elf64_Shdr); i += 8)
    places.push_back(header.e_shoff + i);
  for (size_t at : places)
    for (uint64_t lie : lies) {
      std::memcpy(&bytes[at], &lie, 8);
      Result<ElfFile> elf = ElfFile::parse(bytes, "toy.so");
      if (elf.ok()) {
        (void)elf->findNote(TXC_NOTE_NAME, TXC_NOTE_TYPE).ok();
        (void)elf->findSection(TXC_METADATA_SECTION);
      }
      EXPECT_TRUE(bytes == whole || !verifyStepBytes(bytes, "toy.so").ok());
      bytes = whole;
    }
}

//===-- Tables --------------------------------------------------------------===//

namespace {
// The toy's tables, to be damaged.
struct Tables : ::testing::Test {
  void SetUp() override {
    Result<StepFile> loaded = StepFile::load(toyDir + "/toy.so");
    ASSERT_TRUE(loaded.ok());
    file = std::make_unique<StepFile>(*loaded);
    step = file->step();
    buffers.assign(step.buffers, step.buffers + step.num_buffers);
    entries.assign(step.entries, step.entries + step.num_entries);
    step.buffers = buffers.data();
    step.entries = entries.data();
  }
  std::string error() {
    step.num_buffers = static_cast<uint32_t>(buffers.size());
    Status status = checkTables(step, "toy.so");
    return status.ok() ? "consistent" : status.message();
  }
  txc_buffer_t &named(txc_buffer_kind_t kind) {
    for (txc_buffer_t &buffer : buffers)
      if (buffer.kind == static_cast<uint32_t>(kind))
        return buffer;
    return buffers[0];
  }
  std::unique_ptr<StepFile> file;
  txc_step_t step;
  std::vector<txc_buffer_t> buffers;
  std::vector<txc_entry_t> entries;
};
} // namespace

TEST_F(Tables, Consistent) { EXPECT_EQ(error(), "consistent"); }
// An entry `decode` needs its token, its position and its logits, of sizes that agree.
TEST_F(Tables, Decode) {
  entries.push_back({"decode", entries[0].run, 1, 0});
  step.entries = entries.data();
  step.num_entries = static_cast<uint32_t>(entries.size());
  EXPECT_MENTIONS(error(), "entry 'decode' lacks its tokens, state or logits");
  auto add = [&](const char *name, txc_buffer_kind_t kind, txc_dtype_t dtype, uint64_t bytes) {
    buffers.push_back({name, 0, bytes, kind, dtype, step.num_entries - 1, 1, {1, 1, 1, 1}, 0, 0});
    step.buffers = buffers.data();
  };
  add("decode/tokens", TXC_BUFFER_DECODE_TOKENS, TXC_DTYPE_I32, 2 * 4);
  add("decode/state", TXC_BUFFER_DECODE_STATE, TXC_DTYPE_U8, sizeof(txc_decode_state_t));
  add("decode/logits", TXC_BUFFER_LOGITS, TXC_DTYPE_F32, 2 * 4 * 16);
  EXPECT_EQ(error(), "consistent");
  named(TXC_BUFFER_LOGITS).bytes = 4 * 16;
  EXPECT_MENTIONS(error(), "entry 'decode' has 8 bytes of tokens, 64 of state and 64 of logits");
}

TEST_F(Tables, StructSize) {
  step.struct_size = 8;
  EXPECT_MENTIONS(error(), "its table has 8 bytes");
}
TEST_F(Tables, BufferOutsideTheArena) {
  named(TXC_BUFFER_ACTIVATION).offset = step.arena_bytes & ~uint64_t(63);
  EXPECT_MENTIONS(error(), "end outside the arena");
}
TEST_F(Tables, BufferThatWrapsAround) {
  named(TXC_BUFFER_ACTIVATION).bytes = UINT64_MAX - 63;
  EXPECT_MENTIONS(error(), "end outside the arena");
}
TEST_F(Tables, Alignment) {
  named(TXC_BUFFER_TOKENS).offset += 4;
  EXPECT_MENTIONS(error(), "'tokens' (TOKENS): offset");
}
TEST_F(Tables, ShapeAgainstBytes) {
  named(TXC_BUFFER_PARAM).shape[0] = 17;
  EXPECT_MENTIONS(error(), "'lm_head.weight' (PARAM)");
}
TEST_F(Tables, ShapeThatOverflows) {
  named(TXC_BUFFER_PARAM).shape[0] = INT64_MAX;
  EXPECT_MENTIONS(error(), "dimension");
}
TEST_F(Tables, MissingKind) {
  named(TXC_BUFFER_HYPER).kind = TXC_BUFFER_WORKSPACE;
  EXPECT_MENTIONS(error(), "no buffer of kind HYPER for entry 'init'");
}
TEST_F(Tables, BufferOfAnotherEntry) {
  named(TXC_BUFFER_LOSS).entry = 1;
  EXPECT_MENTIONS(error(), "no buffer of kind LOSS for entry 'eval'");
}
TEST_F(Tables, TokensOfTheWrongSize) {
  step.batch_size = 3;
  EXPECT_MENTIONS(error(), "'tokens' (TOKENS) has 64 bytes, expected 96");
}
TEST_F(Tables, MissingEntry) {
  entries[3].name = "evaluate";
  EXPECT_MENTIONS(error(), "no entry 'eval'");
}
TEST_F(Tables, GradientsOfOtherSpacing) {
  named(TXC_BUFFER_MOMENT2).offset += 64;
  EXPECT_MENTIONS(error(), "MOMENT2 of parameter 'lm_head.bias'");
}
TEST_F(Tables, ParameterCount) {
  step.num_parameters = 1;
  EXPECT_MENTIONS(error(), "272 elements");
}
