//===- Program.cpp - A step.program as the ABI sees it ---------------------===//

#include "Program.h"

#include "txc/Plan/Lifetimes.h"

using namespace mlir;

namespace txc::link {

static LogicalResult readBuffers(Program &program) {
  for (auto alloc : program.op.getOps<step::AllocOp>()) {
    if (!alloc.getOffset())
      return alloc.emitOpError() << "has no offset; run the plan stage first";
    if (!isa<RankedTensorType>(alloc.getType()))
      return alloc.emitOpError() << "must be a ranked tensor, found " << alloc.getType();
    program.bufferNumber[alloc.getSymName()] = program.buffers.size();
    program.buffers.push_back({alloc, std::nullopt, std::nullopt, std::nullopt});
  }
  return success();
}

static LogicalResult readEntry(Program &program, step::EntryOp op) {
  unsigned number = program.entries.size();
  Entry &entry = program.entries.emplace_back(Entry{op, {}});
  for (Buffer &buffer : program.buffers)
    if (buffer.op.getEntry() == op.getSymName())
      buffer.entry = number;
  for (Operation &command : op.getBody().front()) {
    int64_t phases = 1;
    if (auto launch = dyn_cast<step::LaunchOp>(command)) {
      step::KernelOp kernel = program.kernels[program.kernelNumber.lookup(launch.getKernel())];
      phases = kernel.getBlocks().size();
      if (!phases)
        return kernel.emitOpError() << "is not cut into blocks; run the plan stage first";
    } else if (auto collective = dyn_cast<step::CollectiveOp>(command)) {
      program.numEvents = std::max<int64_t>(program.numEvents, collective.getEvent() + 1);
    } else if (!isa<step::GemmOp, step::FillOp, step::WaitOp>(command)) {
      return command.emitOpError()
             << "is not a command; expected step.launch, gemm, fill, collective or wait";
    }
    for (int64_t phase = 0; phase < phases; ++phase)
      entry.commands.push_back({&command, phase});
  }
  SmallVector<int64_t> numbers = plan::numberCommands(program.op, op);
  for (plan::Lifetime lifetime : plan::getLifetimes(program.op, op)) {
    Buffer &buffer = program.buffer(lifetime.alloc.getSymName());
    buffer.begin = numbers[lifetime.first];
    buffer.end = numbers[lifetime.last + 1] - 1;
  }
  return success();
}

FailureOr<Program> readProgram(ModuleOp module) {
  SmallVector<step::ProgramOp> programs(module.getOps<step::ProgramOp>());
  if (programs.size() != 1)
    return mlir::emitError(module.getLoc())
           << "expected one step.program, found " << programs.size() << "; run the plan stage first";
  Program program;
  program.op = programs.front();
  unsigned rows = 0;
  for (auto kernel : program.op.getOps<step::KernelOp>()) {
    program.firstRow.push_back(rows);
    rows += kernel.getBlocks().size();
    program.kernelNumber[kernel.getSymName()] = program.kernels.size();
    program.kernels.push_back(kernel);
  }
  for (auto object : program.op.getOps<step::ObjectOp>())
    program.object = object;
  program.images = llvm::to_vector(program.op.getOps<step::ImageOp>());
  if (!program.object && program.images.empty())
    return mlir::emitError(program.op.getLoc())
           << "the program has neither step.object nor step.image; run the codegen stage first";
  if (failed(readBuffers(program)))
    return failure();
  for (auto entry : program.op.getOps<step::EntryOp>())
    if (failed(readEntry(program, entry)))
      return failure();
  program.description =
      cost::describeModule(module, program.op, ((program.object ? "cpu:" : "cuda:") + program.isa()).str());
  return program;
}

} // namespace txc::link
