//===- nonfinite_search.cpp - Which command wrote the first bad value -------===//
#include "train/nonfinite_search.h"

#include "report/report.h"
#include "support/text.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace txc {

using Json = nlohmann::ordered_json;
using Item = CommandList::Item;

static constexpr uint64_t kPieceBytes = 16 << 20;

// A float type: its bits, those of the exponent, and the value.
struct F32 {
  using Bits = uint32_t;
  static constexpr Bits exponent = 0x7f800000;
  static constexpr const char *name = "f32";
  static double value(Bits bits) {
    float out;
    std::memcpy(&out, &bits, sizeof(out));
    return out;
  }
};
struct Bf16 {
  using Bits = uint16_t;
  static constexpr Bits exponent = 0x7f80;
  static constexpr const char *name = "bf16";
  static double value(Bits bits) { return F32::value(uint32_t(bits) << 16); }
};
struct F64 {
  using Bits = uint64_t;
  static constexpr Bits exponent = 0x7ff0000000000000;
  static constexpr const char *name = "f64";
  static double value(Bits bits) {
    double out;
    std::memcpy(&out, &bits, sizeof(out));
    return out;
  }
};

static bool isState(uint32_t kind) {
  return kind == TXC_BUFFER_PARAM || kind == TXC_BUFFER_COMPUTE || kind == TXC_BUFFER_COMPUTE_SHARD ||
         kind == TXC_BUFFER_MOMENT1 || kind == TXC_BUFFER_MOMENT2;
}

static bool isActivation(uint32_t kind) {
  return kind == TXC_BUFFER_ACTIVATION || kind == TXC_BUFFER_COMMUNICATION;
}

// What of the buffer means something: a shard may go past the end of its tensor.
static uint64_t usedElements(const txc_buffer_t &buffer, uint64_t elementBytes, int64_t rank) {
  const uint64_t elements = buffer.bytes / elementBytes;
  if (buffer.full_elements == 0)
    return elements;
  const uint64_t begin = std::min(static_cast<uint64_t>(rank) * elements, buffer.full_elements);
  return std::min(elements, buffer.full_elements - begin);
}

namespace {

struct Values {
  uint64_t elements = 0, nan = 0, infinite = 0, first = 0;
  double least = std::numeric_limits<double>::infinity(), most = -least;

  template <typename Float> void add(const typename Float::Bits *bits, uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) {
      const double value = Float::value(bits[i]);
      if (std::isfinite(value)) {
        least = std::min(least, value);
        most = std::max(most, value);
        continue;
      }
      if (nan + infinite == 0)
        first = elements + i;
      ++(std::isnan(value) ? nan : infinite);
    }
    elements += count;
  }
};

template <typename Bits> bool allFinite(const Bits *bits, uint64_t count, Bits exponent) {
  unsigned bad = 0;
  for (uint64_t i = 0; i < count; ++i)
    bad |= (bits[i] & exponent) == exponent;
  return bad == 0;
}

// Nothing if all is finite, else all about it.
template <typename Float>
Result<Values> examine(Device &device, const txc_buffer_t &buffer, int64_t rank, std::vector<char> &memory) {
  using Bits = typename Float::Bits;
  const uint64_t bytes = usedElements(buffer, sizeof(Bits), rank) * sizeof(Bits);
  Values values;
  bool finite = true;
  for (bool detailed : {false, true})
    for (uint64_t at = 0; at < bytes && finite != detailed; at += kPieceBytes) {
      const uint64_t size = std::min(kPieceBytes, bytes - at);
      memory.resize(std::max<size_t>(memory.size(), size));
      if (Status status = device.read(buffer.offset + at, memory.data(), size); !status.ok())
        return status;
      const auto *bits = reinterpret_cast<const Bits *>(memory.data());
      if (detailed)
        values.add<Float>(bits, size / sizeof(Bits));
      else
        finite = allFinite(bits, size / sizeof(Bits), Float::exponent);
    }
  return values;
}

template <typename Float>
Result<Json> describeAs(Device &device, const txc_buffer_t &buffer, int64_t rank, std::vector<char> &memory) {
  Result<Values> values = examine<Float>(device, buffer, rank, memory);
  if (!values.ok())
    return values.status();
  if (values->nan + values->infinite == 0)
    return Json();
  Json shape = Json::array(), first = Json::array();
  uint64_t rest = values->first;
  for (uint32_t d = buffer.rank; d > 0; --d) {
    const auto size = static_cast<uint64_t>(buffer.shape[d - 1]);
    shape.insert(shape.begin(), size);
    first.insert(first.begin(), rest % size);
    rest /= size;
  }
  const bool some = values->least <= values->most;
  return Json{{"name", buffer.name},
              {"kind", bufferKindName(buffer.kind)},
              {"dtype", Float::name},
              {"shape", std::move(shape)},
              {"elements", values->elements},
              {"nan", values->nan},
              {"infinite", values->infinite},
              {"first", std::move(first)},
              {"finite_min", some ? Json(values->least) : Json()},
              {"finite_max", some ? Json(values->most) : Json()}};
}

} // namespace

Result<Json> NonfiniteSearch::describe(const txc_buffer_t &buffer) {
  switch (buffer.dtype) {
  case TXC_DTYPE_F32:
    return describeAs<F32>(device_, buffer, rank_, piece_);
  case TXC_DTYPE_BF16:
    return describeAs<Bf16>(device_, buffer, rank_, piece_);
  case TXC_DTYPE_F64:
    return describeAs<F64>(device_, buffer, rank_, piece_);
  default:
    return Json();
  }
}

// "[2, 16, 32]"
static std::string listText(const Json &list) {
  std::string text;
  for (const Json &number : list)
    text += (text.empty() ? "" : ", ") + number.dump();
  return "[" + text + "]";
}

std::string valuesText(const Json &buffer) {
  std::string bad;
  for (auto [key, word] : {std::pair{"nan", " NaN"}, {"infinite", " infinite"}})
    if (buffer[key] != 0)
      bad += (bad.empty() ? "" : " and ") + withCommas(buffer[key].get<uint64_t>()) + word;
  std::string text = buffer["dtype"].get<std::string>() + " " + listText(buffer["shape"]) + ": " + bad +
                     " of " + withCommas(buffer["elements"].get<uint64_t>()) + " elements, first at " +
                     listText(buffer["first"]);
  if (!buffer["finite_min"].is_null())
    text += format(", the others from %.4g to %.4g", buffer["finite_min"].get<double>(),
                   buffer["finite_max"].get<double>());
  return text;
}

Result<Json> NonfiniteSearch::checkState() {
  Json list = Json::array();
  for (uint32_t i = 0; i < step_.step().num_buffers; ++i) {
    const txc_buffer_t &buffer = step_.step().buffers[i];
    if (!isState(buffer.kind) || buffer.entry != UINT32_MAX)
      continue;
    Result<Json> values = describe(buffer);
    if (!values.ok())
      return values;
    if (values->is_null())
      continue;
    list.push_back(std::move(*values));
  }
  return list;
}

Status NonfiniteSearch::zero(const txc_buffer_t &buffer) {
  const std::vector<char> zeros(std::min(kPieceBytes, buffer.bytes));
  for (uint64_t at = 0; at < buffer.bytes; at += zeros.size())
    if (Status status = device_.write(buffer.offset + at, zeros.data(),
                                      std::min<uint64_t>(zeros.size(), buffer.bytes - at));
        !status.ok())
      return status;
  return {};
}

Status NonfiniteSearch::clear() {
  for (txc_buffer_kind_t kind : {TXC_BUFFER_GRAD, TXC_BUFFER_GRAD_SHARD, TXC_BUFFER_LOSS, TXC_BUFFER_STATS})
    for (const txc_buffer_t *buffer : step_.buffers(kind))
      if (Status status = zero(*buffer); !status.ok())
        return status;
  return {};
}

Result<Json> NonfiniteSearch::run(const std::string &entryName) {
  entry_ = &step_.entry(entryName);
  entryIndex_ = static_cast<uint32_t>(entry_ - step_.step().entries);
  started_.clear();
  found_ = Json();
  Result<CommandList> commands = CommandList::of(*entry_);
  if (!commands.ok())
    return commands.status();
  commands_ = std::move(*commands);
  device_.observe(this);
  Status status = device_.run(*entry_);
  device_.observe(nullptr);
  if (!status.ok())
    return status;
  return found_;
}

Status NonfiniteSearch::before(uint32_t index) {
  for (uint32_t i = 0; i < step_.step().num_buffers; ++i) {
    const txc_buffer_t &buffer = step_.step().buffers[i];
    if (buffer.entry == entryIndex_ && buffer.begin == index && isActivation(buffer.kind))
      if (Status status = zero(buffer); !status.ok())
        return status;
  }
  return {};
}

const txc_buffer_t *NonfiniteSearch::find(uint64_t offset, uint32_t index) const {
  for (uint32_t i = 0; i < step_.step().num_buffers; ++i) {
    const txc_buffer_t &buffer = step_.step().buffers[i];
    const bool lives = buffer.entry == UINT32_MAX ||
                       (buffer.entry == entryIndex_ && buffer.begin <= index && index <= buffer.end);
    if (!lives || offset < buffer.offset || offset >= buffer.offset + buffer.bytes)
      continue;
    return buffer.kind == TXC_BUFFER_WORKSPACE ? nullptr : &buffer;
  }
  return nullptr;
}

std::vector<const txc_buffer_t *> NonfiniteSearch::touchedBy(uint32_t index) {
  std::vector<const txc_buffer_t *> out;
  // Kernels of `update` are given the first tensor of each kind and work on all.
  const bool all = std::strcmp(entry_->name, "update") == 0;
  auto add = [&](uint64_t offset) {
    const txc_buffer_t *buffer = find(offset, index);
    if (!buffer)
      return;
    if (!isState(buffer->kind))
      out.push_back(buffer);
    else if (all)
      for (const txc_buffer_t *each : step_.buffers(static_cast<txc_buffer_kind_t>(buffer->kind)))
        out.push_back(each);
  };
  const Item &item = commands_.items[index];
  switch (item.kind) {
  case Item::Kind::Launch: {
    const auto &launch = *static_cast<const txc_launch_t *>(item.command);
    std::for_each(launch.offsets, launch.offsets + launch.num_args, add);
    break;
  }
  case Item::Kind::Gemm:
    add(static_cast<const txc_gemm_t *>(item.command)->c);
    break;
  case Item::Kind::Fill:
    add(static_cast<const txc_fill_t *>(item.command)->offset);
    break;
  case Item::Kind::Collective: {
    const auto &collective = *static_cast<const txc_collective_t *>(item.command);
    started_[collective.event] = &collective;
    break;
  }
  case Item::Kind::Wait:
    if (auto found = started_.find(static_cast<const txc_wait_t *>(item.command)->event);
        found != started_.end())
      for (uint32_t i = 0; i < found->second->num_parts; ++i) {
        const txc_collective_part_t &part = found->second->parts[i];
        const txc_buffer_t *from = find(part.send, index), *to = find(part.receive, index);
        // Weights from all ranks, bad as they were.
        if (from && to && isState(from->kind) && leftOut_.count(from->name))
          leftOut_.insert(to->name);
        add(part.receive);
      }
    break;
  }
  return out;
}

std::string NonfiniteSearch::operation(uint32_t index) const {
  const Json entries = metadata_.value("entries", Json::array());
  for (const Json &entry : entries)
    if (entry.value("name", "") == entry_->name && entry.contains("list") && index < entry["list"].size())
      return entry["list"][index].value("op", "");
  return "";
}

std::string NonfiniteSearch::direction(uint32_t index) const {
  if (std::strcmp(entry_->name, "update") == 0)
    return "update";
  auto has = [](const std::string &op, const char *part) { return op.find(part) != std::string::npos; };
  // The loss and its gradient are one kernel. With the loss in chunks the products and
  // losses of the next one come after derivatives of the one before.
  auto derives = [&](const std::string &op) { return has(op, "_vjp") && !has(op, "cross_entropy+"); };
  const std::string op = operation(index);
  bool backward = derives(op);
  for (uint32_t i = 0; i < index && !backward; ++i)
    backward = derives(operation(i)) && op != "linear" && !has(op, "cross_entropy");
  return backward ? "backward" : "forward";
}

Status NonfiniteSearch::after(uint32_t index) {
  if (!found_.is_null())
    return {};
  for (const txc_buffer_t *buffer : touchedBy(index)) {
    if (leftOut_.count(buffer->name))
      continue;
    Result<Json> values = describe(*buffer);
    if (!values.ok())
      return values.status();
    if (values->is_null())
      continue;
    found_ = {{"entry", entry_->name},
              {"command", index},
              {"commands", commands_.items.size()},
              {"name", commands_.items[index].name},
              {"op", operation(index)},
              {"direction", direction(index)},
              {"buffer", std::move(*values)}};
    return {};
  }
  return {};
}

} // namespace txc
