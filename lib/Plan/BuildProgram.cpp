//===- BuildProgram.cpp - From functions of kernels to commands ------------===//
//
// Requires: the fuse stage's guarantee; kernels are in final order.
//
// 1. Parameters become four buffers each, all values first, then all gradients,
//    first moments, second moments: four flat arenas of one layout. In a program
//    that keeps bf16 copies of weights, a fifth holds those of all parameters at
//    the same elements: one pass over flat memory writes it, and the few gains and
//    biases that nobody reads there cost next to nothing. Of a parameter that
//    ranks share, shards lie in these arenas; its whole gradient and its whole
//    copy, if the program has them, lie after them.
// 2. Tokens, targets, hyper, loss and stats become buffers of their own. What only
//    @decode has (caches, its token, its position, the logits) become buffers of
//    its entry: they need no room beside the activations of training.
// 3. Every function becomes a step.entry: a matrix product becomes step.gemm,
//    any other kernel step.launch. Equal kernels become one step.kernel.
// 4. Every result gets a buffer: that of the operand it is written over, a field
//    of the entry's result, a part of the buffer of a tx.concat_rows, or a new
//    activation. A tx.slice_rows is a place within that of its operand.
// 5. A collective becomes step.collective and, at once, its step.wait. It reduces
//    in place what nobody else reads, and writes state where its result is
//    assigned to it. Whole tensors that it cuts, or puts together, get slots with
//    room for the padding of shards.
// 6. Sums of gradients over ranks are our own kernels (docs/rationale/collectives.md):
//    a rank gets from every other what that one has of its shard (an exchange), and
//    adds. With tx.all_reduce all ranks then gather the sums, in place.
//
// Guarantees: one step.program; functions are gone; tx.param symbols stay for
// the metadata. FLOPs and bytes moved stand on the commands (`op`,
// `flops_full`, `flops_causal`, `bytes`).
//
//===----------------------------------------------------------------------===//

#include "txc/Plan/Lifetimes.h"
#include "txc/Plan/Passes.h"
#include "txc/Shard/Mesh.h"
#include "txc/Shard/Passes.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/IRMapping.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringSet.h"

#include <map>

using namespace mlir;

namespace txc::plan {
#define GEN_PASS_DEF_BUILDPROGRAM
#include "txc/Plan/Passes.h.inc"

namespace {

int64_t bytesOf(RankedTensorType type) {
  return type.getNumElements() * ((type.getElementTypeBitWidth() + 7) / 8);
}

/// Bytes of one row of [B, T] or [B, T, C].
int64_t bytesPerRow(RankedTensorType type) {
  return bytesOf(type) / (type.getDimSize(0) * type.getDimSize(1));
}

/// Where a value lies.
struct Place {
  FlatSymbolRefAttr buffer;
  int64_t offset = 0;
  bool isPart = false; ///< of the buffer: rows of it
};

/// Columns of the kernels that sum shards, at most.
constexpr int64_t widestSumRow = 4096;

/// What the ranks have of a shard that this one sums.
struct ShardParts {
  Place own;                     ///< in the whole tensor, rank 0's; that of rank r is r shards further
  Place others;                  ///< what the other ranks sent, one after the other
  int64_t count = 0;             ///< elements of the shard
  SmallVector<Attribute> covers; ///< other buffers that the whole tensor goes on into
  int64_t bytes() const { return 4 * count; }
};

/// A parameter's part of the flat arenas, in elements.
struct Segment {
  int64_t begin, size;
  tx::ParamOp param;
};

/// Where the heads lie that a batched product of attention reads or writes.
struct HeadProducts {
  struct Operand {
    Place place;
    bool isMatrix;         ///< T x T of [B, H, T, T], else columns of rows [B, T, width]
    bool isShared = false; ///< of a key/value head
    int64_t width = 0, column = 0;
    static Operand matrices(Place place) { return {place, true}; }
  };
  int64_t b, t, h, k, d, elementBytes;

  Operand packed(Place place, int64_t head, bool isShared) const {
    return {place, false, isShared, (h + 2 * k) * d, head * d};
  }
  Operand queries(Place qkv) const { return packed(qkv, 0, false); }
  Operand keys(Place qkv) const { return packed(qkv, h, true); }
  Operand values(Place qkv) const { return packed(qkv, h + k, true); }
  Operand rows(Place place) const { return {place, false, false, h * d, 0}; }

  /// Byte of the head of key/value head 0 that is number `shared` of those that share it.
  int64_t first(const Operand &operand, int64_t batch, int64_t shared) const {
    int64_t element = operand.isMatrix
                          ? (batch * h + shared) * t * t
                          : batch * t * operand.width + operand.column + (operand.isShared ? 0 : shared * d);
    return element * elementBytes;
  }
  /// Elements from the head of one key/value head to that of the next.
  int64_t stride(const Operand &operand) const {
    int64_t heads = operand.isShared ? 1 : h / k;
    return heads * (operand.isMatrix ? t * t : d);
  }
};

/// The flat arenas.
enum Arena { Values, Gradients, Moments1, Moments2, Copies, NumArenas };

tx::State stateIn(Arena arena, bool isShared) {
  switch (arena) {
  case Values:
    return tx::State::Value;
  case Gradients:
    return isShared ? tx::State::GradShard : tx::State::Grad;
  case Moments1:
    return tx::State::Moment1;
  case Moments2:
    return tx::State::Moment2;
  default:
    return isShared ? tx::State::ComputeShard : tx::State::Compute;
  }
}

StringRef suffixOf(tx::State state) {
  switch (state) {
  case tx::State::Value:
    return "";
  case tx::State::Grad:
    return ".grad";
  case tx::State::Moment1:
    return ".moment1";
  case tx::State::Moment2:
    return ".moment2";
  case tx::State::Compute:
    return ".compute";
  case tx::State::GradShard:
    return ".grad_shard";
  case tx::State::ComputeShard:
    return ".compute_shard";
  }
  llvm_unreachable("all states handled");
}

/// All buffers of an arena have one kind.
step::BufferKind kindOf(Arena arena, bool hasShards) {
  switch (arena) {
  case Values:
    return step::BufferKind::Param;
  case Gradients:
    return hasShards ? step::BufferKind::GradShard : step::BufferKind::Grad;
  case Moments1:
    return step::BufferKind::Moment1;
  case Moments2:
    return step::BufferKind::Moment2;
  default:
    return hasShards ? step::BufferKind::ComputeShard : step::BufferKind::Compute;
  }
}

class ProgramBuilder {
public:
  ProgramBuilder(ModuleOp module) : module(module), context(module.getContext()), builder(context) {}

  LogicalResult build() {
    StringAttr name = module.getSymNameAttr();
    builder.setInsertionPointToEnd(module.getBody());
    program = builder.create<step::ProgramOp>(module.getLoc(), name ? name : builder.getStringAttr("step"));
    if (failed(readMesh()))
      return failure();
    body = builder.createBlock(&program.getBody());

    addBuffer("hyper", step::BufferKind::Hyper, RankedTensorType::get({64}, builder.getI8Type()));
    addBuffer("loss", step::BufferKind::Loss, RankedTensorType::get({2}, builder.getF32Type()));
    addBuffer("stats", step::BufferKind::Stats, RankedTensorType::get({11}, builder.getF32Type()));
    if (failed(addTokens()) || failed(addParameters()))
      return failure();
    SmallVector<func::FuncOp> functions(module.getOps<func::FuncOp>());
    for (func::FuncOp function : functions)
      if (failed(addEntry(function)))
        return failure();
    for (func::FuncOp function : functions)
      function.erase();
    return success();
  }

private:
  LogicalResult readMesh() {
    auto mesh = module->getAttrOfType<StringAttr>(shard::meshAttrName);
    FailureOr<shard::Mesh> parsed =
        mesh ? shard::parseMesh(mesh, [&] { return module.emitError(); }) : shard::Mesh();
    if (failed(parsed))
      return failure();
    program.setNumRanks(parsed->getNumRanks());
    if (auto level = module->getAttrOfType<IntegerAttr>(shard::zeroAttrName))
      program.setZeroLevel(level.getInt());
    return success();
  }

  FlatSymbolRefAttr addBuffer(const Twine &name, step::BufferKind kind, RankedTensorType type,
                              FlatSymbolRefAttr entry = {}) {
    std::string unique = name.str();
    for (unsigned i = 2; !symbols.insert(unique).second; ++i)
      unique = (name + "~" + Twine(i)).str();
    OpBuilder::InsertionGuard guard(builder);
    if (lastBuffer)
      builder.setInsertionPointAfter(lastBuffer);
    else
      builder.setInsertionPointToStart(body);
    auto alloc = builder.create<step::AllocOp>(builder.getUnknownLoc(), unique, kind, type, bytesOf(type),
                                               IntegerAttr(), entry);
    lastBuffer = alloc;
    allocs[alloc.getSymNameAttr()] = alloc;
    return FlatSymbolRefAttr::get(alloc.getSymNameAttr());
  }

  /// Tokens and targets have one shape in all functions.
  LogicalResult addTokens() {
    for (auto function : module.getOps<func::FuncOp>()) {
      if (function.getSymName() == "decode")
        continue;
      unsigned number = 0;
      for (Type argument : function.getArgumentTypes()) {
        auto type = dyn_cast<RankedTensorType>(argument);
        if (!type)
          continue;
        if (number > 1 || (tokenType && tokenType != type))
          return function.emitOpError()
                 << "must take tokens and targets of one type, as every other function";
        tokenType = type;
        ++number;
      }
    }
    if (!tokenType)
      return success();
    tokens = addBuffer("tokens", step::BufferKind::Tokens, tokenType);
    targets = addBuffer("targets", step::BufferKind::Targets, tokenType);
    return success();
  }

  LogicalResult addParameters() {
    if (program.getNumRanks() > 1)
      findRuns();
    int64_t next = 0;
    bool hasShards = false;
    for (auto param : module.getOps<tx::ParamOp>()) {
      RankedTensorType type = param.getStateType(tx::State::Value);
      segments[param.getSymName()] = {next, type.getNumElements(), param};
      next += slotBytes(step::BufferKind::Param, 4 * elementsOfSlot(param)) / 4;
      if (!param.getShards())
        continue;
      hasShards = true;
      if (*param.getShards() != program.getNumRanks())
        return param.emitOpError() << "has " << *param.getShards() << " shards, the module's mesh has "
                                   << program.getNumRanks() << " ranks";
    }
    bool keepsCompute = false;
    module.walk([&](tx::InitOp op) { keepsCompute |= op.getCompute(); });
    module.walk([&](tx::AdamwOp op) { keepsCompute |= op.getCompute(); });
    for (int arena = 0; arena < (keepsCompute ? NumArenas : Copies); ++arena)
      for (auto param : module.getOps<tx::ParamOp>()) {
        bool isShared = param.getShards().has_value();
        tx::State state = stateIn(static_cast<Arena>(arena), isShared);
        FlatSymbolRefAttr buffer =
            addState(param, state, kindOf(static_cast<Arena>(arena), hasShards), param.getStateType(state));
        step::AllocOp alloc = allocs[buffer.getAttr()];
        if (isShared)
          alloc.setShardOf(cast<RankedTensorType>(param.getType()).getNumElements());
        int64_t elements = cast<RankedTensorType>(alloc.getType()).getNumElements();
        if (int64_t room = elementsOfSlot(param); room > elements)
          alloc.setSlot(room * static_cast<int64_t>(alloc.getBytes()) / elements);
        if (!firstOfArena[arena])
          firstOfArena[arena] = buffer;
      }
    if (!gradientsAreShortLived())
      addWholes(module, tx::State::Grad, step::BufferKind::Grad, {});
    addWholes(module, tx::State::Compute, step::BufferKind::Compute, {});
    return success();
  }

  /// Finds the gradients that are summed together and lie together.
  void findRuns() {
    DenseMap<StringAttr, size_t> number;
    SmallVector<tx::ParamOp> params(module.getOps<tx::ParamOp>());
    for (auto [index, param] : llvm::enumerate(params))
      number[param.getSymNameAttr()] = index;
    module.walk([&](tx::AllReduceOp op) {
      if (!sumsWeightGradients(op))
        return;
      SmallVector<size_t> indices = llvm::map_to_vector(op.getInputs(), [&](Value input) {
        return number[input.getDefiningOp<tx::ReadOp>().getParamAttr().getAttr()];
      });
      llvm::sort(indices);
      SmallVector<SmallVector<tx::ParamOp>> &list = runs[op];
      for (auto [position, index] : llvm::enumerate(indices)) {
        if (position == 0 || index != indices[position - 1] + 1)
          list.emplace_back();
        list.back().push_back(params[index]);
      }
      for (SmallVector<tx::ParamOp> &run : list)
        runOf[run.back().getSymNameAttr()] = run;
    });
  }
  static int64_t elementsOf(ArrayRef<tx::ParamOp> run) {
    int64_t elements = 0;
    for (tx::ParamOp param : run)
      elements +=
          slotBytes(step::BufferKind::Grad, 4 * cast<RankedTensorType>(param.getType()).getNumElements()) / 4;
    return elements;
  }

  /// Elements that one rank sums of a run: in large ones whole rows of a kernel.
  int64_t shardOfRun(int64_t elements) {
    int64_t count = tx::getShardElements(elements, program.getNumRanks());
    return count < 16 * widestSumRow ? count : llvm::alignTo(count, widestSumRow);
  }

  /// With ZeRO-0 ranks cut whole gradients, which lie in their arena, so all arenas
  /// have room for the padding behind such a run of them.
  int64_t elementsOfSlot(tx::ParamOp param) {
    int64_t elements = param.getStateType(tx::State::Value).getNumElements(), ranks = program.getNumRanks();
    if (runOf.empty())
      return elements;
    auto run = runOf.find(param.getSymNameAttr());
    if (run == runOf.end())
      return elementsOf(param);
    int64_t all = elementsOf(run->second);
    return elementsOf(param) + ranks * shardOfRun(all) - all;
  }

  FlatSymbolRefAttr addState(tx::ParamOp param, tx::State state, step::BufferKind kind, RankedTensorType type,
                             FlatSymbolRefAttr owner = {}) {
    std::string prefix = owner ? (owner.getValue() + "/").str() : "";
    FlatSymbolRefAttr buffer = addBuffer(prefix + param.getSymName() + suffixOf(state), kind, type, owner);
    states[{param.getSymNameAttr(), static_cast<int>(state)}] = buffer;
    return buffer;
  }

  /// Whole gradients and whole copies of parameters that ranks share, as far as
  /// `within` uses them. With ZeRO-2 and 3 a whole gradient lives within an entry.
  void addWholes(Operation *within, tx::State state, step::BufferKind kind, FlatSymbolRefAttr owner) {
    llvm::DenseMap<StringAttr, Type> used;
    within->walk([&](Operation *op) {
      if (auto read = dyn_cast<tx::ReadOp>(op); read && read.getState() == state)
        used[read.getParamAttr().getAttr()] = read.getType();
      if (auto assign = dyn_cast<tx::AssignOp>(op); assign && assign.getState() == state)
        used[assign.getParamAttr().getAttr()] = assign.getValue().getType();
    });
    for (auto param : module.getOps<tx::ParamOp>()) {
      if (!param.getShards())
        continue;
      states.erase({param.getSymNameAttr(), static_cast<int>(state)});
      if (Type type = used.lookup(param.getSymNameAttr())) {
        FlatSymbolRefAttr buffer = addState(param, state, kind, cast<RankedTensorType>(type), owner);
        (void)reserve({buffer}, param.getShardElements());
      }
    }
  }
  bool gradientsAreShortLived() { return program.getZeroLevel() >= 2; }

  /// Makes room for the shards of all ranks, of `elements` each, in a whole tensor.
  LogicalResult reserve(const Place &place, int64_t elements) {
    step::AllocOp alloc = allocs[place.buffer.getAttr()];
    if (place.isPart || place.offset)
      return failure();
    int64_t elementBytes = cast<RankedTensorType>(alloc.getType()).getElementTypeBitWidth() / 8;
    int64_t slot = elements * program.getNumRanks() * elementBytes;
    if (slot > static_cast<int64_t>(std::max(alloc.getBytes(), alloc.getSlot())))
      alloc.setSlot(slot);
    return success();
  }

  FlatSymbolRefAttr stateBuffer(FlatSymbolRefAttr param, tx::State state) {
    return states.lookup({param.getAttr(), static_cast<int>(state)});
  }

  LogicalResult addEntry(func::FuncOp function) {
    if (!function.getBody().hasOneBlock())
      return function.emitOpError() << "must have a body of one block to become an entry";
    places.clear();
    nextEvent = 0;
    std::string name = function.getSymName().str();
    symbols.insert(name);
    builder.setInsertionPointToEnd(body);
    entry = builder.create<step::EntryOp>(function.getLoc(), name);
    builder.createBlock(&entry.getBody());

    entryName = FlatSymbolRefAttr::get(entry.getSymNameAttr());
    if (gradientsAreShortLived())
      addWholes(function, tx::State::Grad, step::BufferKind::Communication, entryName);
    bool isDecode = name == "decode";
    if (isDecode)
      for (auto cache : module.getOps<tx::CacheOp>())
        states[{cache.getSymNameAttr(), static_cast<int>(tx::State::Value)}] = addBuffer(
            cache.getSymName(), step::BufferKind::Cache, cast<RankedTensorType>(cache.getType()), entryName);
    bool tokensSeen = false;
    for (BlockArgument argument : function.getArguments()) {
      if (auto type = dyn_cast<RankedTensorType>(argument.getType()); type && isDecode) {
        bool isState = type.getRank() == 0;
        places[argument] = {
            isState ? addBuffer("decode/state", step::BufferKind::DecodeState,
                                RankedTensorType::get({64}, builder.getI8Type()), entryName)
                    : addBuffer("decode/tokens", step::BufferKind::DecodeTokens, type, entryName)};
      } else if (isa<tx::HyperType>(argument.getType())) {
        places[argument] = {FlatSymbolRefAttr::get(context, "hyper")};
      } else {
        places[argument] = {tokensSeen ? targets : tokens};
        tokensSeen = true;
      }
    }
    if (failed(placeResults(function)))
      return failure();
    SmallVector<tx::InitOp> inits;
    for (Operation &op : function.getBody().front()) {
      // One kernel for all of them, before what reads its results.
      if (!inits.empty() && !isa<tx::InitOp>(op)) {
        addInit(inits);
        inits.clear();
      }
      if (failed(addOp(&op, inits)))
        return failure();
    }
    return success();
  }

  /// A function's results are fields of LOSS or STATS, or logits.
  LogicalResult placeResults(func::FuncOp function) {
    Operation *terminator = function.getBody().front().getTerminator();
    int64_t offset = 0;
    for (Value result : terminator->getOperands()) {
      auto type = dyn_cast<RankedTensorType>(result.getType());
      if (type && type.getRank() == 0 && offset < 8) {
        places[result] = {FlatSymbolRefAttr::get(context, "loss"), offset};
        offset += 4;
      } else if (type && function.getSymName() == "decode") {
        places[result] = {addBuffer("decode/logits", step::BufferKind::Logits, type, entryName)};
      } else if (type && type.getNumElements() == 11) {
        places[result] = {FlatSymbolRefAttr::get(context, "stats")};
      } else {
        return function.emitOpError()
               << "returns " << result.getType()
               << "; an entry returns loss and count, or statistics, or logits (@decode), or nothing";
      }
    }
    return success();
  }

  LogicalResult addOp(Operation *op, SmallVectorImpl<tx::InitOp> &inits) {
    if (auto read = dyn_cast<tx::ReadOp>(op)) {
      if (!stateBuffer(read.getParamAttr(), read.getState()))
        return read.emitOpError() << "reads a copy that neither @init nor @update keeps";
      places[read.getResult()] = {stateBuffer(read.getParamAttr(), read.getState())};
      return success();
    }
    if (auto assign = dyn_cast<tx::AssignOp>(op)) {
      if (places.lookup(assign.getValue()).buffer != stateBuffer(assign.getParamAttr(), assign.getState()))
        return assign.emitOpError() << "is not written in place; run tx-fuse-assign-inplace first";
      return success();
    }
    if (auto kernel = dyn_cast<tx::KernelOp>(op))
      return addKernel(kernel);
    if (auto slice = dyn_cast<tx::SliceRowsOp>(op)) {
      Place place = places.lookup(slice.getInput());
      if (!place.buffer)
        return slice.emitOpError() << "has an operand of unknown place";
      place.offset += slice.getFrom() * bytesPerRow(slice.getType());
      place.isPart = true;
      places[slice.getResult()] = place;
      return success();
    }
    if (auto concat = dyn_cast<tx::ConcatRowsOp>(op))
      return checkParts(concat);
    if (auto init = dyn_cast<tx::InitOp>(op)) {
      inits.push_back(init);
      return success();
    }
    if (auto norm = dyn_cast<tx::GlobalNormOp>(op)) {
      if (!places.count(norm.getStats()))
        return norm.emitOpError() << "must be a result of the function";
      step::KernelOp kernel = addSegmentKernel("global_norm", norm.getParams());
      setBytes(addLaunch(norm.getLoc(), "global_norm", kernel,
                         {places[norm.getHyper()], Place{firstOfArena[Gradients]}, places[norm.getStats()]},
                         2),
               norm);
      return success();
    }
    if (auto sums = dyn_cast<tx::GradientSumsOp>(op)) {
      SmallVector<Place> args{places[sums.getHyper()], Place{firstOfArena[Gradients]}};
      for (auto [name, result] :
           {std::pair("sums", sums.getSums()), std::pair("extrema", sums.getExtrema())}) {
        places[result] = {addBuffer(entry.getSymName() + "/gradient." + name, step::BufferKind::Activation,
                                    result.getType(), entryName)};
        args.push_back(places[result]);
      }
      setBytes(addLaunch(sums.getLoc(), "gradient_sums", addSegmentKernel("gradient_sums", sums.getParams()),
                         args, 2),
               sums);
      return success();
    }
    if (auto stats = dyn_cast<tx::GradientStatsOp>(op)) {
      if (!places.count(stats.getStats()))
        return stats.emitOpError() << "must be a result of the function";
      addLaunch(stats.getLoc(), "gradient_stats", addSegmentKernel("gradient_stats", stats.getParams()),
                {places[stats.getHyper()], places[stats.getSums()], places[stats.getExtrema()],
                 places[stats.getStats()]},
                3);
      return success();
    }
    if (auto reduce = dyn_cast<tx::AllReduceOp>(op))
      return sumsWeightGradients(reduce)
                 ? addGradientSums(reduce)
                 : addCollective(op, reduce.getName(), step::CollectiveKind::AllReduce,
                                 static_cast<step::Reduction>(reduce.getReduction()));
    if (auto scatter = dyn_cast<tx::ReduceScatterOp>(op))
      return addReduceScatter(scatter);
    if (auto gather = dyn_cast<tx::AllGatherOp>(op))
      return addCollective(op, gather.getName(), step::CollectiveKind::AllGather, step::Reduction::Sum);
    if (auto accumulate = dyn_cast<tx::AccumulateShardsOp>(op))
      return addShardSums(accumulate);
    if (auto clear = dyn_cast<tx::ClearGradientsOp>(op)) {
      for (auto name : clear.getParams().getAsRange<FlatSymbolRefAttr>())
        if (FlatSymbolRefAttr buffer = stateBuffer(name, tx::State::Grad))
          builder.create<step::FillOp>(clear.getLoc(), buffer.getValue(), buffer.getValue(), 0);
      return success();
    }
    if (auto adamw = dyn_cast<tx::AdamwOp>(op)) {
      step::KernelOp kernel = addSegmentKernel("adamw", adamw.getParams(), adamw.getCompute());
      SmallVector<Place> args{places[adamw.getHyper()], places[adamw.getStats()]};
      for (int arena = 0; arena < (adamw.getCompute() ? NumArenas : Copies); ++arena)
        args.push_back({firstOfArena[arena]});
      setBytes(addLaunch(adamw.getLoc(), "adamw", kernel, args, 2), adamw);
      return success();
    }
    if (op->hasTrait<OpTrait::IsTerminator>())
      return success();
    return op->emitOpError() << "cannot be planned; run the fuse stage first";
  }

  /// Every part of a tx.concat_rows was written where it belongs.
  LogicalResult checkParts(tx::ConcatRowsOp concat) {
    Place whole = places.lookup(concat.getResult());
    int64_t offset = whole.offset;
    for (Value part : concat.getParts()) {
      Place place = places.lookup(part);
      if (!whole.buffer || place.buffer != whole.buffer || place.offset != offset)
        return concat.emitOpError() << "has a part that is not the result of a kernel of its own";
      offset += bytesOf(cast<RankedTensorType>(part.getType()));
    }
    return success();
  }

  /// The place of a part of a tx.concat_rows, whose buffer is made with the first.
  Place placePart(tx::ConcatRowsOp concat, Value part, const std::string &name) {
    Place &whole = places[concat.getResult()];
    if (!whole.buffer)
      whole = {addBuffer(name, step::BufferKind::Activation, concat.getType(), entryName)};
    Place place = whole;
    place.isPart = true;
    for (Value other : concat.getParts()) {
      if (other == part)
        break;
      place.offset += bytesOf(cast<RankedTensorType>(other.getType()));
    }
    return place;
  }

  void addInit(MutableArrayRef<tx::InitOp> inits) {
    SmallVector<Attribute> params =
        llvm::map_to_vector(inits, [](tx::InitOp op) -> Attribute { return op.getParamAttr(); });
    bool compute = llvm::any_of(inits, [](tx::InitOp op) { return op.getCompute(); });
    step::KernelOp kernel = addSegmentKernel("init", builder.getArrayAttr(params), compute);
    SmallVector<Place> args{places[inits.front().getHyper()], Place{firstOfArena[Values]}};
    if (compute)
      args.push_back({firstOfArena[Copies]});
    addLaunch(inits.front().getLoc(), "init", kernel, args, 1);
    for (tx::InitOp init : inits)
      for (tx::State state :
           {tx::State::Grad, tx::State::GradShard, tx::State::Moment1, tx::State::Moment2}) {
        FlatSymbolRefAttr buffer = stateBuffer(init.getParamAttr(), state);
        if (!buffer)
          continue;
        builder.create<step::FillOp>(init.getLoc(), buffer.getValue(), buffer.getValue(), 0);
      }
  }

  /// A kernel over the flat arenas.
  step::KernelOp addSegmentKernel(StringRef kind, ArrayAttr params, bool compute = false) {
    SmallVector<int64_t> table, wholes;
    SmallVector<double> stddevs;
    for (auto name : params.getAsRange<FlatSymbolRefAttr>()) {
      const Segment &segment = segments[name.getValue()];
      tx::ParamOp param = segment.param;
      table.append({segment.begin, segment.size, param.getDecay() ? 1 : 0,
                    static_cast<int64_t>(param.getInit()), static_cast<int64_t>(param.getSite())});
      stddevs.push_back(param.getStddev().convertToDouble());
      wholes.push_back(param.getShards() ? cast<RankedTensorType>(param.getType()).getNumElements() : 0);
    }
    if (llvm::all_of(wholes, [](int64_t whole) { return whole == 0; }))
      wholes.clear();
    if (kind != "init")
      stddevs.clear();
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPoint(entry);
    auto kernel = builder.create<step::KernelOp>(
        entry.getLoc(), uniqueSymbol(kind), kind, ArrayRef<int64_t>{}, ArrayRef<int64_t>{},
        ArrayRef<int64_t>{}, table, builder.getF64ArrayAttr(stddevs), ArrayAttr(), compute);
    kernel.setWholes(wholes);
    builder.createBlock(&kernel.getBody());
    return kernel;
  }

  //===-- Collectives ------------------------------------------------------===//

  /// State that `value` is assigned to, if any.
  Place assignedPlace(Value value) {
    for (Operation *user : value.getUsers())
      if (auto assign = dyn_cast<tx::AssignOp>(user))
        return {stateBuffer(assign.getParamAttr(), assign.getState())};
    return {};
  }

  LogicalResult addCollective(Operation *op, StringRef name, step::CollectiveKind kind,
                              step::Reduction reduction) {
    SmallVector<Attribute> sends, receives;
    SmallVector<int64_t> counts, offsets;
    int64_t bytes = 0;
    for (auto [input, result] : llvm::zip_equal(op->getOperands(), op->getResults())) {
      Place send = places.lookup(input), receive = places.lookup(result);
      if (!send.buffer)
        return op->emitOpError() << "has an operand of unknown place";
      if (!receive.buffer)
        receive = assignedPlace(result);
      bool isLastUse =
          input.hasOneUse() && isa_and_nonnull<tx::KernelOp, tx::GradientSumsOp>(input.getDefiningOp());
      if (!receive.buffer && kind == step::CollectiveKind::AllReduce && isLastUse)
        receive = send;
      auto inputType = cast<RankedTensorType>(input.getType()),
           type = cast<RankedTensorType>(result.getType());
      if (!receive.buffer)
        receive = {addBuffer(entry.getSymName() + "/" + name +
                                 (op->getNumResults() > 1 ? "#" + Twine(counts.size()) : Twine()),
                             step::BufferKind::Communication, type, entryName)};
      places[result] = receive;
      int64_t count = inputType.getNumElements();
      if (kind == step::CollectiveKind::AllGather && failed(reserve(receive, count)))
        return op->emitOpError() << "puts together a part of a buffer";
      for (const Place &place : {send, receive})
        if (step::AllocOp alloc = allocs[place.buffer.getAttr()];
            alloc.getKind() == step::BufferKind::Activation)
          alloc.setKind(step::BufferKind::Communication);
      sends.push_back(send.buffer);
      receives.push_back(receive.buffer);
      offsets.append({send.offset, receive.offset});
      counts.push_back(count);
      bytes += bytesOf(inputType) + bytesOf(type);
    }
    emitCollective(op->getLoc(), name, kind, reduction, sends, receives, counts, offsets, bytes);
    return success();
  }

  /// The collective and its wait.
  void emitCollective(Location loc, StringRef name, step::CollectiveKind kind, step::Reduction reduction,
                      ArrayRef<Attribute> sends, ArrayRef<Attribute> receives, ArrayRef<int64_t> counts,
                      ArrayRef<int64_t> offsets, int64_t bytes, ArrayRef<Attribute> covers = {}) {
    if (llvm::all_of(offsets, [](int64_t offset) { return offset == 0; }))
      offsets = {};
    auto collective = builder.create<step::CollectiveOp>(
        loc, name, kind, reduction, builder.getArrayAttr(sends), builder.getArrayAttr(receives), counts,
        offsets, nextEvent, coversOf(covers));
    collective->setAttr("bytes", builder.getI64IntegerAttr(bytes));
    builder.create<step::WaitOp>(loc, nextEvent++);
  }

  //===-- Sums of gradients ------------------------------------------------===//

  /// Whether `op` sums gradients where they are, weights' among them: not a few
  /// numbers, which are the library's.
  static bool sumsWeightGradients(tx::AllReduceOp op) {
    return op.getReduction() == tx::Reduction::Sum &&
           llvm::all_of(op.getInputs(),
                        [](Value input) {
                          auto read = input.getDefiningOp<tx::ReadOp>();
                          return read && read.getState() == tx::State::Grad;
                        }) &&
           llvm::any_of(op.getInputs(),
                        [](Value input) { return cast<RankedTensorType>(input.getType()).getRank() >= 2; });
  }

  /// A whole tensor, or several, one behind the other, that ranks cut.
  struct Whole {
    Place place;
    int64_t shard;                 ///< elements of each rank
    SmallVector<Attribute> covers; ///< the other buffers
  };

  ArrayAttr coversOf(ArrayRef<Attribute> buffers) {
    return buffers.empty() ? ArrayAttr() : builder.getArrayAttr(buffers);
  }

  /// Gives every rank what the others have of its shards of `wholes`.
  FailureOr<SmallVector<ShardParts>> addExchange(Operation *op, StringRef name, ArrayRef<Whole> wholes) {
    int64_t ranks = program.getNumRanks(), bytes = 0;
    if (ranks < 2)
      return op->emitOpError() << "sums over ranks, but the module's mesh has only one";
    SmallVector<ShardParts> parts;
    SmallVector<Attribute> sends, receives, covers;
    SmallVector<int64_t> counts, offsets;
    for (const Whole &whole : wholes) {
      int64_t count = whole.shard;
      Place receive = {addBuffer(
          entry.getSymName() + "/" + name + (wholes.size() > 1 ? "#" + Twine(counts.size()) : Twine()),
          step::BufferKind::Communication, RankedTensorType::get({(ranks - 1) * count}, builder.getF32Type()),
          entryName)};
      parts.push_back({whole.place, receive, count, whole.covers});
      sends.push_back(whole.place.buffer);
      receives.push_back(receive.buffer);
      llvm::append_range(covers, whole.covers);
      offsets.append({whole.place.offset, receive.offset});
      counts.push_back(count);
      bytes += 2 * (ranks - 1) * parts.back().bytes();
    }
    emitCollective(op->getLoc(), name, step::CollectiveKind::Exchange, step::Reduction::Sum, sends, receives,
                   counts, offsets, bytes, covers);
    return parts;
  }

  /// result = old + the parts of all ranks, or, without `old`, the parts. `strides`
  /// is what rank r adds r times to the place of the result.
  void addShardSum(Location loc, StringRef name, const ShardParts &parts, Place old, Place result,
                   int64_t stride = 0) {
    struct Argument {
      Place place;
      int64_t stride;
    };
    SmallVector<Argument> summands;
    if (old.buffer)
      summands.push_back({old, 0});
    summands.push_back({parts.own, parts.bytes()});
    for (int64_t other = 0; other + 1 < static_cast<int64_t>(program.getNumRanks()); ++other) {
      summands.push_back({parts.others, 0});
      summands.back().place.offset += other * parts.bytes();
    }
    // Shards as rows, since only the number of elements matters.
    int64_t width = 64;
    while (width < widestSumRow && parts.count % (2 * width) == 0)
      width *= 2;
    auto type = RankedTensorType::get({1, parts.count / width, width}, builder.getF32Type());
    // With many ranks, the sum goes through the result's memory once for each so many.
    constexpr size_t mostSummands = 9;
    for (size_t first = 0; first < summands.size();) {
      size_t room = first ? mostSummands - 1 : mostSummands;
      SmallVector<Argument> now(
          ArrayRef<Argument>(summands).slice(first, std::min(room, summands.size() - first)));
      first += now.size();
      if (first > now.size())
        now.insert(now.begin(), {result, stride});
      size_t numInputs = now.size();
      now.push_back({result, stride});
      step::LaunchOp launch = addLaunch(
          loc, name, getSumKernel(type, numInputs),
          llvm::map_to_vector(now, [](const Argument &argument) { return argument.place; }), numInputs);
      launch.setRankStrides(
          llvm::map_to_vector(now, [](const Argument &argument) { return argument.stride; }));
      if (stride)
        launch.setCoversAttr(coversOf(parts.covers));
      launch->setAttr("bytes", builder.getI64IntegerAttr((numInputs + 1) * parts.bytes()));
    }
  }

  /// Every rank sums its shard of each run of gradients, and gets the others' sums.
  LogicalResult addGradientSums(tx::AllReduceOp op) {
    for (auto [input, result] : llvm::zip_equal(op.getInputs(), op.getResults())) {
      places[result] = assignedPlace(result);
      if (places[result].buffer != places.lookup(input).buffer)
        return op.emitOpError() << "sums a gradient that is not assigned where it was read";
    }
    SmallVector<Whole> wholes;
    for (ArrayRef<tx::ParamOp> run : runs[op]) {
      auto buffers = llvm::map_to_vector(run, [&](tx::ParamOp param) -> Attribute {
        return stateBuffer(FlatSymbolRefAttr::get(param.getSymNameAttr()), tx::State::Grad);
      });
      wholes.push_back({Place{cast<FlatSymbolRefAttr>(buffers.front())}, shardOfRun(elementsOf(run)),
                        SmallVector<Attribute>(llvm::drop_begin(buffers))});
    }
    FailureOr<SmallVector<ShardParts>> parts = addExchange(op, op.getName(), wholes);
    if (failed(parts))
      return failure();
    SmallVector<Attribute> buffers, covers;
    SmallVector<int64_t> counts;
    int64_t bytes = 0;
    for (auto [number, part] : llvm::enumerate(*parts)) {
      std::string name = (op.getName() + (parts->size() > 1 ? "#" + Twine(number) : Twine()) + ".sum").str();
      addShardSum(op.getLoc(), name, part, {}, part.own, part.bytes());
      buffers.push_back(part.own.buffer);
      llvm::append_range(covers, part.covers);
      counts.push_back(part.count);
      bytes += program.getNumRanks() * part.bytes();
    }
    emitCollective(op.getLoc(), (op.getName() + ".sums").str(), step::CollectiveKind::AllGather,
                   step::Reduction::Sum, buffers, buffers, counts, {}, bytes, covers);
    return success();
  }

  /// What only tx.accumulate_shards takes is summed there.
  LogicalResult addReduceScatter(tx::ReduceScatterOp op) {
    SmallVector<Whole> wholes;
    for (Value input : op.getInputs()) {
      auto type = cast<RankedTensorType>(input.getType());
      Place place = places.lookup(input);
      if (!place.buffer || !type.getElementType().isF32())
        return op.emitOpError() << "has an operand of unknown place, or not of f32";
      int64_t shard = tx::getShardElements(type.getNumElements(), program.getNumRanks());
      if (failed(reserve(place, shard)))
        return op.emitOpError() << "cuts a part of a buffer";
      if (step::AllocOp alloc = allocs[place.buffer.getAttr()];
          alloc.getKind() == step::BufferKind::Activation)
        alloc.setKind(step::BufferKind::Communication);
      wholes.push_back({place, shard, {}});
    }
    FailureOr<SmallVector<ShardParts>> parts = addExchange(op, op.getName(), wholes);
    if (failed(parts))
      return failure();
    for (auto [number, result] : llvm::enumerate(op.getResults())) {
      const ShardParts &part = (*parts)[number];
      if (result.hasOneUse() && isa<tx::AccumulateShardsOp>(*result.getUsers().begin())) {
        shardParts[result] = part;
        continue;
      }
      Place sum = assignedPlace(result);
      std::string name = (op.getName() + (parts->size() > 1 ? "#" + Twine(number) : Twine()) + ".sum").str();
      if (!sum.buffer)
        sum = {addBuffer(entry.getSymName() + "/" + name, step::BufferKind::Communication,
                         cast<RankedTensorType>(result.getType()), entryName)};
      places[result] = sum;
      addShardSum(op.getLoc(), name, part, {}, sum);
    }
    return success();
  }

  /// grad_shard += what ranks have of it.
  LogicalResult addShardSums(tx::AccumulateShardsOp op) {
    for (auto [name, value] :
         llvm::zip_equal(op.getParams().getAsRange<FlatSymbolRefAttr>(), op.getValues())) {
      auto part = shardParts.find(value);
      Place sum = {stateBuffer(name, tx::State::GradShard)};
      if (part == shardParts.end() || !sum.buffer)
        return op.emitOpError() << "adds what is not a result of tx.reduce_scatter, or has no gradient shard";
      addShardSum(op.getLoc(), (name.getValue() + ".accumulate").str(), part->second, sum, sum);
    }
    return success();
  }

  /// Adds `numInputs` tensors of a type.
  step::KernelOp getSumKernel(RankedTensorType type, size_t numInputs) {
    step::KernelOp &known = sumKernels[{type.getAsOpaquePointer(), numInputs}];
    if (known)
      return known;
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPoint(entry);
    Location loc = entry.getLoc();
    known = builder.create<step::KernelOp>(loc, uniqueSymbol("shard_sum"), "row_wise", ArrayRef<int64_t>{1},
                                           ArrayRef<int64_t>{}, ArrayRef<int64_t>{}, ArrayRef<int64_t>{},
                                           ArrayAttr(), ArrayAttr());
    Block *block = builder.createBlock(&known.getBody(), {}, SmallVector<Type>(numInputs, type),
                                       SmallVector<Location>(numInputs, loc));
    Value sum = block->getArgument(0);
    for (Value summand : block->getArguments().drop_front())
      sum = builder.create<tx::AddOp>(loc, type, sum, summand);
    builder.create<tx::YieldOp>(loc, sum);
    return known;
  }

  std::string uniqueSymbol(const Twine &name) {
    std::string unique = name.str();
    for (unsigned i = 2; !symbols.insert(unique).second; ++i)
      unique = (name + "_" + Twine(i)).str();
    return unique;
  }

  step::LaunchOp addLaunch(Location loc, StringRef name, step::KernelOp kernel, ArrayRef<Place> args,
                           int64_t numInputs) {
    SmallVector<Attribute> buffers;
    SmallVector<int64_t> offsets;
    for (const Place &place : args) {
      buffers.push_back(place.buffer);
      offsets.push_back(place.offset);
    }
    return builder.create<step::LaunchOp>(loc, name, kernel.getSymName(), builder.getArrayAttr(buffers),
                                          offsets, numInputs, ArrayRef<int64_t>{}, ArrayAttr());
  }

  void setBytes(Operation *command, tx::BytesOpInterface op) {
    command->setAttr("bytes", builder.getI64IntegerAttr(op.getBytesRead() + op.getBytesWritten()));
  }

  /// The name of the buffer for what `yielded` computes.
  std::string bufferName(Value yielded) {
    auto result = cast<OpResult>(yielded);
    std::string path = tx::getPath(result.getOwner());
    std::string name =
        (entry.getSymName() + "/" + (path.empty() ? result.getOwner()->getName().stripDialect().str() : path))
            .str();
    if (result.getOwner()->getName().getStringRef().ends_with("_vjp"))
      name += ".grad";
    if (result.getResultNumber())
      name += "#" + std::to_string(result.getResultNumber());
    return name;
  }

  static tx::ConcatRowsOp findConcat(Value part) {
    for (Operation *user : part.getUsers())
      if (auto concat = dyn_cast<tx::ConcatRowsOp>(user))
        return concat;
    return {};
  }

  LogicalResult addKernel(tx::KernelOp kernel) {
    SmallVector<Place> args;
    for (Value input : kernel.getInputs()) {
      auto it = places.find(input);
      if (it == places.end())
        return kernel.emitOpError() << "has an operand of unknown place";
      args.push_back(it->second);
    }
    Operation *yield = kernel.getBody().front().getTerminator();
    for (OpResult result : kernel.getResults()) {
      int64_t operand = kernel.getInplace()[result.getResultNumber()];
      Place place = places.lookup(result);
      if (operand < 0 && !place.buffer)
        place = assignedPlace(result);
      if (operand >= 0) {
        if (place.buffer)
          return kernel.emitOpError() << "writes a result of the function in place";
        place = args[operand];
      } else if (tx::ConcatRowsOp concat = findConcat(result)) {
        place = placePart(concat, result, bufferName(yield->getOperand(result.getResultNumber())));
      } else if (!place.buffer) {
        place = {addBuffer(bufferName(yield->getOperand(result.getResultNumber())),
                           step::BufferKind::Activation, cast<RankedTensorType>(result.getType()),
                           entryName)};
      }
      places[result] = place;
      args.push_back(place);
    }
    if (kernel.getKind() == tx::KernelKind::AttentionProduct) {
      addAttentionProducts(kernel, args);
      return success();
    }
    Operation *command =
        kernel.getKind() == tx::KernelKind::MatrixProduct
            ? addGemm(kernel, args)
            : addLaunch(kernel.getLoc(), kernel.getName(), getKernel(kernel), args, kernel.getInputs().size())
                  .getOperation();
    setBytes(command, kernel);
    kernel.getBody().walk([&](tx::FlopsOpInterface op) { setFlops(command, op, 1); });
    return success();
  }

  /// One command of `commands` that do equal parts of `op`.
  void setFlops(Operation *command, tx::FlopsOpInterface op, int64_t commands) {
    command->setAttr("op", builder.getStringAttr(op->getName().stripDialect()));
    command->setAttr("flops_full", builder.getI64IntegerAttr(op.getFlopsFull() / commands));
    command->setAttr("flops_causal", builder.getI64IntegerAttr(op.getFlopsCausal() / commands));
  }

  /// step.kernel with the body of `kernel`; one for all that are equal.
  step::KernelOp getKernel(tx::KernelOp kernel) {
    std::string key;
    llvm::raw_string_ostream os(key);
    os << stringifyKernelKind(kernel.getKind()) << ' ';
    llvm::interleaveComma(kernel.getInplace(), os);
    for (BlockArgument argument : kernel.getBody().front().getArguments())
      os << ' ' << argument.getType();
    OpPrintingFlags flags;
    flags.printGenericOpForm().useLocalScope();
    for (Operation &op : kernel.getBody().front()) {
      op.print(os, flags);
      os << '\n';
    }
    step::KernelOp &known = kernels[key];
    if (known)
      return known;
    OpBuilder::InsertionGuard guard(builder);
    builder.setInsertionPoint(entry);
    Operation &first = kernel.getBody().front().front();
    std::string name = first.getName().stripDialect().str();
    for (Operation &op : kernel.getBody().front().without_terminator())
      if (&op != &first && name.size() < 48 && !op.hasTrait<OpTrait::ConstantLike>())
        name += "+" + op.getName().stripDialect().str();
    known = builder.create<step::KernelOp>(
        kernel.getLoc(), uniqueSymbol(name), stringifyKernelKind(kernel.getKind()), kernel.getInplace(),
        ArrayRef<int64_t>{}, ArrayRef<int64_t>{}, ArrayRef<int64_t>{}, ArrayAttr(), ArrayAttr());
    IRMapping mapping;
    kernel.getBody().cloneInto(&known.getBody(), mapping);
    return known;
  }

  /// c = op(a) * op(b) [+ c], from the one product in the kernel.
  Operation *addGemm(tx::KernelOp kernel, ArrayRef<Place> args) {
    Operation *product = nullptr;
    tx::AddOp add;
    for (Operation &op : kernel.getBody().front().without_terminator())
      if (isa<tx::AddOp>(op))
        add = cast<tx::AddOp>(op);
      else
        product = &op;
    auto place = [&](Value operand) { return args[cast<BlockArgument>(operand).getArgNumber()]; };
    Place a = place(product->getOperand(0)), b = place(product->getOperand(1)), c = args.back();
    auto aType = cast<RankedTensorType>(product->getOperand(0).getType());
    auto bType = cast<RankedTensorType>(product->getOperand(1).getType());
    int64_t rows = aType.getNumElements() / aType.getShape().back(), aWidth = aType.getShape().back();
    bool transposeA = false, transposeB = false;
    int64_t m = rows, n, k = aWidth;
    if (isa<tx::LinearOp>(product)) {
      n = bType.getDimSize(0);
      transposeB = true;
    } else if (isa<tx::LinearInputVjpOp>(product)) {
      n = bType.getDimSize(1);
    } else {
      m = aWidth;
      n = bType.getShape().back();
      k = rows;
      transposeA = true;
    }
    auto gemm = builder.create<step::GemmOp>(kernel.getLoc(), kernel.getName(), a.buffer.getValue(),
                                             b.buffer.getValue(), c.buffer.getValue(), m, n, k, transposeA,
                                             transposeB, /*accumulate=*/add != nullptr);
    if (a.isPart || b.isPart || c.isPart)
      gemm.setOffsets({a.offset, b.offset, c.offset});
    if (add) {
      Place addend = place(isa<BlockArgument>(add.getLhs()) ? add.getLhs() : add.getRhs());
      if (addend.buffer != c.buffer)
        gemm.setAddend(addend.buffer.getValue());
    }
    return gemm;
  }

  /// The products of attention in parts. Heads lie packed in rows of [B, T, N] and
  /// one after the other in [B, H, T, T]; a product multiplies, for one element of
  /// the batch, one of the query heads that share a key/value head with it, for all
  /// key/value heads at once. Sums over query heads go in head order.
  void addAttentionProducts(tx::KernelOp kernel, ArrayRef<Place> args) {
    Operation *op = &kernel.getBody().front().front();
    auto place = [&](Value operand) { return args[cast<BlockArgument>(operand).getArgNumber()]; };
    Place out = args.back();
    auto build = [&](auto product) {
      Value qkv = product.getQkv();
      auto type = cast<RankedTensorType>(qkv.getType());
      HeadProducts heads{type.getDimSize(0),
                         type.getDimSize(1),
                         static_cast<int64_t>(product.getNHead()),
                         static_cast<int64_t>(product.getNKvHead()),
                         product.getHeadDim(),
                         bytesOf(type) / type.getNumElements()};
      return std::pair(heads, place(qkv));
    };
    SmallVector<step::GemmOp> commands;
    auto add = [&](const HeadProducts &heads, HeadProducts::Operand a, bool transposeA,
                   HeadProducts::Operand b, bool transposeB, HeadProducts::Operand c,
                   bool sumsHeads = false) {
      int64_t t = heads.t, d = heads.d, m = t, n = b.isMatrix || transposeB ? t : d, k = a.isMatrix ? t : d;
      for (int64_t batch = 0; batch < heads.b; ++batch)
        for (int64_t shared = 0; shared < heads.h / heads.k; ++shared) {
          auto gemm = builder.create<step::GemmOp>(
              kernel.getLoc(), kernel.getName(), a.place.buffer.getValue(), b.place.buffer.getValue(),
              c.place.buffer.getValue(), m, n, k, transposeA, transposeB, sumsHeads && shared > 0, heads.k);
          SmallVector<int64_t> offsets, layout;
          for (const HeadProducts::Operand &operand : {a, b, c})
            offsets.push_back(operand.place.offset + heads.first(operand, batch, shared));
          for (const HeadProducts::Operand &operand : {a, b, c})
            layout.push_back(operand.isMatrix ? t : operand.width);
          for (const HeadProducts::Operand &operand : {a, b, c})
            layout.push_back(heads.stride(operand));
          gemm.setOffsets(offsets);
          gemm.setLayout(layout);
          commands.push_back(gemm);
        }
    };
    using Operand = HeadProducts::Operand;
    if (auto scores = dyn_cast<tx::AttentionScoresOp>(op)) {
      auto [heads, qkv] = build(scores);
      add(heads, heads.queries(qkv), false, heads.keys(qkv), true, Operand::matrices(out));
    } else if (auto mix = dyn_cast<tx::AttentionMixOp>(op)) {
      auto [heads, qkv] = build(mix);
      add(heads, Operand::matrices(place(mix.getProbabilities())), false, heads.values(qkv), false,
          heads.rows(out));
    } else if (auto mixVjp = dyn_cast<tx::AttentionMixVjpOp>(op)) {
      auto [heads, qkv] = build(mixVjp);
      add(heads, heads.rows(place(mixVjp.getGrad())), false, heads.values(qkv), true, Operand::matrices(out));
    } else {
      auto vjp = cast<tx::AttentionScoresVjpOp>(op);
      auto [heads, qkv] = build(vjp);
      Operand scoresGrad = Operand::matrices(place(vjp.getScoresGrad()));
      Operand probabilities = Operand::matrices(place(vjp.getProbabilities()));
      add(heads, scoresGrad, false, heads.keys(qkv), false, heads.queries(out));
      add(heads, scoresGrad, true, heads.queries(qkv), false, heads.keys(out), true);
      add(heads, probabilities, true, heads.rows(place(vjp.getGrad())), false, heads.values(out), true);
    }
    int64_t bytes = kernel.getBytesRead() + kernel.getBytesWritten();
    for (step::GemmOp command : commands) {
      command->setAttr("bytes", builder.getI64IntegerAttr(bytes / static_cast<int64_t>(commands.size())));
      setFlops(command, cast<tx::FlopsOpInterface>(op), commands.size());
    }
  }

  ModuleOp module;
  MLIRContext *context;
  OpBuilder builder;
  step::ProgramOp program;
  Block *body = nullptr;
  step::EntryOp entry;
  FlatSymbolRefAttr entryName;
  Operation *lastBuffer = nullptr;
  RankedTensorType tokenType;
  FlatSymbolRefAttr tokens, targets;
  FlatSymbolRefAttr firstOfArena[NumArenas];
  llvm::StringMap<Segment> segments;
  DenseMap<std::pair<StringAttr, int>, FlatSymbolRefAttr> states;
  DenseMap<Value, Place> places;
  llvm::StringMap<step::KernelOp> kernels;
  DenseMap<Operation *, SmallVector<SmallVector<tx::ParamOp>>> runs; ///< of gradients, of each that sums them
  DenseMap<StringAttr, SmallVector<tx::ParamOp>> runOf;              ///< by the last of a run
  DenseMap<Value, ShardParts> shardParts;
  std::map<std::pair<const void *, size_t>, step::KernelOp> sumKernels;
  DenseMap<StringAttr, step::AllocOp> allocs;
  int64_t nextEvent = 0;
  llvm::StringSet<> symbols;
};

struct BuildProgram : impl::BuildProgramBase<BuildProgram> {
  void runOnOperation() override {
    if (failed(ProgramBuilder(getOperation()).build()))
      signalPassFailure();
  }
};
} // namespace
} // namespace txc::plan
