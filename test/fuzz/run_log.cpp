//===- run_log.cpp - The log of a run, as txreport reads it -----------------===//
#include "fuzz.h"

#include "compare/page.h"
#include "compare/run_file.h"
#include "compare/table.h"

using namespace txc;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const fuzz::Folder folder;
  auto run = compare::readRun(folder.write("run.json", fuzz::asText(data, size)));
  fuzz::checkSays(run);
  if (!run.ok())
    return 0;
  std::vector<compare::Run> runs = {*run, *run};
  (void)compare::compareRuns(runs);
  (void)compare::pageHtml(runs);
  return 0;
}
