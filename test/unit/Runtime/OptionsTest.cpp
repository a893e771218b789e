//===- OptionsTest.cpp - The command line of txrun -------------------------===//
#include "train/options.h"

#include <gtest/gtest.h>

using namespace txc;
using Json = nlohmann::ordered_json;

static std::string errorOf(const std::vector<std::string> &arguments) {
  Result<Command> command = parseCommandLine(arguments);
  if (command.ok())
    return "accepted";
  EXPECT_EQ(command.status().code(), Code::Usage);
  return command.status().message();
}

static Result<RunOptions> resolve(const Json &config, const std::vector<std::string> &arguments) {
  Result<Command> command = parseCommandLine(arguments);
  if (!command.ok())
    return command.status();
  return resolveOptions(config, *command);
}

#define EXPECT_MENTIONS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

TEST(Options, BothWaysToWriteAValue) {
  for (const std::vector<std::string> &arguments :
       {std::vector<std::string>{"step.so", "--max_iters=1e3", "--eval_only=True", "--out_dir=o"},
        std::vector<std::string>{"--max_iters", "1_000", "step.so", "--eval_only", "--out_dir", "o"},
        std::vector<std::string>{"--eval_only", "true", "step.so", "--max_iters", "1000", "--out_dir=o"},
        std::vector<std::string>{"--eval_only", "step.so", "--max_iters=1", "--max_iters=1000",
                                 "--out_dir=o"}}) {
    Result<RunOptions> options = resolve(Json::object(), arguments);
    ASSERT_TRUE(options.ok()) << options.status().message();
    EXPECT_EQ(options->max_iters, 1000);
    EXPECT_TRUE(options->eval_only);
    EXPECT_EQ(options->out_dir, "o");
    EXPECT_EQ(options->lr_decay_iters, 1000); // auto: max_iters
  }
}

TEST(Options, CommandLineBeatsRecipeBeatsTable) {
  Json config = Json::parse(R"({"model": {"n_layer": 6}, "train": {"learning_rate": 0.25, "beta2": 0.99,
                                "lr_decay_iters": null, "schedule": "wsd"}})");
  Result<RunOptions> options = resolve(config, {"step.so", "--learning_rate=5e-1"});
  ASSERT_TRUE(options.ok()) << options.status().message();
  EXPECT_EQ(options->learning_rate, 0.5);
  EXPECT_EQ(options->beta2, 0.99);
  EXPECT_EQ(options->beta1, 0.9);
  EXPECT_EQ(options->schedule, run::Schedule::Wsd);
  EXPECT_EQ(toJson(*options)["schedule"], "wsd");
}

TEST(Options, CompileTimeKeysNameTxc) {
  for (const char *key :
       {"n_layer", "n_kv_head", "batch_size", "block_size", "dtype", "normalization", "dropout"}) {
    std::string error = errorOf({"step.so", std::string("--") + key + "=8"});
    EXPECT_MENTIONS(error, std::string("txc compile SPEC.yaml --") + key + "=8");
  }
  EXPECT_MENTIONS(errorOf({"step.so", "--n_layer", "8"}), "txc compile");
}

TEST(Options, TyposOfferTheNearestName) {
  EXPECT_MENTIONS(errorOf({"step.so", "--max_iter=5"}), "did you mean --max_iters?");
  EXPECT_MENTIONS(errorOf({"step.so", "--max-iters=5"}), "did you mean --max_iters?");
  EXPECT_MENTIONS(errorOf({"step.so", "--n_layers=5"}), "did you mean --n_layer?");
  EXPECT_MENTIONS(errorOf({"step.so", "--zzzzzzzz=5"}), "--help");
  EXPECT_MENTIONS(errorOf({"step.so", "--decay_lr=true"}), "schedule");
}

TEST(Options, BadValues) {
  EXPECT_MENTIONS(errorOf({"step.so", "--max_iters=ten"}), "--max_iters=ten: expected a whole number");
  EXPECT_MENTIONS(errorOf({"step.so", "--beta1=1.5"}), "expected 0 to");
  EXPECT_MENTIONS(errorOf({"step.so", "--schedule=step"}), "cosine|linear|constant|wsd");
  EXPECT_MENTIONS(errorOf({"step.so", "--eval_only=maybe"}), "true or false");
  EXPECT_MENTIONS(errorOf({"step.so", "--dataset="}), "--dataset");
  EXPECT_MENTIONS(errorOf({"step.so", "--max_iters"}), "max_iters");
  EXPECT_MENTIONS(errorOf({}), "no step file");
  EXPECT_MENTIONS(errorOf({"a.so", "b.so"}), "b.so");
}

TEST(Options, WhereWeightsComeFrom) {
  for (const char *from : {"scratch", "resume", "model.safetensors"}) {
    Result<RunOptions> options = resolve(Json::object(), {"step.so", std::string("--init_from=") + from});
    ASSERT_TRUE(options.ok());
    EXPECT_EQ(options->init_from, from);
  }
  for (const char *from : {"resum", ".safetensors", "model.pt"}) {
    Result<RunOptions> options = resolve(Json::object(), {"step.so", std::string("--init_from=") + from});
    ASSERT_FALSE(options.ok());
    EXPECT_EQ(options.status().code(), Code::Usage);
    EXPECT_MENTIONS(options.status().message(), "scratch, resume, a FILE.safetensors or a folder of weights");
  }
}

TEST(Options, ACheckpointsOptionsHoldUnlessTheCommandLineSaysOtherwise) {
  Result<RunOptions> before = resolve(Json::object(), {"step.so", "--seed=7", "--max_iters=10", "--out_dir=a"});
  ASSERT_TRUE(before.ok());
  Json saved = savedOptions(*before);
  EXPECT_FALSE(saved.contains("out_dir"));
  Result<Command> command = parseCommandLine({"step.so", "--max_iters=20"});
  ASSERT_TRUE(command.ok());
  Result<Command> joined = withSavedOptions(*command, saved);
  ASSERT_TRUE(joined.ok());
  Result<RunOptions> after = resolveOptions(Json{{"seed", 9}}, *joined);
  ASSERT_TRUE(after.ok());
  EXPECT_EQ(after->seed, 7);
  EXPECT_EQ(after->max_iters, 20);
  EXPECT_EQ(after->lr_decay_iters, 10);
  EXPECT_EQ(after->out_dir, "out");
}

TEST(Options, RecipeWithABadValue) {
  Result<RunOptions> options = resolve(Json{{"max_iters", "many"}}, {"step.so"});
  ASSERT_FALSE(options.ok());
  EXPECT_EQ(options.status().code(), Code::Failed);
  EXPECT_MENTIONS(options.status().message(), "max_iters");
}

TEST(Options, Help) {
  EXPECT_EQ(parseCommandLine({"--help"})->action, Command::Action::Help);
  EXPECT_EQ(parseCommandLine({"--version"})->action, Command::Action::Version);
  std::string help = helpText();
  for (const char *word : {"--max_iters", "--dump_tensors", "--threads", "wsd"})
    EXPECT_MENTIONS(help, word);
  // Examples come first.
  EXPECT_LT(help.find("txrun step.so --dataset="), help.find("Usage:"));
  EXPECT_EQ(help.find("--n_layer"), std::string::npos);
}
