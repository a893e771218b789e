//===- profile.cpp - The table of --profile --------------------------------===//
#include "report/profile.h"

#include "support/text.h"

#include <algorithm>
#include <cctype>
#include <map>

namespace txc {

using Json = nlohmann::ordered_json;

void addKnownWork(std::vector<CommandTime> &times, const RunFacts &facts) {
  const Json entries = facts.known("/entries");
  if (!entries.is_array())
    return;
  for (CommandTime &time : times)
    for (const Json &entry : entries) {
      if (!entry.is_object() || entry.value("name", "") != time.entry || !entry.contains("list"))
        continue;
      const Json &list = entry["list"];
      if (!list.is_array() || time.index >= list.size() || !list[time.index].is_object())
        continue;
      for (auto [key, value] : {std::pair("bytes", &time.bytes), std::pair("flops", &time.flops)})
        if (auto known = list[time.index].find(key);
            *value == 0 && known != list[time.index].end() && known->is_number_unsigned())
          *value = known->get<uint64_t>();
    }
}

Json profileJson(const std::vector<CommandTime> &times, const RunFacts &facts) {
  Json out = {{"device", facts.device.name},
              {"step", facts.step->path()},
              {"sha256", facts.step->contentHash()},
              {"library", facts.device.library},
              {"iterations", facts.options.profile},
              {"gradient_accumulation_steps", facts.options.gradient_accumulation_steps},
              {"tokens_per_iteration", facts.tokensPerIteration()},
              {"entries", Json::array()}};
  for (const CommandTime &time : times) {
    Json &entries = out["entries"];
    if (entries.empty() || entries.back()["name"] != time.entry)
      entries.push_back({{"name", time.entry}, {"milliseconds", 0.0}, {"commands", Json::array()}});
    Json &entry = entries.back();
    entry["milliseconds"] = entry["milliseconds"].get<double>() + time.milliseconds;
    auto least = [](uint64_t value) { return value ? Json(value) : Json(); };
    entry["commands"].push_back({{"index", time.index},
                                 {"name", time.name},
                                 {"kind", time.kind},
                                 {"kernel", time.kernel.empty() ? Json() : Json(time.kernel)},
                                 {"milliseconds", time.milliseconds},
                                 {"bytes", least(time.bytes)},
                                 {"flops", least(time.flops)}});
  }
  return out;
}

// blocks.3.attn.qkv -> blocks.*.attn.qkv
static std::string withoutNumbers(const std::string &name) {
  std::string out;
  for (size_t i = 0; i < name.size(); ++i) {
    if (std::isdigit(static_cast<unsigned char>(name[i])) && i > 0 && (name[i - 1] == '.')) {
      while (i + 1 < name.size() && std::isdigit(static_cast<unsigned char>(name[i + 1])))
        ++i;
      out += '*';
    } else {
      out += name[i];
    }
  }
  return out;
}

std::string profileText(const std::vector<CommandTime> &times) {
  struct Line {
    double milliseconds = 0;
    uint64_t count = 0, flops = 0, bytes = 0;
  };
  std::map<std::pair<std::string, std::string>, Line> lines;
  std::vector<std::pair<std::string, double>> entries;
  for (const CommandTime &time : times) {
    Line &line = lines[{time.entry, withoutNumbers(time.name) + " (" + time.kind + ")"}];
    line.milliseconds += time.milliseconds;
    line.count += 1;
    line.flops += time.flops;
    line.bytes += time.bytes;
    if (entries.empty() || entries.back().first != time.entry)
      entries.push_back({time.entry, 0});
    entries.back().second += time.milliseconds;
  }
  std::string out;
  for (const auto &[entry, total] : entries) {
    out += format("%s: %.3f ms in its commands\n", entry.c_str(), total);
    std::vector<std::pair<std::string, Line>> sorted;
    for (const auto &[key, line] : lines)
      if (key.first == entry)
        sorted.push_back({key.second, line});
    std::stable_sort(sorted.begin(), sorted.end(), [](const auto &a, const auto &b) {
      return a.second.milliseconds > b.second.milliseconds;
    });
    for (const auto &[name, line] : sorted) {
      out += format("  %9.3f ms %5.1f%%  %4llu x  %s", line.milliseconds, 100 * line.milliseconds / total,
                    static_cast<unsigned long long>(line.count), name.c_str());
      if (line.flops)
        out += "  " + withPrefix(static_cast<double>(line.flops) / line.milliseconds * 1e3, 1) + "FLOP/s";
      else if (line.bytes)
        out += "  " + withPrefix(static_cast<double>(line.bytes) / line.milliseconds * 1e3, 1) + "B/s";
      out += "\n";
    }
  }
  return out;
}

} // namespace txc
