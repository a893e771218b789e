//===- Pipeline.h - The stages, as a table and as pass pipelines -----------===//
#ifndef TXC_PIPELINE_PIPELINE_H
#define TXC_PIPELINE_PIPELINE_H

#include "txc/Fuse/Passes.h"
#include "txc/Shard/Passes.h"

#include "mlir/IR/Dialect.h"
#include "mlir/Pass/PassManager.h"

#include <optional>

namespace txc::pipeline {

enum class Stage {
#define TXC_STAGE(Enumerator, word, requires_, guarantees, summary) Enumerator,
#include "txc/Pipeline/Stages.def"
};

struct StageInfo {
  Stage stage;
  llvm::StringRef word;
  llvm::StringRef requires_;
  llvm::StringRef guarantees;
  llvm::StringRef summary;
};

/// All stages in order.
llvm::ArrayRef<StageInfo> getStages();
std::optional<Stage> parseStage(llvm::StringRef word);
llvm::StringRef getWord(Stage stage);

/// What the stages need to know beyond the module.
struct Options {
  std::string target; ///< as codegen::getTarget takes it
  shard::Options shard;
  fuse::Options fuse;
};

/// Appends the passes of one stage, its boundary verifier last. Import makes the
/// module from a spec (txc::import::importSpec), so here it only verifies; Link
/// writes bytes (txc::link::linkProgram), so here it adds nothing.
void buildStage(mlir::OpPassManager &pm, Stage stage, const Options &options);

/// Appends only the boundary verifier of a stage: for a program that comes from
/// a file.
void buildVerifier(mlir::OpPassManager &pm, Stage stage);

/// All dialects that a module may hold at any stage, and all external models.
void registerDialects(mlir::DialectRegistry &registry);

/// All passes of all stages, for tx-opt.
void registerPasses();

} // namespace txc::pipeline

#endif // TXC_PIPELINE_PIPELINE_H
