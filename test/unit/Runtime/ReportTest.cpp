//===- ReportTest.cpp - Figures of the start-up report ---------------------===//
#include "report/report.h"
#include "report/progress.h"
#include "report/terminal.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

using namespace txc;
using Json = nlohmann::ordered_json;

#define EXPECT_MENTIONS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

//===-- Groups of FLOPs and parts of the arena ------------------------------===//

TEST(Report, FlopGroupsGoByPathAndOp) {
  const txc_flops_t lines[] = {
      {"blocks.0.attn.qkv", "linear", 600, 600},      {"blocks.0.attn", "attention", 400, 250},
      {"blocks.0.attn", "attention_vjp", 800, 500},   {"blocks.0.attn.proj", "linear_vjp", 40, 40},
      {"blocks.11.attn.qkv", "linear", 600, 600},     {"blocks.11.ffn.gate_up", "linear", 3000, 3000},
      {"blocks.11.ffn.down", "linear_vjp", 500, 500}, {"lm_head", "linear", 70, 70},
      {"somewhere.else", "linear", 10, 10},
  };
  txc_step_t step = {};
  step.batch_size = 2;
  step.block_size = 5;
  step.flops = lines;
  step.num_flops = std::size(lines);
  std::vector<FlopGroup> groups = flopGroups(step);
  ASSERT_EQ(groups.size(), 5u);
  const std::tuple<const char *, uint64_t, uint64_t> expected[] = {{"attention products", 124, 124},
                                                                   {"attention", 120, 75},
                                                                   {"feed-forward", 350, 350},
                                                                   {"logits", 7, 7},
                                                                   {"other", 1, 1}};
  for (size_t i = 0; i < groups.size(); ++i)
    EXPECT_EQ(std::tuple(groups[i].name, groups[i].full, groups[i].causal),
              std::tuple(std::string(std::get<0>(expected[i])), std::get<1>(expected[i]),
                         std::get<2>(expected[i])));
}

// Also where no group divides by the tokens.
TEST(Report, FlopGroupsSumExactly) {
  for (uint64_t odd : {1, 7, 13, 999}) {
    const txc_flops_t lines[] = {{"blocks.0.attn.qkv", "linear", odd * 5, odd * 3},
                                 {"blocks.0.attn", "attention", odd * 7, odd * 2},
                                 {"blocks.0.ffn.up", "linear", odd * 11, odd * 11},
                                 {"lm_head", "linear", odd * 13, odd * 13}};
    txc_step_t step = {};
    step.batch_size = 3;
    step.block_size = 7;
    step.flops = lines;
    step.num_flops = std::size(lines);
    uint64_t full = 0, causal = 0;
    for (const FlopGroup &group : flopGroups(step)) {
      full += group.full;
      causal += group.causal;
    }
    EXPECT_EQ(full, odd * 36 / 21);
    EXPECT_EQ(causal, odd * 29 / 21);
  }
}

TEST(Report, MemoryPartsSumToTheArena) {
  auto buffer = [](uint32_t kind, uint64_t bytes, uint32_t entry) {
    txc_buffer_t out = {};
    out.name = "";
    out.kind = kind;
    out.bytes = bytes;
    out.entry = entry;
    return out;
  };
  const txc_buffer_t buffers[] = {
      buffer(TXC_BUFFER_PARAM, 1000, UINT32_MAX),   buffer(TXC_BUFFER_GRAD, 1000, UINT32_MAX),
      buffer(TXC_BUFFER_MOMENT1, 1000, UINT32_MAX), buffer(TXC_BUFFER_MOMENT2, 1000, UINT32_MAX),
      buffer(TXC_BUFFER_COMPUTE, 500, UINT32_MAX),  buffer(TXC_BUFFER_HYPER, 64, UINT32_MAX),
      buffer(TXC_BUFFER_ACTIVATION, 5000, 1),       buffer(TXC_BUFFER_WORKSPACE, 4000, 2)};
  txc_step_t step = {};
  step.arena_bytes = 4 * 1024 + 512 + 64 + 6000;
  step.buffers = buffers;
  step.num_buffers = std::size(buffers);
  uint64_t sum = 0;
  std::string names;
  for (const MemoryPart &part : memoryParts(step)) {
    sum += part.bytes;
    names += part.name + " " + std::to_string(part.bytes) + "; ";
  }
  EXPECT_EQ(sum, step.arena_bytes);
  EXPECT_EQ(names,
            "weights 1024; gradients 1024; optimizer moments 2048; bf16 weights 512; inputs and results 64; "
            "activations, scratch 6000; ");
}

//===-- Text ----------------------------------------------------------------===//

namespace {

RunFacts factsOfToy(const StepFile &step) {
  RunFacts facts;
  facts.step = &step;
  facts.metadata = Json::parse(R"({"architecture_name": "32L-32H-4096D-GQA8-RoPE-RMS-SwiGLU-PreNorm",
    "parameters": {"trainable": 8030261248, "non_embedding": 8030261248},
    "flops_per_token": {"attention_to_ffn_full": 0.833, "attention_to_ffn_causal": 0.667},
    "config": {"model": {"n_layer": 32, "n_head": 32, "n_kv_head": 8, "n_embd": 4096, "head_dim": 128,
      "d_ff": 14336, "normalization": "rmsnorm", "norm_eps": 1e-5, "norm_position": "pre",
      "position_encoding": "rope", "rope_theta": 500000, "rope_layout": "half", "attention_backend": "auto",
      "ffn_type": "swiglu", "activation": "gelu", "bias": false, "weight_tying": false, "dropout": 0.1},
      "parallel": {"mesh": "dp:1", "zero": 0}}})");
  facts.options.lr_decay_iters = 5000;
  facts.flops = {48249176064, 46639349760};
  facts.hardware = {"Some CPU of many words, to be longer than what is left of a line of text", 64,
                    128000000000};
  facts.device.name = facts.hardware.cpu;
  facts.device.library = "a library";
  facts.peak = {2e12, "measured: fp32 matrix product [1536, 768] x [768, 1536]"};
  facts.datasetName = "somewhere/with/a/long/path/that/has/no/blank/in/it";
  facts.tokenizer = "char";
  return facts;
}

int64_t widest(const std::string &text) {
  int64_t columns = 0, most = 0;
  for (char c : text) {
    columns = c == '\n' ? 0 : columns + ((static_cast<unsigned char>(c) & 0xc0) != 0x80);
    most = std::max(most, columns);
  }
  return most;
}

} // namespace

TEST(Report, StartUpTextIsCompleteAndNarrow) {
  Result<StepFile> step = StepFile::load(TOY_DIR "/toy.so");
  ASSERT_TRUE(step.ok());
  RunFacts facts = factsOfToy(*step);
  std::string text = startupText(facts);
  EXPECT_LE(widest(text), 80) << text;
  EXPECT_EQ(text.find('\033'), std::string::npos);
  EXPECT_EQ(text.find(" \n"), std::string::npos) << text;
  for (const char *part : {"32L-32H-4096D-GQA8-RoPE-RMS-SwiGLU-PreNorm",
                           "parameters             272",
                           "trainable            8,030,261,248",
                           "non-embedding        8,030,261,248",
                           "layers                 32",
                           "hidden size            4,096",
                           "32, 8 key/value heads, head size 128",
                           "sequence length        8",
                           "vocabulary             16",
                           "rmsnorm, eps 1e-05",
                           "norm position          pre",
                           "rope, theta 500000, half",
                           "attention backend      auto",
                           "swiglu, d_ff 14,336, 3.5 x hidden",
                           "activation             silu (of the gate)",
                           "bias                   no",
                           "weight tying           no",
                           "dropout                0.1",
                           "micro batch            2 sequences of 8 tokens",
                           "40 per rank, 40 over all ranks",
                           "effective batch        80 sequences",
                           "tokens/iteration       640",
                           "iterations             600,000",
                           "0.0006 to 6e-05, cosine",
                           "warm-up                2,000 iterations",
                           "until iteration 5,000",
                           "gradient clip          1 (global norm)",
                           "precision              float32",
                           "parallelism            none",
                           "2.0 TFLOP/s (measured: fp32 matrix product",
                           "48,249,176,064    46,639,349,760",
                           "0.833             0.667",
                           "tokens/s at 50% MFU    20",
                           "weights",
                           "gradients",
                           "optimizer moments",
                           "activations, scratch",
                           "arena, bytes"})
    EXPECT_MENTIONS(text, part);
  // Colour adds sequences and changes nothing else.
  std::string colored = startupText(facts, true);
  for (const char *sequence : {"\033[1m", "\033[0m"})
    for (size_t at; (at = colored.find(sequence)) != std::string::npos;)
      colored.erase(at, std::strlen(sequence));
  EXPECT_EQ(colored, text);

  facts.device.gpu = true;
  facts.device.name = "NVIDIA H200";
  facts.device.memoryBytes = 141000000000;
  facts.peak = {0, "no idea"};
  text = startupText(facts);
  EXPECT_MENTIONS(text, "GPU                    NVIDIA H200");
  EXPECT_MENTIONS(text, "GPU memory             141.00 GB");
  EXPECT_MENTIONS(text, "unknown: no idea");
  EXPECT_EQ(text.find("50% MFU"), std::string::npos);
}

TEST(Report, IterationInTheDocumentedForm) {
  Result<StepFile> step = StepFile::load(TOY_DIR "/toy.so");
  ASSERT_TRUE(step.ok());
  RunFacts facts = factsOfToy(*step);
  facts.flops = {6400000000, 6000000000};
  facts.peak.flops = 312e12;
  facts.options.gradient_accumulation_steps = 1000;
  IterationFacts it;
  it.iteration = 5;
  it.loss = 3.21451;
  it.seconds = 0.234;
  it.learningRate = 1.5e-6;
  completeIteration(it, facts);
  EXPECT_DOUBLE_EQ(it.tokensPerSecond, 16000 / 0.234);
  EXPECT_EQ(it.achievedTflops, 6400000000.0 * it.tokensPerSecond / 1e12);
  it.memory = {2340000000, 3120000000, 4000000000};
  it.gradients = txc_update_result_t{1.2345f, 1, -5.67e-6f, 2.34e-4f, 0, 0, 0, 0, 0};
  it.showGradients = true;
  EXPECT_EQ(iterationText(it, facts), "Iter 5 │ Loss 3.2145 │ Time 234 ms │ LR 1.50e-06\n"
                                      "MFU 140.26% │ Achieved 437.6 TF │ Peak 312.0 TF │ Tokens/s 68,376 │ "
                                      "FLOPs/token 6.4 GF\n"
                                      "Memory 2.34 GB in use │ 3.12 GB peak │ 4.00 GB reserved\n"
                                      "Gradients norm 1.2345 │ mean -5.67e-06 │ std 2.34e-04\n");
  // Models that are too small for TF.
  facts.peak.flops = 55.94e9;
  facts.flops = {735744, 687360};
  completeIteration(it, facts);
  EXPECT_MENTIONS(iterationText(it, facts), "Achieved 50.3 GF │ Peak 55.9 GF │");
  it.achievedTflops = 4.2e-8;
  EXPECT_MENTIONS(iterationText(it, facts), "Achieved 42.0 kF │");
  it.achievedTflops = 1.5;
  EXPECT_MENTIONS(iterationText(it, facts), "Achieved 1.500 TF │");
  facts.peak.flops = 0;
  completeIteration(it, facts);
  EXPECT_MENTIONS(iterationText(it, facts), "MFU unknown");
  EXPECT_TRUE(iterationJson(it, facts)["mfu"]["mfu_percent"].is_null());
  EXPECT_TRUE(iterationJson(it, facts)["mfu"]["hardware_peak_tflops"].is_null());
}

// A measured peak gives way to what was reached; a vendor's stands.
TEST(Report, ThePeakIsNotBelowWhatWasReached) {
  Result<StepFile> step = StepFile::load(TOY_DIR "/toy.so");
  ASSERT_TRUE(step.ok());
  RunFacts facts = factsOfToy(*step);
  facts.peak = {50e9, "measured", true};
  IterationFacts it;
  it.iteration = 7;
  it.achievedTflops = 0.04;
  EXPECT_EQ(raisePeak(facts, it, {90e9, "measured", true}), "");
  EXPECT_EQ(facts.peak.flops, 50e9);
  it.achievedTflops = 0.06;
  EXPECT_MENTIONS(raisePeak(facts, it, {90e9, "measured", true}), "now 90.0 GFLOP/s, measured again");
  EXPECT_EQ(facts.peak.flops, 90e9);
  it.achievedTflops = 0.12;
  std::string note = raisePeak(facts, it, {80e9, "measured", true});
  EXPECT_MENTIONS(note, "the peak of 90.0 GFLOP/s was measured too low");
  EXPECT_MENTIONS(note, "now 120.0 GFLOP/s, reached by iteration 7");
  EXPECT_LE(widest(note), 80);
  EXPECT_DOUBLE_EQ(facts.peak.flops, 120e9);
  facts.peak = {50e9, "datasheet"};
  EXPECT_EQ(raisePeak(facts, it, {90e9, "measured", true}), "");
  EXPECT_EQ(facts.peak.flops, 50e9);
}

//===-- Terminals -----------------------------------------------------------===//

TEST(Terminal, OnlyATerminalIsOne) {
  int pipes[2];
  ASSERT_EQ(::pipe(pipes), 0);
  ::setenv("TERM", "xterm", 1);
  ::unsetenv("NO_COLOR");
  EXPECT_FALSE(detectTerminal(pipes[1]).inPlace);
  EXPECT_FALSE(detectTerminal(pipes[1]).color);
  int controller = ::posix_openpt(O_RDWR | O_NOCTTY);
  ASSERT_GE(controller, 0);
  ASSERT_EQ(::grantpt(controller), 0);
  ASSERT_EQ(::unlockpt(controller), 0);
  int screen = ::open(::ptsname(controller), O_RDWR | O_NOCTTY);
  ASSERT_GE(screen, 0);
  EXPECT_TRUE(detectTerminal(screen).inPlace);
  EXPECT_TRUE(detectTerminal(screen).color);
  ::setenv("NO_COLOR", "", 1); // empty is as if unset
  EXPECT_TRUE(detectTerminal(screen).color);
  ::setenv("NO_COLOR", "1", 1);
  EXPECT_TRUE(detectTerminal(screen).inPlace);
  EXPECT_FALSE(detectTerminal(screen).color);
  ::unsetenv("NO_COLOR");
  ::setenv("TERM", "dumb", 1);
  EXPECT_FALSE(detectTerminal(screen).inPlace);
  EXPECT_FALSE(detectTerminal(screen).color);
  for (int fd : {pipes[0], pipes[1], controller, screen})
    ::close(fd);
}

TEST(Terminal, LineIsCutAndRemoved) {
  std::string out;
  Screen screen([&](const std::string &text) { out += text; }, {true, false, 6});
  screen.line("a│cdefgh");
  EXPECT_EQ(out, "\ra│cde\033[K");
  EXPECT_FALSE(screen.lineIsDue());
  out.clear();
  screen.text("done\n");
  EXPECT_EQ(out, "\r\033[Kdone\n");
  out.clear();
  screen.text("more\n");
  screen.removeLine();
  EXPECT_EQ(out, "more\n");
}

//===-- Progress ------------------------------------------------------------===//

TEST(Progress, TimeLeft) {
  Progress progress(100, 30);
  EXPECT_FALSE(progress.secondsLeft());
  progress.addIteration(9); // warms up
  EXPECT_DOUBLE_EQ(*progress.secondsLeft(), 99 * 9.0);
  for (int i = 1; i < 30; ++i)
    progress.addIteration(2);
  EXPECT_DOUBLE_EQ(*progress.secondsLeft(), 70 * 2.0);
  // Evaluations at 30, 60, 90 and 100: three are left.
  progress.addEvaluation(5);
  EXPECT_DOUBLE_EQ(*progress.secondsLeft(), 70 * 2.0 + 3 * 5.0);
  EXPECT_EQ(progress.text(65), "Progress 30 of 100 │ 30.0% │ 0:01:05 elapsed │ 0:02:35 left");
  // It follows a change of speed.
  for (int i = 30; i < 99; ++i)
    progress.addIteration(4);
  EXPECT_NEAR(*progress.secondsLeft(), 4 + 3 * 5.0, 0.1);
}

TEST(Progress, Durations) {
  EXPECT_EQ(durationText(0), "0:00:00");
  EXPECT_EQ(durationText(59.6), "0:01:00");
  EXPECT_EQ(durationText(3661.5), "1:01:02");
  EXPECT_EQ(durationText(86400 * 2 + 3 * 3600 + 4 * 60 + 5), "2d 03:04:05");
  EXPECT_EQ(durationText(-1), "?");
  EXPECT_EQ(durationText(NAN), "?");
}
