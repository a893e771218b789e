#!/usr/bin/env python3
"""Times txc's training step and PyTorch's on one GPU, in one run, in turns.

  benchmarks/gpu_step.py pack DIR [--bin build/release/bin]    where txc is: the steps
  benchmarks/gpu_step.py run DIR [--out DIR]                   where the GPU is

DIR holds txrun, one step per model, and random tokens; it can be carried to a machine
with a GPU, PyTorch and these scripts. Models: arch_gpt2 and arch_llama with batches of
32, llama_1.4b; bf16 with fp32 masters on both sides. Each round runs a process of ours
for --steps steps after 10 to warm up, with --tune, and as many of the peer's
(torch_gpu_peer.py), which stays compiled between rounds. The peers of the models of
one group (--models=gpt2+llama,llama_1.4b) compile side by side, before any is timed.

Prints medians over all rounds, a table as docs/numbers.md has it, and with --kernels
each model's table of kernels (gpu_kernels.py). Writes OUT/gpu_step.json with every
time, and OUT/profile-MODEL.json.
"""
import argparse
import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import gpu_kernels

HERE = pathlib.Path(__file__).resolve().parent
MODELS = {"gpt2": ["arch_gpt2", "--batch_size=32"], "llama": ["arch_llama", "--batch_size=32"], "llama_1.4b": ["llama_1.4b"]}
WARM_UP = 10
GIB = 2**30


def call(command, **options):
    command = [str(part) for part in command]
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} exited with {done.returncode}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def pack(args):
    folder = pathlib.Path(args.folder)
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    tools = pathlib.Path(args.bin).absolute()
    for name in [name for group in args.models.split(",") for name in group.split("+")]:
        config, *overrides = MODELS[name]
        call([tools / "txc", "compile", HERE.parent / "configs" / f"{config}.yaml", *overrides, "--target=sm_90a", "--dtype=bfloat16",
              "--decode=false", *args.txc, "-o", folder / f"{name}.so"])
        print(f"{name}.so: {(folder / f'{name}.so').stat().st_size / 1e6:.1f} MB")
    call(["strip", "-o", folder / "txrun", tools / "txrun"])
    generator = random.Random(1)
    for split, count in (("train", 400_000), ("val", 40_000)):
        tokens = b"".join(generator.randrange(50257).to_bytes(2, "little") for _ in range(count))
        (data / f"{split}.bin").write_bytes(tokens)
    (data / "meta.json").write_text(json.dumps({"dtype": "uint16", "vocab_size": 50257}))


class Ours:
    def __init__(self, folder, name, cache):
        self.folder, self.name = folder, name
        self.environment = {**os.environ, "XDG_CACHE_HOME": cache}
        self.ms, self.start, self.memory, self.first_step = [], None, None, None

    def command(self, out, iterations, *more):
        return [self.folder / "txrun", self.folder / f"{self.name}.so", f"--dataset={self.folder / 'data'}", "--keep_checkpoints=0", f"--out_dir={out}",
                "--gradient_accumulation_steps=1", f"--max_iters={iterations}", "--eval_interval=0", "--log_interval=1",
                "--gradient_log_interval=1", "--quiet", *more]

    def run(self, iterations, *more):
        """Every record of the log, and the seconds that the process took."""
        with tempfile.TemporaryDirectory() as out:
            begin = time.monotonic()
            call(self.command(out, iterations, *more), env=self.environment)
            seconds = time.monotonic() - begin
            log = next(pathlib.Path(out).glob("*.jsonl"))
            return [json.loads(line) for line in log.read_text().splitlines()], seconds

    def round(self, steps):
        records, _ = self.run(WARM_UP + steps, "--tune")
        self.start = next(record for record in records if record["event"] == "start")
        iterations = [record for record in records if record["event"] == "iteration"]
        self.ms += [record["time_ms"] for record in iterations][WARM_UP:]
        self.memory = iterations[-1]["memory"]

    def time_first_step(self):
        _, self.first_step = self.run(1)

    def profile(self, to):
        with tempfile.TemporaryDirectory() as out:
            call(self.command(out, 12, "--tune", "--profile=5"), env=self.environment)
            shutil.copy(pathlib.Path(out) / "profile.json", to)
        return json.loads(to.read_text())


class Peer:
    """A process of torch_gpu_peer.py."""

    def __init__(self, config, work, name, options):
        path = pathlib.Path(work) / f"{name}.json"
        path.write_text(json.dumps(config))
        self.errors = open(pathlib.Path(work) / f"{name}.err", "w+")
        self.process = subprocess.Popen([sys.executable, str(HERE / "torch_gpu_peer.py"), str(path), *options], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors)
        self.ms, self.peak, self.ready, self.problem = [], None, None, ""

    def answer(self):
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        self.errors.seek(0)
        self.problem = self.errors.read()[-1500:]
        raise RuntimeError(f"the peer ended:\n{self.problem}")

    def wait(self):
        self.ready = self.answer()

    def round(self, steps):
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        answer = self.answer()
        # The first comes after a pause.
        self.ms += answer["ms"][1:]
        self.peak = answer["peak_bytes"]

    def end(self):
        self.process.stdin.close()
        try:
            self.process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def summary(ours, peer):
    model, hardware = ours.start["startup_info"]["model"], ours.start["startup_info"]["hardware"]
    tokens = ours.start["startup_info"]["optimizer"]["tokens_per_iteration"]

    def side(ms, peak):
        median = statistics.median(ms)
        rate = tokens / median * 1e3
        return {"ms": median, "ms_min": min(ms), "steps": len(ms), "tokens_per_second": rate, "peak_gib": peak / GIB,
                "mfu_percent": 100 * rate * model["flops_per_token"] / 1e12 / hardware["peak_tflops"] if hardware["peak_tflops"] else None,
                "all_ms": ms}
    result = {"architecture": model["architecture_name"], "parameters": model["total_parameters"],
              "tokens_per_step": tokens, "gpu": hardware["gpu_name"], "library": hardware["matrix_products"],
              "txc": side(ours.ms, ours.memory["peak_gb"] * 1e9)}
    result["txc"].update(plan_gib=model["arena_bytes"] / GIB, first_step_s=ours.first_step)
    if peer and peer.ms:
        result["torch"] = side(peer.ms, peer.peak)
        result["torch"].update(version=peer.ready["torch"], first_step_s=peer.ready["first_step_s"])
        result["speed_ratio"] = result["torch"]["ms"] / result["txc"]["ms"]
        result["memory_ratio"] = result["txc"]["peak_gib"] / result["torch"]["peak_gib"]
    return result


def line(name, result):
    ours, theirs = result["txc"], result.get("torch")
    text = f"| {name:10} | {ours['ms']:7.2f} | "
    text += f"{theirs['ms']:7.2f} | {result['speed_ratio']:5.3f} | " if theirs else "      - |     - | "
    text += f"{ours['mfu_percent'] or 0:4.1f}% | {ours['tokens_per_second']:9,.0f} | {ours['peak_gib']:6.2f} | "
    text += f"{theirs['peak_gib']:6.2f} | {result['memory_ratio']:4.2f} | " if theirs else "     - |    - | "
    return text + f"{ours['first_step_s']:5.2f} | " + (f"{theirs['first_step_s']:5.1f} |" if theirs else "    - |")


def run_group(names, args, work, cache, results):
    folder, out = pathlib.Path(args.folder), pathlib.Path(args.out)
    ours = {name: Ours(folder.absolute(), name, cache) for name in names}
    peers = {}
    # What the peer computes is what the step's log says; this also loads files once.
    for name in names:
        records, _ = ours[name].run(1)
        if not args.no_peer:
            peers[name] = Peer(next(r for r in records if r["event"] == "start")["config"], work, name, args.peer)
    try:
        for name, peer in list(peers.items()):
            try:
                peer.wait()
                print(f"{name}: the peer is compiled after {peer.ready['ready']} s", flush=True)
            except RuntimeError as error:
                print(f"{name}: {error}", flush=True)
                peers.pop(name).end()
        for number in range(args.rounds):
            for name in names:
                ours[name].round(args.steps)
                text = f"{name} round {number + 1}: txc {statistics.median(ours[name].ms[-args.steps:]):.2f} ms"
                if name in peers:
                    peers[name].round(args.steps + 1)
                    text += f", PyTorch {statistics.median(peers[name].ms[-args.steps:]):.2f} ms"
                print(text, flush=True)
    finally:
        for peer in peers.values():
            peer.end()
    for name in names:
        ours[name].time_first_step()
        results[name] = summary(ours[name], peers.get(name))
        if args.kernels:
            profile = ours[name].profile(out / f"profile-{name}.json")
            print(f"\n{gpu_kernels.table(profile)}\n", flush=True)


def run(args):
    out = pathlib.Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    results, failed = {}, []
    with tempfile.TemporaryDirectory() as work:
        cache = os.path.join(work, "cache")
        for group in args.models.split(","):
            try:
                run_group(group.split("+"), args, work, cache, results)
            except (RuntimeError, OSError) as error:
                failed.append(group)
                print(f"{group}: {error}", flush=True)
            (out / "gpu_step.json").write_text(json.dumps(results, indent=1))
    for name, result in results.items():
        print(f"{name}: {result['architecture']}, {result['tokens_per_step']} tokens per step, {result['gpu']}, {result['library']}"
              + (f", PyTorch {result['torch']['version']}" if "torch" in result else ""))
    print("| model      |      ms | PyTorch | ratio |   MFU |  tokens/s |    GiB | PyTorch | ratio | first step, s | PyTorch |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for name, result in results.items():
        print(line(name, result))
    missing = [name for name, result in results.items() if "torch" not in result and not args.no_peer]
    return 1 if failed or missing or not results else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("half", choices=("pack", "run"))
    parser.add_argument("folder")
    parser.add_argument("--models", default="gpt2+llama,llama_1.4b")
    parser.add_argument("--bin", default="build/release/bin", help="pack: where the tools are")
    parser.add_argument("--txc", action="append", default=[], help="pack: one more option of txc compile")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20, help="per round")
    parser.add_argument("--out", default=".", help="run: folder for the JSON files")
    parser.add_argument("--kernels", action="store_true", help="run: also profile the kernels")
    parser.add_argument("--no-peer", action="store_true", help="run: ours alone")
    parser.add_argument("--peer", action="append", default=[], help="run: an option of torch_gpu_peer.py")
    args = parser.parse_args()
    unknown = [name for group in args.models.split(",") for name in group.split("+") if name not in MODELS]
    if unknown:
        parser.error(f"no model {unknown[0]}; there are {', '.join(MODELS)}")
    if args.half == "pack":
        pack(args)
        return 0
    return run(args)


if __name__ == "__main__":
    sys.exit(main())
