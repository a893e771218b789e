//===- TrainerTest.cpp - Whole runs of the toy step ------------------------===//
#include "train/trainer.h"

#include "TempFolder.h"

#include <cmath>
#include <csignal>
#include <gtest/gtest.h>

using namespace txc;
using Json = nlohmann::ordered_json;

namespace {

// Data that a bigram model can learn: token t is followed by 5 t + 3 mod 16.
struct ToyRun {
  TempFolder folder;
  Status status;
  std::string output;
  Json log;

  explicit ToyRun(std::vector<std::string> arguments, int signalAfter = -1, int signalNumber = 0,
                  Terminal terminal = {}) {
    std::vector<uint16_t> tokens(4000);
    for (size_t i = 1; i < tokens.size(); ++i)
      tokens[i] = i % 50 == 0 ? static_cast<uint16_t>(i / 50 % 16)
                              : static_cast<uint16_t>((5 * tokens[i - 1] + 3) % 16);
    folder.writeNumbers("data/train.bin", tokens);
    tokens.resize(400);
    folder.writeNumbers("data/val.bin", tokens);
    folder.write("data/meta.json", R"({"dtype": "uint16", "vocab_size": 16})");
    std::vector<std::string> all = {TOY_DIR "/toy.so", "--dataset=" + folder.file("data"),
                                    "--out_dir=" + folder.file("out"), "--threads=2"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    Result<Command> command = parseCommandLine(all);
    if (!command.ok()) {
      status = command.status();
      return;
    }
    Result<std::unique_ptr<Trainer>> trainer = Trainer::create(*command);
    if (!trainer.ok()) {
      status = trainer.status();
      return;
    }
    int printed = 0;
    status = (*trainer)->train(
        [&](const std::string &text) {
          output += text;
          ++printed;
        },
        [&] { return signalAfter >= 0 && printed > signalAfter ? signalNumber : 0; }, terminal);
    std::ifstream file((*trainer)->logPath());
    log = Json::parse(file, nullptr, false);
  }
  std::vector<double> losses() const {
    std::vector<double> out;
    for (const Json &iteration : log["training_iterations"])
      out.push_back(iteration["loss"]);
    return out;
  }
};

#define EXPECT_MENTIONS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

} // namespace

TEST(Trainer, LossFalls) {
  ToyRun run({"--max_iters=60", "--gradient_log_interval=1"});
  ASSERT_TRUE(run.status.ok()) << run.status.message();
  std::vector<double> losses = run.losses();
  ASSERT_EQ(losses.size(), 60u);
  EXPECT_NEAR(losses[0], std::log(16.0), 0.1);
  EXPECT_LT(losses.back(), 0.8);
  // Evaluations at 10, 20, ..., and one after the end.
  ASSERT_EQ(run.log["eval_steps"].size(), 6u);
  EXPECT_EQ(run.log["eval_steps"][0]["iter"], 10);
  EXPECT_EQ(run.log["eval_steps"].back()["iter"], 60);
  double valLoss = run.log["eval_steps"].back()["val_loss"];
  EXPECT_DOUBLE_EQ(run.log["eval_steps"].back()["perplexity"].get<double>(), std::exp(valLoss));
  EXPECT_EQ(run.log["summary"]["total_iterations"], 60);
  EXPECT_EQ(run.log["metadata"]["exit_code"], 0);
}

TEST(Trainer, FiguresAgreeWithEachOther) {
  ToyRun run({"--max_iters=3", "--gradient_log_interval=2"});
  ASSERT_TRUE(run.status.ok()) << run.status.message();
  for (const Json &it : run.log["training_iterations"]) {
    const Json &mfu = it["mfu"];
    EXPECT_EQ(mfu["achieved_tflops"].get<double>(),
              mfu["flops_per_token"].get<double>() * mfu["tokens_per_sec"].get<double>() / 1e12);
    EXPECT_NEAR(mfu["tokens_per_sec"].get<double>() * it["time_ms"].get<double>() / 1e3, 2 * 8 * 2, 1e-6);
    EXPECT_GT(it["gradients"]["global_norm"], 0);
    EXPECT_GE(it["memory"]["peak_gb"], it["memory"]["allocated_gb"]);
    EXPECT_TRUE(mfu["tokens_per_sec_per_gpu"].is_null());
    EXPECT_EQ(mfu["logit_flops"], 1536);
    EXPECT_TRUE(mfu["attention_flops_per_layer"].is_null()); // the toy has none
  }
  EXPECT_EQ(run.log["startup_info"]["model"]["architecture_name"], "toy-bigram");
  EXPECT_EQ(run.log["startup_info"]["model"]["total_parameters"], 272);
  EXPECT_EQ(run.log["config"]["max_iters"], 3);
  EXPECT_EQ(run.log["config"]["n_embd"], 16);
  EXPECT_EQ(run.log["config"]["learning_rate"], 0.1);
  EXPECT_MENTIONS(run.output, "Iter 0 │ Loss 2.7");
  // The log has gradients for every iteration, the text for every second.
  size_t first = run.output.find("Gradients norm"), second = run.output.find("Gradients norm", first + 1);
  EXPECT_LT(first, run.output.find("Iter 1"));
  EXPECT_GT(second, run.output.find("Iter 2"));
  EXPECT_EQ(run.output.find("Gradients norm", second + 1), std::string::npos);
  ToyRun none({"--max_iters=1", "--gradient_log_interval=0"});
  EXPECT_TRUE(none.log["training_iterations"][0]["gradients"].is_null());
  EXPECT_MENTIONS(run.output, "toy-bigram");
}

TEST(Trainer, BestEvaluationSoFar) {
  // The rate grows until training gets worse again.
  ToyRun run({"--max_iters=60", "--eval_interval=5", "--learning_rate=3", "--schedule=constant",
              "--warmup_iters=60", "--weight_decay=0"});
  ASSERT_TRUE(run.status.ok()) << run.status.message();
  double best = INFINITY;
  Json iteration;
  bool worse = false;
  for (const Json &evaluation : run.log["eval_steps"]) {
    if (evaluation["val_loss"] < best) {
      best = evaluation["val_loss"];
      iteration = evaluation["iter"];
    } else {
      worse = true;
    }
    EXPECT_EQ(evaluation["best_val_loss"], best);
    EXPECT_EQ(evaluation["best_val_iter"], iteration);
  }
  ASSERT_TRUE(worse) << run.log["eval_steps"];
  EXPECT_EQ(run.log["summary"]["best_val_loss"], best);
  EXPECT_EQ(run.log["summary"]["best_val_iter"], iteration);
  EXPECT_MENTIONS(run.output, "│ best so far");
  EXPECT_MENTIONS(run.output, "│ best " + std::to_string(best).substr(0, 5));
  EXPECT_MENTIONS(run.output, " at " + iteration.dump() + "\n");
}

TEST(Trainer, ProgressLine) {
  // Not on a terminal: one line per report, nothing that only a terminal understands.
  ToyRun file({"--max_iters=10", "--log_interval=5", "--eval_interval=0"});
  EXPECT_MENTIONS(file.output, "Progress 1 of 10 │ 10.0% │ 0:00:0");
  EXPECT_MENTIONS(file.output, "Progress 10 of 10 │ 100.0%");
  EXPECT_MENTIONS(file.output, " left\n");
  EXPECT_EQ(file.output.find('\r'), std::string::npos);
  EXPECT_EQ(file.output.find('\033'), std::string::npos);
  // On a terminal: a line that is removed before other text and at the end.
  Terminal terminal{true, true, 80};
  ToyRun screen({"--max_iters=10", "--log_interval=5", "--eval_interval=0"}, -1, 0, terminal);
  EXPECT_MENTIONS(screen.output, "\rProgress 1 of 10 │ 10.0% │ ");
  EXPECT_MENTIONS(screen.output, "\033[1mModel\033[0m\n");
  EXPECT_EQ(screen.output.find("left\n"), std::string::npos);
  size_t line = screen.output.rfind("\rProgress"), removed = screen.output.rfind("\r\033[K");
  EXPECT_GT(removed, line);
  for (const char *option : {"--quiet", "--json"}) {
    ToyRun none({"--max_iters=10", option}, -1, 0, terminal);
    EXPECT_EQ(none.output.find("\rProgress"), std::string::npos) << option;
    EXPECT_EQ(none.output.find('\033'), std::string::npos) << option;
  }
}

TEST(Trainer, LogHasThePlanAndTheLedger) {
  ToyRun run({"--max_iters=1"});
  const Json &plan = run.log["metadata"]["memory_plan"];
  EXPECT_EQ(plan["arena_bytes"], plan["arena_lower_bound"]);
  ASSERT_EQ(plan["entries"].size(), 4u);
  EXPECT_EQ(plan["entries"][1], Json({{"name", "micro"}, {"num_commands", 6}}));
  ASSERT_EQ(plan["buffers"].size(), 16u);
  EXPECT_EQ(plan["buffers"][0], Json({{"name", "lm_head.weight"},
                                      {"kind", "param"},
                                      {"offset", 0},
                                      {"bytes", 1024},
                                      {"entry", nullptr},
                                      {"begin", nullptr},
                                      {"end", nullptr}}));
  const Json &logits = plan["buffers"][14];
  EXPECT_EQ(logits["name"], "logits");
  EXPECT_EQ(logits["kind"], "activation");
  EXPECT_EQ(logits["entry"], "micro");
  EXPECT_EQ(logits["begin"], 1);
  EXPECT_EQ(logits["end"], 5);
  EXPECT_EQ(run.log["metadata"]["flops"],
            Json::parse(R"([{"name": "lm_head", "op": "linear", "full": 8192, "causal": 8192},
                            {"name": "lm_head", "op": "linear_vjp", "full": 16384, "causal": 16384}])"));
  const Json &theory = run.log["startup_info"]["theory"];
  EXPECT_EQ(theory["flops_by_group"], Json::parse(R"([{"group": "logits", "full": 1536, "causal": 1536}])"));
  uint64_t bytes = 0;
  for (const Json &part : theory["memory_by_part"])
    bytes += part["bytes"].get<uint64_t>();
  EXPECT_EQ(plan["arena_bytes"], bytes);
}

TEST(Trainer, RepeatsToTheBitWithAnyThreads) {
  ToyRun first({"--max_iters=15"}), again({"--max_iters=15"}), single({"--max_iters=15", "--threads=1"});
  EXPECT_EQ(first.losses(), again.losses());
  EXPECT_EQ(first.losses(), single.losses());
  ToyRun other({"--max_iters=15", "--seed=7"});
  EXPECT_NE(first.losses(), other.losses());
}

TEST(Trainer, EvaluationDoesNotDisturbTraining) {
  ToyRun with({"--max_iters=15", "--eval_interval=3"}), without({"--max_iters=15", "--eval_interval=0"});
  EXPECT_EQ(with.losses(), without.losses());
  EXPECT_EQ(with.log["eval_steps"].size(), 5u);
  EXPECT_TRUE(without.log["eval_steps"].empty());
  EXPECT_TRUE(without.log["summary"]["best_val_loss"].is_null());
}

// The last evaluation of a run and one of its own see the same batches, eval_iters of
// each split; perplexity is that of the val split.
TEST(Trainer, EvaluatesBothSplits) {
  ToyRun run({"--max_iters=6", "--eval_interval=4", "--eval_iters=3"});
  ASSERT_EQ(run.log["eval_steps"].size(), 2u);
  EXPECT_EQ(run.log["eval_steps"][0]["iter"], 4);
  EXPECT_EQ(run.log["eval_steps"][1]["iter"], 6);
  for (const Json &evaluation : run.log["eval_steps"]) {
    EXPECT_NE(evaluation["train_loss"], evaluation["val_loss"]);
    EXPECT_DOUBLE_EQ(evaluation["perplexity"].get<double>(), std::exp(evaluation["val_loss"].get<double>()));
  }
  ToyRun fresh({"--eval_only", "--eval_iters=3"}),
      again({"--max_iters=0", "--eval_interval=1", "--eval_iters=3"}),
      fewer({"--eval_only", "--eval_iters=1"}), seed({"--eval_only", "--eval_iters=3", "--seed=2"});
  auto losses = [](const ToyRun &run) {
    const Json &evaluation = run.log["eval_steps"][0];
    return std::pair<double, double>(evaluation["train_loss"], evaluation["val_loss"]);
  };
  EXPECT_EQ(losses(fresh), losses(again));
  EXPECT_NE(losses(fresh), losses(fewer));
  EXPECT_NE(losses(fresh), losses(seed));
}

TEST(Trainer, RefusesToSampleFromAStepThatCannot) {
  ToyRun run({"--sample"});
  EXPECT_EQ(run.status.code(), Code::Usage);
  EXPECT_MENTIONS(run.status.message(), "compile it again with --decode=true");
}

TEST(Trainer, EvalOnly) {
  ToyRun run({"--eval_only"});
  ASSERT_TRUE(run.status.ok()) << run.status.message();
  EXPECT_TRUE(run.log["training_iterations"].empty());
  ASSERT_EQ(run.log["eval_steps"].size(), 1u);
  EXPECT_NEAR(run.log["eval_steps"][0]["val_loss"], std::log(16.0), 0.1);
}

TEST(Trainer, StopsWhenItDiverges) {
  ToyRun run({"--max_iters=50", "--learning_rate=100", "--weight_decay=100", "--warmup_iters=0"});
  ASSERT_FALSE(run.status.ok());
  EXPECT_EQ(run.status.code(), Code::Diverged);
  EXPECT_MENTIONS(run.status.message(), "diverged");
  EXPECT_EQ(run.log["metadata"]["exit_code"], 4);
  EXPECT_EQ(run.log["metadata"]["error"], run.status.message());
}

TEST(Trainer, SignalEndsAfterTheIteration) {
  // The report is the first text, then one for each iteration.
  ToyRun run({"--max_iters=50", "--eval_interval=0"}, 3, SIGTERM);
  ASSERT_TRUE(run.status.ok()) << run.status.message();
  EXPECT_EQ(run.log["training_iterations"].size(), 3u);
  EXPECT_EQ(run.log["metadata"]["signal"], SIGTERM);
  EXPECT_EQ(run.log["metadata"]["exit_code"], 143);
}

TEST(Trainer, LogInterval) {
  ToyRun run({"--max_iters=10", "--log_interval=4", "--eval_interval=0"});
  std::vector<int64_t> logged;
  for (const Json &it : run.log["training_iterations"])
    logged.push_back(it["iter"]);
  EXPECT_EQ(logged, (std::vector<int64_t>{0, 4, 8, 9}));
}

TEST(Trainer, JsonAndQuietOutput) {
  ToyRun json({"--max_iters=2", "--json"});
  std::istringstream lines(json.output);
  std::vector<std::string> events;
  for (std::string line; std::getline(lines, line);) {
    Json parsed = Json::parse(line, nullptr, false);
    ASSERT_TRUE(parsed.is_object()) << line;
    events.push_back(parsed["event"]);
  }
  EXPECT_EQ(events, (std::vector<std::string>{"start", "iteration", "iteration", "evaluation", "checkpoint", "end"}));
  ToyRun quiet({"--max_iters=2", "--quiet"});
  EXPECT_EQ(quiet.output, "");
  EXPECT_EQ(quiet.log["training_iterations"].size(), 2u);
}

TEST(Trainer, DumpedTensorsAreThoseOfTheRun) {
  TempFolder dump;
  ToyRun run({"--max_iters=2", "--gradient_log_interval=1", "--dump_tensors=" + dump.path()});
  ASSERT_TRUE(run.status.ok()) << run.status.message();
  auto data = [&](const std::string &name) {
    std::string text = dump.read(name);
    EXPECT_EQ(text.substr(0, 6), "\x93NUMPY") << name;
    size_t start = 10 + static_cast<uint8_t>(text[8]) + 256 * static_cast<uint8_t>(text[9]);
    EXPECT_EQ(start % 64, 0u);
    EXPECT_EQ(text[start - 1], '\n');
    return std::pair(text.substr(10, start - 10), text.substr(start));
  };
  auto [header, weights] = data("init/lm_head.weight.npy");
  EXPECT_MENTIONS(header, "'descr': '<f4', 'fortran_order': False, 'shape': (16,16,), }");
  EXPECT_EQ(weights.size(), 1024u);
  EXPECT_MENTIONS(data("init/lm_head.bias.npy").first, "(16,)");
  for (const char *name : {"iter0/tokens.0", "iter0/tokens.1", "iter1/targets.0", "iter1/targets.1"}) {
    auto [intHeader, bytes] = data(std::string(name) + ".npy");
    EXPECT_MENTIONS(intHeader, "'descr': '<i4', 'fortran_order': False, 'shape': (2,8,), }");
    EXPECT_EQ(bytes.size(), 64u);
  }
  // Their norm is the one that the step reports.
  for (int it : {0, 1}) {
    double sum = 0;
    for (const char *name : {"weight", "bias"}) {
      std::string bytes = data("iter" + std::to_string(it) + "/grad/lm_head." + name + ".npy").second;
      for (size_t at = 0; at < bytes.size(); at += 4) {
        float value;
        std::memcpy(&value, &bytes[at], 4);
        sum += static_cast<double>(value) * value;
      }
    }
    double logged = run.log["training_iterations"][static_cast<size_t>(it)]["gradients"]["global_norm"];
    EXPECT_NEAR(std::sqrt(sum), logged, 1e-5 * logged);
  }
}

TEST(Trainer, RefusesDataThatDoesNotFit) {
  TempFolder folder;
  folder.writeNumbers("train.bin", std::vector<uint16_t>(100, 3));
  folder.writeNumbers("val.bin", std::vector<uint16_t>(100, 3));
  folder.write("meta.json", R"({"dtype": "uint16", "vocab_size": 65})");
  ToyRun run({"--dataset=" + folder.path()});
  ASSERT_FALSE(run.status.ok());
  EXPECT_EQ(run.status.code(), Code::Failed);
  EXPECT_MENTIONS(run.status.message(), "65");
  ToyRun missing({"--dataset=" + folder.file("nowhere")});
  EXPECT_EQ(missing.status.code(), Code::Failed);
}
