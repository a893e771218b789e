//===- Describe.h - What a planned program is known to cost ------*- C++ -*-===//
//
// The ledger of FLOPs, summed from the commands, and everything that can be
// said of a step without running it. `txc explain` prints it, and step.so
// carries the same text as its metadata.
//
//===----------------------------------------------------------------------===//
#ifndef TXC_COST_DESCRIBE_H
#define TXC_COST_DESCRIBE_H

#include "txc/Dialect/Step/Step.h"

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/JSON.h"

namespace txc::cost {

/// FLOPs of all commands of @micro with one path and op, per micro batch.
struct LedgerLine {
  std::string name; ///< YAML path, "blocks.3.attn.qkv"
  std::string op;   ///< "linear", "linear_weight_vjp", "attention", ...
  uint64_t full = 0, causal = 0;
};

/// In the order of the commands.
llvm::SmallVector<LedgerLine> getLedger(step::ProgramOp program);

/// Tokens of a micro batch; 0 if the program has none.
int64_t getTokensPerMicroBatch(step::ProgramOp program);

/// The step.program of a module that has passed the plan stage, as JSON:
///   abi_version, compiler, target, name, architecture_name,
///   config{model, train, parallel},
///   batch_size, block_size, vocab_size, ignore_index,
///   parameters{total, trainable, non_embedding, matmul,
///     list[{name, shape, bytes, decay}]},
///   flops_per_token{full, causal, attention_per_layer_full,
///     attention_per_layer_causal, ffn_per_layer, logits,
///     attention_to_ffn_full, attention_to_ffn_causal},
///   ledger[{name, op, full, causal}],
///   arena_bytes, arena_lower_bound, bytes_by_kind{param, grad, ...},
///   buffers[{name, kind, dtype, shape, offset, bytes, entry, begin, end}],
///   entries[{name, commands, bytes_moved}], kernels[{name, kind, blocks, workspace_bytes,
///     functions[{name, grid, threads, dynamic_shared_bytes, static_shared_bytes, registers, spill_bytes}]}]
/// docs/abi.md says what they mean. `target` is as in step_abi.h, "cpu:x86-64-v4". Keys that need the spec
/// are absent for a program that was written by hand.
llvm::json::Object describeModule(mlir::ModuleOp module, step::ProgramOp program, llvm::StringRef target);

/// The same for people.
void printDescription(const llvm::json::Object &description, llvm::raw_ostream &os);

} // namespace txc::cost

#endif // TXC_COST_DESCRIBE_H
