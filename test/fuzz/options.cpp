//===- options.cpp - Command line of txrun and the recipe in a step.so -------===//
//
// Parts of an input: the recipe (JSON), the command line, an argument per line.
//
//===----------------------------------------------------------------------===//
#include "fuzz.h"

#include "support/json.h"
#include "train/options.h"

using namespace txc;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  std::vector<std::string_view> parts = fuzz::split(fuzz::asText(data, size), 2);
  std::vector<std::string> arguments;
  for (std::string_view rest = parts[1]; !rest.empty();) {
    size_t end = rest.find('\n');
    // What a program is given has no zeros.
    arguments.push_back(std::string(rest.substr(0, std::min(end, rest.find('\0')))));
    rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  }
  Result<Command> command = parseCommandLine(arguments);
  fuzz::checkSays(command);
  if (!command.ok() || command->action != Command::Action::Train)
    return 0;
  Result<nlohmann::ordered_json> recipe = parseJson(parts[0]);
  fuzz::checkSays(recipe);
  Result<RunOptions> options = resolveOptions(recipe.ok() ? *recipe : nlohmann::ordered_json(), *command);
  fuzz::checkSays(options);
  // The log can show whatever was accepted.
  if (options.ok() &&
      toJson(*options).dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace).empty())
    std::abort();
  return 0;
}
