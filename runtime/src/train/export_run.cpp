//===- export_run.cpp - txrun --export ---------------------------------------===//
#include "train/export_run.h"

#include "checkpoint/checkpoint.h"
#include "interchange/export.h"
#include "loader/step_file.h"
#include "support/json.h"
#include "support/text.h"

namespace txc {

using Json = nlohmann::ordered_json;
using namespace interchange;

bool asksForExport(const Command &command) {
  bool asks = false;
  for (const auto &[key, value] : command.overrides)
    asks = key == "export" ? !value.empty() : asks;
  return asks;
}

Status exportRun(const Command &command, const std::function<void(const std::string &)> &print) {
  Result<std::string> text = readMetadata(command.stepPath);
  if (!text.ok())
    return text.status();
  Result<Json> metadata = parseJson(*text);
  if (!metadata.ok() || !metadata->is_object())
    return Status::failed(command.stepPath +
                          ": inconsistent step: its metadata is not a JSON object; this is a "
                          "fault of the txc that wrote it");
  Result<Model> model = Model::fromMetadata(*metadata, command.stepPath);
  if (!model.ok())
    return model.status();
  Result<RunOptions> options = resolveOptions(model->config, command);
  if (!options.ok())
    return options.status();
  if (options->init_from == "scratch")
    return Status::usage(
        "--export writes weights that there are already: give --init_from=resume for the newest "
        "checkpoint in out_dir, or a FILE.safetensors or folder; to export what a run trains, run "
        "it first");
  Layout layout = Layout::Txc;
  if (options->export_format == run::ExportFormat::Hf) {
    Result<Layout> chosen = huggingFaceLayout(*model);
    if (!chosen.ok())
      return chosen.status();
    layout = *chosen;
  }
  std::vector<std::string> notes;
  Result<Weights> weights = [&]() -> Result<Weights> {
    if (options->init_from != "resume")
      return Weights::open(options->init_from, *model);
    std::set<std::string> bad;
    Result<Checkpoint> checkpoint =
        CheckpointFolder(options->out_dir + "/checkpoints").openNewest(notes, bad);
    if (!checkpoint.ok())
      return checkpoint.status();
    return Weights::of(TensorSource::of(std::move(*checkpoint)), *model);
  }();
  if (!weights.ok())
    return weights.status();
  Result<Exported> exported = exportWeights(*weights, *model, layout, options->export_to);
  if (!exported.ok())
    return exported.status();
  notes.insert(notes.end(), weights->notes().begin(), weights->notes().end());
  if (options->json) {
    const Json record = {{"event", "export"},
                         {"from", weights->description()},
                         {"path", options->export_to},
                         {"layout", nameOf(layout)},
                         {"tensors", exported->tensors},
                         {"bytes", exported->bytes},
                         {"notes", notes}};
    print(record.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
  } else if (!options->quiet) {
    print("Weights  " + weights->description() + "\n");
    for (const std::string &note : notes)
      print("Note     " + note + "\n");
    print("Exported " + options->export_to + ": " +
          (layout == Layout::Txc ? "txc's own layout" : nameOf(layout)) + ", " +
          withCommas(exported->tensors) + " tensors, " + bytesText(exported->bytes) + "\n");
  }
  return {};
}

} // namespace txc
