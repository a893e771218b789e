//===- GpuCaseWriter.cpp - Cases, compiled for a GPU, in one file ----------===//

#include "GpuCaseWriter.h"

#include "llvm/Support/FileSystem.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Support/xxhash.h"
#include "gtest/gtest.h"

#include <cmath>
#include <regex>

using namespace mlir;
namespace json = llvm::json;

namespace txc::test {

/// Cases that share one image: few runs of ptxas, and none that fails spoils much.
static constexpr size_t batchCases = 24;
static constexpr size_t batchBytes = 8 << 20;

static std::string runningTest() {
  const testing::TestInfo *info = testing::UnitTest::GetInstance()->current_test_info();
  return std::string(info->test_suite_name()) + "." + info->name();
}

uint64_t GpuCaseWriter::append(const Bytes &bytes) {
  auto [known, fresh] = places.try_emplace(llvm::xxh3_64bits(StringRef(bytes.data(), bytes.size())), 0);
  if (!fresh && data.size() - known->second >= bytes.size() &&
      std::equal(bytes.begin(), bytes.end(), data.begin() + known->second))
    return known->second;
  data.resize((data.size() + 15) / 16 * 16);
  uint64_t at = data.size();
  data.insert(data.end(), bytes.begin(), bytes.end());
  return known->second = at;
}

void GpuCaseWriter::add(KernelCase &&kernelCase) {
  pending.push_back(std::move(kernelCase));
  size_t bytes = 0;
  for (const KernelCase &c : pending)
    for (const CaseBuffer &buffer : c.buffers)
      bytes += buffer.data.size();
  if (pending.size() == batchCases || bytes > batchBytes)
    flush();
}

void GpuCaseWriter::flush() {
  std::vector<KernelCase> batch = std::exchange(pending, {});
  std::string error;
  if (batch.empty() || compile(batch, error))
    return;
  // Which one was it?
  for (KernelCase &c : batch) {
    std::vector<KernelCase> one;
    one.push_back(std::move(c));
    error.clear();
    if (!compile(one, error))
      ADD_FAILURE() << one[0].name << "\n" << one[0].text << "\n" << error;
  }
}

static json::Array numbers(ArrayRef<int64_t> values) { return json::Array(values); }

static json::Object phaseOf(step::GeometryAttr geometry) {
  json::Array maps;
  for (Attribute attribute : geometry.getMaps()) {
    auto map = cast<step::TensorMapAttr>(attribute);
    maps.push_back(json::Object{{"argument", map.getArgument()},
                                {"dtype", map.getElement().isBF16()  ? 1
                                          : map.getElement().isF32() ? 0
                                                                     : 2},
                                {"offset", map.getOffset()},
                                {"swizzle", map.getSwizzle()},
                                {"dims", numbers(map.getDims())},
                                {"strides", numbers(map.getStrides())},
                                {"box", numbers(map.getBox())}});
  }
  return json::Object{{"function", geometry.getFunction().str()},
                      {"grid", numbers(geometry.getGrid())},
                      {"block", numbers(geometry.getBlock())},
                      {"shared", geometry.getShared()},
                      {"scalars", numbers(geometry.getScalars().asArrayRef())},
                      {"maps", std::move(maps)},
                      {"registers", geometry.getRegisters()},
                      {"spills", geometry.getSpills()}};
}

/// What is allowed on a GPU, whose elementary functions differ from the CPU's: of
/// the whole result, relative to its norm, and of an element.
static std::pair<double, double> tolerances(const CaseResult &result, CaseBuffer::Type type) {
  if (result.tolerance == 0)
    return {0, 0};
  if (type == CaseBuffer::BF16)
    return {result.tolerance, 4 * result.tolerance};
  double whole = std::max(result.tolerance, 1e-6);
  return {whole, 4 * whole};
}

bool GpuCaseWriter::compile(std::vector<KernelCase> &batch, std::string &error) {
  // All kernels in one program, @k of case 3 being @c3_k.
  std::string text;
  for (auto [i, c] : llvm::enumerate(batch))
    text += std::regex_replace(c.text, std::regex("step\\.kernel @(\\w+)"),
                               "step.kernel @c" + std::to_string(i) + "_$1") +
            "\n";
  ParsedKernel parsed(text);
  error = parsed.error;
  if (!parsed.module)
    return false;
  ScopedDiagnosticHandler handler(parsed.context.get(), [&](Diagnostic &diagnostic) {
    error += diagnostic.str() + "\n";
    return success();
  });
  auto found = codegen::getTarget(arch, error);
  if (failed(found))
    return false;
  bool described = true;
  parsed.module->walk([&](step::KernelOp kernel) {
    auto shape = codegen::describeKernel(kernel, *found);
    described &= succeeded(shape);
    if (succeeded(shape)) {
      kernel.setBlocks(shape->blocks);
      kernel.setWorkspace(shape->workspaceBytes);
    }
  });
  if (!described)
    return false;
  PassManager pm(parsed.context.get());
  codegen::Options options;
  options.target = arch;
  codegen::buildPipeline(pm, options);
  if (failed(pm.run(*parsed.module)))
    return false;

  llvm::StringMap<step::KernelOp> kernels;
  parsed.module->walk([&](step::KernelOp kernel) { kernels[kernel.getSymName()] = kernel; });
  parsed.module->walk([&](step::ImageOp image) {
    // Machine code runs on the GPUs of its own generation only; the driver makes that
    // of the others from PTX.
    StringRef found = arch == "sm_90a" ? image.getCubin() : image.getPtx();
    Bytes code(found.begin(), found.end());
    code.push_back(0);
    images.push_back(json::Object{{"offset", append(code)}, {"bytes", int64_t(code.size())}});
  });
  for (auto [i, c] : llvm::enumerate(batch)) {
    step::KernelOp kernel = kernels["c" + std::to_string(i) + "_k"];
    json::Array phases, buffers, results;
    ArrayAttr geometries = *kernel.getGeometry();
    for (Attribute geometry : geometries)
      phases.push_back(phaseOf(cast<step::GeometryAttr>(geometry)));
    size_t numInputs = c.buffers.size() - c.results.size();
    static const char *typeNames[] = {"f32", "bf16", "i32", "raw"};
    for (auto [b, buffer] : llvm::enumerate(c.buffers)) {
      json::Object made{{"type", typeNames[buffer.type]}, {"bytes", int64_t(buffer.data.size())}};
      if (b < numInputs && buffer.filling)
        made["fill"] =
            json::Object{{"kind", buffer.filling->kind},       {"seed", int64_t(buffer.filling->seed)},
                         {"scale", buffer.filling->scale},     {"limit", buffer.filling->limit},
                         {"ignores", buffer.filling->ignores}, {"ignored", buffer.filling->ignored}};
      else if (b < numInputs)
        made["data"] = append(buffer.data);
      if (c.shares[b] >= 0)
        made["shares"] = c.shares[b];
      buffers.push_back(std::move(made));
    }
    for (auto [r, result] : llvm::enumerate(c.results)) {
      CaseBuffer::Type type = c.buffers[numInputs + r].type;
      auto [whole, element] = tolerances(result, type);
      results.push_back(json::Object{{"expected", append(toBytes(result.expected, type))},
                                     {"tolerance", whole},
                                     {"element_tolerance", element},
                                     {"each_alone", result.eachAlone}});
    }
    std::vector<int64_t> arguments(c.arguments.begin(), c.arguments.end());
    for (int64_t b = 0; c.arguments.empty() && b < int64_t(c.buffers.size()); ++b)
      arguments.push_back(b);
    cases.push_back(json::Object{{"group", runningTest()},
                                 {"name", c.name},
                                 {"image", int64_t(images.size()) - 1},
                                 {"phases", std::move(phases)},
                                 {"buffers", std::move(buffers)},
                                 {"arguments", numbers(arguments)},
                                 {"workspaces", numbers(kernel.getWorkspace())},
                                 {"results", std::move(results)}});
  }
  return true;
}

std::string GpuCaseWriter::write(const std::string &path) {
  std::error_code failure;
  llvm::raw_fd_ostream file(path, failure);
  if (failure)
    return path + ": " + failure.message();
  std::string header;
  llvm::raw_string_ostream(header) << json::Value(
      json::Object{{"target", arch}, {"images", std::move(images)}, {"cases", std::move(cases)}});
  header.resize((header.size() + 63) / 64 * 64, ' ');
  uint64_t length = header.size();
  file << "TXCCASE1";
  file.write(reinterpret_cast<const char *>(&length), sizeof(length));
  file << header;
  file.write(data.data(), data.size());
  file.close();
  return file.has_error() ? path + ": " + file.error().message() : "";
}

} // namespace txc::test
