//===- saving.cpp - Checkpoints of a run under way --------------------------===//
#include "train/saving.h"

#include "support/text.h"

#include <new>

namespace txc {

using Json = nlohmann::ordered_json;

Result<std::unique_ptr<Saving>> Saving::create(const StepFile &step, const Json &metadata, Device &device,
                                               Options options) {
  std::unique_ptr<Saving> saving(new Saving(device, std::move(options)));
  Result<SavedTensors> tensors = savedTensors(step, metadata, saving->options_.rank);
  if (!tensors.ok())
    return tensors.status();
  saving->tensors_ = std::move(*tensors);
  saving->nextSequence_ = saving->folder_.scan().nextSequence;
  if (saving->options_.rank == 0)
    saving->folder_.removeLeftovers();
  return saving;
}

Status Saving::begin(int64_t iteration, const Json &manifest, const Json &record) {
  writer_.wait();
  if (Status status = device_.copyOut(tensors_.ranges); !status.ok())
    return status;
  CheckpointContent content;
  content.sequence = nextSequence_++;
  content.iteration = iteration;
  content.manifest = manifest;
  content.rank = options_.rank;
  content.numRanks = options_.numRanks;
  writer_.start([this, content = std::move(content), record] {
    Outcome outcome;
    outcome.record = record;
    try {
      write(content, outcome);
    } catch (const std::bad_alloc &) {
      outcome.status = Status::failed("not enough memory on the host to write a checkpoint");
    }
    std::lock_guard lock(mutex_);
    finished_.push_back(std::move(outcome));
  });
  return {};
}

void Saving::write(CheckpointContent content, Outcome &outcome) {
  Result<const char *> copy = device_.copiedOut();
  outcome.status = copy.status();
  if (copy.ok()) {
    content.model = tensors_.model;
    content.optimizer = tensors_.optimizer;
    const char *at = *copy;
    for (std::vector<TensorPiece> *pieces : {&content.model, &content.optimizer})
      for (TensorPiece &piece : *pieces) {
        piece.data = at;
        at += (piece.end - piece.begin) * 4;
      }
    Result<WrittenCheckpoint> written = folder_.write(content);
    outcome.status = written.status();
    if (written.ok()) {
      outcome.written = *written;
      outcome.record["path"] = written->path;
      if (options_.rank == 0)
        outcome.status =
            folder_.prune(content.manifest["run"].get<std::string>(), options_.keep, options_.bad);
    }
  }
}

std::vector<Saving::Outcome> Saving::finished() {
  std::lock_guard lock(mutex_);
  return std::exchange(finished_, {});
}

Result<std::string> compareSteps(const Json &saved, const Json &step, const std::string &checkpoint,
                                 const std::string &stepPath) {
  std::string other, inexact;
  auto compare = [&](const char *key, std::string &list) {
    const Json before = saved.value(key, Json()), now = step.value(key, Json());
    if (before != now)
      list += format("\n  %s: %s in the checkpoint, %s in the step", key, before.dump().c_str(),
                     now.dump().c_str());
  };
#define TXC_COMPARE_Model_Compile(key) compare(#key, other);
#define TXC_COMPARE_Train_Compile(key) compare(#key, inexact);
#define TXC_COMPARE_Parallel_Compile(key) compare(#key, inexact);
#define TXC_COMPARE_Train_Run(key)
#define TXC_INT(section, key, default_, min, max, tool, meaning) TXC_COMPARE_##section##_##tool(key)
#define TXC_AUTO_INT(section, key, min, max, tool, derived, meaning) TXC_COMPARE_##section##_##tool(key)
#define TXC_REAL(section, key, default_, min, max, tool, meaning) TXC_COMPARE_##section##_##tool(key)
#define TXC_AUTO_REAL(section, key, min, max, tool, derived, meaning) TXC_COMPARE_##section##_##tool(key)
#define TXC_BOOL(section, key, default_, tool, meaning) TXC_COMPARE_##section##_##tool(key)
#define TXC_CHOICE(section, key, Enum, Default, tool, meaning) TXC_COMPARE_##section##_##tool(key)
#define TXC_STRING(section, key, default_, tool, meaning) TXC_COMPARE_##section##_##tool(key)
#include "txc/Import/Options.def"
  if (!other.empty())
    return Status::failed(checkpoint + ": it is of another model than " + stepPath + ":" + other +
                          "\ncompile with the checkpoint's values, or give the --out_dir of another run");
  return inexact;
}

} // namespace txc
