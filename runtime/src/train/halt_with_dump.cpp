//===- halt_with_dump.cpp - The end of a run with --nonfinite=halt-with-dump -===//
//
// Requires: all ranks have enqueued the same, and no update after the bad one. An
// update with gradients that are not finite left weights and moments alone, so the
// state is the one before it.
//
// 1. All ranks look for weights and moments that were not finite already.
// 2. They save the state as a checkpoint.
// 3. They run the commands of the iteration again (nonfinite_search.h), each with its
//    own batches. An entry is run to its end, since other ranks wait for its
//    collectives; after it all compare what they found. Commands have one order
//    on all ranks: the first of them is to blame, on the lowest rank.
// 4. Rank 0 writes the report and the batch, which it can draw for any rank.
//
// A dump that fails says so in the message; the run ends as it would have.
//
//===----------------------------------------------------------------------===//
#include "support/file.h"
#include "support/json.h"
#include "support/text.h"
#include "train/dump_tensors.h"
#include "train/nonfinite_search.h"
#include "train/schedule.h"
#include "train/trainer.h"

#include <algorithm>
#include <filesystem>

namespace txc {

using Json = nlohmann::ordered_json;

// In the message; the report has all.
static constexpr size_t kMostShown = 5;

Result<std::vector<Json>> Trainer::gather(const Json &own) {
  if (!control_)
    return std::vector<Json>{own};
  Result<std::vector<std::string>> texts =
      control_->gather(own.dump(-1, ' ', false, Json::error_handler_t::replace));
  if (!texts.ok())
    return texts.status();
  std::vector<Json> out;
  for (const std::string &text : *texts) {
    Result<Json> parsed = parseJson(text);
    if (!parsed.ok())
      return parsed.status();
    out.push_back(std::move(*parsed));
  }
  return out;
}

// A new folder for the dump of this iteration.
static Result<std::string> makeFolder(const std::string &outDir, int64_t iteration) {
  const std::string path =
      format("%s/nonfinite-iter-%lld", outDir.c_str(), static_cast<long long>(iteration));
  for (int number = 1;; ++number) {
    const std::string folder = number == 1 ? path : path + "-" + std::to_string(number);
    std::error_code error;
    if (std::filesystem::create_directories(folder, error))
      return folder;
    if (error)
      return Status::failed(folder + ": cannot make the folder: " + error.message());
  }
}

Result<Json> Trainer::saveTo(const std::string &folder, int64_t iteration) {
  // The first that went wrong on any rank, else what rank 0 says.
  auto agree = [&](const Status &status, const std::string &path) -> Result<Json> {
    Result<std::vector<Json>> all =
        gather(status.ok() ? Json{{"path", path}} : Json{{"error", status.message()}});
    if (!all.ok())
      return all.status();
    for (const Json &each : *all)
      if (each.contains("error"))
        return each;
    return (*all)[0];
  };
  Saving::Options options;
  options.outDir = folder;
  options.rank = facts_.rank;
  options.numRanks = facts_.ranks;
  Result<std::unique_ptr<Saving>> saving =
      Saving::create(step_, facts_.metadata, *device_, std::move(options));
  // Rank 0 clears the folder when it looks, so nobody writes until all have looked.
  Result<Json> ready = agree(saving.status(), "");
  if (!ready.ok() || ready->contains("error"))
    return ready;
  const Json manifest = manifestAt(iteration);
  Status status = (*saving)->begin(iteration, manifest, manifest["record"]);
  (*saving)->wait();
  std::string path;
  for (const Saving::Outcome &outcome : (*saving)->finished()) {
    status = outcome.status;
    path = outcome.written.path;
  }
  return agree(status, path);
}

static std::string foundText(const Json &found, int64_t ranks) {
  const Json &buffer = found["buffer"];
  const std::string op = found["op"].get<std::string>();
  std::string text = "first not finite: " + found["name"].get<std::string>() + " (" +
                     (op.empty() ? "" : op + ", ") + found["direction"].get<std::string>() + "; command " +
                     found["command"].dump() + " of " + found["entry"].get<std::string>();
  if (!found["micro_batch"].is_null())
    text += ", micro batch " + found["micro_batch"].dump();
  if (ranks > 1)
    text += ", rank " + found["rank"].dump();
  return text + ") wrote " + buffer["name"].get<std::string>() + ", " + valuesText(buffer);
}

static std::string nothingText(bool updateMade) {
  return updateMade
             ? "run again, from the state after the update, the same commands wrote finite values only"
             : "run again, the same commands wrote finite values only: the device computed something else "
               "the first time, so look at its errors (on a GPU `nvidia-smi -q -d ECC`)";
}

static std::string stateText(const Json &state, const char *when) {
  std::string text;
  for (size_t i = 0; i < std::min(state.size(), kMostShown); ++i)
    text += std::string("\nnot finite ") + when + ": " + state[i]["kind"].get<std::string>() + " " +
            state[i]["name"].get<std::string>() + ", " + valuesText(state[i]);
  if (state.size() > kMostShown)
    text += format("\nand %zu more", state.size() - kMostShown);
  return text;
}

Status Trainer::haltWithDump() {
  if (control_)
    control_->busy(true);
  Result<std::string> text = dump(*bad_);
  return {Code::Diverged, bad_->status.message() + "\n" +
                              (text.ok() ? *text : "the dump failed: " + text.status().message())};
}

Result<Json> Trainer::findFirstBad(const BadStep &bad, NonfiniteSearch &search) {
  const int64_t steps = facts_.options.gradient_accumulation_steps / facts_.ranks;
  if (Status status = search.clear(); !status.ok())
    return status;
  // Micro batches, then the update.
  for (int64_t micro = 0; micro <= (bad.split ? 0 : steps); ++micro) {
    const bool update = micro == steps;
    const char *entry = bad.split                                            ? "eval"
                        : update                                             ? "update"
                        : micro + 1 == steps && step_.hasEntry("micro_last") ? "micro_last"
                                                                             : "micro";
    Status status;
    if (!update)
      status = stageBatch(entry, splitOf(bad), bad.stream, batchOf(bad, micro, facts_.rank)).status();
    if (status.ok())
      status =
          bad.split ? stageHyper(entry, 0, 0) : stageHyper(entry, bad.iteration, std::min(micro, steps - 1));
    if (!status.ok())
      return status;
    Result<Json> own = search.run(entry);
    if (!own.ok())
      return own;
    Result<std::vector<Json>> all = gather(*own);
    if (!all.ok())
      return all.status();
    Json first;
    for (size_t rank = 0; rank < all->size(); ++rank)
      if (const Json &found = (*all)[rank];
          !found.is_null() && (first.is_null() || found["command"] < first["command"])) {
        first = {{"rank", rank}, {"micro_batch", update || bad.split ? Json() : Json(micro)}};
        first.update(found);
      }
    if (!first.is_null())
      return first;
  }
  return Json();
}

const data::TokenSplit &Trainer::splitOf(const BadStep &bad) const {
  return bad.split ? *bad.split : dataset_.train();
}

int64_t Trainer::batchOf(const BadStep &bad, int64_t micro, int64_t rank) const {
  return bad.split ? bad.batch + rank : globalMicro(facts_.options, bad.iteration, micro, rank, facts_.ranks);
}

Status Trainer::writeBatch(const std::string &folder, const BadStep &bad, int64_t micro, int64_t rank) {
  const txc_buffer_t &tokens = step_.buffer(TXC_BUFFER_TOKENS, "micro"),
                     &targets = step_.buffer(TXC_BUFFER_TARGETS, "micro");
  std::vector<int32_t> values[2];
  for (auto &each : values)
    each.resize(tokens.bytes / sizeof(int32_t));
  Status status =
      data::sampleBatch(splitOf(bad), static_cast<uint64_t>(facts_.options.seed),
                        static_cast<uint64_t>(bad.stream), static_cast<uint64_t>(batchOf(bad, micro, rank)),
                        step_.step().batch_size, step_.step().block_size, values[0].data(), values[1].data());
  if (status.ok())
    status = writeNpy(folder + "/tokens.npy", tokens, values[0].data(), 1);
  return status.ok() ? writeNpy(folder + "/targets.npy", targets, values[1].data(), 1) : status;
}

Result<std::string> Trainer::dump(const BadStep &bad) {
  const int64_t iteration = bad.iteration, ranks = facts_.ranks;
  // The answer to a question about signals comes before others.
  if (control_ && std::exchange(askedForSignals_, false))
    if (Result<std::vector<std::string>> all = control_->finishGather(); !all.ok())
      return all.status();
  if (saving_)
    saving_->wait();

  NonfiniteSearch search(step_, facts_.metadata, *device_, facts_.rank);
  Result<Json> ownState = search.checkState();
  if (!ownState.ok())
    return ownState.status();
  Json own = {{"state", std::move(*ownState)}};
  if (speaks()) {
    Result<std::string> folder = makeFolder(facts_.options.out_dir, iteration);
    own[folder.ok() ? "folder" : "error"] = folder.ok() ? *folder : folder.status().message();
  }
  Result<std::vector<Json>> all = gather(own);
  if (!all.ok())
    return all.status();
  if ((*all)[0].contains("error"))
    return Status::failed((*all)[0]["error"].get<std::string>());
  const std::string folder = (*all)[0]["folder"].get<std::string>();
  Json state = Json::array(), known = Json::array();
  for (int64_t rank = 0; rank < ranks; ++rank)
    for (const Json &buffer : (*all)[static_cast<size_t>(rank)]["state"]) {
      search.leaveOut(buffer["name"].get<std::string>());
      // What all ranks have alike is told once.
      if (std::find(known.begin(), known.end(), buffer) != known.end())
        continue;
      known.push_back(buffer);
      state.push_back({{"rank", rank}});
      state.back().update(buffer);
    }

  // The search may end in an update.
  Result<Json> saved = saveTo(folder, iteration);
  if (!saved.ok())
    return saved.status();
  Result<Json> found = findFirstBad(bad, search);
  if (!found.ok())
    return found.status();

  // All say what rank 0 says, when its files are written.
  own = Json::object();
  if (speaks()) {
    const int64_t micro = found->is_null() || (*found)["micro_batch"].is_null()
                              ? bad.micro
                              : (*found)["micro_batch"].get<int64_t>();
    const int64_t rank = found->is_null() ? 0 : (*found)["rank"].get<int64_t>();
    Json report = {{"iter", iteration},
                   {"learning_rate", learningRateAt(facts_.options, iteration)},
                   {"reason", bad.reason},
                   {"first", *found},
                   {"not_finite_state", state},
                   {"update_made", bad.updateMade},
                   {"checkpoint", saved->contains("error") ? Json() : (*saved)["path"]},
                   {"batch",
                    {{"rank", rank},
                     {"micro_batch", micro},
                     {"stream", bad.split ? bad.stream == Stream::EvalVal ? "val" : "eval_train" : "train"},
                     {"number", batchOf(bad, micro, rank)},
                     {"tokens", "tokens.npy"},
                     {"targets", "targets.npy"}}},
                   {"step", {{"path", step_.path()}, {"sha256", step_.contentHash()}}}};
    Status status = writeBatch(folder, bad, micro, rank);
    if (status.ok())
      status = writeFileAtomically(folder + "/report.json",
                                   report.dump(1, ' ', false, Json::error_handler_t::replace) + "\n");
    if (!status.ok())
      own["error"] = status.message();
  }
  all = gather(own);
  if (!all.ok())
    return all.status();

  std::string text = found->is_null() ? nothingText(bad.updateMade) : foundText(*found, ranks);
  text += stateText(state, bad.updateMade ? "after the update" : "before the step") + "\nin " + folder +
          ": report.json, tokens.npy, targets.npy";
  if (saved->contains("error"))
    text += "; no checkpoint: " + (*saved)["error"].get<std::string>();
  else
    text +=
        std::string(" and a checkpoint of the state ") + (bad.updateMade ? "after the update, which was made"
                                                          : bad.split    ? "evaluated"
                                                                         : "before the update");
  if ((*all)[0].contains("error"))
    text += "; not all was written: " + (*all)[0]["error"].get<std::string>();
  return text;
}

} // namespace txc
