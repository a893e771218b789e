//===- txdata.cpp - Makes, shows and decodes data sets ----------------------===//
//
// Reads the command line, calls runtime/src/data/prepare.h, prints. What users
// asked for goes to standard output, warnings and errors to standard error.
//
//===----------------------------------------------------------------------===//
#include "data/prepare.h"
#include "support/text.h"
#include "txc/Manual/FromCli11.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

using namespace txc;
using namespace txc::data;

static int fail(const Status &status) {
  std::fflush(stdout);
  std::fprintf(stderr, "txdata: error: %s\n", status.message().c_str());
  return static_cast<int>(status.code());
}

//===-- Output -------------------------------------------------------------===//

static std::string tokenizerText(const Sidecar &sidecar) {
  std::string kind = sidecar.tokenizerKind();
  std::string size = withCommas(sidecar.vocabSize);
  if (kind == "char")
    return "char, " + size + " characters";
  if (kind == "byte")
    return "byte, 256 tokens";
  if (kind == "gpt2")
    return "gpt2, OpenAI's BPE of " + size + " tokens";
  if (kind == "bpe")
    return "bpe, " + size + " tokens learned from the text";
  return (kind.empty() ? "not named" : kind) + ", " + size + " tokens";
}

static void printDataset(const std::string &directory, const Sidecar &sidecar, uint64_t train, uint64_t val) {
  std::printf("%s\n", directory.c_str());
  std::printf("  vocabulary  %s\n", tokenizerText(sidecar).c_str());
  std::printf("  files       %s, %s\n", sidecar.dtype.c_str(),
              sidecar.format == TokenFormat::LlmC ? "llm.c's format" : "raw, as nanoGPT's");
  std::printf("  train       %s tokens\n", withCommas(train).c_str());
  std::printf("  val         %s tokens\n", withCommas(val).c_str());
  if (sidecar.source)
    std::printf("  source      %s, %s bytes%s\n", sidecar.source->name.c_str(),
                withCommas(sidecar.source->bytes).c_str(),
                sidecar.source->fallback ? " (a stand-in: txc's own text)" : "");
}

static int runPrepare(const PrepareOptions &options) {
  Result<Prepared> prepared = prepare(options);
  if (!prepared.ok())
    return fail(prepared.status());
  if (!prepared->warning.empty())
    std::fprintf(stderr, "txdata: warning: %s\n", prepared->warning.c_str());
  if (prepared->sidecar.source && prepared->sidecar.source->fallback)
    std::fprintf(
        stderr,
        "txdata: warning: %s HOLDS TXC'S OWN SMALL TEXT, NOT SHAKESPEARE; good for a first try, not for "
        "comparisons\n",
        prepared->directory.c_str());
  if (prepared->upToDate)
    std::printf("up to date: ");
  printDataset(prepared->directory, prepared->sidecar, prepared->sidecar.train->tokens,
               prepared->sidecar.val->tokens);
  return 0;
}

static int runInfo(const std::string &directory, bool json) {
  Result<Inspection> found = inspect(directory);
  if (!found.ok())
    return fail(found.status());
  bool hashed = found->sidecar.train && !found->sidecar.train->sha256.empty() && found->sidecar.val &&
                !found->sidecar.val->sha256.empty();
  if (!json) {
    printDataset(found->directory, found->sidecar, found->train.tokens, found->val.tokens);
    std::printf("  checked     every token is below the vocabulary%s\n",
                hashed ? "; both files have the SHA-256 of meta.json"
                       : "; meta.json has no hashes to compare");
    return 0;
  }
  nlohmann::ordered_json out = nlohmann::ordered_json::parse(found->sidecar.toJson());
  out["directory"] = found->directory;
  out["hashes_checked"] = hashed;
  for (bool training : {true, false}) {
    const SplitFacts &facts = training ? found->train : found->val;
    nlohmann::ordered_json &split = out["splits"][training ? "train" : "val"];
    split["path"] = facts.path;
    split["tokens"] = facts.tokens;
    split["format"] = facts.format;
  }
  std::printf("%s\n", out.dump(1, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
  return 0;
}

//===-- Command line -------------------------------------------------------===//

// `--val-fraction` and `--val_fraction` are the same option; CLI11 sees underscores.
static std::vector<std::string> withUnderscores(int argc, char **argv) {
  std::vector<std::string> out;
  bool onlyNames = false;
  for (int i = 1; i < argc; ++i) {
    std::string argument = argv[i];
    onlyNames |= argument == "--";
    if (!onlyNames && argument.starts_with("--"))
      for (size_t j = 2; j < argument.size() && argument[j] != '='; ++j)
        if (argument[j] == '-')
          argument[j] = '_';
    out.push_back(argument);
  }
  return out;
}

static std::vector<std::string> optionNames(const CLI::App &app) {
  std::vector<std::string> out;
  for (const CLI::Option *option : app.get_options())
    for (const std::string &name : option->get_lnames())
      out.push_back(name);
  return out;
}

// What CLI11 could not place, with the name that was probably meant.
static Status unplaced(const CLI::App &app) {
  const CLI::App *command = app.get_subcommands().empty() ? nullptr : app.get_subcommands().front();
  std::string first = app.remaining(true).front();
  if (command && first.starts_with("--")) {
    std::string name = first.substr(2, first.find('=') - 2);
    std::string nearest = nearestName(name, optionNames(*command));
    return Status::usage("txdata " + command->get_name() + " has no option --" + name +
                         (nearest.empty() ? "" : "; did you mean --" + nearest + "?") + " (txdata " +
                         command->get_name() + " --help lists them)");
  }
  if (command)
    return Status::usage("txdata " + command->get_name() + " takes no further argument " + first +
                         " (see txdata " + command->get_name() + " --help)");
  std::vector<std::string> names;
  for (const CLI::App *each : app.get_subcommands(nullptr))
    names.push_back(each->get_name());
  std::string nearest = nearestName(first, names);
  return Status::usage("unknown command " + first +
                       (nearest.empty() ? "" : "; did you mean " + nearest + "?") +
                       " (commands: prepare, info, decode, describe)");
}

static manual::Tool describeTool(const CLI::App &app) {
  manual::Tool tool = manual::toolOf(app, TXC_VERSION);
  tool.environment = {
      {"TXC_DATA_DIR", "a folder of data sets, looked in for a data set's name"},
      {"TXC_TINYSHAKESPEARE", "a local copy of tiny Shakespeare"},
      {"TXC_GPT2_BPE_DIR", "a folder of GPT-2's vocab.bpe and encoder.json"},
  };
  tool.exitCodes = {{"0", "done"},
                    {"1", "bad input, or nothing to make it from"},
                    {"2", "wrong usage"},
                    {"3", "PCRE2 failed"}};
  tool.seeAlso = {"txc", "txreport", "txrun"};
  return tool;
}

int main(int argc, char **argv) {
  CLI::App app("makes, shows and decodes data sets", "txdata");
  app.formatter(std::make_shared<manual::ManualFormatter>(describeTool));
  app.set_version_flag("--version", std::string("txdata ") + TXC_VERSION);
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  app.require_subcommand(1);
  app.footer("txdata prepare shakespeare_char  tiny Shakespeare by characters, into data/shakespeare_char\n"
             "txdata prepare shakespeare  the same text by GPT-2's BPE\n"
             "txdata prepare my.txt --tokenizer=bpe --vocab_size=2048\n"
             "txdata info data/shakespeare_char\n"
             "txdata decode data/shakespeare_char --split=val --count=200");

  PrepareOptions prepareOptions;
  uint32_t bpeVocab = 0;
  CLI::App *prepareCommand = app.add_subcommand("prepare", "makes a data set from a text");
  prepareCommand->footer(
      "txdata prepare shakespeare_char  take or download the text, write tokens\n"
      "txdata prepare shakespeare_char --source=input.txt  with a local copy of tiny Shakespeare\n"
      "txdata prepare shakespeare --bpe_dir=gpt2  with gpt2/vocab.bpe, gpt2/encoder.json\n"
      "txdata prepare notes.txt --tokenizer=byte --out=data/notes");
  prepareCommand
      ->add_option("what", prepareOptions.what, "What to make it from: a known name or a text file.")
      ->required()
      ->type_name("shakespeare_char|shakespeare|FILE");
  prepareCommand
      ->add_option("--tokenizer", prepareOptions.tokenizer, "What a token is; bpe is learned from the text.")
      ->type_name("char|byte|gpt2|bpe")
      ->default_str("the name's, else char");
  prepareCommand->add_option("--out", prepareOptions.out, "Folder to make.")
      ->type_name("DIR")
      ->default_str("data/NAME");
  prepareCommand
      ->add_option("--val_fraction", prepareOptions.valFraction,
                   "Part of the text, from its end, that validates.")
      ->type_name("X")
      ->default_str("0.1");
  prepareCommand->add_option("--source", prepareOptions.source, "Local copy of tiny Shakespeare.")
      ->type_name("FILE")
      ->default_str("$TXC_TINYSHAKESPEARE, the cache, the network");
  prepareCommand
      ->add_option("--bpe_dir", prepareOptions.bpeDir, "Folder of GPT-2's vocab.bpe and encoder.json.")
      ->type_name("DIR")
      ->default_str("$TXC_GPT2_BPE_DIR, the cache, the network");
  CLI::Option *vocabOption =
      prepareCommand->add_option("--vocab_size", bpeVocab, "Tokens that bpe learns, 256 bytes included.")
          ->type_name("N")
          ->default_str("1024");
  prepareCommand->add_flag("--allow_fallback", prepareOptions.allowFallback,
                           "Take txc's own small text if tiny Shakespeare cannot be had.");

  std::string infoDirectory;
  bool json = false;
  CLI::App *infoCommand = app.add_subcommand("info", "shows and checks a data set");
  infoCommand->footer("txdata info shakespeare_char\n"
                      "txdata info data/shakespeare_char --json");
  infoCommand->add_option("dataset", infoDirectory, "Name or folder of a data set.")
      ->required()
      ->type_name("NAME|DIR");
  infoCommand->add_flag("--json", json, "Print JSON.");

  std::string decodeDirectory, split = "train", decodeBpeDir;
  uint64_t begin = 0, count = 500;
  CLI::App *decodeCommand = app.add_subcommand("decode", "prints the text of a data set's tokens");
  decodeCommand->footer("txdata decode data/shakespeare_char\n"
                        "txdata decode data/shakespeare --split=val --begin=1000 --count=50");
  decodeCommand->add_option("dataset", decodeDirectory, "Name or folder of a data set.")
      ->required()
      ->type_name("NAME|DIR");
  decodeCommand->add_option("--split", split, "Which part.")->type_name("train|val")->default_str("train");
  decodeCommand->add_option("--begin", begin, "Number of the first token.")->type_name("N")->default_str("0");
  decodeCommand->add_option("--count", count, "How many tokens.")->type_name("N")->default_str("500");
  decodeCommand
      ->add_option("--bpe_dir", decodeBpeDir, "Folder of vocab.bpe and encoder.json, for GPT-2's tokens.")
      ->type_name("DIR")
      ->default_str("$TXC_GPT2_BPE_DIR, the cache, the network");

  DescribeOptions describeOptions;
  CLI::App *describeCommand =
      app.add_subcommand("describe", "writes the sidecar of token files made elsewhere");
  describeCommand->footer("txdata describe nanoGPT/data/openwebtext --dtype=uint16 --vocab_size=50257\n"
                          "txdata describe llm.c/dev/data/tinyshakespeare --vocab_size=50257");
  describeCommand->add_option("folder", describeOptions.directory, "Folder with train.bin and val.bin.")
      ->required()
      ->type_name("DIR");
  describeCommand->add_option("--dtype", describeOptions.dtype, "Type of a token; llm.c's files need none.")
      ->type_name("uint16|uint32");
  describeCommand
      ->add_option("--vocab_size", describeOptions.vocabSize, "Tokens in the vocabulary; required.")
      ->type_name("N");
  describeCommand
      ->add_option("--tokenizer", describeOptions.tokenizer, "What made them, if it is one of these.")
      ->type_name("gpt2|byte");

  app.allow_extras();
  for (CLI::App *each : app.get_subcommands(nullptr))
    each->allow_extras();
  if (argc == 2)
    if (std::optional<std::string> text = manual::printed(describeTool(app), argv[1])) {
      std::fputs(text->c_str(), stdout);
      return 0;
    }
  if (argc == 1) {
    std::fputs(app.help().c_str(), stderr);
    return static_cast<int>(Code::Usage);
  }
  try {
    std::vector<std::string> arguments = withUnderscores(argc, argv);
    // CLI11 takes them from the back.
    std::reverse(arguments.begin(), arguments.end());
    app.parse(std::move(arguments));
  } catch (const CLI::CallForHelp &) {
    const CLI::App *asked = app.get_subcommands().empty() ? &app : app.get_subcommands().front();
    std::fputs(asked->help().c_str(), stdout);
    return 0;
  } catch (const CLI::CallForVersion &version) {
    std::printf("%s\n", version.what());
    return 0;
  } catch (const CLI::ParseError &error) {
    // A misspelt name also leaves something required unset; name the cause.
    if (!app.remaining(true).empty())
      return fail(unplaced(app));
    return fail(Status::usage(std::string(error.what()) + " (see txdata --help)"));
  }
  if (!app.remaining(true).empty())
    return fail(unplaced(app));

  if (*prepareCommand) {
    if (*vocabOption)
      prepareOptions.vocabSize = bpeVocab;
    return runPrepare(prepareOptions);
  }
  if (*infoCommand)
    return runInfo(infoDirectory, json);
  if (*describeCommand) {
    Result<Sidecar> sidecar = describe(describeOptions);
    if (!sidecar.ok())
      return fail(sidecar.status());
    printDataset(describeOptions.directory, *sidecar, sidecar->train->tokens, sidecar->val->tokens);
    return 0;
  }
  Result<std::string> text = decodeTokens(decodeDirectory, split, begin, count, decodeBpeDir);
  if (!text.ok())
    return fail(text.status());
  bool written =
      std::fwrite(text->data(), 1, text->size(), stdout) == text->size() && std::fflush(stdout) == 0;
  return written ? 0 : fail(Status::failed("cannot write the text to standard output"));
}
