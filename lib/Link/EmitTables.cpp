//===- EmitTables.cpp - The tables and entry functions of step.so ----------===//
//
// Requires: a planned program.
//
// 1. Every struct of step_abi.h that the file holds becomes a constant.
// 2. An entry becomes a function with one call per command through the device's
//    functions, returning the first status that is not 0.
// 3. txc_step_query, the only symbol with default visibility, returns the table
//    if asked for this ABI version, else null.
//
// Guarantees: no undefined symbols but the kernels' functions.
//
//===----------------------------------------------------------------------===//

#include "EmitTables.h"

#include "txc/Dialect/Step/Gradients.h"
#include "txc/Link/Link.h"
#include "txc/step_abi.h"

#include "llvm/ADT/StringExtras.h"
#include "llvm/IR/IRBuilder.h"
#include "llvm/IR/InlineAsm.h"
#include "llvm/Transforms/Utils/ModuleUtils.h"

using namespace mlir;
using llvm::Constant;

namespace txc::link {
namespace {

class TableEmitter {
public:
  TableEmitter(llvm::Module &module, Program &program, StringRef metadata)
      : module(module), context(module.getContext()), program(program), metadata(metadata),
        ptr(llvm::PointerType::get(context, 0)), i8(llvm::Type::getInt8Ty(context)),
        i32(llvm::Type::getInt32Ty(context)), i64(llvm::Type::getInt64Ty(context)),
        null(llvm::ConstantPointerNull::get(ptr)) {}

  void emit() {
    SmallVector<Constant *> entries, kernels, flops, buffers, images;
    for (Entry &entry : program.entries)
      entries.push_back(record<txc_entry_t>(
          {string(entry.op.getName()), emitEntry(entry), word(entry.commands.size()), word(0)}));
    for (step::KernelOp kernel : program.kernels)
      for (size_t phase = 0; phase < kernel.getBlocks().size(); ++phase)
        kernels.push_back(describe(kernel, phase));
    for (step::ImageOp image : program.images)
      images.push_back(record<txc_image_t>({string(image.getTarget()), blob(image.getCubin(), false),
                                            blob(image.getPtx(), true), wide(image.getCubin().size()),
                                            wide(image.getPtx().size())}));
    for (const cost::LedgerLine &line : cost::getLedger(program.op))
      flops.push_back(
          record<txc_flops_t>({string(line.name), string(line.op), wide(line.full), wide(line.causal)}));
    for (Buffer &buffer : program.buffers)
      buffers.push_back(describe(buffer));
    const llvm::json::Object &known = program.description;
    auto number = [&](StringRef key, int64_t otherwise) { return known.getInteger(key).value_or(otherwise); };
    auto perToken = [&](StringRef key) {
      return wide(known.getObject("flops_per_token")->getInteger(key).value_or(0));
    };
    Constant *step = record<txc_step_t>({word(sizeof(txc_step_t)),
                                         word(TXC_STEP_ABI_VERSION),
                                         string(known.getString("compiler").value_or("")),
                                         string(known.getString("target").value_or("")),
                                         string(metadata),
                                         wide(program.op.getArenaBytes()),
                                         wide(program.op.getLowerBound()),
                                         wide(number("batch_size", 0)),
                                         wide(number("block_size", 0)),
                                         wide(number("vocab_size", 0)),
                                         wide(number("ignore_index", -1)),
                                         wide(known.getObject("parameters")->getInteger("total").value_or(0)),
                                         perToken("full"),
                                         perToken("causal"),
                                         table(buffers),
                                         table(entries),
                                         table(kernels),
                                         table(flops),
                                         table(images),
                                         word(buffers.size()),
                                         word(entries.size()),
                                         word(kernels.size()),
                                         word(flops.size()),
                                         word(images.size()),
                                         word(program.numEvents),
                                         word(program.op.getNumRanks()),
                                         word(program.op.getZeroLevel())});
    emitQuery(constant(step, "step"));
    emitNote();
    emitMetadata();
    emitMemoryFunctions();
  }

private:
  //===-- Constants --------------------------------------------------------===//
  Constant *word(uint64_t value) { return llvm::ConstantInt::get(i32, value); }
  Constant *wide(uint64_t value) { return llvm::ConstantInt::get(i64, value); }

  llvm::GlobalVariable *constant(Constant *value, const Twine &name) {
    auto *global = new llvm::GlobalVariable(module, value->getType(), /*isConstant=*/true,
                                            llvm::GlobalValue::PrivateLinkage, value, name);
    global->setUnnamedAddr(llvm::GlobalValue::UnnamedAddr::Global);
    return global;
  }
  Constant *string(StringRef text) {
    Constant *&known = strings[text];
    if (!known)
      known = constant(llvm::ConstantDataArray::getString(context, text), "text");
    return known;
  }
  Constant *table(ArrayRef<Constant *> records) {
    if (records.empty())
      return null;
    auto *type = llvm::ArrayType::get(records.front()->getType(), records.size());
    return constant(llvm::ConstantArray::get(type, records), "table");
  }
  /// A struct of step_abi.h, its fields in order. C and LLVM lay them out alike.
  template <typename T> Constant *record(ArrayRef<Constant *> fields) {
    Constant *value = llvm::ConstantStruct::getAnon(fields);
    assert(module.getDataLayout().getTypeAllocSize(value->getType()) == sizeof(T) &&
           "fields differ from the struct in step_abi.h");
    return value;
  }

  /// Machine code, null if there is none.
  Constant *blob(StringRef bytes, bool addNull) {
    if (bytes.empty())
      return null;
    llvm::GlobalVariable *global =
        constant(llvm::ConstantDataArray::getString(context, bytes, addNull), "image");
    global->setAlignment(llvm::Align(64));
    return global;
  }
  /// Exactly N numbers of 4 or 8 bytes in a struct; the rest is 0.
  Constant *numbers(llvm::Type *type, ArrayRef<int64_t> values, size_t count) {
    SmallVector<Constant *> constants;
    for (size_t i = 0; i < count; ++i)
      constants.push_back(llvm::ConstantInt::get(type, i < values.size() ? values[i] : 0, /*IsSigned=*/true));
    return llvm::ConstantArray::get(llvm::ArrayType::get(type, count), constants);
  }

  uint64_t address(StringRef buffer) { return *program.buffer(buffer).op.getOffset(); }

  uint32_t dtypeOf(Type type) {
    if (type.isF32())
      return TXC_DTYPE_F32;
    if (type.isBF16())
      return TXC_DTYPE_BF16;
    if (type.isF64())
      return TXC_DTYPE_F64;
    return type.isInteger(32) ? TXC_DTYPE_I32 : TXC_DTYPE_U8;
  }

  Constant *describe(Buffer &buffer) {
    auto op = buffer.op;
    RankedTensorType type = buffer.type();
    // Leading dimensions beyond TXC_MAX_RANK are folded into the first.
    SmallVector<int64_t> shape(type.getShape());
    while (shape.size() > TXC_MAX_RANK) {
      shape[1] *= shape[0];
      shape.erase(shape.begin());
    }
    uint32_t rank = shape.size();
    shape.resize(TXC_MAX_RANK, 1);
    bool everywhere = !buffer.entry;
    return record<txc_buffer_t>(
        {string(op.getSymName()), wide(*op.getOffset()), wide(op.getBytes()),
         word(static_cast<uint32_t>(op.getKind())), word(dtypeOf(type.getElementType())),
         word(everywhere ? UINT32_MAX : *buffer.entry), word(rank), wide(shape[0]), wide(shape[1]),
         wide(shape[2]), wide(shape[3]), word(buffer.begin.value_or(0)),
         word(buffer.end.value_or(everywhere ? UINT32_MAX : 0)), wide(op.getShardOf())});
  }

  Constant *describe(step::TensorMapAttr map) {
    return record<txc_tensor_map_t>(
        {word(map.getArgument()), word(dtypeOf(map.getElement())), word(map.getDims().size()),
         word(map.getSwizzle()), wide(map.getOffset()), numbers(i64, map.getDims(), TXC_MAX_TENSOR_MAP_RANK),
         numbers(i64, map.getStrides(), TXC_MAX_TENSOR_MAP_RANK),
         numbers(i32, map.getBox(), TXC_MAX_TENSOR_MAP_RANK), word(0)});
  }

  Constant *describe(step::KernelOp kernel, size_t phase) {
    std::string name = (kernel.getSymName() + "." + Twine(phase)).str();
    if (!kernel.getGeometry())
      return record<txc_kernel_t>({string(name), null, word(0), numbers(i32, {}, 3), numbers(i32, {}, 3),
                                   word(0), word(0), word(0), null, null});
    auto geometry = cast<step::GeometryAttr>((*kernel.getGeometry())[phase]);
    SmallVector<Constant *> maps, scalars;
    for (auto map : geometry.getMaps().getAsRange<step::TensorMapAttr>())
      maps.push_back(describe(map));
    for (int64_t scalar : geometry.getScalars().asArrayRef())
      scalars.push_back(word(scalar));
    return record<txc_kernel_t>({string(name), string(geometry.getFunction().getValue()), word(0),
                                 numbers(i32, geometry.getGrid(), 3), numbers(i32, geometry.getBlock(), 3),
                                 word(geometry.getShared()), word(maps.size()), word(scalars.size()),
                                 table(maps), table(scalars)});
  }

  //===-- Entry functions --------------------------------------------------===//

  /// The descriptor of a command, and which of txc_device's functions takes it.
  static uint32_t accumulation(step::GemmOp gemm) {
    if (!gemm.getAccumulate())
      return TXC_ACCUMULATE_NEVER;
    return gemm->hasAttr(step::afterFirstAttrName) ? TXC_ACCUMULATE_AFTER_FIRST : TXC_ACCUMULATE_ALWAYS;
  }

  std::pair<Constant *, unsigned> describe(Command &command) {
    if (auto launch = dyn_cast<step::LaunchOp>(command.op)) {
      unsigned number = program.kernelNumber.lookup(launch.getKernel());
      SmallVector<Constant *> offsets;
      for (auto [arg, offset] :
           llvm::zip_equal(launch.getArgs().getAsRange<FlatSymbolRefAttr>(), launch.getOffsets()))
        offsets.push_back(wide(address(arg.getValue()) + offset));
      SmallVector<Constant *> strides = llvm::map_to_vector(
          launch.getRankStrides(), [&](int64_t stride) -> Constant * { return wide(stride); });
      Constant *function = null;
      if (program.object) {
        std::string symbol = (launch.getKernel() + "." + Twine(command.phase)).str();
        auto *type = llvm::FunctionType::get(llvm::Type::getVoidTy(context), {ptr, ptr, i64, i64}, false);
        auto *kernel = cast<llvm::Function>(module.getOrInsertFunction(symbol, type).getCallee());
        kernel->setVisibility(llvm::GlobalValue::HiddenVisibility);
        function = kernel;
      }
      return {record<txc_launch_t>({string(launch.getName()), function,
                                    word(program.firstRow[number] + command.phase), word(offsets.size()),
                                    table(offsets), wide(program.kernels[number].getBlocks()[command.phase]),
                                    table(strides)}),
              0};
    }
    if (auto gemm = dyn_cast<step::GemmOp>(command.op)) {
      auto dtype = [&](StringRef buffer) {
        return word(dtypeOf(program.buffer(buffer).type().getElementType()));
      };
      std::optional<StringRef> workspace = gemm.getWorkspace();
      return {record<txc_gemm_t>({string(gemm.getName()),
                                  dtype(gemm.getA()),
                                  dtype(gemm.getC()),
                                  word(gemm.getTransposeA()),
                                  word(gemm.getTransposeB()),
                                  word(accumulation(gemm)),
                                  word(gemm.getBatch()),
                                  wide(gemm.getM()),
                                  wide(gemm.getN()),
                                  wide(gemm.getK()),
                                  wide(gemm.getRowStride(0)),
                                  wide(gemm.getRowStride(1)),
                                  wide(gemm.getRowStride(2)),
                                  wide(gemm.getBatchStride(0)),
                                  wide(gemm.getBatchStride(1)),
                                  wide(gemm.getBatchStride(2)),
                                  wide(address(gemm.getA()) + gemm.getOffset(0)),
                                  wide(address(gemm.getB()) + gemm.getOffset(1)),
                                  wide(address(gemm.getC()) + gemm.getOffset(2)),
                                  wide(workspace ? address(*workspace) : 0),
                                  wide(workspace ? program.buffer(*workspace).op.getBytes() : 0),
                                  word(TXC_EPILOGUE_NONE),
                                  word(0),
                                  wide(0),
                                  wide(gemm.getAddend() ? address(*gemm.getAddend())
                                                        : address(gemm.getC()) + gemm.getOffset(2)),
                                  wide(gemm->hasAttr(step::afterFirstAttrName) ? address("hyper") : 0)}),
              1};
    }
    if (auto collective = dyn_cast<step::CollectiveOp>(command.op)) {
      SmallVector<Constant *> parts;
      auto name = [](Attribute buffer) { return cast<FlatSymbolRefAttr>(buffer).getValue(); };
      for (auto [part, count] : llvm::enumerate(collective.getCounts()))
        parts.push_back(record<txc_collective_part_t>(
            {wide(address(name(collective.getSends()[part])) + collective.getOffset(part, 0)),
             wide(address(name(collective.getReceives()[part])) + collective.getOffset(part, 1)),
             wide(count)}));
      Type element = program.buffer(name(collective.getSends()[0])).type().getElementType();
      return {record<txc_collective_t>(
                  {string(collective.getName()), word(static_cast<uint32_t>(collective.getKind())),
                   word(static_cast<uint32_t>(collective.getReduction())), word(dtypeOf(element)),
                   word(parts.size()), table(parts), word(collective.getEvent()), word(0)}),
              3};
    }
    if (auto wait = dyn_cast<step::WaitOp>(command.op))
      return {record<txc_wait_t>({string(wait.getCollective().getName()), word(wait.getEvent()), word(0)}),
              4};
    auto fill = cast<step::FillOp>(command.op);
    Constant *value = llvm::ConstantInt::get(i8, fill.getValue());
    auto *reserved = llvm::ConstantAggregateZero::get(llvm::ArrayType::get(i8, 7));
    return {record<txc_fill_t>({string(fill.getName()), wide(address(fill.getBuffer())),
                                wide(program.buffer(fill.getBuffer()).op.getBytes()), value, reserved}),
            2};
  }

  llvm::Function *emitEntry(Entry &entry) {
    auto *type = llvm::FunctionType::get(i32, {ptr, ptr}, false);
    auto *function = llvm::Function::Create(type, llvm::GlobalValue::InternalLinkage,
                                            "txc_entry_" + entry.op.getName(), module);
    llvm::Value *device = function->getArg(0), *arena = function->getArg(1);
    llvm::IRBuilder<> b(llvm::BasicBlock::Create(context, "entry", function));
    auto field = [&](size_t offset) {
      return b.CreateLoad(ptr, b.CreateConstInBoundsGEP1_64(i8, device, offset));
    };
    llvm::Value *self = field(offsetof(txc_device_t, self));
    llvm::Value *functions[] = {field(offsetof(txc_device_t, launch)), field(offsetof(txc_device_t, gemm)),
                                field(offsetof(txc_device_t, fill)),
                                field(offsetof(txc_device_t, collective)),
                                field(offsetof(txc_device_t, wait))};
    auto *call = llvm::FunctionType::get(i32, {ptr, ptr, ptr}, false);
    auto *exit = llvm::BasicBlock::Create(context, "exit", function);
    auto *result = llvm::PHINode::Create(i32, entry.commands.size() + 1, "status", exit);
    llvm::ReturnInst::Create(context, result, exit);
    for (Command &command : entry.commands) {
      auto [descriptor, which] = describe(command);
      llvm::Value *status =
          b.CreateCall(call, functions[which], {self, arena, constant(descriptor, "command")});
      auto *next = llvm::BasicBlock::Create(context, "next", function, exit);
      result->addIncoming(status, b.GetInsertBlock());
      b.CreateCondBr(b.CreateIsNull(status), next, exit);
      b.SetInsertPoint(next);
    }
    result->addIncoming(word(0), b.GetInsertBlock());
    b.CreateBr(exit);
    return function;
  }

  void emitQuery(Constant *step) {
    auto *type = llvm::FunctionType::get(ptr, {i32}, false);
    auto *function =
        llvm::Function::Create(type, llvm::GlobalValue::ExternalLinkage, TXC_QUERY_SYMBOL, module);
    llvm::IRBuilder<> b(llvm::BasicBlock::Create(context, "entry", function));
    b.CreateRet(b.CreateSelect(b.CreateICmpEQ(function->getArg(0), word(TXC_STEP_ABI_VERSION)), step, null));
  }

  //===-- Sections ---------------------------------------------------------===//

  void keep(Constant *value, StringRef section, llvm::Align alignment) {
    llvm::GlobalVariable *global = constant(value, section);
    global->setUnnamedAddr(llvm::GlobalValue::UnnamedAddr::None);
    global->setSection(section);
    global->setAlignment(alignment);
    llvm::appendToUsed(module, {global});
  }

  void emitNote() {
    uint32_t kind = program.object ? TXC_TARGET_CPU_X86_64 : TXC_TARGET_CUDA;
    int level = 0;
    // "x86-64-v4" is level 4, "sm_90a" is level 90.
    StringRef isa = program.isa();
    isa.drop_front(isa.find_last_of("v_") + 1).take_while(llvm::isDigit).getAsInteger(10, level);
    Constant *hash = llvm::ConstantAggregateZero::get(llvm::ArrayType::get(i8, sizeof(txc_note_t::sha256)));
    Constant *note = record<txc_note_t>(
        {wide(TXC_NOTE_MAGIC), word(TXC_STEP_ABI_VERSION), word(kind), word(level), word(0), hash});
    // Header of an ELF note: sizes of name and contents, type, name padded to 4 bytes.
    Constant *name = llvm::ConstantDataArray::getString(context, TXC_NOTE_NAME);
    keep(llvm::ConstantStruct::getAnon(
             {word(sizeof(TXC_NOTE_NAME)), word(sizeof(txc_note_t)), word(TXC_NOTE_TYPE), name, note}),
         TXC_NOTE_SECTION, llvm::Align(8));
  }

  void emitMetadata() {
    keep(llvm::ConstantDataArray::getString(context, metadata, /*AddNull=*/false), TXC_METADATA_SECTION,
         llvm::Align(1));
  }

  /// The code generator may call memset, memcpy and memmove whatever the source
  /// says. A file without undefined symbols brings its own.
  void emitMemoryFunctions() {
    auto emit = [&](StringRef name, ArrayRef<llvm::Type *> arguments, StringRef code, StringRef constraints) {
      auto *type = llvm::FunctionType::get(ptr, arguments, false);
      auto *function = llvm::Function::Create(type, llvm::GlobalValue::WeakAnyLinkage, name, module);
      function->setVisibility(llvm::GlobalValue::HiddenVisibility);
      function->addFnAttr("no-builtins");
      llvm::IRBuilder<> b(llvm::BasicBlock::Create(context, "entry", function));
      SmallVector<llvm::Value *> values;
      SmallVector<llvm::Type *> types;
      for (llvm::Argument &argument : function->args()) {
        values.push_back(&argument);
        types.push_back(argument.getType());
      }
      auto *asmType = llvm::FunctionType::get(ptr, types, false);
      b.CreateRet(b.CreateCall(
          asmType, llvm::InlineAsm::get(asmType, code, constraints, /*hasSideEffects=*/true), values));
    };
    // rdi, rsi (or al) and rcx are what the string instructions use up; rax returns the destination.
    emit("memset", {ptr, i32, i64}, "mov %rdi, %r8; mov %esi, %eax; rep stosb; mov %r8, %rax",
         "={ax},{di},{si},{cx},~{di},~{cx},~{r8},~{memory},~{dirflag},~{fpsr},~{flags}");
    emit("memcpy", {ptr, ptr, i64}, "mov %rdi, %rax; rep movsb",
         "={ax},{di},{si},{cx},~{di},~{si},~{cx},~{memory},~{dirflag},~{fpsr},~{flags}");
    emit("memmove", {ptr, ptr, i64},
         "mov %rdi, %rax; mov %rdi, %r8; sub %rsi, %r8; cmp %rcx, %r8; jae 1f; "
         "lea -1(%rdi,%rcx), %rdi; lea -1(%rsi,%rcx), %rsi; std; rep movsb; cld; jmp 2f; 1: rep movsb; 2:",
         "={ax},{di},{si},{cx},~{di},~{si},~{cx},~{r8},~{memory},~{dirflag},~{fpsr},~{flags}");
  }

  llvm::Module &module;
  llvm::LLVMContext &context;
  Program &program;
  StringRef metadata;
  llvm::PointerType *ptr;
  llvm::Type *i8, *i32, *i64;
  Constant *null;
  llvm::StringMap<Constant *> strings;
};

} // namespace

void emitTables(llvm::Module &module, Program &program, StringRef metadata) {
  TableEmitter(module, program, metadata).emit();
}

} // namespace txc::link
