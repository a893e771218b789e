//===- trainer.cpp - A training run ----------------------------------------===//
//
// Iteration i, in 0 ... max_iters - 1:
//   micro batches i * steps ... i * steps + steps - 1 of the data stream, each
//   through `micro`, which adds to the gradients; then `update`.
// Evaluation after every eval_interval iterations and after the last, on the
// same batches each time, so that its losses can be compared.
//
// Texts are generated every sample_interval iterations and at the end; what they
// use of the arena holds nothing between iterations.
//
// A batch depends on (seed, stream, number) only, and evaluation has streams of
// its own: with or without it, training sees the same batches.
//
// The host runs ahead of the device by the few runs that the device allows
// (none on the CPU) and takes losses and statistics when they arrive. So a
// report, and the discovery that training has diverged, may come when the
// device is already at one of the next iterations; parameters are not saved
// in between: before it saves, the host takes all results. Time is the device's: from the end of one
// iteration to the end of the next, or from its beginning if anything else was done before it.
//
//===----------------------------------------------------------------------===//
#include "train/trainer.h"

#include "device/arena.h"
#include "interchange/weights.h"
#include "report/profile.h"
#include "sample/sample_report.h"
#include "support/file.h"
#include "support/json.h"
#include "support/text.h"
#include "train/dump_tensors.h"
#include "train/schedule.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <malloc.h>
#include <new>

namespace txc {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

// Iterations before --profile measures: code is loaded, graphs are captured.
static constexpr int64_t kProfileWarmUp = 3;

// Losses that a spike is compared with, and how many must be known to call it one.
static constexpr size_t kSpikeWindow = 100, kSpikeLeast = 20;
// When so many updates in a row were skipped, what is left does not train.
static constexpr int64_t kMostSkippedInARow = 10;

static double secondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

Result<std::unique_ptr<Trainer>> Trainer::create(const Command &command) {
  Result<StepFile> step = StepFile::load(command.stepPath);
  if (!step.ok())
    return step.status();
  Result<Json> parsed = parseJson(step->step().metadata);
  if (!parsed.ok() || !parsed->is_object())
    return Status::failed(command.stepPath +
                          ": inconsistent step: its metadata is not a JSON object; this is a fault "
                          "of the txc that wrote it");
  Json metadata = std::move(*parsed);
  Result<RunOptions> options = resolveOptions(metadata.value("config", Json::object()), command);
  if (!options.ok())
    return options.status();
  Result<std::unique_ptr<Control>> control = meet(*step, *options);
  if (!control.ok())
    return control.status();
  // What goes wrong from here on, all ranks must know.
  auto shared = [ranks = control->get()](const Status &status) {
    if (ranks && !status.ok())
      ranks->fail(status);
    return status;
  };
  std::unique_ptr<FolderLock> lock;
  if (!*control || (*control)->world().rank == 0) {
    Result<std::unique_ptr<FolderLock>> taken = FolderLock::take(options->out_dir);
    if (!taken.ok())
      return shared(taken.status());
    lock = std::move(*taken);
  }
  std::optional<Checkpoint> checkpoint;
  std::vector<std::string> notes;
  std::set<std::string> bad;
  if (options->init_from == "resume") {
    Result<Resumption> resumption = findCheckpoint(command, *options, metadata, control->get());
    if (!resumption.ok())
      return shared(resumption.status());
    checkpoint = std::move(resumption->checkpoint);
    notes = std::move(resumption->notes);
    bad = std::move(resumption->bad);
    options = std::move(resumption->options);
  }
  if (options->profile > 0)
    options->max_iters = kProfileWarmUp + options->profile;

  Result<data::TokenDataset> dataset = data::TokenDataset::open(options->dataset, {});
  if (!dataset.ok())
    return shared(dataset.status());
  if (Status status = data::checkFits(*dataset, step->step().vocab_size, step->step().block_size);
      !status.ok())
    return shared(status);

  DeviceOptions deviceOptions;
  deviceOptions.threads = static_cast<int>(options->threads);
  deviceOptions.device = static_cast<int>(options->device);
  deviceOptions.graphs = options->graphs;
  deviceOptions.allowTf32 = options->allow_tf32;
  deviceOptions.control = control->get();
  deviceOptions.localRank = *control ? (*control)->world().localRank : 0;
  Result<std::unique_ptr<Device>> device = openDevice(*step, deviceOptions);
  if (!device.ok())
    return shared(device.status());

  std::unique_ptr<Trainer> trainer(new Trainer(std::move(*step), std::move(*dataset)));
  trainer->control_ = std::move(*control);
  trainer->device_ = std::move(*device);
  RunFacts &facts = trainer->facts_;
  facts.step = &trainer->step_;
  facts.metadata = std::move(metadata);
  facts.options = std::move(*options);
  facts.flops = {trainer->step_.step().flops_per_token_full, trainer->step_.step().flops_per_token_causal};
  facts.hardware = detectHardware();
  facts.device = trainer->device_->info();
  facts.options.threads = facts.device.threads;
  facts.peak = trainer->device_->peakRate();
  facts.datasetName = facts.options.dataset;
  facts.datasetDirectory = trainer->dataset_.directory();
  facts.tokenizer = trainer->dataset_.tokenizerName();
  facts.datasetVocab = trainer->dataset_.vocabSize();
  facts.trainTokens = trainer->dataset_.train().size();
  facts.valTokens = trainer->dataset_.val().size();
  if (trainer->control_) {
    const World &world = trainer->control_->world();
    facts.rank = world.rank;
    facts.ranks = world.size;
    facts.launcher = world.launcher;
    for (const RankPlace &place : trainer->control_->places())
      facts.rankHosts.push_back(place.host);
  }
  if (Status status = trainer->compareRanks(); !status.ok())
    return status;

  trainer->lock_ = std::move(lock);
  trainer->checkpoint_ = std::move(checkpoint);
  trainer->resumeNotes_ = std::move(notes);
  trainer->badCheckpoints_ = std::move(bad);

  if ((facts.options.sample || facts.options.sample_interval > 0) && facts.ranks > 1 &&
      trainer->step_.step().zero_level == 3)
    return Status::usage(
        "--sample: with zero 3 no rank has all weights; compile with --zero=2 or less, or leave it "
        "out");
  if (trainer->speaks() && (facts.options.sample || facts.options.sample_interval > 0)) {
    Result<std::unique_ptr<Generator>> generator =
        Generator::create(trainer->step_, *trainer->device_, trainer->dataset_, facts.options);
    if (!generator.ok())
      return shared(generator.status());
    trainer->generator_ = std::move(*generator);
  }
  if (Status status = shared(trainer->initialize()); !status.ok())
    return status;
  return trainer;
}

Result<std::unique_ptr<Control>> Trainer::meet(const StepFile &step, const RunOptions &options) {
  Result<World> world = worldOf([](const char *name) { return std::getenv(name); });
  if (!world.ok())
    return world.status();
  const auto ranks = static_cast<int64_t>(step.step().num_ranks);
  if (world->size != ranks) {
    const std::string started = world->launcher.empty()
                                    ? "1 was started"
                                    : format("%s started %d", world->launcher.c_str(), world->size);
    return Status::usage(format(
        "%s: compiled for %lld rank%s (mesh dp:%lld), %s; start `txrun --nproc=%lld step.so ...` or compile "
        "again with --mesh=dp:%d",
        step.path().c_str(), static_cast<long long>(ranks), ranks == 1 ? "" : "s",
        static_cast<long long>(ranks), started.c_str(), static_cast<long long>(ranks), world->size));
  }
  const int64_t steps = options.gradient_accumulation_steps;
  if (steps % ranks != 0) {
    const int64_t below = steps / ranks * ranks;
    const std::string nearest = below > 0 ? format("%lld or %lld", static_cast<long long>(below),
                                                   static_cast<long long>(below + ranks))
                                          : std::to_string(ranks);
    return Status::usage(
        format("gradient_accumulation_steps: %lld micro batches per update cannot be shared evenly "
               "by %lld ranks; take %s",
               static_cast<long long>(steps), static_cast<long long>(ranks), nearest.c_str()));
  }
  if (ranks == 1)
    return std::unique_ptr<Control>();
  if (!options.dump_tensors.empty())
    return Status::usage(
        format("--dump_tensors: %lld ranks share what it writes; the same model compiled with "
               "--mesh=dp:1 computes the same, so take it from there, or leave the option out",
               static_cast<long long>(ranks)));
  return Control::join(*world, options.comm_timeout);
}

// Some tokens of all over the file.
static Result<std::string> fingerprint(const data::TokenSplit &split) {
  uint64_t hash = split.size();
  const uint64_t samples = std::min<uint64_t>(split.size(), 4096);
  for (uint64_t i = 0; i < samples; ++i) {
    int32_t token = 0;
    if (Status status = split.read(split.size() / samples * i, 1, &token); !status.ok())
      return status;
    hash = (hash ^ static_cast<uint64_t>(token)) * 0x100000001b3u;
  }
  return format("%llu tokens, fingerprint %016llx", static_cast<unsigned long long>(split.size()),
                static_cast<unsigned long long>(hash));
}

Status Trainer::compareRanks() {
  if (!control_)
    return {};
  Json own = {{"txrun", TXC_VERSION}, {"step.so (its hash)", step_.contentHash()}};
  for (auto [key, split] :
       {std::pair{"the training data", &dataset_.train()}, {"the validation data", &dataset_.val()}}) {
    Result<std::string> text = fingerprint(*split);
    if (!text.ok()) {
      control_->fail(text.status());
      return text.status();
    }
    own[key] = *text;
  }
  // What may differ: where things are, how fast they go, what is shown.
  static const std::vector<std::string> free = {"threads", "device",       "quiet", "json",  "out_dir",
                                                "dataset", "dump_tensors", "nproc", "graphs"};
  const Json options = toJson(facts_.options);
  for (const auto &[key, value] : options.items())
    if (std::find(free.begin(), free.end(), key) == free.end())
      own["--" + key] = value;
  Result<std::vector<std::string>> all =
      control_->gather(own.dump(-1, ' ', false, Json::error_handler_t::replace));
  if (!all.ok())
    return all.status();
  Result<Json> first = parseJson((*all)[0]);
  for (size_t rank = 1; rank < all->size() && first.ok(); ++rank) {
    Result<Json> other = parseJson((*all)[rank]);
    for (const auto &[key, value] : first->items())
      if (!other.ok() || !other->contains(key) || (*other)[key] != value)
        return {Code::Device, control_->nameOf(static_cast<int>(rank)) + " disagrees with " +
                                  control_->nameOf(0) + " about " + key + ": " +
                                  (other.ok() && other->contains(key) ? (*other)[key].dump() : "nothing") +
                                  " against " + value.dump() + "; give all ranks the same files and options"};
  }
  return {};
}

Status Trainer::agreeOnSignals() {
  const bool save = saveAsked_ && saveAsked_();
  if (!control_) {
    agreedSave_ = save;
    return {};
  }
  // The answer to the question of the call before, so that nobody waits for it.
  if (askedForSignals_) {
    Result<std::vector<std::string>> all = control_->finishGather();
    askedForSignals_ = false;
    if (!all.ok())
      return all.status();
    for (const std::string &text : *all) {
      if (agreedSignal_ == 0)
        agreedSignal_ = std::atoi(text.c_str());
      agreedSave_ |= text.find("save") != std::string::npos;
    }
    if (agreedSignal_)
      return {};
  }
  askedForSignals_ = true;
  return control_->startGather(std::to_string(ownSignal_()) + (save ? " save" : ""));
}

Status Trainer::compareParameters() {
  if (!control_ || control_->failed())
    return {};
  uint64_t hash = 0;
  std::vector<uint64_t> words;
  for (txc_buffer_kind_t kind :
       {TXC_BUFFER_PARAM, TXC_BUFFER_MOMENT1, TXC_BUFFER_MOMENT2, TXC_BUFFER_COMPUTE})
    for (const txc_buffer_t *buffer : step_.buffers(kind)) {
      if (buffer->full_elements != 0 || buffer->entry != UINT32_MAX)
        continue;
      constexpr uint64_t kPiece = 32 << 20;
      for (uint64_t at = 0; at < buffer->bytes; at += kPiece) {
        const uint64_t bytes = std::min(kPiece, buffer->bytes - at);
        words.assign((bytes + 31) / 32 * 4, 0);
        if (Status status = device_->read(buffer->offset + at, words.data(), bytes); !status.ok())
          return status;
        // Four chains, since a multiplication takes its time.
        uint64_t chains[4] = {hash, 1, 2, 3};
        for (size_t i = 0; i < words.size(); i += 4)
          for (size_t chain = 0; chain < 4; ++chain)
            chains[chain] = (chains[chain] ^ words[i + chain]) * 0x9e3779b97f4a7c15u + (chains[chain] >> 29);
        for (uint64_t chain : chains)
          hash = (hash ^ chain) * 0x9e3779b97f4a7c15u + (hash >> 31);
      }
    }
  Result<std::vector<std::string>> all = control_->gather(std::to_string(hash));
  if (!all.ok())
    return all.status();
  for (size_t rank = 1; rank < all->size(); ++rank)
    if ((*all)[rank] != (*all)[0])
      return {Code::Device,
              control_->nameOf(static_cast<int>(rank)) + " disagrees with " + control_->nameOf(0) +
                  " about the weights after training; a device computes wrongly, or this is a fault of "
                  "txc"};
  return {};
}

Status Trainer::initialize() {
  Status status;
  if (facts_.options.tune) {
    // Products are timed on what they work on in training: the time depends on it.
    for (const char *entry : {"init", "micro"}) {
      if (status.ok())
        status = stageHyper(entry, 0, 0);
      if (status.ok() && std::strcmp(entry, "micro") == 0)
        status = stageBatch(entry, dataset_.train(), Stream::Train, 0).status();
      if (status.ok())
        status = device_->run(step_.entry(entry));
    }
    if (!status.ok())
      return status;
    Result<std::string> tuned = device_->tune();
    if (!tuned.ok())
      return tuned.status();
    tuned_ = *tuned;
    facts_.device = device_->info();
  }
  status = stageHyper("init", 0, 0);
  if (status.ok())
    status = device_->run(step_.entry("init"));
  if (status.ok())
    status = restore();
  if (status.ok() && !facts_.options.dump_tensors.empty())
    status = dumpParameters(facts_.options.dump_tensors, step_, *device_);
  return status;
}

//===-- Checkpoints ---------------------------------------------------------===//

Result<Trainer::Resumption> Trainer::findCheckpoint(const Command &command, const RunOptions &asked,
                                                    const Json &metadata, Control *control) {
  Resumption out;
  const CheckpointFolder folder(asked.out_dir + "/checkpoints");
  std::vector<std::string> problems;
  // One rank looks and reads all of it; the others take the one that it found.
  const bool looks = !control || control->world().rank == 0;
  Result<Checkpoint> checkpoint = Status::failed("not looked for");
  if (looks)
    checkpoint = folder.openNewest(problems, out.bad);
  if (looks && !checkpoint.ok())
    return checkpoint.status();
  if (control) {
    Result<std::vector<std::string>> paths = control->gather(looks ? checkpoint->path() : "");
    if (!paths.ok())
      return paths.status();
    if (!looks)
      checkpoint = folder.openChecked((*paths)[0]);
    if (!checkpoint.ok())
      return checkpoint.status();
  }
  for (const std::string &problem : problems)
    out.notes.push_back("skipped: " + problem);
  if (!problems.empty())
    out.notes.push_back("used instead: " + checkpoint->path());
  const Json &config = checkpoint->manifest()["config"];
  Result<std::string> inexact =
      compareSteps(config.value("step", Json::object()), flattened(metadata.value("config", Json::object())),
                   checkpoint->path(), command.stepPath);
  if (!inexact.ok())
    return inexact.status();
  if (!inexact->empty())
    out.notes.push_back("the step was compiled with other options, so the run may not go on to the bit:" +
                        *inexact);
  const Json saved = config.value("run", Json::object());
  Result<Command> joined = withSavedOptions(command, saved);
  if (!joined.ok())
    return Status::failed(checkpoint->path() + ": its options: " + joined.status().message());
  Result<RunOptions> options = resolveOptions(metadata.value("config", Json::object()), *joined);
  if (!options.ok())
    return options.status();
  std::string changed;
  const Json now = savedOptions(*options);
  for (const auto &[key, value] : saved.items())
    if (now.contains(key) && now[key] != value)
      changed += "\n  " + key + ": " + value.dump() + " in the checkpoint, now " + now[key].dump();
  if (!changed.empty())
    out.notes.push_back("changed on the command line:" + changed);
  out.options = std::move(*options);
  out.checkpoint = std::move(*checkpoint);
  return out;
}

Status Trainer::restore() {
  const RunOptions &options = facts_.options;
  if (checkpoint_) {
    const Json &manifest = checkpoint_->manifest();
    Result<interchange::Weights> weights = interchange::Weights::of(
        interchange::TensorSource::of(*checkpoint_), modelOf(step_, facts_.metadata));
    if (!weights.ok())
      return weights.status();
    const Json data = manifest.value("data", Json::object());
    for (auto [key, tokens] :
         {std::pair{"train_tokens", facts_.trainTokens}, {"val_tokens", facts_.valTokens}})
      if (data.value(key, Json()) != tokens)
        return Status::failed(checkpoint_->path() + ": it was trained on other data than " +
                              facts_.datasetDirectory + ": " + key + " " + data.value(key, Json()).dump() +
                              " in the checkpoint, " + std::to_string(tokens) +
                              " now; give the --dataset that it was trained on");
    if (Status status =
            restoreTensors(step_, *device_, facts_.rank, true,
                           [&](const std::string &name, uint64_t begin, uint64_t count, float *out) {
                             return checkpoint_->read(name, begin, count, out);
                           });
        !status.ok())
      return status;
    done_ = saved_ = manifest["iteration"].get<int64_t>();
    const Json position = manifest.value("position", Json::object());
    auto number = [&](const char *key, auto &value) {
      if (position.contains(key) && position[key].is_number())
        value = position[key].get<std::decay_t<decltype(value)>>();
    };
    number("evaluated", evaluated_);
    number("sampled", sampled_);
    number("val_loss", valLoss_);
    number("best_val_iter", bestIteration_);
    number("skipped_in_a_row", skippedInARow_);
    if (const Json losses = position.value("last_losses", Json()); losses.is_array())
      for (const Json &loss : losses)
        if (loss.is_number() && lastLosses_.size() < kSpikeWindow)
          lastLosses_.push_back(loss.get<double>());
    if (position.contains("best_val_loss") && position["best_val_loss"].is_number())
      bestValLoss_ = position["best_val_loss"].get<double>();
  } else if (options.init_from != "scratch") {
    Result<interchange::Weights> weights =
        interchange::Weights::open(options.init_from, modelOf(step_, facts_.metadata));
    if (!weights.ok())
      return weights.status();
    if (Status status = restoreTensors(step_, *device_, facts_.rank, false,
                                       [&](const std::string &name, uint64_t begin, uint64_t count,
                                           float *out) { return weights->read(name, begin, count, out); });
        !status.ok())
      return status;
    resumeNotes_.push_back("weights of " + weights->description());
    resumeNotes_.insert(resumeNotes_.end(), weights->notes().begin(), weights->notes().end());
  }
  if (options.keep_checkpoints == 0 || options.profile > 0 || options.eval_only)
    return {};
  Saving::Options saving;
  saving.outDir = options.out_dir;
  saving.keep = options.keep_checkpoints;
  saving.bad = badCheckpoints_;
  saving.rank = facts_.rank;
  saving.numRanks = facts_.ranks;
  Result<std::unique_ptr<Saving>> created =
      Saving::create(step_, facts_.metadata, *device_, std::move(saving));
  if (!created.ok())
    return created.status();
  saving_ = std::move(*created);
  return {};
}

Status Trainer::openLog(std::time_t now, const Json &header) {
  if (!speaks()) {
    Result<std::unique_ptr<RunLog>> nowhere = RunLog::createNowhere();
    log_ = std::move(*nowhere);
    return {};
  }
  const std::string &outDir = facts_.options.out_dir;
  if (checkpoint_ && !facts_.options.eval_only && facts_.options.profile == 0) {
    const Json &manifest = checkpoint_->manifest();
    const Json position = manifest.value("position", Json::object()).value("log_bytes", Json());
    const std::string run = manifest["run"].get<std::string>();
    if (position.is_number_unsigned() && run.find('/') == std::string::npos) {
      Result<std::unique_ptr<RunLog>> log = RunLog::resume(outDir, run, position.get<uint64_t>());
      if (log.ok()) {
        log_ = std::move(*log);
        Json record = manifest.value("record", Json::object());
        record["path"] = checkpoint_->path();
        if (Status status = log_->addCheckpoint(record); !status.ok())
          return status;
        return log_->addResume({{"iter", done_},
                                {"path", checkpoint_->path()},
                                {"timestamp", timestamp(now)},
                                {"notes", resumeNotes_}});
      }
      resumeNotes_.push_back("a new log is begun: " + log.status().message());
    }
  }
  Result<std::unique_ptr<RunLog>> log = RunLog::create(outDir, now, header);
  if (!log.ok())
    return log.status();
  log_ = std::move(*log);
  return {};
}

Json Trainer::manifestAt(int64_t iteration) const {
  const RunOptions &options = facts_.options;
  const Json valLoss = evaluated_ == iteration ? Json(valLoss_) : Json();
  Json record = {
      {"iter", iteration}, {"val_loss", valLoss}, {"path", ""}, {"timestamp", timestamp(std::time(nullptr))}};
  return {{"run", log_->runName()},
          {"record", record},
          {"position",
           {{"evaluated", evaluated_},
            {"val_loss", valLoss},
            {"sampled", sampled_},
            {"best_val_loss", bestValLoss_ ? Json(*bestValLoss_) : Json()},
            {"best_val_iter", bestIteration_},
            {"last_losses", lastLosses_},
            {"skipped_in_a_row", skippedInARow_},
            {"log_bytes", log_->position()}}},
          {"rng",
           {{"generator", "philox4x32-10"},
            {"seed", options.seed},
            {"next_micro_batch", iteration * options.gradient_accumulation_steps}}},
          {"data",
           {{"dataset", facts_.datasetName},
            {"train_tokens", facts_.trainTokens},
            {"val_tokens", facts_.valTokens},
            {"next_batch", iteration * options.gradient_accumulation_steps}}},
          {"step",
           {{"sha256", step_.contentHash()},
            {"architecture_name", facts_.architectureName()},
            {"runtime", TXC_VERSION}}},
          {"config",
           {{"step", flattened(facts_.metadata.value("config", Json::object()))},
            {"run", savedOptions(options)}}}};
}

Status Trainer::save(int64_t iteration, bool last) {
  if (!saving_)
    return {};
  lastEnd_.reset();
  if (Status status = takeResults(0); !status.ok())
    return status;
  if (saved_ != iteration) {
    saving_->wait();
    if (Status status = takeSaved(false); !status.ok())
      return status;
    Json manifest = manifestAt(iteration), record = manifest["record"];
    Status status = saving_->begin(iteration, manifest, record);
    if (status.ok())
      saved_ = iteration;
    else if (last || status.code() == Code::Device)
      return status;
    else
      show("warning",
           "Warning  no checkpoint after iteration " + std::to_string(iteration) + ": " + status.message() +
               "\n",
           {{"text", status.message()}});
  }
  if (!last)
    return {};
  saving_->wait();
  return takeSaved(true);
}

Status Trainer::takeSaved(bool fail) {
  if (!saving_)
    return {};
  for (const Saving::Outcome &outcome : saving_->finished()) {
    if (!outcome.written.path.empty()) {
      show("checkpoint",
           format("Checkpoint %s │ %s in %.1f s\n", outcome.written.path.c_str(),
                  bytesText(outcome.written.bytes).c_str(), outcome.written.seconds),
           outcome.record);
      if (Status status = log_->addCheckpoint(outcome.record); !status.ok())
        return status;
    }
    if (outcome.status.ok())
      continue;
    const bool lost = outcome.written.path.empty();
    const std::string message =
        outcome.status.message() +
        (lost ? "; older checkpoints are as they were; free space or give another --out_dir" : "");
    if (lost && fail)
      return Status::failed("the last checkpoint was not written: " + message);
    show("warning", "Warning  " + message + "\n", {{"text", message}});
    if (lost)
      saved_ = -1;
  }
  return {};
}

Status Trainer::stageHyper(const char *entry, int64_t iteration, int64_t micro) {
  Result<char *> memory = device_->stage(step_.buffer(TXC_BUFFER_HYPER, entry));
  if (!memory.ok())
    return memory.status();
  txc_hyper_t hyper = hyperAt(facts_.options, iteration, micro, facts_.rank, facts_.ranks);
  std::memcpy(*memory, &hyper, sizeof(hyper));
  return {};
}

Result<Trainer::Batch> Trainer::stageBatch(const char *entry, const data::TokenSplit &split, Stream stream,
                                           int64_t number) {
  Result<char *> tokenMemory = device_->stage(step_.buffer(TXC_BUFFER_TOKENS, entry));
  if (!tokenMemory.ok())
    return tokenMemory.status();
  Result<char *> targetMemory = device_->stage(step_.buffer(TXC_BUFFER_TARGETS, entry));
  if (!targetMemory.ok())
    return targetMemory.status();
  auto *tokens = reinterpret_cast<int32_t *>(*tokenMemory),
       *targets = reinterpret_cast<int32_t *>(*targetMemory);
  if (Status status = data::sampleBatch(split, static_cast<uint64_t>(facts_.options.seed),
                                        static_cast<uint64_t>(stream), static_cast<uint64_t>(number),
                                        step_.step().batch_size, step_.step().block_size, tokens, targets);
      !status.ok())
    return status;
  return Batch{tokens, targets};
}

void Trainer::show(const char *event, const std::string &text, const Json &record) {
  if (!speaks())
    return;
  if (facts_.options.json) {
    Json line = {{"event", event}};
    line.update(record);
    screen_.text(line.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
  } else if (!facts_.options.quiet || std::strcmp(event, "warning") == 0) {
    screen_.text(text);
  }
}

void Trainer::showProgress(double loss) {
  if (!speaks() || !screen_.terminal().inPlace || facts_.options.json || facts_.options.quiet ||
      !screen_.lineIsDue())
    return;
  screen_.line(progress_.text(secondsSince(started_)) + format(" │ loss %.4f", loss));
}

// A NaN of either sign is printed as "nan".
static double withoutSign(float value) {
  return std::isnan(value) ? std::numeric_limits<double>::quiet_NaN() : value;
}

static Status divergedAt(int64_t iteration, const std::string &what, double learningRate) {
  return {Code::Diverged,
          format("iteration %lld: %s at learning rate %.3g: training has diverged; try a lower "
                 "--learning_rate, a longer --warmup_iters or --grad_clip=1",
                 static_cast<long long>(iteration), what.c_str(), learningRate)};
}

Status Trainer::diverged(BadStep bad) {
  bad.status = divergedAt(bad.iteration, bad.reason, learningRateAt(facts_.options, bad.iteration));
  if (facts_.options.nonfinite != run::NonFinite::HaltWithDump)
    return bad.status;
  // Other ranks may be further on, or not yet here: they halt where all are alike.
  bad_ = std::move(bad);
  return {};
}

Status Trainer::submitIteration(int64_t iteration) {
  const RunOptions &options = facts_.options;
  const int64_t steps = options.gradient_accumulation_steps / facts_.ranks; // of this rank
  const bool dump = !options.dump_tensors.empty();
  const size_t ahead = static_cast<size_t>(device_->runsAhead());
  auto submit = [&](const char *entry, txc_buffer_kind_t kind, Pending pending) -> Status {
    if (Status status = device_->run(step_.entry(entry)); !status.ok())
      return status;
    Result<Device::Ticket> ticket = device_->fetch(step_.buffer(kind, entry));
    if (!ticket.ok())
      return ticket.status();
    pending.ticket = *ticket;
    if (pending.kind == Pending::Kind::Update) {
      Result<Device::Mark> end = device_->mark();
      if (!end.ok())
        return end.status();
      lastEnd_ = pending.end = *end;
    }
    pending_.push_back(pending);
    return takeResults(ahead);
  };

  Result<Device::Mark> begin = lastEnd_ ? Result<Device::Mark>(*lastEnd_) : device_->mark();
  if (!begin.ok())
    return begin.status();
  if (control_)
    control_->atIteration(iteration);
  for (int64_t micro = 0; micro < steps; ++micro) {
    const char *entry = micro + 1 == steps && step_.hasEntry("micro_last") ? "micro_last" : "micro";
    Result<Batch> batch = stageBatch(entry, dataset_.train(), Stream::Train,
                                     globalMicro(options, iteration, micro, facts_.rank, facts_.ranks));
    Status status = batch.status();
    if (status.ok() && dump)
      status = dumpBatch(options.dump_tensors, step_, batch->tokens, batch->targets, iteration, micro);
    if (status.ok())
      status = stageHyper(entry, iteration, micro);
    if (status.ok())
      status = submit(entry, TXC_BUFFER_LOSS, {Pending::Kind::MicroBatch, iteration, micro, 0, *begin, 0});
    if (!status.ok())
      return status;
  }
  if (dump)
    if (Status status = dumpGradients(options.dump_tensors, step_, *device_, iteration,
                                      hyperAt(options, iteration, 0).grad_scale);
        !status.ok())
      return status;
  if (options.spike_zscore > 0) {
    // The update is enqueued only after the host has seen the loss.
    if (Status status = takeResults(0); !status.ok())
      return status;
    if (const std::string spike = findSpike(lossSum_ / static_cast<double>(steps)); !spike.empty()) {
      Result<Device::Mark> end = device_->mark();
      if (!end.ok())
        return end.status();
      lastEnd_ = *end;
      return report({Pending::Kind::Update, iteration, steps - 1, 0, *begin, *end}, nullptr, spike);
    }
  }
  if (options.nonfinite == run::NonFinite::HaltWithDump) {
    // Before an update changes them, the weights must be known not to be those that
    // one of an earlier iteration left alone. The device has the micro batches of
    // this one to work on meanwhile.
    const auto own = std::count_if(pending_.begin(), pending_.end(),
                                   [&](const Pending &pending) { return pending.iteration == iteration; });
    if (Status status = takeResults(static_cast<size_t>(own)); !status.ok())
      return status;
    if (bad_ && bad_->iteration < iteration)
      return haltWithDump();
  }
  if (Status status = stageHyper("update", iteration, steps - 1); !status.ok())
    return status;
  return submit("update", TXC_BUFFER_STATS, {Pending::Kind::Update, iteration, steps - 1, 0, *begin, 0});
}

Status Trainer::takeResults(size_t most) {
  while (!pending_.empty() && (pending_.size() > most || device_->arrived(pending_.front().ticket))) {
    Pending pending = pending_.front();
    pending_.pop_front();
    if (Status status = takeResult(pending); !status.ok())
      return status;
  }
  return bad_ && most == 0 ? haltWithDump() : Status();
}

Status Trainer::takeResult(const Pending &pending) {
  const bool skips = facts_.options.nonfinite == run::NonFinite::Skip;
  if (pending.kind == Pending::Kind::MicroBatch) {
    txc_loss_result_t result;
    if (Status status = device_->take(pending.ticket, &result, sizeof(result)); !status.ok())
      return status;
    if (bad_)
      return {}; // of what was enqueued before the bad result was known
    if (!std::isfinite(result.loss) && !skips)
      return diverged({pending.iteration, pending.micro,
                       format("the loss of micro batch %lld is %f", static_cast<long long>(pending.micro),
                              withoutSign(result.loss))});
    lossSum_ = (pending.micro == 0 ? 0 : lossSum_) + withoutSign(result.loss);
    return {};
  }
  txc_update_result_t statistics;
  if (Status status = device_->take(pending.ticket, &statistics, sizeof(statistics)); !status.ok())
    return status;
  if (bad_) {
    bad_->updateMade |= bad_->iteration == pending.iteration && statistics.skipped == 0;
    return {};
  }
  std::string skipped;
  if (statistics.skipped != 0)
    skipped = format("%.0f gradient elements are infinite or not a number", statistics.nonfinite);
  const bool unsound = !std::isfinite(statistics.grad_norm) || !std::isfinite(lossSum_);
  if (!skipped.empty() && !skips)
    return diverged({pending.iteration, pending.micro, skipped});
  if (skipped.empty() && unsound)
    return diverged({pending.iteration, pending.micro,
                     format("the gradient norm is %f, the loss %f, and the update was made",
                            withoutSign(statistics.grad_norm), lossSum_),
                     true});
  return report(pending, &statistics, skipped);
}

std::string Trainer::findSpike(double loss) const {
  if (lastLosses_.size() < kSpikeLeast)
    return "";
  double mean = 0, square = 0;
  for (double each : lastLosses_)
    mean += each / static_cast<double>(lastLosses_.size());
  for (double each : lastLosses_)
    square += (each - mean) * (each - mean) / static_cast<double>(lastLosses_.size());
  const double limit = mean + facts_.options.spike_zscore * std::sqrt(square);
  if (!(loss > limit))
    return "";
  return format("loss %.4f is %.1f standard deviations above the mean %.4f of the %zu before", loss,
                (loss - mean) / std::sqrt(square), mean, lastLosses_.size());
}

Status Trainer::report(const Pending &pending, const txc_update_result_t *statistics,
                       const std::string &skipped) {
  const RunOptions &options = facts_.options;
  const int64_t iteration = pending.iteration;
  Result<double> seconds = device_->secondsBetween(pending.begin, pending.end);
  if (!seconds.ok())
    return seconds.status();
  progress_.addIteration(*seconds);
  IterationFacts result;
  result.iteration = iteration;
  result.seconds = *seconds;
  result.learningRate = learningRateAt(options, iteration);
  // A loss is the mean over ranks already.
  result.loss = lossSum_ / static_cast<double>(options.gradient_accumulation_steps / facts_.ranks);
  result.skipped = skipped;
  skippedInARow_ = skipped.empty() ? 0 : skippedInARow_ + 1;
  if (options.spike_zscore > 0 && skipped.empty()) {
    lastLosses_.push_back(result.loss);
    if (lastLosses_.size() > kSpikeWindow)
      lastLosses_.pop_front();
  }
  // Also the last one, be it that of max_iters or that after which a signal stops.
  if (iteration % options.log_interval == 0 || iteration + 1 == options.max_iters ||
      (signal_() && pending_.empty()) || !skipped.empty()) {
    // The step computes them in any case; the text shows them now and then.
    if (options.gradient_log_interval > 0 && statistics) {
      result.gradients = *statistics;
      result.showGradients = iteration % options.gradient_log_interval == 0;
    }
    completeIteration(result, facts_);
    std::string note;
    if (facts_.peak.measured && result.achievedTflops > result.peakTflops) {
      note = raisePeak(facts_, result, device_->peakRate());
      completeIteration(result, facts_);
    }
    result.memory = device_->memory();
    Json record = iterationJson(result, facts_);
    std::string progress;
    if (!screen_.terminal().inPlace)
      progress = progress_.text(secondsSince(started_)) + "\n";
    show("iteration", note + iterationText(result, facts_) + progress, record);
    if (Status status = log_->addIteration(record); !status.ok())
      return status;
  }
  showProgress(result.loss);
  if (skippedInARow_ >= kMostSkippedInARow)
    return divergedAt(iteration,
                      format("the last %lld updates were skipped, this one because %s",
                             static_cast<long long>(skippedInARow_), skipped.c_str()),
                      result.learningRate);
  return {};
}

Result<std::optional<double>> Trainer::evaluateSplit(const data::TokenSplit &split, Stream stream,
                                                     int64_t &firstBad) {
  std::deque<Device::Ticket> tickets;
  double sum = 0, count = 0;
  int64_t taken = 0;
  firstBad = -1;
  auto take = [&](size_t most) -> Status {
    while (tickets.size() > most) {
      txc_loss_result_t loss;
      if (Status status = device_->take(tickets.front(), &loss, sizeof(loss)); !status.ok())
        return status;
      tickets.pop_front();
      if (!std::isfinite(loss.loss) && firstBad < 0)
        firstBad = taken;
      taken += facts_.ranks;
      sum += static_cast<double>(loss.loss) * loss.target_count;
      count += loss.target_count;
    }
    return {};
  };
  bool stopped = false;
  // As many rounds as give every rank a batch in each.
  const int64_t ranks = facts_.ranks;
  for (int64_t batch = 0; batch < facts_.options.eval_iters && !stopped; batch += ranks) {
    Status status = agreeOnSignals();
    if (status.ok())
      status = stageBatch("eval", split, stream, batch + facts_.rank).status();
    if (status.ok())
      status = stageHyper("eval", 0, 0); // nothing is dropped
    if (status.ok())
      status = device_->run(step_.entry("eval"));
    if (!status.ok())
      return status;
    Result<Device::Ticket> ticket = device_->fetch(step_.buffer(TXC_BUFFER_LOSS, "eval"));
    if (!ticket.ok())
      return ticket.status();
    tickets.push_back(*ticket);
    if (status = take(static_cast<size_t>(device_->runsAhead())); !status.ok())
      return status;
    stopped = signal_() != 0;
  }
  if (Status status = take(0); !status.ok())
    return status;
  if (stopped)
    return std::optional<double>();
  return std::optional<double>(count > 0 ? sum / count : 0);
}

Status Trainer::evaluate(int64_t iteration) {
  lastEnd_.reset();
  if (Status status = takeResults(0); !status.ok() || signal_())
    return status;
  auto start = Clock::now();
  EvaluationFacts result;
  result.iteration = iteration;
  result.learningRate = learningRateAt(facts_.options, iteration);
  for (bool train : {true, false}) {
    const data::TokenSplit &split = train ? dataset_.train() : dataset_.val();
    const Stream stream = train ? Stream::EvalTrain : Stream::EvalVal;
    int64_t firstBad;
    auto loss = evaluateSplit(split, stream, firstBad);
    if (!loss.ok())
      return loss.status();
    if (!*loss)
      return {};
    if (!std::isfinite(**loss)) {
      Status status = diverged(
          {iteration, 0, format("the %s loss of the evaluation is %f", train ? "train" : "val", **loss),
           false, &split, stream, firstBad});
      return status.ok() ? haltWithDump() : status;
    }
    (train ? result.trainLoss : result.valLoss) = **loss;
  }
  result.seconds = secondsSince(start);
  progress_.addEvaluation(result.seconds);
  if (!bestValLoss_ || result.valLoss < *bestValLoss_) {
    bestValLoss_ = result.valLoss;
    bestIteration_ = iteration;
  }
  result.bestValLoss = *bestValLoss_;
  result.bestIteration = bestIteration_;
  evaluated_ = iteration;
  valLoss_ = result.valLoss;
  Json record = evaluationJson(result, timestamp(std::time(nullptr)));
  show("evaluation", evaluationText(result), record);
  return log_->addEvaluation(record);
}

Status Trainer::profile() {
  const int64_t count = facts_.options.profile;
  int64_t iteration = 0;
  for (; iteration < kProfileWarmUp && !signal_(); ++iteration)
    if (Status status = submitIteration(iteration); !status.ok())
      return status;
  if (Status status = takeResults(0); !status.ok())
    return status;
  if (Status status = device_->profile(true); !status.ok())
    return status;
  lastEnd_.reset();
  for (; iteration < kProfileWarmUp + count && !signal_(); ++iteration)
    if (Status status = submitIteration(iteration); !status.ok())
      return status;
  if (Status status = takeResults(0); !status.ok())
    return status;
  if (signal_() || !speaks())
    return {};
  std::vector<CommandTime> times = device_->commandTimes();
  addKnownWork(times, facts_);
  const std::string path = facts_.options.out_dir + "/profile.json";
  if (Status status = writeFileAtomically(path, profileJson(times, facts_).dump(1) + "\n"); !status.ok())
    return status;
  show("profile", profileText(times) + "Table  " + path + "\n", {{"path", path}});
  return {};
}

Status Trainer::sample(int64_t iteration) {
  lastEnd_.reset();
  if (Status status = takeResults(0); !status.ok() || signal_())
    return status;
  if (!speaks())
    return {}; // waits in the next iteration
  const bool json = facts_.options.json, quiet = facts_.options.quiet;
  Generator::Listener listener;
  listener.signal = signal_;
  listener.begin = [&](const SampleFacts &text) {
    if (!json)
      screen_.text((quiet ? "" : sampleHeading(text, facts_.options)) + text.prompt);
  };
  listener.more = [&](const std::string &text) {
    if (!json)
      screen_.text(text);
  };
  listener.end = [&](const SampleFacts &text) -> Status {
    Json record = sampleJson(text, facts_.options, timestamp(std::time(nullptr)));
    if (!json)
      screen_.text("\n");
    show("sample", sampleEnding(text), record);
    return log_->addSample(record);
  };
  if (control_)
    control_->busy(true);
  Status status = generator_->generate(iteration, listener);
  if (control_)
    control_->busy(false);
  return status;
}

Status Trainer::loop() {
  const RunOptions &options = facts_.options;
  auto due = [](int64_t interval, int64_t iteration) {
    return interval > 0 && iteration > 0 && iteration % interval == 0;
  };
  if (options.eval_only) {
    Status status = evaluate(done_);
    return status.ok() && options.sample && !signal_() ? sample(done_) : status;
  }
  auto evaluateAndSave = [&](int64_t iteration) -> Status {
    Status status = evaluate(iteration);
    if (status.ok() && evaluated_ == iteration && iteration > 0 &&
        (options.always_save_checkpoint || bestIteration_ == iteration))
      status = save(iteration, false);
    return status;
  };
  for (; done_ < options.max_iters && !signal_(); ++done_) {
    if (Status status = agreeOnSignals(); !status.ok())
      return status;
    if (due(options.eval_interval, done_) && evaluated_ != done_)
      if (Status status = evaluateAndSave(done_); !status.ok())
        return status;
    if (due(options.sample_interval, done_) && sampled_ != done_ && !signal_()) {
      if (Status status = sample(done_); !status.ok())
        return status;
      sampled_ = done_;
    }
    if (signal_())
      break;
    if (std::exchange(agreedSave_, false))
      if (Status status = save(done_, false); !status.ok())
        return status;
    if (Status status = submitIteration(done_); !status.ok())
      return status;
    if (Status status = takeSaved(false); !status.ok())
      return status;
  }
  if (Status status = takeResults(0); !status.ok())
    return status;
  if (options.eval_interval > 0 && evaluated_ != done_ && !signal_())
    if (Status status = evaluate(done_); !status.ok())
      return status;
  if (done_ > 0)
    if (Status status = save(done_, true); !status.ok())
      return status;
  if (options.sample && !signal_())
    return sample(done_);
  return {};
}

Status Trainer::train(const Print &print, const std::function<int()> &signal, const Terminal &terminal) {
  std::time_t now = std::time(nullptr);
  Json header = headerJson(facts_, timestamp(now));
  screen_ = Screen(print, terminal);
  progress_ = Progress(std::max<int64_t>(facts_.options.max_iters - done_, 0), facts_.options.eval_interval);
  started_ = Clock::now();
  ownSignal_ = signal;
  // What setting up has freed, tens of MB, goes back to the system: kept, it would also hide leaks.
  ::malloc_trim(0);
  if (control_)
    signal_ = [this] { return agreedSignal_; };
  else
    signal_ = signal;
  if (Status status = openLog(now, header); !status.ok()) {
    if (control_)
      control_->fail(status);
    return status;
  }
  show("start", startupText(facts_, terminal.color) + "\nLog    " + log_->path() + "\n\n", header);

  if (!tuned_.empty())
    show("tune", "Tuned  " + tuned_ + "\n\n", {{"text", tuned_}});

  if (checkpoint_)
    show("resume", "Resumed " + checkpoint_->path() + " after iteration " + std::to_string(done_) + "\n",
         {{"iter", done_}, {"path", checkpoint_->path()}});
  for (const std::string &note : resumeNotes_)
    show("note", "Note   " + note + "\n", {{"text", note}});

  Status status;
  try {
    status = facts_.options.profile > 0 ? profile() : loop();
  } catch (const std::bad_alloc &) {
    const MemoryLimit left = availableMemory();
    status = Status::failed(
        format("not enough memory: the host refused a small allocation in iteration %lld; the "
               "step's arena of %s is reserved, %s are left (%s); older checkpoints are as they "
               "were, go on with --init_from=resume where there is more memory",
               static_cast<long long>(done_), bytesText(step_.step().arena_bytes).c_str(),
               bytesText(left.bytes).c_str(), left.reason.c_str()));
  }
  if (saving_) {
    saving_->wait();
    Status saved = takeSaved(false);
    status = status.ok() ? saved : status;
  }
  if (status.ok())
    status = compareParameters();
  if (control_ && control_->failed() && !status.ok() && status.code() != Code::Diverged)
    status = control_->failure();
  else if (control_ && !status.ok())
    control_->fail(status);
  const int stoppedBy = signal_();
  Json ending = {
      {"exit_code", status.ok() ? (stoppedBy ? 128 + stoppedBy : 0) : static_cast<int>(status.code())},
      {"error", status.ok() ? Json() : Json(status.message())},
      {"signal", stoppedBy ? Json(stoppedBy) : Json()}};
  Status written = log_->finish(ending);
  Json summary = log_->summary();
  show("end", endText(summary), {{"summary", summary}});
  screen_.removeLine();
  return status.ok() ? written : status;
}

} // namespace txc
