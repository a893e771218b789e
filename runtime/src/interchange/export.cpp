//===- export.cpp - Weights as files for other systems ----------------------===//
#include "interchange/export.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <functional>

namespace txc::interchange {

using Json = nlohmann::ordered_json;

static Status failed(const std::string &path, const char *what, int error) {
  return Status::failed(path + ": " + what + ": " + std::strerror(error < 0 ? -error : error));
}

Result<Layout> huggingFaceLayout(const Model &model) {
  std::string why;
  for (Layout layout : {Layout::Llama, Layout::Gpt2}) {
    const std::vector<std::string> lines = obstacles(layout, model);
    if (lines.empty())
      return layout;
    for (const std::string &line : lines)
      why += "\n  " + line;
  }
  return Status::failed(model.step + ": neither of Hugging Face's layouts can hold this model:" + why +
                        "\nexport it with --export_format=txc");
}

namespace {
// A file that is written and flushed.
class Output {
public:
  Output(FileOperations &files, const std::string &path)
      : files_(files), path_(path), file_(files.create(path)) {
    if (file_ < 0)
      status_ = failed(path_, "cannot create", file_);
  }
  Output(const Output &) = delete;
  Output &operator=(const Output &) = delete;
  ~Output() {
    if (file_ >= 0)
      (void)files_.close(file_);
  }
  Status write(const void *data, uint64_t bytes) {
    const char *at = static_cast<const char *>(data);
    while (status_.ok() && bytes > 0) {
      const ssize_t count = files_.write(file_, at, std::min<uint64_t>(bytes, 8 << 20));
      if (count == -EINTR)
        continue;
      if (count <= 0) {
        status_ = failed(path_, "cannot write", count < 0 ? static_cast<int>(count) : -EIO);
      } else {
        at += count;
        bytes -= static_cast<uint64_t>(count);
      }
    }
    return status_;
  }
  Status finish() {
    if (int error = status_.ok() ? files_.flush(file_) : 0; error < 0)
      status_ = failed(path_, "cannot flush to the disk", error);
    if (int error = file_ >= 0 ? files_.close(file_) : 0; error < 0 && status_.ok())
      status_ = failed(path_, "cannot close", error);
    file_ = -1;
    return status_;
  }

private:
  FileOperations &files_;
  std::string path_;
  int file_;
  Status status_;
};
} // namespace

// One tensor of theirs, as it lies in the file.
static Status fill(Weights &weights, const Model &model, Layout layout, const Piece &piece,
                   std::vector<float> &values) {
  const uint64_t count = piece.rows * piece.width;
  values.assign(count, 0);
  if (piece.ours.empty())
    return {};
  if (Status status = weights.read(piece.ours, piece.firstRow * piece.width, count, values.data());
      !status.ok())
    return status;
  if (layout == Layout::Llama && model.text("rope_layout") != "half")
    reorderHeads(values.data(), piece.rotatedRows, model.number("head_dim"), piece.width,
                 RopeOrder::Interleaved, RopeOrder::Half);
  if (piece.transposed) {
    std::vector<float> rows = values;
    transpose(rows.data(), piece.rows, piece.width, values.data());
  }
  return {};
}

static Status writeAll(Weights &weights, const Model &model, Layout layout, const std::vector<Piece> &pieces,
                       const std::string &folder, FileOperations &files, Exported &out) {
  std::vector<TensorEntry> entries;
  for (const Piece &piece : pieces)
    entries.push_back({piece.theirs, "F32", piece.shape, 0, 0});
  // transformers refuses a file that does not say "pt".
  std::map<std::string, std::string> metadata = {{"format", "pt"}};
  if (layout == Layout::Txc)
    metadata = {{"format", "txc"},
                {"txc.config", model.config.dump(-1, ' ', false, Json::error_handler_t::replace)}};
  const std::string head = layOutSafetensors(entries, metadata);
  Output tensors(files, folder + "/model.safetensors");
  Status status = tensors.write(head.data(), head.size());
  std::vector<float> values;
  for (size_t i = 0; i < pieces.size() && status.ok(); ++i) {
    status = fill(weights, model, layout, pieces[i], values);
    if (status.ok())
      status = tensors.write(values.data(), values.size() * 4);
  }
  if (status.ok())
    status = tensors.finish();
  if (status.ok() && layout != Layout::Txc) {
    const std::string text = configFor(layout, model).dump(2) + "\n";
    Output config(files, folder + "/config.json");
    (void)config.write(text.data(), text.size()); // finish() says it
    status = config.finish();
  }
  out.tensors = entries.size();
  out.bytes = head.size() + (entries.empty() ? 0 : entries.back().begin + entries.back().bytes);
  return status;
}

Result<Exported> exportWeights(Weights &weights, const Model &model, Layout layout, const std::string &folder,
                               FileOperations &files) {
  Exported out{layout};
  if (std::vector<std::string> lines = obstacles(layout, model); !lines.empty())
    return Status::failed(model.step + ": " + nameOf(layout) + " cannot hold this model: " + lines.front());
  Result<std::vector<Piece>> pieces = piecesOf(layout, model);
  if (!pieces.ok())
    return pieces.status();
  const std::filesystem::path path = std::filesystem::path(folder) / ""; // without a slash at its end:
  const std::string target = path.parent_path().string();
  std::error_code error;
  if (std::filesystem::exists(target, error) &&
      (!std::filesystem::is_directory(target, error) || !std::filesystem::is_empty(target, error)))
    return Status::failed(
        target + ": it exists and is not an empty folder; give --export another folder, or remove it");
  const std::string parent = std::filesystem::path(target).parent_path().string();
  if (!parent.empty()) {
    std::filesystem::create_directories(parent, error);
    if (error)
      return Status::failed(parent + ": cannot make the folder: " + error.message());
  }
  const std::string temporary = target + ".incomplete";
  if (std::filesystem::exists(temporary, error))
    return Status::failed(temporary + ": left by an export that was interrupted; remove it");
  if (int problem = files.makeFolder(temporary); problem < 0)
    return failed(temporary, "cannot make the folder", problem);
  Status status = writeAll(weights, model, layout, *pieces, temporary, files, out);
  if (int problem = status.ok() ? files.flushFolder(temporary) : 0; problem < 0)
    status = failed(temporary, "cannot flush the folder to the disk", problem);
  if (int problem = status.ok() ? files.rename(temporary, target) : 0; problem < 0)
    status = failed(target, "cannot rename the finished folder to this name", problem);
  if (int problem = status.ok() ? files.flushFolder(parent.empty() ? "." : parent) : 0; problem < 0)
    status = failed(target, "cannot flush the folder to the disk", problem);
  if (!status.ok()) {
    (void)files.remove(temporary);
    return status;
  }
  return out;
}

} // namespace txc::interchange
