//===- txreport.cpp - Ranks runs and makes pages of them --------------------===//
//
// Reads the command line, calls runtime/src/compare, prints. What users asked
// for goes to standard output, errors to standard error.
//
//===----------------------------------------------------------------------===//
#include "compare/page.h"
#include "compare/table.h"
#include "support/file.h"
#include "support/text.h"
#include "txc/Manual/FromCli11.h"

#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <string>
#include <sys/ioctl.h>
#include <unistd.h>
#include <vector>

using namespace txc;
using namespace txc::compare;

static int fail(const Status &status) {
  std::fflush(stdout);
  std::fprintf(stderr, "txreport: error: %s\n", status.message().c_str());
  return static_cast<int>(status.code());
}

static int print(const std::string &text) {
  bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size() && std::fflush(stdout) == 0;
  return written ? 0 : fail(Status::failed("cannot write to standard output"));
}

// Of the terminal; 80 if standard output is none.
static size_t outputWidth() {
  struct winsize size{};
  return isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0
             ? size.ws_col
             : 80;
}

static int runCompare(const std::vector<std::string> &paths, const std::string &sortKey, bool json) {
  Result<std::vector<Run>> runs = readRuns(paths);
  if (!runs.ok())
    return fail(runs.status());
  sortRuns(*runs, sortKey);
  Comparison comparison = compareRuns(*runs);
  if (!json)
    return print(tableText(*runs, comparison, outputWidth()));
  auto handler = nlohmann::ordered_json::error_handler_t::replace;
  return print(tableJson(*runs, comparison, sortKey).dump(2, ' ', false, handler) + "\n");
}

static int runHtml(const std::vector<std::string> &paths, const std::string &output) {
  Result<std::vector<Run>> runs = readRuns(paths);
  if (!runs.ok())
    return fail(runs.status());
  std::string page = pageHtml(*runs);
  if (output == "-")
    return print(page);
  if (Status status = writeFileAtomically(output, page); !status.ok())
    return fail(status);
  return print(output + format(": %zu run%s, ", runs->size(), runs->size() == 1 ? "" : "s") +
               bytesText(page.size()) + "\n");
}

//===-- Command line -------------------------------------------------------===//

static std::string listOf(const std::vector<std::string> &names) {
  std::string out;
  for (const std::string &name : names)
    out += (out.empty() ? "" : ", ") + name;
  return out;
}

static std::string didYouMean(const std::string &name, const std::vector<std::string> &names,
                              const char *dashes) {
  std::string nearest = nearestName(name, names);
  return nearest.empty() ? "" : "; did you mean " + (dashes + nearest) + "?";
}

// What CLI11 could not place, with the name that was probably meant.
static Status unplaced(const CLI::App &app) {
  std::string first = app.remaining(true).front();
  if (app.get_subcommands().empty()) {
    std::vector<std::string> names;
    for (const CLI::App *each : app.get_subcommands(nullptr))
      names.push_back(each->get_name());
    return Status::usage("unknown command " + first + didYouMean(first, names, "") +
                         " (commands: " + listOf(names) + ")");
  }
  const CLI::App &command = *app.get_subcommands().front();
  std::vector<std::string> names;
  for (const CLI::Option *option : command.get_options())
    for (const std::string &name : option->get_lnames())
      names.push_back(name);
  std::string name = first.substr(std::min(first.find_first_not_of('-'), first.size()));
  name = name.substr(0, name.find('='));
  return Status::usage("txreport " + command.get_name() + " has no option " +
                       first.substr(0, first.find('=')) + didYouMean(name, names, "--") + " (txreport " +
                       command.get_name() + " --help lists them)");
}

static manual::Tool describeTool(const CLI::App &app) {
  manual::Tool tool = manual::toolOf(app, TXC_VERSION);
  tool.exitCodes = {{"0", "done"}, {"1", "bad input"}, {"2", "wrong usage"}};
  tool.seeAlso = {"txc", "txdata", "txrun"};
  return tool;
}

int main(int argc, char **argv) {
  CLI::App app("ranks runs by their logs, and makes pages of them", "txreport");
  app.formatter(std::make_shared<manual::ManualFormatter>(describeTool));
  app.option_defaults()->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  app.require_subcommand(1);
  app.set_version_flag("--version", std::string("txreport ") + TXC_VERSION);
  app.footer("txreport compare out/run_*.json  a table, the lowest validation loss first\n"
             "txreport compare out/run_*.json --sort=mfu --json\n"
             "txreport html out/run_*.json -o report.html  a page to look at in a browser");

  std::vector<std::string> comparePaths;
  std::string sortKey = "val_loss";
  bool json = false;
  CLI::App *compareCommand = app.add_subcommand("compare", "ranks runs in a table");
  compareCommand->footer("txreport compare out/run_*.json\n"
                         "txreport compare a/run_1.json b/run_2.json --sort=time\n"
                         "txreport compare out/run_*.json --json");
  compareCommand->add_option("logs", comparePaths, "Logs that txrun wrote: OUT_DIR/run_*.json.")
      ->required()
      ->type_name("FILE.json")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  std::string sortWords;
  for (const std::string &key : sortKeys())
    sortWords += (sortWords.empty() ? "" : "|") + key;
  compareCommand->add_option("--sort", sortKey, "The figure by which the best comes first.")
      ->type_name(sortWords)
      ->default_str("val_loss");
  compareCommand->add_flag("--json", json, "Print JSON.");

  std::vector<std::string> htmlPaths;
  std::string output = "report.html";
  CLI::App *htmlCommand = app.add_subcommand("html", "makes one page that shows runs over each other");
  htmlCommand->footer("txreport html out/run_20250103_143022.json\n"
                      "txreport html a/run_*.json b/run_*.json -o compared.html");
  htmlCommand->add_option("logs", htmlPaths, "Logs that txrun wrote: OUT_DIR/run_*.json.")
      ->required()
      ->type_name("FILE.json")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  htmlCommand->add_option("-o,--output", output, "Where to write; - is standard output.")
      ->type_name("FILE")
      ->default_str("report.html");

  app.allow_extras();
  for (CLI::App *each : app.get_subcommands(nullptr))
    each->allow_extras();
  if (argc == 2)
    if (std::optional<std::string> text = manual::printed(describeTool(app), argv[1]))
      return print(*text);
  if (argc == 1) {
    std::fputs(app.help().c_str(), stderr);
    return static_cast<int>(Code::Usage);
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp &) {
    return print(app.get_subcommands().empty() ? app.help()
                                               : app.get_subcommands().front()->help("txreport"));
  } catch (const CLI::CallForVersion &) {
    return print(app.version() + "\n");
  } catch (const CLI::ParseError &error) {
    // A misspelt name also leaves something required unset; name the cause.
    if (!app.remaining(true).empty())
      return fail(unplaced(app));
    if (!app.get_subcommands().empty() && app.get_subcommands().front()->count("logs") == 0)
      return fail(Status::usage("no log given; usage: txreport " + app.get_subcommands().front()->get_name() +
                                " OUT_DIR/run_*.json"));
    return fail(Status::usage(std::string(error.what()) + " (see txreport --help)"));
  }
  if (!app.remaining(true).empty())
    return fail(unplaced(app));

  if (*htmlCommand)
    return runHtml(htmlPaths, output);
  const std::vector<std::string> &keys = sortKeys();
  if (std::find(keys.begin(), keys.end(), sortKey) == keys.end())
    return fail(Status::usage("--sort=" + sortKey + ": expected one of " + listOf(keys) +
                              didYouMean(sortKey, keys, "")));
  return runCompare(comparePaths, sortKey, json);
}
