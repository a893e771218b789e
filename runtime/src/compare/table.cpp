//===- table.cpp - Runs, ranked ----------------------------------------------===//
#include "compare/table.h"

#include "support/text.h"

#include <algorithm>
#include <cmath>
#include <set>

namespace txc::compare {

using Json = nlohmann::ordered_json;

//===-- Ranking --------------------------------------------------------------===//

const std::vector<std::string> &sortKeys() {
  static const std::vector<std::string> keys = {"val_loss", "mfu", "time", "tokens", "parameters", "run"};
  return keys;
}

// Less is better.
static Figure cost(const Run &run, const std::string &key) {
  auto negative = [](Figure figure) { return figure ? Figure(-*figure) : figure; };
  if (key == "val_loss")
    return run.bestValLoss;
  if (key == "mfu")
    return negative(run.mfuPercent);
  if (key == "time")
    return run.timeMs;
  if (key == "tokens")
    return negative(run.tokensPerSecond);
  return run.parameters;
}

void sortRuns(std::vector<Run> &runs, const std::string &key) {
  std::stable_sort(runs.begin(), runs.end(), [&](const Run &a, const Run &b) {
    if (key == "run")
      return a.name < b.name;
    Figure left = cost(a, key), right = cost(b, key);
    if (left && right)
      return *left < *right;
    return left.has_value() && !right.has_value();
  });
}

static std::string countText(Figure count);

static std::string dataOf(const Run &run) {
  if (run.dataset.empty())
    return "";
  std::string out = run.dataset;
  if (!run.tokenizer.empty())
    out += " by " + run.tokenizer;
  if (run.vocabulary)
    out += ", vocabulary " + countText(run.vocabulary);
  return out;
}

namespace {
class Mean {
public:
  void add(Figure figure) {
    if (figure) {
      sum_ += *figure;
      ++count_;
    }
  }
  Figure value() const { return count_ ? Figure(sum_ / count_) : Figure(); }

private:
  double sum_ = 0;
  int count_ = 0;
};
} // namespace

Comparison compareRuns(const std::vector<Run> &runs) {
  Comparison out;
  for (const Run &run : runs) {
    if (!run.bestValLoss)
      continue;
    if (!out.best || *run.bestValLoss < *out.best->bestValLoss)
      out.best = &run;
    if (!out.worst || *run.bestValLoss > *out.worst->bestValLoss)
      out.worst = &run;
  }
  if (out.best && out.worst != out.best && *out.worst->bestValLoss > 0)
    out.improvementPercent = 100 * (1 - *out.best->bestValLoss / *out.worst->bestValLoss);

  std::vector<std::string> names;
  for (const Run &run : runs)
    if (std::find(names.begin(), names.end(), run.architecture) == names.end())
      names.push_back(run.architecture);
  for (const std::string &name : names) {
    ArchitectureMeans means;
    means.architecture = name;
    Mean valLoss, mfu, time, tokens;
    for (const Run &run : runs) {
      if (run.architecture != name)
        continue;
      ++means.runs;
      valLoss.add(run.bestValLoss);
      mfu.add(run.mfuPercent);
      time.add(run.timeMs);
      tokens.add(run.tokensPerSecond);
    }
    means.valLoss = valLoss.value();
    means.mfuPercent = mfu.value();
    means.timeMs = time.value();
    means.tokensPerSecond = tokens.value();
    out.architectures.push_back(std::move(means));
  }

  std::set<std::string> data;
  for (const Run &run : runs)
    if (std::string each = dataOf(run); !each.empty())
      data.insert(each);
  if (data.size() > 1) {
    std::string list;
    for (const std::string &each : data)
      list += (list.empty() ? "" : "; ") + each;
    out.notes.push_back("The runs have different data (" + list + "): their losses cannot be compared.");
  }
  for (const Run &run : runs) {
    if (run.state() != "finished") {
      std::string note = run.name + ": " + run.state();
      if (!run.iterations.empty()) {
        note += format(", last logged iteration %.0f", run.iterations.back().iter);
        if (run.maxIters)
          note += format(" of %.0f", *run.maxIters);
      }
      out.notes.push_back(note + ".");
    }
    if (run.mfuPercent && *run.mfuPercent > 100) {
      std::string note = run.name + ": MFU above 100%: the peak in its log";
      if (run.peakTflops)
        note += format(", %.4g TFLOP/s,", *run.peakTflops);
      out.notes.push_back(note + " is less than the machine gives.");
    }
  }
  return out;
}

//===-- Text -----------------------------------------------------------------===//

// What a log holds can be anything; what goes to a terminal moves no cursor.
static std::string printable(const std::string &text) {
  std::string out;
  for (char c : text)
    out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  // C1 controls are two bytes in UTF-8.
  for (size_t at = 0; (at = out.find('\xc2', at)) != std::string::npos; ++at)
    if (at + 1 < out.size() && static_cast<unsigned char>(out[at + 1]) < 0xa0)
      out.replace(at, 2, "?");
  return out;
}

static size_t columns(const std::string &text) {
  return static_cast<size_t>(
      std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

// Words after a label of six columns, in lines of at most `width` columns where
// the words allow it.
static std::string paragraph(const char *label, const std::string &text, size_t width) {
  std::string out = label;
  size_t column = 6;
  for (size_t at = 0; at < text.size();) {
    size_t end = std::min(text.find(' ', at), text.size());
    std::string word = text.substr(at, end - at);
    if (column > 6 && column + 1 + columns(word) > width) {
      out += "\n      ";
      column = 6;
    }
    out += " " + word;
    column += 1 + columns(word);
    at = end + 1;
  }
  return out + "\n";
}

static std::string lossText(Figure loss) { return loss ? format("%.4f", *loss) : "-"; }
static std::string percentText(Figure mfu) { return mfu ? format("%.2f%%", *mfu) : "-"; }
static std::string timeText(Figure ms) {
  return ms ? format("%.*f", *ms < 10 ? 2 : *ms < 1000 ? 1 : 0, *ms) : "-";
}
static std::string countText(Figure count) {
  if (!count)
    return "-";
  // A log can hold any number; only these fit.
  return *count >= 0 && *count < 9e15 ? withCommas(static_cast<uint64_t>(std::llround(*count)))
                                      : format("%.3g", *count);
}
static std::string parametersText(Figure count) {
  if (!count)
    return "-";
  std::string text = withPrefix(*count, *count < 1000 ? 0 : 1);
  text.erase(text.find_last_not_of(' ') + 1);
  return text;
}

namespace {

// Columns of text; the first ones are aligned left, figures right.
class Grid {
public:
  Grid(std::vector<std::string> titles, size_t leftAligned)
      : rows_{std::move(titles)}, leftAligned_(leftAligned) {}
  void row(std::vector<std::string> cells) { rows_.push_back(std::move(cells)); }
  size_t width() const {
    size_t sum = 2 * (rows_[0].size() - 1);
    for (size_t c = 0; c < rows_[0].size(); ++c)
      sum += columnWidth(c);
    return sum;
  }
  // `below[i]`, unless empty, is on a line under row i.
  std::string text(const std::vector<std::string> &below = {}) const {
    std::string out;
    for (size_t r = 0; r < rows_.size(); ++r) {
      std::string line;
      for (size_t c = 0; c < rows_[r].size(); ++c) {
        std::string pad(columnWidth(c) - columns(rows_[r][c]), ' ');
        line += (c ? "  " : "") + (c < leftAligned_ ? rows_[r][c] + pad : pad + rows_[r][c]);
      }
      line.erase(line.find_last_not_of(' ') + 1);
      out += line + "\n";
      if (r > 0 && r - 1 < below.size() && !below[r - 1].empty())
        out += std::string(columnWidth(0) + 2, ' ') + below[r - 1] + "\n";
    }
    return out;
  }

private:
  size_t columnWidth(size_t column) const {
    size_t widest = 0;
    for (const auto &row : rows_)
      widest = std::max(widest, columns(row[column]));
    return widest;
  }
  std::vector<std::vector<std::string>> rows_;
  size_t leftAligned_;
};

} // namespace

static Grid runsGrid(const std::vector<Run> &runs, bool withArchitecture) {
  std::vector<std::string> titles = {"", "run"};
  if (withArchitecture)
    titles.push_back("architecture");
  for (const char *title : {"val loss", "MFU", "ms/iter", "tokens/s", "params"})
    titles.push_back(title);
  Grid grid(titles, withArchitecture ? 3 : 2);
  for (size_t i = 0; i < runs.size(); ++i) {
    const Run &run = runs[i];
    std::vector<std::string> row = {std::to_string(i + 1), printable(run.name)};
    if (withArchitecture)
      row.push_back(run.architecture.empty() ? "-" : printable(run.architecture));
    for (const std::string &cell :
         {lossText(run.bestValLoss), percentText(run.mfuPercent), timeText(run.timeMs),
          countText(run.tokensPerSecond), parametersText(run.parameters)})
      row.push_back(cell);
    grid.row(std::move(row));
  }
  return grid;
}

std::string tableText(const std::vector<Run> &runs, const Comparison &comparison, size_t width) {
  std::string out;
  if (Grid wide = runsGrid(runs, true); wide.width() <= width) {
    out = wide.text();
  } else {
    std::vector<std::string> below;
    for (const Run &run : runs)
      below.push_back(run.architecture.empty() ? "" : printable(run.architecture));
    out = runsGrid(runs, false).text(below);
  }

  out += "\n";
  if (!comparison.best)
    out += "No run has a validation loss.\n";
  else
    out += paragraph(
        "Best  ",
        printable(comparison.best->name) + ", val loss " + lossText(comparison.best->bestValLoss) +
            (comparison.best->bestValIter ? format(" at iteration %.0f", *comparison.best->bestValIter)
                                          : "") +
            (comparison.improvementPercent
                 ? format(", %.2f%% below the worst (%s)", *comparison.improvementPercent,
                          lossText(comparison.worst->bestValLoss).c_str())
                 : ""),
        width);

  if (comparison.architectures.size() < runs.size()) {
    Grid grid({"means per architecture", "runs", "val loss", "MFU", "ms/iter", "tokens/s"}, 1);
    for (const ArchitectureMeans &each : comparison.architectures)
      grid.row({each.architecture.empty() ? "-" : printable(each.architecture), std::to_string(each.runs),
                lossText(each.valLoss), percentText(each.mfuPercent), timeText(each.timeMs),
                countText(each.tokensPerSecond)});
    out += "\n" + grid.text();
  }
  out += "\nval loss: the best of a run. MFU, ms/iter, tokens/s: medians over iterations.\n";
  for (const std::string &note : comparison.notes)
    out += paragraph("Note  ", printable(note), width);
  return out;
}

//===-- JSON -----------------------------------------------------------------===//

static Json figureJson(Figure figure) {
  if (!figure)
    return nullptr;
  if (*figure == std::floor(*figure) && std::fabs(*figure) < 9e15)
    return static_cast<int64_t>(*figure);
  return *figure;
}

static Json textJson(const std::string &text) { return text.empty() ? Json() : Json(text); }

Json tableJson(const std::vector<Run> &runs, const Comparison &comparison, const std::string &sortKey) {
  Json out = {{"sort", sortKey}, {"runs", Json::array()}};
  int rank = 0;
  for (const Run &run : runs)
    out["runs"].push_back({{"rank", ++rank},
                           {"run", run.name},
                           {"path", run.path},
                           {"architecture", textJson(run.architecture)},
                           {"parameters", figureJson(run.parameters)},
                           {"best_val_loss", figureJson(run.bestValLoss)},
                           {"best_val_iter", figureJson(run.bestValIter)},
                           {"final_train_loss", figureJson(run.finalTrainLoss)},
                           {"median_mfu_percent", figureJson(run.mfuPercent)},
                           {"median_time_ms", figureJson(run.timeMs)},
                           {"median_tokens_per_sec", figureJson(run.tokensPerSecond)},
                           {"max_peak_gb", figureJson(run.maxPeakGb)},
                           {"logged_iterations", run.iterations.size()},
                           {"start_time", textJson(run.startTime)},
                           {"state", run.state()}});
  out["best_run"] = comparison.best ? Json(comparison.best->name) : Json();
  out["worst_run"] = comparison.worst ? Json(comparison.worst->name) : Json();
  out["improvement_percent"] = figureJson(comparison.improvementPercent);
  out["architectures"] = Json::array();
  for (const ArchitectureMeans &each : comparison.architectures)
    out["architectures"].push_back({{"architecture", textJson(each.architecture)},
                                    {"runs", each.runs},
                                    {"mean_val_loss", figureJson(each.valLoss)},
                                    {"mean_mfu_percent", figureJson(each.mfuPercent)},
                                    {"mean_time_ms", figureJson(each.timeMs)},
                                    {"mean_tokens_per_sec", figureJson(each.tokensPerSecond)}});
  out["notes"] = comparison.notes;
  return out;
}

} // namespace txc::compare
