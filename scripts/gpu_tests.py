#!/usr/bin/env python3
"""Both halves of gpu-tests.sh, which see.

  gpu_tests.py pack DIR --build=BUILD --source=ROOT [--keep-expected | --ranks-only]
  gpu_tests.py run DIR [--seconds=400] [--only=REGEX]

DIR/payload.tar.xz holds the tools, the case files of the kernels, the compiled steps,
a dataset, and expected.json: losses and texts of the CPU. run unpacks it in a
temporary folder.
"""
import argparse
import ctypes
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import tempfile
import time

# Every way through the compiler: norms, positions, biases, dropout, tied weights,
# grouped queries, both feed-forward networks; heads of 64, 32, 128 and 40; lengths and
# batches that fill no tile.
SMALL = ["--n_layer=2", "--n_head=2", "--n_embd=128", "--block_size=96", "--batch_size=3", "--vocab_size=128"]
TINY = {
    "gpt2": ["arch_gpt2", *SMALL],
    "llama": ["arch_llama", *SMALL],
    "team": ["arch_team", *SMALL, "--block_size=129"],
    "hybrid": ["arch_hybrid", *SMALL, "--n_head=4"],
    "custom": ["arch_custom", *SMALL, "--n_embd=256", "--block_size=77"],
    "openai": ["openai_gpt2", *SMALL, "--dropout=0.1", "--vocab_size=101"],
    "gqa": ["qwen3_1.8b", *SMALL, "--n_head=6", "--n_kv_head=2", "--head_dim=64", "--d_ff=200"],
    "narrow": ["arch_llama", *SMALL, "--n_head=3", "--head_dim=40", "--bias=true", "--norm_position=post"],
    "parts": ["arch_llama", *SMALL, "--n_head=4", "--n_kv_head=2", "--head_dim=64", "--dropout=0.1", "--attention_backend=manual"],
    "demo": ["demo_cpu"],
}
# At full width and length; batches as small as the CPU can do them.
FULL = {
    "gpt2-124m": ["arch_gpt2", "--batch_size=1"],
    "llama-162m": ["arch_llama", "--batch_size=1"],
}
# Model, dtype, ranks, ZeRO levels. Tied and untied weights, dropout, parameters that no number
# of ranks divides; a collective per block. If there are fewer GPUs than ranks, they share GPU 0,
# each calls itself a host of its own to NCCL, and NCCL moves all.
RANKS = [("openai", "float32", 2, (0, 1, 2, 3)), ("openai", "bfloat16", 2, (0, 3)), ("gqa", "bfloat16", 2, (1, 3)),
         ("narrow", "float32", 4, (0, 3))]
RANK_OPTIONS = ["--decode=false", "--bucket_mb=0"]
# The models that test/EndToEnd/hugging_face.py makes.
HUGGING_FACE = {
    "llama": ["arch_llama", "--n_layer=2", "--n_head=4", "--n_kv_head=2", "--n_embd=32", "--d_ff=48", "--block_size=34",
              "--batch_size=2", "--vocab_size=256", "--norm_eps=1e-6", "--rope_theta=5000"],
    "gpt2": ["openai_gpt2", "--n_layer=2", "--n_head=4", "--n_embd=32", "--block_size=34", "--batch_size=2", "--vocab_size=256"],
}
TRAIN = ["--max_iters=10", "--learning_rate=1e-3", "--min_lr=1e-4", "--warmup_iters=2", "--lr_decay_iters=10",
         "--gradient_accumulation_steps=2"]
TRAIN_FULL = ["--max_iters=3", "--learning_rate=6e-4", "--warmup_iters=0", "--gradient_accumulation_steps=1"]
TRAIN_RANKS = ["--max_iters=10", "--learning_rate=1e-3", "--min_lr=1e-4", "--warmup_iters=2", "--lr_decay_iters=10",
               "--gradient_accumulation_steps=8", "--eval_iters=4"]
SAMPLE = ["--max_iters=60", "--learning_rate=2e-3", "--warmup_iters=5", "--lr_decay_iters=60",
          "--gradient_accumulation_steps=1", "--quiet", "--sample", "--max_new_tokens=120", "--prompt=The "]
# Drawn by the host from the device's logits: a figure that is off changes what follows.
TEXTS = {"greedy": ["--temperature=0"], "drawn": ["--temperature=0.8", "--top_k=20"]}
QUIET = ["--log_interval=1", "--gradient_log_interval=1", "--eval_interval=0"]
# Peak of PyTorch 2.11 on the same shapes (docs/numbers.md), GiB.
PEER_PEAK = {"gpt2-b32": 15.1}
# racecheck does not follow mbarriers between the threads of a block: what it says of these
# kernels is explained, object by object, in docs/rationale/gpu-attention.md.
EXPLAINED_HAZARDS = {"attention_vjp_p1", "attention_vjp_rope_p1"}


def last_lines(text, count=3):
    return " | ".join(line.strip() for line in text.strip().splitlines()[-count:])


# ---- pack -------------------------------------------------------------------------


def has_library(*names):
    """Whether one of the names of a shared library can be loaded."""
    for name in names:
        try:
            ctypes.CDLL(name)
            return True
        except OSError:
            pass
    return False


class Packer:
    def __init__(self, arguments):
        self.build, self.source = pathlib.Path(arguments.build).absolute(), pathlib.Path(arguments.source).absolute()
        self.folder = pathlib.Path(arguments.folder)
        self.expected = None
        if arguments.keep_expected:
            with tarfile.open(self.folder / "payload.tar.xz") as archive:
                self.expected = json.load(archive.extractfile("expected.json"))
        self.ranks_only = arguments.ranks_only
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="gpu-tests-"))

    def call(self, *command, **options):
        command = [str(part) for part in command]
        done = subprocess.run(command, capture_output=True, text=True, **options)
        if done.returncode != 0:
            sys.exit(f"error: {' '.join(command)} exited with {done.returncode}:\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
        return done.stdout

    def tool(self, name):
        return self.build / "bin" / name

    def compile(self, model, target, dtype, output, *more):
        config, *overrides = model
        self.call(self.tool("txc"), "compile", self.source / "configs" / f"{config}.yaml", *overrides, f"--target={target}",
                  f"--dtype={dtype}", *more, "-o", output)

    def train_on_cpu(self, step, options):
        out = self.work / "cpu-log"
        self.call(self.tool("txrun"), step, f"--dataset={self.work}/data", "--keep_checkpoints=0", f"--out_dir={out}", *QUIET, *options, "--quiet")
        records = read_log(out)
        shutil.rmtree(out)
        return {"losses": [record["loss"] for record in records],
                "norms": [record["gradients"]["global_norm"] for record in records]}

    def compile_ranks(self, steps):
        for name, dtype, ranks, levels in RANKS:
            for level in levels:
                self.compile(TINY[name], "sm_90a", dtype, steps / f"{name}-{dtype}-{ranks}-zero{level}.so", *RANK_OPTIONS,
                             f"--mesh=dp:{ranks}", f"--zero={level}")

    def write(self, expected):
        (self.work / "expected.json").write_text(json.dumps(expected, indent=1))
        payload = self.folder / "payload.tar.xz"
        with tarfile.open(f"{payload}.new", "w:xz", preset=2) as archive:
            for entry in sorted(self.work.iterdir()):
                archive.add(entry, arcname=entry.name)
        os.replace(f"{payload}.new", payload)
        shutil.rmtree(self.work)
        size = payload.stat().st_size
        print(f"{payload}: {size / 2**20:.1f} MiB")
        if size > 50 * 2**20:
            sys.exit(f"error: {payload} is larger than 50 MiB; take smaller cases")

    def pack(self):
        steps, scratch = self.work / "steps", self.work / "scratch"
        for made in (steps, scratch, self.work / "bin", self.work / "cases"):
            made.mkdir()
        self.call(self.tool("txdata"), "prepare", self.source / "datasets" / "corpus.txt", "--tokenizer=char",
                  f"--out={self.work}/data")
        if self.ranks_only:
            for name, dtype in sorted({(name, dtype) for name, dtype, _, _ in RANKS}):
                self.compile(TINY[name], "sm_90a", dtype, steps / f"{name}-{dtype}.so", "--decode=false")
            self.compile_ranks(steps)
            self.call("strip", "-o", self.work / "bin" / "txrun", self.tool("txrun"))
            shutil.rmtree(scratch)
            self.write({"models": {}, "texts": {}})
            return
        expected = self.expected or {"models": {}}
        for name, model in {**TINY, **FULL}.items():
            if name not in expected["models"]:
                self.compile(model, "cpu", "float32", scratch / "cpu.so", "--decode=false")
                expected["models"][name] = self.train_on_cpu(scratch / "cpu.so", TRAIN_FULL if name in FULL else TRAIN)
            for dtype in ("float32", "bfloat16"):
                self.compile(model, "sm_90a", dtype, steps / f"{name}-{dtype}.so", "--decode=false")
            print(f"{name}: losses {expected['models'][name]['losses'][0]:.6f} to {expected['models'][name]['losses'][-1]:.6f}")
        for name in ("gpt2", "gqa"):
            self.compile(TINY[name], "sm_80", "bfloat16", steps / f"{name}-sm_80.so", "--decode=false")
        self.compile_ranks(steps)
        if "texts" not in expected:
            self.compile(TINY["demo"], "cpu", "float32", scratch / "sample.so")
            expected["texts"] = {
                kind: self.call(self.tool("txrun"), scratch / "sample.so", f"--dataset={self.work}/data",
                                "--keep_checkpoints=0", f"--out_dir={scratch}/out", "--eval_interval=0", *SAMPLE, *options)
                for kind, options in TEXTS.items()}
        self.compile(TINY["demo"], "sm_90a", "float32", steps / "sample-float32.so")
        self.compile(["arch_gpt2", "--batch_size=32"], "sm_90a", "bfloat16", steps / "gpt2-b32.so", "--decode=false")
        self.compile(["llama_1.4b", "--batch_size=96"], "sm_90a", "bfloat16", steps / "too-large.so", "--decode=false")
        for name, model in HUGGING_FACE.items():
            self.compile(model, "sm_90a", "float32", steps / f"hugging-face-{name}-sm_90a.so")
            self.compile(model, "cpu", "float32", steps / f"hugging-face-{name}-cpu.so", "--cpu=x86-64-v3")
        shutil.copy(self.source / "test/EndToEnd/hugging_face.py", self.work)
        self.call(self.tool("txdata"), "prepare", self.source / "datasets" / "corpus.txt", "--tokenizer=byte",
                  f"--out={self.work}/bytes")
        (self.work / "prompt.txt").write_text("The quick brown fox jumps over it!")
        # Says that it is for a newer GPU than there is.
        self.call(sys.executable, self.source / "test/unit/Runtime/seal_step.py", steps / "gpt2-bfloat16.so",
                  steps / "too-new.so", "16=999")
        (steps / "too-new.so").chmod(0o755)

        for target, only in (("sm_90a", "*-Elementary.*:Refused.*"), ("sm_80", "GpuAttention.*")):
            text = self.call(self.tool("CodegenTest"), f"--export-gpu-cases={self.work}/cases/{target}",
                             f"--target={target}", f"--gtest_filter={only}")
            print(text.strip().splitlines()[-1])
        tools = ["txrun", "run-cases"] + (["cuda_smoke"] if self.tool("cuda_smoke").exists() else [])
        for name in tools:
            self.call("strip", "-o", self.work / "bin" / name, self.tool(name))
        if "cuda_smoke" in tools:
            for name in ("toy_cubin.so", "toy_ptx.so"):
                shutil.copy(self.build / "test/unit/Cuda" / name, steps)
        shutil.rmtree(scratch)
        self.write(expected)


# ---- run --------------------------------------------------------------------------


def read_events(out):
    logs = sorted(pathlib.Path(out).glob("*.jsonl"))
    if not logs:
        raise ValueError(f"no log in {out}")
    return [json.loads(line) for line in logs[-1].read_text().splitlines()]


def read_log(out):
    return [record for record in read_events(out) if record.get("event") == "iteration"]


def figures_of(events):
    """Everything of a run that does not depend on the machine's speed: losses, gradients, evaluations."""
    iterations = [(event["iter"], event["loss"], event["gradients"]) for event in events if event["event"] == "iteration"]
    evaluations = [(event["iter"], event["train_loss"], event["val_loss"]) for event in events if event["event"] == "evaluation"]
    return iterations, evaluations


class Runner:
    def __init__(self, arguments):
        self.started = time.monotonic()
        self.folder, self.seconds, self.only = pathlib.Path(arguments.folder), arguments.seconds, re.compile(arguments.only)
        self.work = pathlib.Path(tempfile.mkdtemp(prefix="gpu-tests-"))
        self.environment = {key: value for key, value in os.environ.items() if not key.startswith("TXC_")}
        # Choices of --tune on this machine would change sums.
        self.environment["XDG_CACHE_HOME"] = str(self.work / "cache")
        self.passed, self.failed, self.skipped = 0, [], []

    # -- reporting

    def report(self, name, right, detail):
        word = "ok    " if right else "FAILED"
        print(f"{word} {name:34} {detail}  [{time.monotonic() - self.started:.1f} s]", flush=True)
        if right:
            self.passed += 1
        else:
            self.failed.append(name)

    def skip(self, name, why):
        self.skipped.append(name)
        print(f"skip   {name:34} {why}", flush=True)

    def check(self, name, work):
        """Runs work() -> (right, detail) unless --only leaves it out; whatever it raises is a failure."""
        if not self.only.search(name):
            return
        if self.left() < 5:
            self.skip(name, f"no time left of --seconds={self.seconds:.0f}")
            return
        try:
            right, detail = work()
        except subprocess.TimeoutExpired as error:
            right, detail = False, f"not done after {error.timeout:.0f} s"
        except Exception as error:  # a run that wrote no log, say
            right, detail = False, f"{type(error).__name__}: {error}"
        self.report(name, right, detail)

    # -- running

    def left(self):
        return self.seconds - (time.monotonic() - self.started)

    def limit(self, seconds):
        return max(1.0, min(seconds, self.left()))

    def call(self, command, seconds=60, environment=None):
        return subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=self.limit(seconds),
                              cwd=self.work, env={**self.environment, **(environment or {})}, errors="replace")

    def train(self, step, options, name="log", before=(), environment=None, seconds=60):
        out = self.work / "out" / name
        shutil.rmtree(out, ignore_errors=True)
        done = self.call([*before, self.work / "bin/txrun", self.work / "steps" / step, f"--dataset={self.work}/data",
                          "--keep_checkpoints=0", f"--out_dir={out}", *QUIET, "--quiet", *options], seconds, environment)
        if done.returncode != 0:
            raise RuntimeError(f"txrun exited with {done.returncode}: {last_lines(done.stderr + done.stdout)}")
        return read_log(out)

    def start_ranks(self, ranks, step, options, name, copies=True):
        """The processes of ranks and their folder. `copies`: by copy engines, if there are GPUs enough."""
        out = self.work / "out" / name
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        running = []
        for rank in range(ranks):
            environment = {**self.environment, "RANK": str(rank), "WORLD_SIZE": str(ranks), "LOCAL_RANK": str(rank),
                           "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "NCCL_SOCKET_IFNAME": "lo",
                           "NCCL_IB_DISABLE": "1"}
            if self.gpus < ranks:
                environment.update(LOCAL_RANK="0", NCCL_HOSTID=f"rank-{rank}")
            if self.gpus < ranks or not copies:
                environment["TXC_PEER_COPIES"] = "0"
            running.append(subprocess.Popen([self.work / "bin/txrun", self.work / "steps" / step, f"--dataset={self.work}/data",
                                             f"--out_dir={out}", *QUIET, "--quiet", "--comm_timeout=20", *options],
                                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                                            cwd=self.work, env=environment))
        return running, out

    def train_ranks(self, ranks, step, options, name, seconds=60, copies=True):
        running, out = self.start_ranks(ranks, step, options, name, copies)
        end = time.monotonic() + self.limit(seconds)
        try:
            for rank, process in enumerate(running):
                said = process.communicate(timeout=max(0.1, end - time.monotonic()))[0]
                if process.returncode != 0:
                    raise RuntimeError(f"rank {rank} exited with {process.returncode}: {last_lines(said)}")
        finally:
            for process in running:
                process.kill()
        return read_events(out)

    # -- checks

    def machine(self):
        """A line about the GPU, or None and what is wrong."""
        try:
            done = subprocess.run(["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"],
                                  capture_output=True, text=True, timeout=30)
        except FileNotFoundError:
            return None, "nvidia-smi is not installed"
        lines = done.stdout.strip().splitlines()
        if done.returncode != 0 or not lines:
            return None, last_lines(done.stdout + done.stderr) or "nvidia-smi lists none"
        self.gpus = len(lines)
        return lines[0], ""

    def backend(self):
        smoke = self.work / "bin/cuda_smoke"
        if not smoke.exists():
            self.skip("backend", "the pack was made without clang-19")
            return
        for step, more in (("toy_cubin.so", []), ("toy_ptx.so", []), ("toy_cubin.so", ["failing"]), ("toy_cubin.so", ["blocking"])):
            def work():
                done = self.call([smoke, self.work / "steps" / step, *more])
                lines = done.stdout.strip().splitlines()
                wrong = [line for line in lines if line.startswith("FAILED")]
                good = sum(line.startswith("ok") for line in lines)
                return done.returncode == 0 and good > 0, "; ".join(wrong) or f"{good} lines; {last_lines(done.stderr, 1)}"
            self.check(" ".join(["backend", step, *more]), work)

    def kernels(self, target, more=(), before=(), name="kernels", seconds=60):
        """One check per group that run-cases prints."""
        if not self.only.search(name):
            return
        if self.left() < 5:
            self.skip(f"{name} {target}", f"no time left of --seconds={self.seconds:.0f}")
            return
        command = [*before, self.work / "bin/run-cases", self.work / "cases" / target, *more]
        process = subprocess.Popen(["timeout", str(self.limit(seconds)), *map(str, command)], stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True, env=self.environment, errors="replace")
        groups, last, in_group = 0, [], []
        for line in process.stdout:
            line = line.rstrip()
            group = re.match(r"(ok    |FAILED) (\S+) +(\d+ cases, .*)", line)
            if group:
                groups += 1
                for problem in in_group[:5]:
                    print(f"       {problem[:300]}", flush=True)
                self.report(f"{name} {group[2]}", group[1] == "ok    ", group[3])
                in_group = []
            elif line.startswith("FAILED"):
                in_group.append(line)
            last = last[-4:] + [line]
        process.wait()
        # What is not a group's failure: a kernel that took the GPU down, no case at all, no time left.
        right = process.returncode == 0 and groups > 0 or process.returncode == 1 and groups > 0 and not in_group
        self.report(f"{name} {target}", right, last_lines("\n".join(last), 2) + ("" if right else f" (exit {process.returncode})"))

    def losses(self, name, dtype, target=""):
        step = f"{name}-{target or dtype}.so"
        options = TRAIN_FULL if name in FULL else TRAIN
        tolerance = 1e-5 if dtype == "float32" else 1e-2

        def work():
            got = [record["loss"] for record in self.train(step, options)]
            known = self.expected["models"][name]["losses"]
            if len(got) != len(known):
                return False, f"{len(got)} losses, expected {len(known)}"
            worst = max(abs(g - k) / abs(k) for g, k in zip(got, known))
            return worst <= tolerance, f"{len(got)} losses within {worst:.1e} of the CPU's, allowed {tolerance:.0e}; last {got[-1]:.6f}"
        self.check(f"step {name} {target + ' ' if target else ''}{dtype}", work)

    def twice(self):
        def figures(records):
            return [(record["loss"], record["gradients"]) for record in records]

        # Dropout, grouped queries, and a batch that fills the GPU.
        for name in ("openai", "gqa", "demo"):
            for dtype in ("float32", "bfloat16"):
                def work():
                    first = figures(self.train(f"{name}-{dtype}.so", TRAIN, "first"))
                    second = figures(self.train(f"{name}-{dtype}.so", TRAIN, "second"))
                    bare = figures(self.train(f"{name}-{dtype}.so", [*TRAIN, "--graphs=false"], "bare"))
                    if first != second:
                        return False, f"losses or gradients differ: {first[-1]} and {second[-1]}"
                    return first == bare, f"{len(first)} losses and gradient figures, also without graphs" if first == bare else "differs without graphs"
                self.check(f"equal to the bit {name} {dtype}", work)

    def ranks(self):
        """Ranks against one rank, with the same global batch."""
        fresh = ["--keep_checkpoints=0", "--eval_interval=5"]
        running, _ = self.start_ranks(2, "gqa-bfloat16-2-zero3.so", ["--gradient_accumulation_steps=2", "--max_iters=1", *fresh], "first")
        if "need NCCL, which cannot be loaded" in "".join(process.communicate(timeout=60)[0] for process in running):
            self.skip("ranks", "NCCL is not installed")
            return
        for name, dtype, ranks, levels in RANKS:
            tolerance, one, by_copies = (1e-5 if dtype == "float32" else 1e-3), [], {}
            ways = [True, False] if self.gpus >= ranks else [False]
            for level, copies in [(level, copies) for level in levels for copies in ways]:
                step = f"{name}-{dtype}-{ranks}-zero{level}.so"

                def work():
                    if not one:
                        self.train(f"{name}-{dtype}.so", [*TRAIN_RANKS, "--eval_interval=5"], "one")
                        one.extend(figures_of(read_events(self.work / "out" / "one")))
                    for out in ("ranks", "again"):
                        shutil.rmtree(self.work / "out" / out, ignore_errors=True)
                    events = self.train_ranks(ranks, step, [*TRAIN_RANKS, *fresh], "ranks", copies=copies)
                    got = figures_of(events)
                    again = figures_of(self.train_ranks(ranks, step, [*TRAIN_RANKS, *fresh], "again", copies=copies))
                    by = events[0]["startup_info"]["hardware"]["communication"]
                    if copies != ("copy engines" in by):
                        return False, f"by {by}"
                    if got != again:
                        return False, f"two runs differ: {got[0][-1]} and {again[0][-1]}"
                    if got != by_copies.setdefault(level, got):
                        return False, f"differs from what copy engines gave: {got[0][-1]} and {by_copies[level][0][-1]}"
                    if len(got[0]) != len(one[0]) or len(got[1]) != len(one[1]) or not got[1]:
                        return False, f"{len(got[0])} losses and {len(got[1])} evaluations, expected {len(one[0])} and {len(one[1])}"
                    pairs = [(a[1], b[1]) for a, b in zip(one[0], got[0])]
                    pairs += [(x, y) for a, b in zip(one[1], got[1]) for x, y in zip(a[1:], b[1:])]
                    worst = max(abs(a - b) / abs(a) for a, b in pairs)
                    return worst <= tolerance, (f"{len(pairs)} losses within {worst:.1e} of one rank's, allowed {tolerance:.0e}; "
                                                "the same bits again")
                self.check(f"{ranks} ranks {name} {dtype} zero {level}{', copies' if copies else ''}", work)

        def resumed():
            step, kept = "gqa-bfloat16-2-zero3.so", ["--eval_interval=0"]
            for out in ("straight", "parts"):
                shutil.rmtree(self.work / "out" / out, ignore_errors=True)
            straight = figures_of(self.train_ranks(2, step, [*TRAIN_RANKS, *kept], "straight"))
            parts = figures_of(self.train_ranks(2, step, [*TRAIN_RANKS, *kept, "--max_iters=6"], "parts"))
            rest = figures_of(self.train_ranks(2, step, [*TRAIN_RANKS, *kept, "--init_from=resume"], "parts"))
            joined = parts[0] + rest[0] if rest[0][0][0] == 6 else rest[0]
            return joined == straight[0], (f"{len(joined)} iterations, stopped after 6" if joined == straight[0] else
                                           f"{joined[-1]}, without a stop {straight[0][-1]}")
        self.check("2 ranks resume to the bit zero 3", resumed)

        for name, number, said in (("killed", signal.SIGKILL, "died"), ("stopped", signal.SIGSTOP, "hangs")):
            def disturbed():
                running, out = self.start_ranks(2, "gqa-bfloat16-2-zero3.so",
                                                ["--max_iters=1000000", "--gradient_accumulation_steps=2", "--keep_checkpoints=0",
                                                 "--eval_interval=0", "--comm_timeout=4"], name)
                try:
                    end = time.monotonic() + self.limit(30)
                    while not list(out.glob("*.jsonl")) or len(read_log(out)) < 5:
                        if time.monotonic() > end or running[0].poll() is not None:
                            return False, "the ranks do not train"
                        time.sleep(0.1)
                    time.sleep(1.5)  # what is known of a rank is half a second old
                    started = time.monotonic()
                    running[1].send_signal(number)
                    text = running[0].communicate(timeout=self.limit(30))[0]
                    took = time.monotonic() - started
                finally:
                    for process in running:
                        process.kill()
                        process.wait()
                expected = rf"rank 1 \(host \S+, process {running[1].pid}\) {said} in iteration \d+, last in collective '[^']+'"
                found = re.search(expected, text)
                right = running[0].returncode == 3 and found and took < 14
                return bool(right), (f"{took:.1f} s: {found[0]}" if right else
                                     f"exit {running[0].returncode} after {took:.1f} s: {last_lines(text)}")
            self.check(f"a rank is {name}", disturbed)

        def one_gpu():
            done = self.call([self.work / "bin/txrun", "--nproc=2", self.work / "steps/gqa-bfloat16-2-zero3.so",
                              f"--dataset={self.work}/data", f"--out_dir={self.work}/out/one-gpu", "--keep_checkpoints=0",
                              "--max_iters=1", "--gradient_accumulation_steps=2"], environment={"CUDA_VISIBLE_DEVICES": "0"})
            said = " ".join((done.stderr + done.stdout).split())
            right = done.returncode == 3 and re.search(r"rank 0 \(.*\) and rank 1 \(.*\) are on the same GPU", said)
            return bool(right), "exit 3, with its message" if right else f"exit {done.returncode}: {said[-300:]}"
        self.check("error: more ranks than GPUs", one_gpu)

    def halts(self):
        """A run that overflows names a command; one from the state that it saved, the same."""
        for name in ("gpt2", "gqa"):
            for dtype in ("float32", "bfloat16"):
                def work():
                    out, found = self.work / "out" / "halt", []
                    shutil.rmtree(out, ignore_errors=True)
                    overflow = ["--learning_rate=100", "--weight_decay=1", "--grad_clip=0", "--warmup_iters=0", "--max_iters=200",
                                "--gradient_accumulation_steps=2", "--nonfinite=halt-with-dump", "--keep_checkpoints=0"]
                    for more in (overflow, ["--init_from=resume"]):
                        done = self.call([self.work / "bin/txrun", self.work / "steps" / f"{name}-{dtype}.so",
                                          f"--dataset={self.work}/data", f"--out_dir={out}", *QUIET, "--quiet", *more])
                        dumps = list(out.glob("nonfinite-iter-*"))
                        if done.returncode != 4 or len(dumps) != 1:
                            return False, f"exit {done.returncode}, expected 4: {last_lines(done.stderr)}"
                        out = dumps[0]
                        report = json.loads((out / "report.json").read_text())
                        if report["update_made"] or not report["first"]:
                            return False, f"no command, or not the state before the update: {last_lines(done.stderr)}"
                        found.append((report["iter"], report["first"]))
                    at, first = found[0]
                    where = f"{first['name']} ({first['op']}, {first['direction']}) in iteration {at}"
                    return found[0] == found[1], where if found[0] == found[1] else f"{where}, then {found[1]}"
                self.check(f"halt with dump {name} {dtype}", work)

    def full(self):
        def work():
            started = time.monotonic()
            records = self.train("gpt2-b32.so", ["--max_iters=1", "--gradient_accumulation_steps=1"])
            taken = time.monotonic() - started
            return taken < 3 and len(records) == 1, f"{taken:.2f} s, at most 3 are allowed"
        self.check("start to first step, gpt2 B 32", work)

        def memory():
            log = self.train("gpt2-b32.so", ["--max_iters=12", "--gradient_accumulation_steps=1"])
            memory = log[-1]["memory"]
            plan, taken = memory["reserved_gb"] * 1e9 / 2**30, memory["peak_gb"] * 1e9 / 2**30
            right = abs(taken - plan) <= 0.01 * plan and taken <= 0.8 * PEER_PEAK["gpt2-b32"]
            times = sorted(record["time_ms"] for record in log[2:])
            return right, (f"plan {plan:.2f} GiB, taken {taken:.2f}, PyTorch {PEER_PEAK['gpt2-b32']}; "
                           f"{times[len(times) // 2]:.1f} ms per step untuned")
        self.check("memory, gpt2 B 32", memory)

    def decode(self):
        for kind, options in TEXTS.items():
            def work():
                done = self.call([self.work / "bin/txrun", self.work / "steps/sample-float32.so", f"--dataset={self.work}/data",
                                  "--keep_checkpoints=0", f"--out_dir={self.work}/out/sample", "--eval_interval=0", *SAMPLE, *options])
                if done.returncode != 0:
                    return False, f"exit {done.returncode}: {last_lines(done.stderr)}"
                known, got = self.expected["texts"][kind], done.stdout
                if got == known:
                    return True, f"{len(known)} characters as on the CPU: {known[:40]!r}..."
                same = next((i for i, (a, b) in enumerate(zip(known, got)) if a != b), min(len(known), len(got)))
                # Both sides trained first. A draw that falls between figures that differ in
                # their last bits changes all that follows, so only a late difference is chance.
                if kind == "drawn" and same >= len(known) // 2:
                    return True, f"as on the CPU for {same} of {len(known)} characters: {known[:40]!r}..."
                return False, f"differs after {same} of {len(known)} characters: {got[same:same + 30]!r}, the CPU has {known[same:same + 30]!r}"
            self.check(f"decode, {kind} text", work)

    def hugging_face(self, by="transformers", targets=("sm_90a", "cpu")):
        """Logits of what transformers saves and txrun takes, and the other way round."""
        if not self.only.search(f"logits by {by}"):
            return
        if by == "transformers" and self.call([sys.executable, "-c", "import transformers, torch"]).returncode != 0:
            self.skip("logits by transformers", "this Python has no package transformers, or no torch")
            return
        if "cpu" in targets and not has_library("libdnnl.so.2", "libdnnl.so.3"):
            self.skip(f"logits by {by}, CPU", "txrun multiplies matrices on the CPU with oneDNN, which is not installed here")
            targets = [target for target in targets if target != "cpu"]
        for layout, files in (("llama", 3), ("gpt2", 1)):
            for target in targets:
                def work():
                    step, out = self.work / f"steps/hugging-face-{layout}-{target}.so", self.work / "out" / f"hugging-face-{layout}-{target}"
                    txrun, script = [self.work / "bin/txrun", step], [sys.executable, self.work / "hugging_face.py"]
                    said = ""
                    for command in (
                            [*script, "make", f"--by={by}", f"--layout={layout}", f"--out={out}/made", "--dtype=BF16", f"--files={files}"],
                            [*txrun, f"--dataset={self.work}/bytes", f"--init_from={out}/made", "--eval_only", "--eval_iters=1", "--quiet",
                             f"--out_dir={out}/run", "--sample", f"--prompt=FILE:{self.work}/prompt.txt", "--max_new_tokens=1",
                             f"--dump_tensors={out}/tensors"],
                            [*txrun, f"--init_from={out}/made", f"--export={out}/back", "--quiet"],
                            [*script, "equal", f"{out}/made", f"{out}/back"],
                            [*script, "logits", f"{out}/made", f"--by={by}", f"--text={self.work}/prompt.txt", f"--tensors={out}/tensors"],
                            [*script, "logits", f"{out}/back", f"--by={by}", f"--text={self.work}/prompt.txt", f"--tensors={out}/tensors"]):
                        done = self.call(command)
                        if done.returncode != 0:
                            return False, f"{' '.join(map(str, command[1:3]))} exited with {done.returncode}: {last_lines(done.stderr + done.stdout)}"
                        said = last_lines(done.stdout, 1)
                    return True, said
                self.check(f"logits by {by} {layout} {target}", work)

    def errors(self):
        missing = str(self.work / "nowhere.so")
        rows = [
            ("GPU hidden", "gpt2-bfloat16.so", {"CUDA_VISIBLE_DEVICES": ""}, [], r"no NVIDIA GPU that this process may use"),
            ("no such GPU", "gpt2-bfloat16.so", {}, ["--device=99"], r"asks for GPU 99, this process may use"),
            ("no driver library", "gpt2-bfloat16.so", {"TXC_CUDA_LIBRARY": missing}, [], r"cannot load NVIDIA's driver library .*nowhere"),
            ("no cuBLASLt", "gpt2-bfloat16.so", {"TXC_CUBLASLT_LIBRARY": missing}, [], r"cannot load cuBLASLt"),
            ("arena larger than the memory", "too-large.so", {}, [], r"not enough memory on GPU 0 .*the step needs .*are free"),
            ("wrong arch", "too-new.so", {}, [], r"its kernels are for sm_999, GPU 0 .*--target="),
        ]
        for name, step, environment, more, message in rows:
            def work():
                done = self.call([self.work / "bin/txrun", self.work / "steps" / step, f"--dataset={self.work}/data",
                                  "--keep_checkpoints=0", f"--out_dir={self.work}/out/error", "--max_iters=1", *more], environment=environment)
                said = " ".join((done.stderr + done.stdout).split())
                right = done.returncode == 3 and re.search(message, said)
                return bool(right), "exit 3, with its message" if right else f"exit {done.returncode}: {said[-300:]}"
            self.check(f"error: {name}", work)

    def sanitizers(self):
        found = shutil.which("compute-sanitizer") or next(
            (path for path in map(str, sorted(pathlib.Path("/usr/local").glob("cuda*/bin/compute-sanitizer")))), None)
        if not found:
            self.skip("compute-sanitizer", "not found on PATH or in /usr/local/cuda*/bin")
            return
        steps = ["--max_iters=2", "--gradient_accumulation_steps=1", "--graphs=false", "--learning_rate=1e-3"]
        for tool, model in (("memcheck", "openai-bfloat16"), ("initcheck", "openai-bfloat16"), ("racecheck", "openai-bfloat16"),
                            ("memcheck", "gqa-bfloat16"), ("racecheck", "gqa-bfloat16"), ("memcheck", "llama-float32")):
            def work():
                done = self.call([found, "--tool", tool, "--error-exitcode=99", self.work / "bin/txrun",
                                  self.work / "steps" / f"{model}.so", f"--dataset={self.work}/data",
                                  "--keep_checkpoints=0", f"--out_dir={self.work}/out/{tool}", *QUIET, "--quiet", *steps], seconds=30)
                lines = [line.strip("= ") for line in (done.stdout + done.stderr).splitlines()]
                summary = [line for line in lines if "SUMMARY" in line]
                right = done.returncode == 0 and summary and re.search(r"\b0 (errors|hazards)", summary[-1])
                if tool == "racecheck" and summary and not right:
                    where = re.findall(r"access at (\w+)\+0x", "\n".join(lines))
                    strange = sorted(set(where) - EXPLAINED_HAZARDS)
                    if where and not strange:
                        return True, f"{summary[-1]}; all in {', '.join(sorted(set(where)))}, explained in docs/rationale/gpu-attention.md"
                    summary[-1] += f"; unexplained: {', '.join(strange) or 'no function named'}"
                first = next((line for line in lines if re.match(r"(Invalid|Error|Uninit|Warning|Race)", line)), "")
                return bool(right), (summary[-1] if summary else last_lines(done.stdout + done.stderr)) + (f"; first: {first}" if first else "")
            self.check(f"{tool} {model}", work)
        self.kernels("sm_90a", ["--apart", "--per-group=1"], [found, "--tool", "memcheck", "--error-exitcode=99"],
                     name="memcheck of kernels", seconds=40)

    def run(self):
        gpu, problem = self.machine()
        if not gpu:
            print(f"error: no NVIDIA GPU: {problem}; run this where one is, with its driver (525 or newer)", file=sys.stderr)
            return 3
        with tarfile.open(self.folder / "payload.tar.xz") as archive:
            archive.extractall(self.work, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
        self.expected = json.loads((self.work / "expected.json").read_text())
        print(f"{gpu}\n", flush=True)
        self.backend()
        self.kernels("sm_90a")
        for name in TINY:
            for dtype in ("float32", "bfloat16"):
                self.losses(name, dtype)
        for name in FULL:
            for dtype in ("float32", "bfloat16"):
                self.losses(name, dtype)
        self.twice()
        self.ranks()
        self.halts()
        self.full()
        self.decode()
        self.errors()
        for name in ("gpt2", "gqa"):
            self.losses(name, "bfloat16", "sm_80")
        self.kernels("sm_80", name="kernels from PTX", seconds=30)
        self.sanitizers()
        self.hugging_face()
        print(f"\n{self.passed} passed, {len(self.failed)} failed, {len(self.skipped)} skipped in "
              f"{time.monotonic() - self.started:.0f} s on {gpu}")
        for name in self.failed:
            print(f"  failed: {name}")
        if not self.passed and not self.failed:
            print("error: nothing ran", file=sys.stderr)
            return 1
        return 1 if self.failed else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("half", choices=("pack", "run"))
    parser.add_argument("folder")
    parser.add_argument("--build", help="pack: build folder")
    parser.add_argument("--source", help="pack: the project")
    parser.add_argument("--keep-expected", action="store_true",
                        help="pack: losses and texts of the CPU as in the pack that is there, when only code for GPUs changed")
    parser.add_argument("--ranks-only", action="store_true", help="pack: only what `run --only=rank` needs, for a machine with several GPUs")
    parser.add_argument("--seconds", type=float, default=400, help="run: for everything; what is left then fails")
    parser.add_argument("--only", default="", help="run: checks whose name matches")
    arguments = parser.parse_args()
    if arguments.half == "pack":
        Packer(arguments).pack()
        return 0
    runner = Runner(arguments)
    try:
        return runner.run()
    finally:
        shutil.rmtree(runner.work, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
