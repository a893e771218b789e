//===- weights.cpp - The weights of a step from files of any layout ---------===//
#include "interchange/weights.h"

#include "support/text.h"

#include <algorithm>
#include <cstring>
#include <set>

namespace txc::interchange {

using Json = nlohmann::ordered_json;

static constexpr const char *kFirstLlama = "layers.0.self_attn.q_proj.weight";
static constexpr const char *kFirstGpt2 = "h.0.attn.c_attn.weight";
static constexpr uint64_t kPart = 1 << 20; // elements read at a time

static RopeOrder orderOf(const std::string &layout) {
  return layout == "half" ? RopeOrder::Half : RopeOrder::Interleaved;
}

static const char *innerModel(Layout layout) {
  return layout == Layout::Llama ? "model." : layout == Layout::Gpt2 ? "transformer." : "";
}

// At most eight lines and how many there are more.
static std::string listed(const std::vector<std::string> &lines) {
  std::string out;
  for (size_t i = 0; i < lines.size() && i < 8; ++i)
    out += "\n  " + lines[i];
  if (lines.size() > 8)
    out += format("\n  and %zu more", lines.size() - 8);
  return out;
}

Result<Weights> Weights::open(const std::string &path, const Model &model) {
  Result<TensorSource> source = TensorSource::open(path);
  if (!source.ok())
    return source.status();
  return of(std::move(*source), model);
}

Result<Weights> Weights::of(TensorSource source, const Model &model) {
  Weights out;
  out.source_ = std::move(source);
  if (Status status = out.check(model); !status.ok())
    return status;
  return out;
}

std::string Weights::nameInFile(const std::string &name) const {
  const std::string inner = innerModel(layout_);
  if (!source_.find(name) && name.rfind(inner, 0) == 0 && source_.find(name.substr(inner.size())))
    return name.substr(inner.size());
  return name;
}

Status Weights::check(const Model &model) {
  for (auto [layout, first] : {std::pair{Layout::Llama, kFirstLlama}, {Layout::Gpt2, kFirstGpt2}})
    if (source_.find(first) || source_.find(std::string(innerModel(layout)) + first))
      layout_ = layout;
  if (layout_ == Layout::Txc &&
      std::none_of(model.parameters.begin(), model.parameters.end(),
                   [&](const Tensor &tensor) { return source_.find(tensor.name); })) {
    std::string names;
    size_t count = 0;
    for (const auto &[name, entry] : source_.tensors())
      if (++count <= 3)
        names += (names.empty() ? "'" : "', '") + (name.size() <= 60 ? name : name.substr(0, 57) + "...");
    return Status::failed(
        source_.path() +
        ": its layout is unknown: " + (count ? "among its tensors are " + names + "'" : "it has no tensors") +
        "; expected the names of Hugging Face's Llama ('model." + kFirstLlama + "') or GPT-2 ('transformer." +
        kFirstGpt2 + "'), or txc's own ('" + model.parameters.front().name + "')");
  }
  if (Status status = checkConfig(model); !status.ok())
    return status;
  Result<std::vector<Piece>> pieces = piecesOf(layout_, model);
  if (!pieces.ok())
    return pieces.status();
  pieces_ = std::move(*pieces);
  headDim_ = model.number("head_dim");
  ourOrder_ = orderOf(model.text("rope_layout"));
  theirOrder_ = layout_ == Layout::Llama ? RopeOrder::Half : ourOrder_;
  if (layout_ == Layout::Txc && source_.ownConfig().is_object())
    if (auto order = source_.ownConfig().find("rope_layout");
        order != source_.ownConfig().end() && order->is_string())
      theirOrder_ = orderOf(order->get<std::string>());
  return checkTensors(model);
}

Status Weights::checkConfig(const Model &model) {
  const std::string is =
      "the weights are " + std::string(nameOf(layout_)) + ", which " + model.step + " is not:";
  if (std::vector<std::string> lines = obstacles(layout_, model); !lines.empty())
    return Status::failed(source_.path() + ": " + is + listed(lines) +
                          "\ncompile a spec with these values, such as " +
                          (layout_ == Layout::Llama ? "configs/arch_llama.yaml with --rope_layout=half"
                                                    : "configs/openai_gpt2.yaml"));
  std::vector<std::string> lines;
  std::string from = source_.configPath();
  if (layout_ == Layout::Txc) {
    from = source_.path();
    if (source_.ownConfig().is_object())
      lines = differences(model, source_.ownConfig());
    else if (!model.config.empty())
      notes_.push_back(source_.path() +
                       " does not say which options it was trained with; names and shapes fit, "
                       "norm_eps, rope_theta, rope_layout and others could not be compared");
  } else if (source_.config().is_object()) {
    lines = differences(layout_, model, source_.config());
    const Json positions = source_.config().value("max_position_embeddings", Json());
    if (layout_ == Layout::Llama && positions.is_number_unsigned() &&
        positions.get<uint64_t>() < model.number("block_size"))
      notes_.push_back(format("the model was made for %llu positions, block_size is %llu",
                              static_cast<unsigned long long>(positions.get<uint64_t>()),
                              static_cast<unsigned long long>(model.number("block_size"))));
  } else {
    notes_.push_back(
        "no config.json beside " + source_.path() + ": names and shapes fit, " +
        (layout_ == Layout::Llama ? "norm_eps, rope_theta and n_head" : "norm_eps, activation and n_head") +
        " could not be compared");
  }
  if (lines.empty())
    return {};
  return Status::failed(from + ": it is another model than " + model.step + ":" + listed(lines));
}

Status Weights::checkTensors(const Model &model) {
  std::vector<std::string> lines;
  std::set<std::string> known;
  for (Piece &piece : pieces_) {
    const std::string name = nameInFile(piece.theirs);
    known.insert(name);
    const TensorSource::Entry *entry = source_.find(name);
    if (!entry) {
      if (piece.ours.empty())
        continue; // zeros, as in the step
      lines.push_back(piece.theirs + ": missing, the step has " + piece.ours + ", " + shapeText(piece.shape) +
                      (piece.ours == "lm_head.weight" ? "; compile with --weight_tying=true"
                       : piece.ours.size() > 5 && piece.ours.substr(piece.ours.size() - 5) == ".bias"
                           ? "; compile with --bias=false or without the norms' biases"
                           : ""));
      continue;
    }
    if (entry->shape != piece.shape) {
      std::string line =
          piece.theirs + ": " + shapeText(entry->shape) + ", the step needs " + shapeText(piece.shape);
      const size_t rowsAt = piece.transposed ? 1 : 0;
      const bool sameRank = entry->shape.size() == piece.shape.size();
      if (sameRank && entry->shape[rowsAt] != piece.shape[rowsAt] && piece.rowsKey == "vocab_size")
        line += "; compile with --vocab_size=" + std::to_string(entry->shape[0]) +
                ": rows are neither cut nor made up, since every row takes part in the loss";
      else if (sameRank && entry->shape[rowsAt] != piece.shape[rowsAt] &&
               (piece.rowsKey == "block_size" || piece.rowsKey == "d_ff"))
        line += "; compile with --" + piece.rowsKey + "=" + std::to_string(entry->shape[rowsAt]);
      lines.push_back(line);
    } else if (!isExactInFloat(entry->dtype)) {
      lines.push_back(piece.theirs + ": it is " + entry->dtype + ", expected F32, BF16 or F16");
    }
    piece.theirs = name;
  }
  const std::string head = "lm_head.weight";
  const bool tiedHead = model.flag("weight_tying") && layout_ != Layout::Txc && source_.find(head);
  for (const auto &[name, entry] : source_.tensors())
    if (!known.count(name) && !isComputed(layout_, name) && !(tiedHead && name == head))
      lines.push_back((name.size() <= 80 ? name : name.substr(0, 77) + "...") + ": " +
                      shapeText(entry.shape) + ", the step has no such weight" +
                      (name == head ? "; compile with --weight_tying=false" : ""));
  if (!lines.empty())
    return Status::failed(source_.path() + ": its weights are not those of " + model.step + ":" +
                          listed(lines));
  for (size_t i = 0; i < pieces_.size(); ++i) {
    if (!pieces_[i].ours.empty())
      byOurs_[pieces_[i].ours].push_back(i);
    else if (source_.find(pieces_[i].theirs))
      if (Status status = checkZeros(pieces_[i], pieces_[i].theirs); !status.ok())
        return status;
  }
  return tiedHead ? checkTiedHead(head) : Status();
}

Status Weights::checkZeros(const Piece &piece, const std::string &name) {
  std::vector<float> values(piece.rows);
  if (Status status = source_.read(name, 0, values.size(), values.data()); !status.ok())
    return status;
  if (std::any_of(values.begin(), values.end(), [](float value) { return value != 0; }))
    return Status::failed(source_.path() + ": '" + name +
                          "' is not zero, the step has no such bias; compile with " + piece.whyZeros);
  return {};
}

Status Weights::checkTiedHead(const std::string &head) {
  const std::string table = pieces_.front().theirs;
  const TensorSource::Entry *a = source_.find(table), *b = source_.find(head);
  bool same = a->shape == b->shape && a->dtype == b->dtype;
  std::vector<float> left, right;
  for (uint64_t at = 0, count = a->elements(); same && at < count; at += kPart) {
    left.resize(std::min(kPart, count - at));
    right.resize(left.size());
    Status status = source_.read(table, at, left.size(), left.data());
    if (status.ok())
      status = source_.read(head, at, right.size(), right.data());
    if (!status.ok())
      return status;
    same = std::memcmp(left.data(), right.data(), left.size() * 4) == 0;
  }
  if (!same)
    return Status::failed(source_.path() + ": '" + head + "' is not '" + table +
                          "', the step has one tensor for both; compile with --weight_tying=false");
  return {};
}

Status Weights::assemble(const std::string &name) {
  if (assembled_ == name)
    return {};
  assembled_.clear();
  const std::vector<size_t> &parts = byOurs_.at(name);
  uint64_t elements = 0;
  for (size_t i : parts)
    elements += pieces_[i].rows * pieces_[i].width;
  values_.resize(elements);
  std::vector<float> theirs;
  for (size_t i : parts) {
    const Piece &piece = pieces_[i];
    float *begin = values_.data() + piece.firstRow * piece.width;
    if (piece.transposed)
      theirs.resize(piece.rows * piece.width);
    if (Status status =
            source_.read(piece.theirs, 0, piece.rows * piece.width, piece.transposed ? theirs.data() : begin);
        !status.ok())
      return status;
    if (piece.transposed)
      transpose(theirs.data(), piece.width, piece.rows, begin);
    reorderHeads(begin, piece.rotatedRows, headDim_, piece.width, theirOrder_, ourOrder_);
  }
  assembled_ = name;
  return {};
}

Status Weights::read(const std::string &name, uint64_t begin, uint64_t count, float *out) {
  auto found = byOurs_.find(name);
  if (found == byOurs_.end())
    return Status::failed(source_.path() + ": it has no '" + name + "'");
  const Piece &first = pieces_[found->second.front()];
  if (found->second.size() == 1 && !first.transposed && (first.rotatedRows == 0 || theirOrder_ == ourOrder_))
    return source_.read(first.theirs, begin, count, out);
  if (Status status = assemble(name); !status.ok())
    return status;
  if (begin > values_.size() || count > values_.size() - begin)
    return Status::failed(source_.path() + ": '" + name + "' has only " + std::to_string(values_.size()) +
                          " elements");
  std::memcpy(out, values_.data() + begin, count * 4);
  return {};
}

std::string Weights::description() const {
  std::set<std::string> types;
  uint64_t count = 0;
  for (const auto &[name, entry] : source_.tensors())
    if (!isComputed(layout_, name)) {
      ++count;
      types.insert(entry.dtype);
    }
  std::string text;
  for (const std::string &type : types)
    text += (text.empty() ? "" : " and ") + type;
  return source_.path() + ": " + (layout_ == Layout::Txc ? "txc's own layout" : nameOf(layout_)) + ", " +
         withCommas(count) + " tensors, " + text;
}

} // namespace txc::interchange
