"""Runs step.so on as many ranks as it was compiled for, in threads of this process,
and compares the training with that of a step.so of one rank.

    run_ranks.py one.so several.so [iterations] [micro batches per iteration]

Each rank has an arena of its own. Collectives are done here: what they write is
poisoned when they start, and they read when they are waited for, as late as they
may, so a step that uses a result too early or overwrites what is under way trains
wrongly. Products are NumPy's."""
import ctypes as c
import sys
import threading

import numpy as np

ALIGNMENT = 4096
PARAM, TOKENS, TARGETS, HYPER, LOSS, STATS = 0, 4, 5, 6, 7, 8  # kinds of buffers
EXCHANGE, GATHER = 1, 2  # kinds of collectives
DTYPES = {0: np.float32, 2: np.int32, 3: np.float64, 4: np.uint8}
u8, u32, u64, i64, f32, ptr, text = c.c_uint8, c.c_uint32, c.c_uint64, c.c_int64, c.c_float, c.c_void_p, c.c_char_p


def struct(name, *fields):
    return type(name, (c.Structure,), {"_fields_": list(fields)})


def words(kind, names):
    return [(name, kind) for name in names.split()]


Buffer = struct("Buffer", ("name", text), *words(u64, "offset bytes"), *words(u32, "kind dtype entry rank"),
                ("shape", i64 * 4), *words(u32, "begin end"), ("full_elements", u64))
Hyper = struct("Hyper", *words(f32, "learning_rate beta1 beta2 epsilon weight_decay grad_clip grad_scale "
                               "bias_correction1 bias_correction2"),
               *words(u32, "seed_lo seed_hi step_lo accumulated rank num_ranks skip_nonfinite"))
Launch = struct("Launch", ("name", text), ("kernel", ptr), *words(u32, "kernel_index num_args"),
                ("offsets", c.POINTER(u64)), ("blocks", i64), ("rank_strides", c.POINTER(u64)))
Gemm = struct("Gemm", ("name", text), *words(u32, "dtype dtype_c transpose_a transpose_b accumulate batch"), *words(i64, "m n k lda ldb ldc stride_a stride_b stride_c"),
              *words(u64, "a b c workspace workspace_bytes"), *words(u32, "epilogue reserved"),
              *words(u64, "bias addend hyper"))
Fill = struct("Fill", ("name", text), *words(u64, "offset bytes"), ("value", u8), ("reserved", u8 * 7))
Part = struct("Part", *words(u64, "send receive count"))
Collective = struct("Collective", ("name", text), *words(u32, "kind op dtype num_parts"),
                    ("parts", c.POINTER(Part)), *words(u32, "event reserved"))
Wait = struct("Wait", ("name", text), *words(u32, "event reserved"))
CALLS = [Launch, Gemm, Fill, Collective, Wait]
CALL_TYPES = [c.CFUNCTYPE(c.c_int32, ptr, ptr, c.POINTER(command)) for command in CALLS]
Device = struct("Device", *words(u32, "struct_size abi_version"), ("self", ptr),
                *[(f"call{i}", kind) for i, kind in enumerate(CALL_TYPES)])
RUN = c.CFUNCTYPE(c.c_int32, c.POINTER(Device), ptr)
Entry = struct("Entry", ("name", text), ("run", RUN), *words(u32, "num_commands reserved"))
Step = struct("Step", *words(u32, "struct_size abi_version"), *words(text, "compiler target metadata"),
              *words(u64, "arena_bytes arena_lower_bound"), *words(i64, "batch_size block_size vocab_size ignore_index"),
              *words(u64, "num_parameters flops_full flops_causal"), ("buffers", c.POINTER(Buffer)),
              ("entries", c.POINTER(Entry)), *words(ptr, "kernels flops images"),
              *words(u32, "num_buffers num_entries num_kernels num_flops num_images num_events num_ranks zero_level"))
KERNEL = c.CFUNCTYPE(None, ptr, c.POINTER(u64), i64, i64)


class Rank:
    def __init__(self, world, number):
        self.world, self.number, self.pending = world, number, {}
        step = world.step
        memory = np.zeros(step.arena_bytes + ALIGNMENT, np.uint8)
        skip = -memory.ctypes.data % ALIGNMENT
        self.arena = memory[skip:skip + step.arena_bytes]
        calls = [self.launch, self.gemm, self.fill, self.collective, self.wait]
        self.calls = [kind(self.guard(call)) for kind, call in zip(CALL_TYPES, calls)]
        self.device = Device(c.sizeof(Device), step.abi_version, None, *self.calls)
        self.failure = None

    def guard(self, call):
        def run(_, arena, command):
            try:
                call(command.contents)
                return 0
            except Exception as error:  # must not leave through C
                self.failure = error
                self.world.barrier.abort()
                return 1
        return run

    def view(self, offset, count, dtype):
        size = np.dtype(dtype).itemsize * count
        return self.arena[offset:offset + size].view(dtype)

    def launch(self, it):
        strides = it.rank_strides[:it.num_args] if it.rank_strides else [0] * it.num_args
        offsets = [offset + self.number * stride for offset, stride in zip(it.offsets[:it.num_args], strides)]
        KERNEL(it.kernel)(self.arena.ctypes.data, (u64 * it.num_args)(*offsets), 0, it.blocks)

    def gemm(self, it):
        def operand(offset, rows, columns, stride, batch, i):
            at = offset + 4 * batch * i
            data = self.view(at, (rows - 1) * stride + columns, np.float32)
            return np.lib.stride_tricks.as_strided(data, (rows, columns), (4 * stride, 4))
        adds = it.accumulate == 1
        if it.accumulate == 2:
            adds = Hyper.from_buffer_copy(self.arena[it.hyper:it.hyper + c.sizeof(Hyper)]).accumulated != 0
        for i in range(it.batch):
            a = operand(it.a, *((it.k, it.m) if it.transpose_a else (it.m, it.k)), it.lda, it.stride_a, i)
            b = operand(it.b, *((it.n, it.k) if it.transpose_b else (it.k, it.n)), it.ldb, it.stride_b, i)
            out = operand(it.c, it.m, it.n, it.ldc, it.stride_c, i)
            product = (a.T if it.transpose_a else a) @ (b.T if it.transpose_b else b)
            out[:] = product + operand(it.addend, it.m, it.n, it.ldc, it.stride_c, i) if adds else product

    def fill(self, it):
        self.arena[it.offset:it.offset + it.bytes] = it.value

    def parts(self, it):
        """What a collective sends and receives; a gather in place sends this rank's part of what it receives."""
        many, dtype = self.world.step.num_ranks, DTYPES[it.dtype]
        for part in it.parts[:it.num_parts]:
            at = self.number * part.count * np.dtype(dtype).itemsize if it.kind == GATHER and part.send == part.receive else 0
            yield (self.view(part.send + at, part.count * (many if it.kind == EXCHANGE else 1), dtype),
                   self.view(part.receive, part.count * {EXCHANGE: many - 1, GATHER: many}.get(it.kind, 1), dtype))

    def collective(self, it):
        assert it.event not in self.pending, "event in use"
        copy = Collective.from_buffer_copy(it)
        self.pending[it.event] = copy
        for send, receive in self.parts(copy):
            kept = send.copy()
            receive[:] = np.nan
            send[:] = kept

    def wait(self, it):
        # Ranks may wait in any order, but all run one program: in the same.
        copy = self.pending.pop(it.event)
        world = self.world
        world.sent[self.number] = [send.copy() for send, _ in self.parts(copy)]
        world.barrier.wait()
        results = []
        for i, (send, receive) in enumerate(self.parts(copy)):
            every = [sent[i] for sent in world.sent]
            if copy.kind == GATHER:
                results.append((receive, np.concatenate(every)))
            elif copy.kind == EXCHANGE:
                count = len(send) // len(every)
                others = [every[(self.number + 1 + k) % len(every)] for k in range(len(every) - 1)]
                results.append((receive, np.concatenate([other[self.number * count:][:count] for other in others])))
            else:
                results.append((receive, [np.sum, np.min, np.max][copy.op](np.stack(every), axis=0)))
        world.barrier.wait()
        for receive, value in results:
            receive[:] = value

    def run(self, name):
        status = self.world.entries[name].run(c.byref(self.device), self.arena.ctypes.data)
        if self.failure:
            raise self.failure
        assert status == 0, f"{name} returned {status}"
        assert not self.pending, f"{name} left collectives under way"

    def buffer(self, kind):
        return next(b for b in self.world.buffers if b.kind == kind)

    def write(self, kind, data):
        raw = np.frombuffer(bytes(data), np.uint8)
        self.arena[self.buffer(kind).offset:][:len(raw)] = raw

    def read(self, kind):
        buffer = self.buffer(kind)
        return self.view(buffer.offset, buffer.bytes // 4, np.float32).copy()


class World:
    def __init__(self, path):
        self.library = c.CDLL(path)
        query = self.library.txc_step_query
        query.restype = c.POINTER(Step)
        self.step = query(6).contents
        self.buffers = self.step.buffers[:self.step.num_buffers]
        self.entries = {e.name.decode(): e for e in self.step.entries[:self.step.num_entries]}
        self.barrier = threading.Barrier(self.step.num_ranks)
        self.sent = [None] * self.step.num_ranks
        self.ranks = [Rank(self, i) for i in range(self.step.num_ranks)]

    def all(self, work):
        errors = []

        def run(rank):
            try:
                work(rank)
            except threading.BrokenBarrierError:
                pass
            except Exception as error:
                errors.append(error)
                self.barrier.abort()
        threads = [threading.Thread(target=run, args=(rank,)) for rank in self.ranks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        errors += [rank.failure for rank in self.ranks if rank.failure]
        if errors:
            raise errors[0]

    def parameters(self):
        """Whole tensors by name; what every rank has must be equal to the bit."""
        values = {}
        for buffer in self.buffers:
            if buffer.kind != PARAM:
                continue
            parts = [rank.view(buffer.offset, buffer.bytes // 4, np.float32) for rank in self.ranks]
            if buffer.full_elements:
                whole = np.concatenate(parts)
                assert not whole[buffer.full_elements:].any(), f"{buffer.name}: padding is not zero"
                values[buffer.name] = whole[:buffer.full_elements].copy()
            else:
                assert all(np.array_equal(part, parts[0]) for part in parts), f"{buffer.name} differs"
                values[buffer.name] = parts[0].copy()
        return values

    def train(self, iterations, micro):
        step, ranks = self.step, self.step.num_ranks
        own = micro // ranks
        rows = step.batch_size * step.block_size
        figures = []
        last = "micro_last" if "micro_last" in self.entries else "micro"

        def work(rank):
            hyper = Hyper(learning_rate=1e-2, beta1=0.9, beta2=0.95, epsilon=1e-8, weight_decay=0.1, grad_clip=1,
                          grad_scale=1 / micro, seed_lo=7, rank=rank.number, num_ranks=ranks)
            rank.write(HYPER, hyper)
            rank.run("init")
            for iteration in range(iterations):
                losses = []
                for m in range(own):
                    number = (iteration * own + m) * ranks + rank.number
                    data = np.random.default_rng(number).integers(0, step.vocab_size, rows + 1, np.int32)
                    hyper.step_lo, hyper.accumulated = number, m
                    rank.write(TOKENS, data[:-1])
                    rank.write(TARGETS, data[1:])
                    rank.write(HYPER, hyper)
                    rank.run(last if m == own - 1 else "micro")
                    losses.append(rank.read(LOSS))
                hyper.bias_correction1 = 1 - 0.9 ** (iteration + 1)
                hyper.bias_correction2 = 1 - 0.95 ** (iteration + 1)
                rank.write(HYPER, hyper)
                rank.run("update")
                rank.figures.append((np.mean(losses, axis=0), rank.read(STATS)))
            rank.run("eval")
            rank.figures.append((rank.read(LOSS), np.zeros(0, np.float32)))
        for rank in self.ranks:
            rank.figures = []
        self.all(work)
        for rank in self.ranks:
            for mine, first in zip(rank.figures, self.ranks[0].figures):
                assert np.array_equal(mine[0], first[0]) and np.array_equal(mine[1], first[1]), "ranks differ"
        return self.ranks[0].figures


def main():
    one, several = World(sys.argv[1]), World(sys.argv[2])
    iterations = int(sys.argv[3]) if len(sys.argv) > 3 else 3
    micro = int(sys.argv[4]) if len(sys.argv) > 4 else 4
    ranks = several.step.num_ranks
    expected, found = one.train(iterations, micro), several.train(iterations, micro)
    worst = 0
    for i, ((loss, stats), (loss2, stats2)) in enumerate(zip(expected, found)):
        if i < iterations:
            assert loss2[1] == ranks * loss[1], f"targets {loss2[1]}, expected {ranks} x {loss[1]}"
            scale = np.maximum(np.abs(stats), stats[0] * 1e-2)
            difference = np.abs(stats2 - stats) / scale
            assert (difference < 2e-4).all(), f"iteration {i}: statistics {stats2}, expected {stats}"
            worst = max(worst, abs(loss2[0] - loss[0]))
            assert abs(loss2[0] - loss[0]) < 2e-5 * loss[0], f"iteration {i}: loss {loss2[0]}, expected {loss[0]}"
    a, b = one.parameters(), several.parameters()
    assert a.keys() == b.keys()
    largest = max(float(np.abs(a[name] - b[name]).max()) for name in a)
    # One step of AdamW moves an element by at most the learning rate, 1e-2.
    assert largest < 1e-3, f"parameters differ by {largest}"
    print(f"{ranks} ranks, ZeRO {several.step.zero_level}: losses within {worst:.1e}, parameters within {largest:.1e}")


if __name__ == "__main__":
    main()
