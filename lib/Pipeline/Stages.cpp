//===- Stages.cpp - The stages as a table ----------------------------------===//
//
// Apart from the pass pipelines, which need the whole compiler.
//
//===----------------------------------------------------------------------===//

#include "txc/Pipeline/Pipeline.h"

using namespace llvm;

namespace txc::pipeline {

static const StageInfo stages[] = {
#define TXC_STAGE(Enumerator, word, requires_, guarantees, summary)                                          \
  {Stage::Enumerator, word, requires_, guarantees, summary},
#include "txc/Pipeline/Stages.def"
};

ArrayRef<StageInfo> getStages() { return stages; }

std::optional<Stage> parseStage(StringRef word) {
  for (const StageInfo &info : stages)
    if (info.word == word)
      return info.stage;
  return std::nullopt;
}

StringRef getWord(Stage stage) { return stages[static_cast<int>(stage)].word; }

} // namespace txc::pipeline
