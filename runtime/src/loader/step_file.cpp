//===- step_file.cpp - A verified and loaded step.so -----------------------===//
#include "loader/step_file.h"

#include "loader/elf_file.h"
#include "support/sha256.h"
#include "support/text.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <dlfcn.h>
#include <fcntl.h>
#include <optional>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

namespace txc {

void hashWithHole(std::string_view bytes, uint64_t hole, uint8_t digest[32]) {
  static const uint8_t zeros[32] = {};
  Sha256 hash;
  hash.update(bytes.data(), hole);
  hash.update(zeros, sizeof(zeros));
  hash.update(bytes.data() + hole + sizeof(zeros), bytes.size() - hole - sizeof(zeros));
  std::array<uint8_t, 32> result = hash.finish();
  std::copy(result.begin(), result.end(), digest);
}

unsigned hostCpuLevel() {
  __builtin_cpu_init();
  if (__builtin_cpu_supports("x86-64-v4"))
    return 4;
  if (__builtin_cpu_supports("x86-64-v3"))
    return 3;
  if (__builtin_cpu_supports("x86-64-v2"))
    return 2;
  return 1;
}

//===-- Bytes ---------------------------------------------------------------===//

namespace {

// A file of memory that nobody can change any more, and its contents.
struct SealedFile {
  int fd = -1;
  const char *data = nullptr;
  size_t size = 0;

  SealedFile() = default;
  SealedFile(const SealedFile &) = delete;
  SealedFile &operator=(const SealedFile &) = delete;
  ~SealedFile() {
    if (data)
      ::munmap(const_cast<char *>(data), size);
    if (fd >= 0)
      ::close(fd);
  }
  std::string_view bytes() const { return {data, size}; }
};

struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0)
      ::close(fd);
  }
};

} // namespace

static Result<std::shared_ptr<SealedFile>> seal(const std::string &path) {
  auto fail = [&](const char *what) {
    return Status::failed(path + ": " + what + ": " + std::strerror(errno));
  };
  // O_NONBLOCK, so that a FIFO does not hang.
  Descriptor source{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (source.fd < 0)
    return fail("cannot open the step file");
  struct stat info;
  if (::fstat(source.fd, &info) != 0)
    return fail("cannot read the step file");
  if (!S_ISREG(info.st_mode))
    return Status::failed(path + ": not a step file: it is not a regular file; give the path of a step.so");

  auto file = std::make_shared<SealedFile>();
  file->fd = ::memfd_create("step.so", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (file->fd < 0)
    return fail("cannot make a memory file to load it from");
  std::vector<char> chunk(1 << 20);
  for (;;) {
    ssize_t got = ::read(source.fd, chunk.data(), chunk.size());
    if (got < 0 && errno == EINTR)
      continue;
    if (got < 0)
      return fail("cannot read the step file");
    if (got == 0)
      break;
    for (ssize_t done = 0; done < got;) {
      ssize_t put = ::write(file->fd, chunk.data() + done, static_cast<size_t>(got - done));
      if (put < 0 && errno == EINTR)
        continue;
      if (put < 0)
        return fail("cannot copy the step file into memory");
      done += put;
    }
    file->size += static_cast<size_t>(got);
  }
  if (::fcntl(file->fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) != 0)
    return fail("cannot seal the copy of the step file in memory");
  if (file->size > 0) {
    void *data = ::mmap(nullptr, file->size, PROT_READ, MAP_SHARED, file->fd, 0);
    if (data == MAP_FAILED)
      return fail("cannot map the step file");
    file->data = static_cast<const char *>(data);
  }
  return file;
}

// Finds the note and checks all that does not depend on this machine.
static Result<txc_note_t> checkNote(const ElfFile &elf, std::string_view bytes, const std::string &path) {
  auto range = elf.findNote(TXC_NOTE_NAME, TXC_NOTE_TYPE);
  if (!range.ok())
    return range.status();
  if (!*range)
    return Status::failed(path +
                          ": not a step file: a shared object without the note of txc; txrun takes what "
                          "`txc compile SPEC.yaml -o step.so` writes");
  txc_note_t note;
  // Magic and version come first in every version of the note, the rest need not.
  if ((*range)->size < 12)
    return Status::failed(path + ": altered: the note of txc is too short; compile it again");
  std::memset(&note, 0, sizeof(note));
  std::memcpy(&note, bytes.data() + (*range)->offset, std::min<uint64_t>((*range)->size, sizeof(note)));
  if (note.magic != TXC_NOTE_MAGIC)
    return Status::failed(path +
                          ": not a step file: the note of txc has the wrong magic number; compile it again");
  if (note.abi_version != TXC_STEP_ABI_VERSION)
    return Status::failed(
        format("%s: built for step ABI %u, this txrun speaks %u; compile it again with the txc of "
               "the same release as this txrun",
               path.c_str(), note.abi_version, TXC_STEP_ABI_VERSION));
  if ((*range)->size != sizeof(txc_note_t))
    return Status::failed(
        format("%s: altered: the note of txc has %llu bytes, expected %zu; compile it again", path.c_str(),
               static_cast<unsigned long long>((*range)->size), sizeof(txc_note_t)));
  uint8_t digest[32];
  hashWithHole(bytes, (*range)->offset + offsetof(txc_note_t, sha256), digest);
  if (std::memcmp(digest, note.sha256, sizeof(digest)) != 0)
    return Status::failed(path +
                          ": altered: its contents do not match the hash in its note, so it was damaged or "
                          "edited after txc wrote it; compile or copy it again");
  return note;
}

Result<txc_note_t> verifyStepBytes(std::string_view bytes, const std::string &path) {
  Result<ElfFile> elf = ElfFile::parse(bytes, path);
  if (!elf.ok())
    return elf.status();
  Result<txc_note_t> note = checkNote(*elf, bytes, path);
  if (!note.ok())
    return note;
  // Whether there is such a GPU is for the device to find out.
  if (note->target_kind == TXC_TARGET_CUDA)
    return note;
  if (note->target_kind != TXC_TARGET_CPU_X86_64)
    return Status::failed(
        format("%s: built for target kind %u, this txrun knows %u (CPU) and %u (CUDA); compile it "
               "again with the txc of the same release as this txrun",
               path.c_str(), note->target_kind, TXC_TARGET_CPU_X86_64, TXC_TARGET_CUDA));
  unsigned host = hostCpuLevel();
  if (note->target_level < 1 || note->target_level > 4)
    return Status::failed(format("%s: built for level %u of x86-64, expected 1 to 4; compile it again",
                                 path.c_str(), note->target_level));
  if (note->target_level > host)
    return Status::failed(
        format("%s: built for CPUs of level x86-64-v%u, this CPU has x86-64-v%u; compile it again "
               "with --cpu=x86-64-v%u",
               path.c_str(), note->target_level, host, host));
  return note;
}

Result<std::string> readMetadata(const std::string &path) {
  auto file = seal(path);
  if (!file.ok())
    return file.status();
  Result<ElfFile> elf = ElfFile::parse((*file)->bytes(), path);
  if (!elf.ok())
    return elf.status();
  if (Result<txc_note_t> note = checkNote(*elf, (*file)->bytes(), path); !note.ok())
    return note.status();
  std::optional<FileRange> section = elf->findSection(TXC_METADATA_SECTION);
  if (!section)
    return Status::failed(path + ": it has no section " TXC_METADATA_SECTION "; compile it again");
  return std::string((*file)->bytes().substr(section->offset, section->size));
}

//===-- Tables --------------------------------------------------------------===//

static uint64_t elementBytes(uint32_t dtype) {
  switch (dtype) {
  case TXC_DTYPE_F32:
  case TXC_DTYPE_I32:
    return 4;
  case TXC_DTYPE_BF16:
    return 2;
  case TXC_DTYPE_F64:
    return 8;
  case TXC_DTYPE_U8:
    return 1;
  }
  return 0;
}

static const char *kindName(uint32_t kind) {
  static const char *const names[] = {
      "PARAM",        "GRAD",   "MOMENT1",    "MOMENT2",       "TOKENS",       "TARGETS", "HYPER",
      "LOSS",         "STATS",  "ACTIVATION", "WORKSPACE",     "COMPUTE",      "CACHE",   "DECODE_TOKENS",
      "DECODE_STATE", "LOGITS", "GRAD_SHARD", "COMPUTE_SHARD", "COMMUNICATION"};
  return kind < std::size(names) ? names[kind] : "unknown";
}

static const txc_buffer_t *findBuffer(const txc_step_t &step, uint32_t kind, uint32_t entry) {
  for (uint32_t i = 0; i < step.num_buffers; ++i)
    if (step.buffers[i].kind == kind &&
        (step.buffers[i].entry == UINT32_MAX || step.buffers[i].entry == entry))
      return &step.buffers[i];
  return nullptr;
}

static const txc_entry_t *findEntry(const txc_step_t &step, std::string_view name) {
  for (uint32_t i = 0; i < step.num_entries; ++i)
    if (name == step.entries[i].name)
      return &step.entries[i];
  return nullptr;
}

// What is wrong with the buffers of entry `decode`; "" if nothing is.
static std::string wrongDecoding(const txc_step_t &step, uint32_t entry) {
  const txc_buffer_t *tokens = findBuffer(step, TXC_BUFFER_DECODE_TOKENS, entry);
  const txc_buffer_t *state = findBuffer(step, TXC_BUFFER_DECODE_STATE, entry);
  const txc_buffer_t *logits = findBuffer(step, TXC_BUFFER_LOGITS, entry);
  if (!tokens || !state || !logits)
    return "entry 'decode' lacks its tokens, state or logits";
  uint64_t sequences = tokens->bytes / 4, logitsBytes = 0;
  if (sequences == 0 || tokens->bytes % 4 != 0 || tokens->dtype != TXC_DTYPE_I32 ||
      state->bytes != sizeof(txc_decode_state_t) || logits->dtype != TXC_DTYPE_F32 ||
      __builtin_mul_overflow(4 * sequences, static_cast<uint64_t>(step.vocab_size), &logitsBytes) ||
      logits->bytes != logitsBytes)
    return format(
        "entry 'decode' has %llu bytes of tokens, %llu of state and %llu of logits, expected 4, %zu "
        "and %lld for each sequence",
        static_cast<unsigned long long>(tokens->bytes), static_cast<unsigned long long>(state->bytes),
        static_cast<unsigned long long>(logits->bytes), sizeof(txc_decode_state_t),
        static_cast<long long>(4 * step.vocab_size));
  return "";
}

Status checkTables(const txc_step_t &step, const std::string &path) {
  auto fail = [&](const std::string &what) {
    return Status::failed(path + ": inconsistent step: " + what +
                          "; this is a fault of the txc that wrote it");
  };
  if (step.struct_size != sizeof(txc_step_t) || step.abi_version != TXC_STEP_ABI_VERSION)
    return fail(format("its table has %u bytes and ABI %u, expected %zu and %u", step.struct_size,
                       step.abi_version, sizeof(txc_step_t), TXC_STEP_ABI_VERSION));
  if (!step.compiler || !step.target || !step.metadata)
    return fail("compiler, target or metadata is missing");
  if (!step.buffers || !step.entries || (step.num_kernels && !step.kernels) ||
      (step.num_flops && !step.flops))
    return fail("a table is missing");
  if (step.batch_size <= 0 || step.block_size <= 0 || step.vocab_size <= 0)
    return fail(format("batch %lld, block %lld, vocabulary %lld; expected positive sizes",
                       static_cast<long long>(step.batch_size), static_cast<long long>(step.block_size),
                       static_cast<long long>(step.vocab_size)));
  if (step.num_ranks == 0 || step.zero_level > 3)
    return fail(format("%u ranks, ZeRO level %u; expected 1 rank or more and a level of 0 to 3",
                       step.num_ranks, step.zero_level));
  if (step.arena_bytes == 0 || step.arena_lower_bound > step.arena_bytes)
    return fail(format("arena of %llu bytes, lower bound %llu",
                       static_cast<unsigned long long>(step.arena_bytes),
                       static_cast<unsigned long long>(step.arena_lower_bound)));
  for (uint32_t i = 0; i < step.num_flops; ++i)
    if (!step.flops[i].name || !step.flops[i].op)
      return fail(format("line %u of the FLOP ledger has no name", i));

  for (uint32_t i = 0; i < step.num_buffers; ++i) {
    const txc_buffer_t &b = step.buffers[i];
    if (!b.name)
      return fail(format("buffer %u has no name", i));
    std::string name = format("buffer '%s' (%s)", b.name, kindName(b.kind));
    if (b.kind > TXC_BUFFER_COMMUNICATION || elementBytes(b.dtype) == 0 || b.rank > TXC_MAX_RANK)
      return fail(format("%s: kind %u, dtype %u, rank %u", name.c_str(), b.kind, b.dtype, b.rank));
    if (b.offset % TXC_BUFFER_ALIGNMENT != 0)
      return fail(format("%s: offset %llu is not a multiple of %u", name.c_str(),
                         static_cast<unsigned long long>(b.offset), TXC_BUFFER_ALIGNMENT));
    if (b.offset > step.arena_bytes || b.bytes > step.arena_bytes - b.offset)
      return fail(format("%s: %llu bytes at %llu end outside the arena of %llu", name.c_str(),
                         static_cast<unsigned long long>(b.bytes), static_cast<unsigned long long>(b.offset),
                         static_cast<unsigned long long>(step.arena_bytes)));
    if (b.entry != UINT32_MAX && b.entry >= step.num_entries)
      return fail(format("%s: entry %u of %u", name.c_str(), b.entry, step.num_entries));
    uint64_t elements = b.bytes / elementBytes(b.dtype), covered = 0;
    if (b.full_elements &&
        (__builtin_mul_overflow(elements, uint64_t(step.num_ranks), &covered) || covered < b.full_elements))
      return fail(format("%s: shards of %llu elements on %u ranks for %llu", name.c_str(),
                         static_cast<unsigned long long>(elements), step.num_ranks,
                         static_cast<unsigned long long>(b.full_elements)));
    if (b.kind <= TXC_BUFFER_TARGETS) {
      uint64_t bytes = elementBytes(b.dtype);
      for (uint32_t d = 0; d < b.rank; ++d)
        if (b.shape[d] <= 0 || __builtin_mul_overflow(bytes, static_cast<uint64_t>(b.shape[d]), &bytes))
          return fail(
              format("%s: dimension %u is %lld", name.c_str(), d, static_cast<long long>(b.shape[d])));
      if (bytes != b.bytes)
        return fail(format("%s: %llu bytes for a shape of %llu", name.c_str(),
                           static_cast<unsigned long long>(b.bytes), static_cast<unsigned long long>(bytes)));
    }
  }

  for (uint32_t i = 0; i < step.num_kernels; ++i) {
    const txc_kernel_t &k = step.kernels[i];
    if (!k.name)
      return fail(format("kernel %u has no name", i));
    if (k.function && (k.image >= step.num_images || (k.num_tensor_maps > 0 && !k.tensor_maps) ||
                       (k.num_scalars > 0 && !k.scalars)))
      return fail(format("kernel '%s': image %u of %u, %u tensor maps, %u scalars", k.name, k.image,
                         step.num_images, k.num_tensor_maps, k.num_scalars));
  }
  for (uint32_t i = 0; i < step.num_images; ++i)
    if (!step.images[i].arch || (!step.images[i].cubin && !step.images[i].ptx))
      return fail(format("image %u has no architecture or no code", i));
  for (uint32_t i = 0; i < step.num_entries; ++i)
    if (!step.entries[i].name || !step.entries[i].run)
      return fail(format("entry %u has no name or no function", i));
  for (const char *name : {"init", "micro", "update", "eval"})
    if (!findEntry(step, name))
      return fail(format("it has no entry '%s'", name));

  // What the runtime reads and writes, in the entries that use it.
  struct Needed {
    uint32_t kind, dtype;
    uint64_t bytes;
    std::vector<const char *> entries;
  };
  uint64_t tokenBytes = 0;
  if (__builtin_mul_overflow(static_cast<uint64_t>(step.batch_size), static_cast<uint64_t>(step.block_size),
                             &tokenBytes) ||
      __builtin_mul_overflow(tokenBytes, uint64_t(4), &tokenBytes))
    return fail("batch times block overflows");
  const Needed needed[] = {
      {TXC_BUFFER_TOKENS, TXC_DTYPE_I32, tokenBytes, {"micro", "eval"}},
      {TXC_BUFFER_TARGETS, TXC_DTYPE_I32, tokenBytes, {"micro", "eval"}},
      {TXC_BUFFER_HYPER, UINT32_MAX, sizeof(txc_hyper_t), {"init", "micro", "update", "eval"}},
      {TXC_BUFFER_LOSS, UINT32_MAX, sizeof(txc_loss_result_t), {"micro", "eval"}},
      {TXC_BUFFER_STATS, UINT32_MAX, sizeof(txc_update_result_t), {"update"}},
  };
  for (const Needed &n : needed)
    for (const char *entry : n.entries) {
      const txc_buffer_t *b =
          findBuffer(step, n.kind, static_cast<uint32_t>(findEntry(step, entry) - step.entries));
      if (!b)
        return fail(format("it has no buffer of kind %s for entry '%s'", kindName(n.kind), entry));
      if (b->bytes != n.bytes || (n.dtype != UINT32_MAX && b->dtype != n.dtype))
        return fail(format("buffer '%s' (%s) has %llu bytes, expected %llu", b->name, kindName(n.kind),
                           static_cast<unsigned long long>(b->bytes),
                           static_cast<unsigned long long>(n.bytes)));
    }

  if (const txc_entry_t *decode = findEntry(step, "decode"))
    if (std::string wrong = wrongDecoding(step, static_cast<uint32_t>(decode - step.entries)); !wrong.empty())
      return fail(wrong);

  // Parameters and what belongs to each of them.
  std::vector<const txc_buffer_t *> state[TXC_BUFFER_COMMUNICATION + 1];
  uint64_t elements = 0;
  for (uint32_t i = 0; i < step.num_buffers; ++i)
    if (const txc_buffer_t &b = step.buffers[i];
        b.kind <= TXC_BUFFER_MOMENT2 || b.kind == TXC_BUFFER_GRAD_SHARD) {
      if (b.dtype != TXC_DTYPE_F32 || b.entry != UINT32_MAX)
        return fail(
            format("buffer '%s' (%s) is not f32 or does not live in all entries", b.name, kindName(b.kind)));
      state[b.kind].push_back(&b);
      if (b.kind == TXC_BUFFER_PARAM)
        elements += b.full_elements ? b.full_elements : b.bytes / 4;
    }
  if (elements != step.num_parameters)
    return fail(format("its parameters have %llu elements, it states %llu",
                       static_cast<unsigned long long>(elements),
                       static_cast<unsigned long long>(step.num_parameters)));
  // Update works on one layout. Where the ranks' gradients are reduced into
  // shards, whole gradients are another, if there are any.
  const uint32_t gradients = state[TXC_BUFFER_GRAD_SHARD].empty() ? TXC_BUFFER_GRAD : TXC_BUFFER_GRAD_SHARD;
  for (uint32_t kind : {gradients, uint32_t(TXC_BUFFER_MOMENT1), uint32_t(TXC_BUFFER_MOMENT2)}) {
    if (state[kind].size() != state[0].size())
      return fail(format("%zu buffers of kind %s for %zu parameters", state[kind].size(), kindName(kind),
                         state[0].size()));
    for (size_t i = 0; i < state[0].size(); ++i)
      if (state[kind][i]->bytes != state[0][i]->bytes ||
          state[kind][i]->full_elements != state[0][i]->full_elements ||
          state[kind][i]->offset - state[kind][0]->offset != state[0][i]->offset - state[0][0]->offset)
        return fail(format("%s of parameter '%s' differs from it in size or place", kindName(kind),
                           state[0][i]->name));
  }
  return {};
}

//===-- Loading -------------------------------------------------------------===//

struct StepFile::Library {
  void *handle = nullptr;
  ~Library() {
    if (handle)
      ::dlclose(handle);
  }
};

Result<StepFile> StepFile::load(const std::string &path) {
  auto file = seal(path);
  if (!file.ok())
    return file.status();
  Result<txc_note_t> note = verifyStepBytes((*file)->bytes(), path);
  if (!note.ok())
    return note.status();

  StepFile step;
  step.path_ = path;
  step.note_ = *note;
  step.library_ = std::make_shared<Library>();
  // The loader maps the pages of the sealed file, which live on after the
  // descriptor is closed.
  std::string name = format("/proc/self/fd/%d", (*file)->fd);
  step.library_->handle = ::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!step.library_->handle) {
    const char *why = ::dlerror();
    return Status::failed(
        path + ": the dynamic loader refuses it: " + (why ? why : "unknown reason") +
        "; loading needs /proc and executable memory files (sysctl vm.memfd_noexec below 2)");
  }
  auto query = reinterpret_cast<txc_step_query_fn>(::dlsym(step.library_->handle, TXC_QUERY_SYMBOL));
  if (!query)
    return Status::failed(path + ": inconsistent step: it does not export " TXC_QUERY_SYMBOL
                                 "; compile it again");
  step.step_ = query(TXC_STEP_ABI_VERSION);
  if (!step.step_)
    return Status::failed(
        format("%s: inconsistent step: its note states ABI %u but its code refuses it; compile it "
               "again",
               path.c_str(), TXC_STEP_ABI_VERSION));
  if (Status status = checkTables(*step.step_, path); !status.ok())
    return status;
  return step;
}

std::string StepFile::contentHash() const { return bytesToHex(note_.sha256, sizeof(note_.sha256)); }

bool StepFile::hasDecode() const { return findEntry(*step_, "decode") != nullptr; }

bool StepFile::hasEntry(std::string_view name) const { return findEntry(*step_, name) != nullptr; }

const txc_entry_t &StepFile::entry(std::string_view name) const { return *findEntry(*step_, name); }

std::vector<const txc_buffer_t *> StepFile::buffers(txc_buffer_kind_t kind) const {
  std::vector<const txc_buffer_t *> out;
  for (uint32_t i = 0; i < step_->num_buffers; ++i)
    if (step_->buffers[i].kind == static_cast<uint32_t>(kind))
      out.push_back(&step_->buffers[i]);
  return out;
}

const txc_buffer_t &StepFile::buffer(txc_buffer_kind_t kind, std::string_view entryName) const {
  return *findBuffer(*step_, kind, static_cast<uint32_t>(findEntry(*step_, entryName) - step_->entries));
}

} // namespace txc
