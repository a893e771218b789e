//===- checkpoint.cpp - A folder of one checkpoint ---------------------------===//
//
// Parts of an input: the manifest, model.safetensors, optimizer.safetensors. A
// changed manifest has the wrong hash and would be refused for that alone, and
// so would changed files. So each input is read twice: as it is, and with the
// hashes and lengths that it would need.
//
//===----------------------------------------------------------------------===//
#include "fuzz.h"

#include "checkpoint/checkpoint.h"
#include "support/json.h"
#include "support/sha256.h"

using namespace txc;
using Json = nlohmann::ordered_json;

static void readAll(const fuzz::Folder &folder) {
  std::vector<std::string> problems;
  std::set<std::string> bad;
  Result<Checkpoint> checkpoint = CheckpointFolder(folder.path() + "/checkpoints").openNewest(problems, bad);
  fuzz::checkSays(checkpoint);
  if (!checkpoint.ok())
    return;
  for (const auto &[name, shape] : checkpoint->model()) {
    float values[16];
    for (uint64_t begin : {uint64_t(0), uint64_t(1), uint64_t(1) << 40, UINT64_MAX - 20})
      (void)checkpoint->read(name, begin, 16, values).ok();
    (void)checkpoint->read(name + ".moment1", 0, 1, values).ok();
  }
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const fuzz::Folder folder;
  static const std::string inside = "checkpoints/000001-iter-5/";
  static const bool ready = std::filesystem::create_directories(folder.path() + "/" + inside);
  if (!ready)
    std::abort();
  std::vector<std::string_view> parts = fuzz::split(fuzz::asText(data, size), 3);
  static const char *const names[] = {"manifest.json", "model.safetensors", "optimizer.safetensors"};
  for (size_t i = 0; i < 3; ++i)
    folder.write(inside + names[i], parts[i]);
  readAll(folder);

  Result<Json> manifest = parseJson(parts[0]);
  if (!manifest.ok() || !manifest->is_object() || manifest->empty())
    return 0;
  manifest->erase("sha256");
  if (auto files = manifest->find("files"); files != manifest->end() && files->is_array())
    for (Json &file : *files)
      for (size_t i = 1; i < 3; ++i)
        if (file.is_object() && file.contains("name") && file["name"] == names[i]) {
          file["bytes"] = parts[i].size();
          file["sha256"] = sha256Hex(parts[i]);
        }
  folder.write(inside + names[0], sealManifest(*manifest));
  readAll(folder);
  return 0;
}
