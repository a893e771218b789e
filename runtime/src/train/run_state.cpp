//===- run_state.cpp - What of a run is saved and restored ------------------===//
#include "train/run_state.h"

#include "support/text.h"

#include <algorithm>
#include <cstring>

namespace txc {

using Json = nlohmann::ordered_json;

static uint64_t elementsOf(const txc_buffer_t &buffer) {
  return buffer.bytes / (buffer.dtype == TXC_DTYPE_BF16 ? 2 : 4);
}

// The whole tensor's shape.
static std::vector<uint64_t> shapeOf(const txc_buffer_t &parameter, const Json &metadata) {
  std::vector<uint64_t> shape;
  const Json *list = nullptr;
  if (auto parameters = metadata.find("parameters");
      parameters != metadata.end() && parameters->is_object() && parameters->contains("list"))
    list = &(*parameters)["list"];
  if (list && list->is_array())
    for (const Json &entry : *list)
      if (entry.is_object() && entry.value("name", "") == parameter.name && entry.contains("shape") &&
          entry["shape"].is_array())
        for (const Json &dim : entry["shape"])
          shape.push_back(dim.is_number_unsigned() ? dim.get<uint64_t>() : 0);
  uint64_t product = 1;
  for (uint64_t dim : shape)
    product *= dim;
  const uint64_t elements = parameter.full_elements ? parameter.full_elements : elementsOf(parameter);
  if (!shape.empty() && product == elements)
    return shape;
  // A hand-written step has no list.
  shape.clear();
  if (parameter.full_elements)
    return {parameter.full_elements};
  for (uint32_t d = 0; d < parameter.rank; ++d)
    shape.push_back(static_cast<uint64_t>(parameter.shape[d]));
  return shape;
}

Result<SavedTensors> savedTensors(const StepFile &step, const Json &metadata, int64_t rank) {
  SavedTensors out;
  const std::vector<const txc_buffer_t *> parameters = step.buffers(TXC_BUFFER_PARAM);
  for (auto [kind, suffix] : {std::pair{TXC_BUFFER_PARAM, ""}, std::pair{TXC_BUFFER_MOMENT1, ".moment1"},
                              std::pair{TXC_BUFFER_MOMENT2, ".moment2"}}) {
    const std::vector<const txc_buffer_t *> buffers = step.buffers(kind);
    for (size_t i = 0; i < buffers.size() && i < parameters.size(); ++i) {
      const txc_buffer_t &buffer = *buffers[i];
      if (buffer.dtype != TXC_DTYPE_F32)
        return Status::failed(step.path() + ": cannot save '" + buffer.name + "', which is not f32");
      TensorPiece piece;
      piece.name = std::string(parameters[i]->name) + suffix;
      piece.shape = shapeOf(*parameters[i], metadata);
      const uint64_t size = elementsOf(buffer);
      if (buffer.full_elements) {
        piece.begin = std::min(static_cast<uint64_t>(rank) * size, buffer.full_elements);
        piece.end = std::min(piece.begin + size, buffer.full_elements);
      } else {
        piece.end = rank == 0 ? size : 0;
      }
      if (piece.begin == piece.end)
        continue;
      out.ranges.push_back({buffer.offset, (piece.end - piece.begin) * 4});
      (kind == TXC_BUFFER_PARAM ? out.model : out.optimizer).push_back(std::move(piece));
    }
  }
  return out;
}

uint16_t roundToBf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  if ((bits & 0x7fffffff) > 0x7f800000)
    return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// Fills one buffer, a whole tensor or a shard of it, from the f32 values of `name`.
static Status restoreBuffer(const txc_buffer_t &buffer, const std::string &name, Device &device, int64_t rank,
                            const TensorReader &read) {
  const uint64_t size = elementsOf(buffer);
  const uint64_t begin =
      buffer.full_elements ? std::min(static_cast<uint64_t>(rank) * size, buffer.full_elements) : 0;
  const uint64_t count = buffer.full_elements ? std::min(size, buffer.full_elements - begin) : size;
  // In parts, so that a table of gigabytes needs no second one.
  constexpr uint64_t kPart = 16 << 20;
  std::vector<float> values;
  std::vector<uint16_t> rounded;
  const uint64_t elementBytes = buffer.bytes / std::max<uint64_t>(size, 1);
  for (uint64_t at = 0; at < size; at += kPart) {
    values.assign(std::min(kPart, size - at), 0);
    if (at < count)
      if (Status status =
              read(name, begin + at, std::min<uint64_t>(values.size(), count - at), values.data());
          !status.ok())
        return status;
    const void *data = values.data();
    if (buffer.dtype == TXC_DTYPE_BF16) {
      rounded.resize(values.size());
      std::transform(values.begin(), values.end(), rounded.begin(), roundToBf16);
      data = rounded.data();
    }
    if (Status status = device.write(buffer.offset + at * elementBytes, data, values.size() * elementBytes);
        !status.ok())
      return status;
  }
  return {};
}

Status restoreTensors(const StepFile &step, Device &device, int64_t rank, bool moments,
                      const TensorReader &read) {
  const std::vector<const txc_buffer_t *> parameters = step.buffers(TXC_BUFFER_PARAM);
  for (auto [kind, suffix] : {std::pair{TXC_BUFFER_PARAM, ""}, std::pair{TXC_BUFFER_MOMENT1, ".moment1"},
                              std::pair{TXC_BUFFER_MOMENT2, ".moment2"}}) {
    const std::vector<const txc_buffer_t *> buffers = step.buffers(kind);
    for (size_t i = 0; i < buffers.size() && (kind == TXC_BUFFER_PARAM || moments); ++i)
      if (Status status =
              restoreBuffer(*buffers[i], std::string(parameters[i]->name) + suffix, device, rank, read);
          !status.ok())
        return status;
  }
  for (txc_buffer_kind_t kind : {TXC_BUFFER_COMPUTE, TXC_BUFFER_COMPUTE_SHARD})
    for (const txc_buffer_t *buffer : step.buffers(kind)) {
      if (buffer->entry != UINT32_MAX)
        continue; // made when it is needed
      const std::string full = buffer->name, name = full.substr(0, full.rfind('.'));
      if (std::none_of(parameters.begin(), parameters.end(),
                       [&](const txc_buffer_t *parameter) { return name == parameter->name; }))
        return Status::failed(step.path() + ": the copy '" + full + "' is of no weight");
      if (Status status = restoreBuffer(*buffer, name, device, rank, read); !status.ok())
        return status;
    }
  return device.synchronize();
}

interchange::Model modelOf(const StepFile &step, const Json &metadata) {
  interchange::Model out;
  // A hand-written step has no list of parameters.
  if (Result<interchange::Model> model = interchange::Model::fromMetadata(metadata, step.path()); model.ok())
    out.config = std::move(model->config);
  out.step = step.path();
  for (const txc_buffer_t *parameter : step.buffers(TXC_BUFFER_PARAM))
    out.parameters.push_back({parameter->name, shapeOf(*parameter, metadata)});
  return out;
}

} // namespace txc
