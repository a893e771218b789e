//===- page.cpp - Runs, as one self-contained HTML page ----------------------===//
#include "compare/page.h"

#include "compare/assets.h"
#include "compare/table.h"
#include "support/text.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>

namespace txc::compare {

using Json = nlohmann::ordered_json;

std::vector<size_t> shownIterations(const std::vector<Iteration> &iterations, size_t limit) {
  std::vector<size_t> shown;
  const size_t count = iterations.size();
  if (count <= limit) {
    for (size_t i = 0; i < count; ++i)
      shown.push_back(i);
    return shown;
  }
  const size_t perStretch = 7; // the first, and two of each of three figures
  const size_t stretches = std::max<size_t>(1, limit / perStretch);
  for (size_t s = 0; s < stretches; ++s) {
    const size_t begin = s * count / stretches, end = (s + 1) * count / stretches;
    shown.push_back(begin);
    for (Figure Iteration::*field : {&Iteration::loss, &Iteration::timeMs, &Iteration::gradientNorm}) {
      std::optional<size_t> least, greatest;
      for (size_t i = begin; i < end; ++i) {
        const Figure &value = iterations[i].*field;
        if (!value)
          continue;
        if (!least || *value < *(iterations[*least].*field))
          least = i;
        if (!greatest || *value > *(iterations[*greatest].*field))
          greatest = i;
      }
      if (least) {
        shown.push_back(*least);
        shown.push_back(*greatest);
      }
    }
  }
  shown.push_back(count - 1);
  std::sort(shown.begin(), shown.end());
  shown.erase(std::unique(shown.begin(), shown.end()), shown.end());
  return shown;
}

//===-- The figures, as JSON -------------------------------------------------===//

// Seven digits: what a plot can show, in half the bytes.
static Json rounded(Figure figure) {
  if (!figure || !std::isfinite(*figure))
    return nullptr;
  double value = std::strtod(format("%.7g", *figure).c_str(), nullptr);
  if (value == std::floor(value) && std::fabs(value) < 9e15)
    return static_cast<int64_t>(value);
  return value;
}

static Json exact(Figure figure) {
  if (!figure || !std::isfinite(*figure))
    return nullptr;
  if (*figure == std::floor(*figure) && std::fabs(*figure) < 9e15)
    return static_cast<int64_t>(*figure);
  return *figure;
}

// Seconds of training after each iteration. An iteration that was not logged
// counts as long as the logged one after it.
static std::vector<Figure> elapsedSeconds(const std::vector<Iteration> &iterations) {
  std::vector<Figure> out;
  double sum = 0, previous = iterations.empty() ? 0 : iterations.front().iter - 1;
  for (const Iteration &it : iterations) {
    if (!it.timeMs)
      return std::vector<Figure>(iterations.size());
    sum += *it.timeMs / 1e3 * std::max(1.0, it.iter - previous);
    previous = it.iter;
    out.push_back(sum);
  }
  return out;
}

static Json seriesJson(const Run &run) {
  const std::vector<size_t> shown = shownIterations(run.iterations);
  const std::vector<Figure> elapsed = elapsedSeconds(run.iterations);
  Json out = Json::object();
  auto column = [&](const char *name, auto value) {
    Json values = Json::array();
    bool any = false;
    for (size_t i : shown) {
      values.push_back(rounded(value(i)));
      any |= !values.back().is_null();
    }
    out[name] = any ? values : Json();
  };
  column("iter", [&](size_t i) { return Figure(run.iterations[i].iter); });
  column("elapsed", [&](size_t i) { return elapsed[i]; });
  for (const auto &[name, field] : {std::pair<const char *, Figure Iteration::*>{"loss", &Iteration::loss},
                                    {"time", &Iteration::timeMs},
                                    {"lr", &Iteration::lr},
                                    {"mfu", &Iteration::mfuPercent},
                                    {"tokens", &Iteration::tokensPerSecond},
                                    {"norm", &Iteration::gradientNorm},
                                    {"allocated", &Iteration::allocatedGb},
                                    {"peak", &Iteration::peakGb},
                                    {"reserved", &Iteration::reservedGb}})
    column(name, [&, f = field](size_t i) { return run.iterations[i].*f; });
  return out;
}

static Json evaluationsJson(const Run &run) {
  Json out = {{"iter", Json::array()}, {"train", Json::array()}, {"val", Json::array()}};
  for (const Evaluation &each : run.evaluations) {
    out["iter"].push_back(rounded(each.iter));
    out["train"].push_back(rounded(each.trainLoss));
    out["val"].push_back(rounded(each.valLoss));
  }
  return out;
}

static Json planJson(const MemoryPlan &plan) {
  Json out = {{"arena", exact(plan.arenaBytes)},
              {"lowerBound", exact(plan.lowerBound)},
              {"entries", Json::array()},
              {"kinds", Json::array()},
              {"buffers", Json::array()}};
  for (const PlanEntry &entry : plan.entries)
    out["entries"].push_back({entry.name, entry.commands});
  std::map<std::string, size_t> kinds;
  for (const PlanBuffer &buffer : plan.buffers) {
    auto [kind, isNew] = kinds.emplace(buffer.kind, kinds.size());
    if (isNew)
      out["kinds"].push_back(buffer.kind);
    out["buffers"].push_back({buffer.name, kind->second, exact(buffer.offset), exact(buffer.bytes),
                              buffer.entry, buffer.begin, buffer.end});
  }
  return out;
}

static Json runJson(const Run &run) {
  Json out = {{"name", run.name},
              {"path", run.path},
              {"architecture", run.architecture},
              {"start", run.startTime},
              {"state", run.state()},
              {"error", run.error},
              {"parameters", exact(run.parameters)},
              {"tokensPerIteration", exact(run.tokensPerIteration)},
              {"maxIters", exact(run.maxIters)},
              {"bestVal", exact(run.bestValLoss)},
              {"bestValIter", exact(run.bestValIter)},
              {"finalTrain", exact(run.finalTrainLoss)},
              {"mfu", exact(run.mfuPercent)},
              {"time", exact(run.timeMs)},
              {"tokens", exact(run.tokensPerSecond)},
              {"peakGb", exact(run.maxPeakGb)},
              {"logged", run.iterations.size()},
              {"lastIter", run.iterations.empty() ? Json() : exact(run.iterations.back().iter)}};
  out["series"] = seriesJson(run);
  out["evaluations"] = evaluationsJson(run);
  out["plan"] = run.plan ? planJson(*run.plan) : Json();
  out["flops"] = Json::array();
  for (const FlopsLine &line : run.flops)
    out["flops"].push_back({line.name, line.op, exact(line.full), exact(line.causal)});
  out["settings"] = Json::array();
  for (const Run::Setting &setting : run.settings)
    out["settings"].push_back({setting.group, setting.key, setting.value});
  return out;
}

//===-- The page -------------------------------------------------------------===//

// JSON that no HTML parser takes for anything but text.
static std::string harmless(const Json &value) {
  std::string out;
  for (char c : value.dump(-1, ' ', false, Json::error_handler_t::replace))
    switch (c) {
    case '<':
      out += "\\u003c";
      break;
    case '>':
      out += "\\u003e";
      break;
    case '&':
      out += "\\u0026";
      break;
    default:
      out += c;
    }
  return out;
}

std::string pageHtml(const std::vector<Run> &runs) {
  Comparison comparison = compareRuns(runs);
  Json data = {{"runs", Json::array()}, {"improvement", exact(comparison.improvementPercent)}};
  for (const Run &run : runs)
    data["runs"].push_back(runJson(run));
  data["notes"] = comparison.notes;
  data["architectures"] = Json::array();
  for (const ArchitectureMeans &each : comparison.architectures)
    data["architectures"].push_back({{"architecture", each.architecture},
                                     {"runs", each.runs},
                                     {"valLoss", exact(each.valLoss)},
                                     {"mfu", exact(each.mfuPercent)},
                                     {"time", exact(each.timeMs)},
                                     {"tokens", exact(each.tokensPerSecond)}});

  const std::pair<std::string_view, std::string> parts[] = {
      {"@LICENSE@", std::string(plotLicense())},     {"@PLOT_STYLE@", std::string(plotStyle())},
      {"@STYLE@", std::string(pageStyle())},         {"@DATA@", harmless(data)},
      {"@PLOT_SCRIPT@", std::string(plotLibrary())}, {"@SCRIPT@", std::string(pageScript())}};
  // Once from left to right, so that nothing inside a part is replaced.
  std::string out;
  std::string_view rest = pageTemplate();
  for (const auto &[mark, text] : parts) {
    size_t at = rest.find(mark);
    out += rest.substr(0, at);
    out += text;
    rest.remove_prefix(std::min(rest.size(), at == rest.npos ? at : at + mark.size()));
  }
  return out + std::string(rest);
}

} // namespace txc::compare
