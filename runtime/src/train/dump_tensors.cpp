//===- dump_tensors.cpp - Tensors of a run as .npy files -------------------===//
#include "train/dump_tensors.h"

#include "support/text.h"

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <vector>

namespace txc {

Status writeNpy(const std::string &path, const txc_buffer_t &buffer, const void *values, float scale) {
  if (buffer.dtype != TXC_DTYPE_F32 && buffer.dtype != TXC_DTYPE_I32)
    return Status::failed(
        format("%s: cannot write dtype %u of buffer '%s'", path.c_str(), buffer.dtype, buffer.name));
  std::string shape;
  for (uint32_t d = 0; d < buffer.rank; ++d)
    shape += std::to_string(buffer.shape[d]) + ",";
  // Magic, version 1.0, length of the header, header padded to 64 bytes.
  std::string header = std::string("{'descr': '") + (buffer.dtype == TXC_DTYPE_F32 ? "<f4" : "<i4") +
                       "', 'fortran_order': False, 'shape': (" + shape + "), }";
  header.append(64 - (10 + header.size() + 1) % 64, ' ');
  header += '\n';
  std::string prefix("\x93NUMPY\x01\x00", 8);
  prefix += static_cast<char>(header.size() & 0xff);
  prefix += static_cast<char>(header.size() >> 8);

  const char *bytes = static_cast<const char *>(values);
  std::vector<char> data(bytes, bytes + buffer.bytes);
  if (buffer.dtype == TXC_DTYPE_F32 && scale != 1.0f)
    for (size_t at = 0; at + 4 <= data.size(); at += 4) {
      float value;
      std::memcpy(&value, &data[at], 4);
      value *= scale;
      std::memcpy(&data[at], &value, 4);
    }
  std::ofstream file(path, std::ios::binary);
  file << prefix << header;
  file.write(data.data(), static_cast<std::streamsize>(data.size()));
  file.close();
  if (!file)
    return Status::failed(path + ": cannot write the tensor: " + std::strerror(errno));
  return {};
}

// The same for what is in the arena.
static Status writeNpy(const std::string &path, const txc_buffer_t &buffer, Device &device, float scale) {
  std::vector<char> data(buffer.bytes);
  Status status = device.read(buffer.offset, data.data(), data.size());
  return status.ok() ? writeNpy(path, buffer, data.data(), scale) : status;
}

static Status makeFolder(const std::string &path) {
  std::error_code error;
  std::filesystem::create_directories(path, error);
  if (error)
    return Status::failed(path + ": cannot make the folder for --dump_tensors: " + error.message());
  return {};
}

static std::string iterationFolder(const std::string &dir, int64_t iteration) {
  return dir + "/iter" + std::to_string(iteration);
}

Status dumpParameters(const std::string &dir, const StepFile &step, Device &device) {
  if (Status status = makeFolder(dir + "/init"); !status.ok())
    return status;
  for (const txc_buffer_t *buffer : step.buffers(TXC_BUFFER_PARAM))
    if (Status status = writeNpy(dir + "/init/" + buffer->name + ".npy", *buffer, device, 1); !status.ok())
      return status;
  return {};
}

Status dumpBatch(const std::string &dir, const StepFile &step, const int32_t *tokens, const int32_t *targets,
                 int64_t iteration, int64_t micro) {
  std::string folder = iterationFolder(dir, iteration);
  if (Status status = makeFolder(folder); !status.ok())
    return status;
  std::string end = "." + std::to_string(micro) + ".npy";
  Status status = writeNpy(folder + "/tokens" + end, step.buffer(TXC_BUFFER_TOKENS, "micro"), tokens, 1);
  return status.ok()
             ? writeNpy(folder + "/targets" + end, step.buffer(TXC_BUFFER_TARGETS, "micro"), targets, 1)
             : status;
}

Status dumpGradients(const std::string &dir, const StepFile &step, Device &device, int64_t iteration,
                     float scale) {
  std::string folder = iterationFolder(dir, iteration) + "/grad";
  if (Status status = makeFolder(folder); !status.ok())
    return status;
  // Gradients come in the order of the parameters, whose names they get.
  std::vector<const txc_buffer_t *> parameters = step.buffers(TXC_BUFFER_PARAM);
  std::vector<const txc_buffer_t *> gradients = step.buffers(TXC_BUFFER_GRAD);
  for (size_t i = 0; i < parameters.size(); ++i) {
    txc_buffer_t buffer = *parameters[i];
    buffer.offset = gradients[i]->offset;
    if (Status status = writeNpy(folder + "/" + buffer.name + ".npy", buffer, device, scale); !status.ok())
      return status;
  }
  return {};
}

} // namespace txc
