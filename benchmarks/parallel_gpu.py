#!/usr/bin/env python3
"""Trains on several GPUs of one host and on one, ours and PyTorch's, in one run.

  benchmarks/parallel_gpu.py pack DIR [--bin build/release/bin] [--ranks 2]    where txc is
  benchmarks/parallel_gpu.py run DIR [--out DIR]                               where the GPUs are

DIR holds txrun, the steps and random tokens; it can be carried to a machine with GPUs,
NCCL, PyTorch and these scripts. Models: arch_gpt2 with batches of 32 per GPU, llama_1.4b
with 8; bf16; ZeRO 0, 1 and 3. For each, at the same global batch:

  losses     of N GPUs against one GPU with N micro batches per step; a second run on N
             GPUs, which must have the same bits
  tokens/s   per GPU with one micro batch per step, against "apart": N processes that know
             nothing of each other, each on a GPU of its own, all at once, the mean of their
             medians. GPUs of one model differ by a percent, and N that work together are as
             fast as the slowest, so that one's share is given too. So for PyTorch
             (torch_gpu_peer.py) as DDP against zero 0 and FSDP2 against zero 3
  memory     in use against the plan, and against PyTorch's peak

Each round runs every process once, so that what changes falls on all; PyTorch's, which
compile for a minute, only in the first --peer-rounds. Ends with 1 if losses differ by more
than --tolerance, a repeated run differs at all, more than 1.01 times the planned memory is in
use, or a run failed. Writes OUT/parallel_gpu.json with every time and loss as it goes.
"""
import argparse
import concurrent.futures
import json
import os
import pathlib
import random
import statistics
import subprocess
import sys
import tempfile

from gpu_step import GIB, HERE, WARM_UP, call

MODELS = {"gpt2": ["arch_gpt2", "--batch_size=32"], "llama_1.4b": ["llama_1.4b"]}
LEVELS = (0, 1, 3)
SHARES = {0: "ddp", 3: "fsdp"}  # what PyTorch has beside it


def pack(args):
    folder = pathlib.Path(args.folder)
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    tools = pathlib.Path(args.bin).absolute()
    for name in args.models.split(","):
        config, *overrides = MODELS[name]
        steps = {f"{name}-1": []} | {f"{name}-zero{level}": [f"--mesh=dp:{args.ranks}", f"--zero={level}"] for level in LEVELS}
        for step, more in steps.items():
            call([tools / "txc", "compile", HERE.parent / "configs" / f"{config}.yaml", *overrides, *more, f"--target={args.target}",
                  "--dtype=bfloat16", "--decode=false", "-o", folder / f"{step}.so"])
            plan = json.loads(call([tools / "txc", "explain", folder / f"{step}.so", "--json"]))
            print(f"{step}.so: {(folder / f'{step}.so').stat().st_size / 1e6:.1f} MB, plans {plan['arena_bytes'] / GIB:.2f} GiB")
    call(["strip", "-o", folder / "txrun", tools / "txrun"])
    generator = random.Random(1)
    for split, count in (("train", 400_000), ("val", 40_000)):
        (data / f"{split}.bin").write_bytes(b"".join(generator.randrange(50257).to_bytes(2, "little") for _ in range(count)))
    (data / "meta.json").write_text(json.dumps({"dtype": "uint16", "vocab_size": 50257}))
    (folder / "pack.json").write_text(json.dumps({"models": args.models.split(","), "ranks": args.ranks}))


def ours(folder, step, ranks, micro, iterations, cache, *more, device=0):
    """Every record of the log of a run."""
    with tempfile.TemporaryDirectory() as out:
        command = [folder / "txrun", folder / f"{step}.so", f"--dataset={folder / 'data'}", f"--out_dir={out}",
                   f"--gradient_accumulation_steps={ranks * micro}", f"--max_iters={iterations}", "--eval_interval=0",
                   "--log_interval=1", "--gradient_log_interval=1", "--keep_checkpoints=0", "--quiet", *more]
        command += [f"--nproc={ranks}", "--comm_timeout=60"] if ranks > 1 else [f"--device={device}"]
        call(command, env={**os.environ, "XDG_CACHE_HOME": cache}, timeout=300)
        log = next(pathlib.Path(out).glob("*.jsonl"))
        return [json.loads(line) for line in log.read_text().splitlines()]


def at_once(count, work):
    """work(0), work(1), ... on threads; what they return."""
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(work, range(count)))


def peer(config, ranks, share, steps, work, device=None):
    """Milliseconds and peak of PyTorch, of `ranks` or alone on a device."""
    path = pathlib.Path(work) / f"peer{device}.json"
    path.write_text(json.dumps(config))
    launcher, environment = [sys.executable], dict(os.environ)
    if device is None:
        launcher += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
    else:
        environment["CUDA_VISIBLE_DEVICES"] = str(device)
    text = call([*launcher, HERE / "torch_gpu_peer.py", path, f"--share={share}", f"--steps={steps + 1}"], timeout=300, env=environment)
    answer = [json.loads(line) for line in text.splitlines() if line.startswith("{")][-1]
    return answer["ms"][1:], answer["peak_bytes"]


def iterations(records):
    return [record for record in records if record["event"] == "iteration"]


def run_model(name, ranks, args, folder, cache, work, result, save):
    """Fills `result`, which `save` writes down as it grows; what failed."""
    failed = []
    result.update({"losses": {}, "ms": {}, "gib": {}, "plan_gib": {}, "torch_ms": {}, "torch_gib": {}})

    def losses(step, count, micro):
        found = iterations(ours(folder, step, count, micro, args.loss_steps, cache, "--learning_rate=1e-4", "--warmup_iters=0"))
        return [record["loss"] for record in found]

    if args.loss_steps:
        result["losses"]["1"] = expected = losses(f"{name}-1", 1, ranks)
    for level in LEVELS if args.loss_steps else ():
        key = f"zero{level}"
        result["losses"][key] = got = losses(f"{name}-{key}", ranks, 1)
        again = losses(f"{name}-{key}", ranks, 1)
        worst = max(abs(a - b) / abs(a) for a, b in zip(expected, got, strict=True))
        print(f"{name} {key}: losses differ from one GPU's by at most {worst:.1e}; the same run twice: "
              f"{'the same bits' if again == got else 'DIFFERENT'}", flush=True)
        if worst > args.tolerance or again != got:
            failed.append(f"{name} {key}: losses")

    # Chooses algorithms of products, which are kept, on one GPU for all.
    if args.rounds:
        ours(folder, f"{name}-1", 1, 1, 1, cache, "--tune")
    for number in range(args.rounds):
        for key in ["apart", *(f"zero{level}" for level in LEVELS)]:
            steps = WARM_UP + args.steps
            if key == "apart":
                runs = at_once(ranks, lambda device: ours(folder, f"{name}-1", 1, 1, steps, cache, "--tune", device=device))
            else:
                runs = [ours(folder, f"{name}-{key}", ranks, 1, steps, cache, "--tune")]
            start = next(record for record in runs[0] if record["event"] == "start")
            times = result["ms"].setdefault(key, [[] for _ in runs])
            for known, records in zip(times, runs):
                known.extend([record["time_ms"] for record in iterations(records)][WARM_UP:])
            result["gib"][key] = iterations(runs[0])[-1]["memory"]["peak_gb"] * 1e9 / GIB
            result["plan_gib"][key] = start["startup_info"]["model"]["arena_bytes"] / GIB
            if key == "apart":
                result["tokens_per_gpu_and_step"] = start["startup_info"]["optimizer"]["tokens_per_iteration"]
            else:
                result["communication"] = start["startup_info"]["hardware"]["communication"]
            print(f"{name} {key} round {number + 1}: {', '.join(f'{statistics.median(of):.2f}' for of in times)} ms, "
                  f"{result['gib'][key]:.2f} GiB of {result['plan_gib'][key]:.2f} planned", flush=True)
            if result["gib"][key] > 1.01 * result["plan_gib"][key] and f"{name} {key}: memory" not in failed:
                failed.append(f"{name} {key}: memory")
            save()
            if args.no_peer or number >= args.peer_rounds or key not in ("apart", *(f"zero{level}" for level in SHARES)):
                continue
            try:
                if key == "apart":
                    peers = at_once(ranks, lambda device: peer(start["config"], 1, "none", args.steps, work, device))
                else:
                    peers = [peer(start["config"], ranks, SHARES[int(key[-1])], args.steps, work)]
                times = result["torch_ms"].setdefault(key, [[] for _ in peers])
                for known, (ms, peak) in zip(times, peers):
                    known.extend(ms)
                    result["torch_gib"][key] = peak / GIB
                print(f"{name} {key} round {number + 1}: PyTorch {', '.join(f'{statistics.median(of):.2f}' for of in times)} ms", flush=True)
            except (RuntimeError, subprocess.TimeoutExpired, IndexError) as error:
                failed.append(f"{name} {key}: PyTorch")
                print(f"{name} {key}: PyTorch: {error}", flush=True)
        save()
    return failed


def medians(times):
    return [statistics.median(of) for of in times]


def table(results):
    print("| model | run | ms | tokens/s per GPU | of apart | of the slowest apart | PyTorch ms | of apart | GiB | plan | PyTorch GiB |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for name, result in results.items():
        for key, times in result["ms"].items():
            ms, apart = statistics.mean(medians(times)), medians(result["ms"]["apart"])
            line = f"| {name} | {key} | {ms:.2f} | {result['tokens_per_gpu_and_step'] / ms * 1e3:,.0f} | "
            line += f"{100 * statistics.mean(apart) / ms:.1f}% | {100 * max(apart) / ms:.1f}% | "
            theirs = result["torch_ms"]
            if theirs.get(key) and theirs.get("apart"):
                peer_ms = statistics.mean(medians(theirs[key]))
                line += f"{peer_ms:.2f} | {100 * statistics.mean(medians(theirs['apart'])) / peer_ms:.1f}% | "
            else:
                line += "- | - | "
            line += f"{result['gib'][key]:.2f} | {result['plan_gib'][key]:.2f} | "
            print(line + (f"{result['torch_gib'][key]:.2f} |" if key in result["torch_gib"] else "- |"))
    for name, result in ((name, result) for name, result in results.items() if result["ms"]):
        print(f"{name}: {result.get('communication')}; apart {', '.join(f'{ms:.2f}' for ms in medians(result['ms']['apart']))} ms"
              + (f", PyTorch {', '.join(f'{ms:.2f}' for ms in medians(result['torch_ms']['apart']))} ms" if result["torch_ms"].get("apart") else ""))


def run(args):
    folder, out = pathlib.Path(args.folder).absolute(), pathlib.Path(args.out)
    out.mkdir(parents=True, exist_ok=True)
    packed = json.loads((folder / "pack.json").read_text())
    results, failed = {}, []

    def save():
        (out / "parallel_gpu.json").write_text(json.dumps(results, indent=1))
    with tempfile.TemporaryDirectory() as work:
        cache = str(pathlib.Path(args.cache).absolute()) if args.cache else os.path.join(work, "cache")
        for name in [name for name in packed["models"] if name in args.models.split(",")]:
            try:
                failed += run_model(name, packed["ranks"], args, folder, cache, work, results.setdefault(name, {}), save)
            except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
                failed.append(name)
                print(f"{name}: {error}", flush=True)
            save()
    table(results)
    for what in failed:
        print(f"FAILED: {what}")
    return 1 if failed or not results else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("half", choices=("pack", "run"))
    parser.add_argument("folder")
    parser.add_argument("--models", default=",".join(MODELS), help="which of them")
    parser.add_argument("--bin", default="build/release/bin", help="pack: where the tools are")
    parser.add_argument("--ranks", type=int, default=2, help="pack: how many GPUs")
    parser.add_argument("--target", default="sm_90a", help="pack: of txc compile")
    parser.add_argument("--rounds", type=int, default=2, help="0: losses only")
    parser.add_argument("--peer-rounds", type=int, default=1)
    parser.add_argument("--cache", help="run: folder that keeps the choices of --tune; else they are made again")
    parser.add_argument("--steps", type=int, default=20, help="per round")
    parser.add_argument("--loss-steps", type=int, default=10, help="0: no comparison of losses")
    parser.add_argument("--tolerance", type=float, default=2e-3, help="relative, of losses in bf16")
    parser.add_argument("--out", default=".", help="run: folder for the JSON file")
    parser.add_argument("--no-peer", action="store_true", help="run: ours alone")
    args = parser.parse_args()
    unknown = [name for name in args.models.split(",") if name not in MODELS]
    if unknown:
        parser.error(f"no model {unknown[0]}; there are {', '.join(MODELS)}")
    if args.half == "pack":
        pack(args)
        return 0
    return run(args)


if __name__ == "__main__":
    sys.exit(main())
