#!/usr/bin/env python3
"""What checkpoints cost: a run that saves every --interval iterations against one that never does.

  benchmarks/save_cost.py [--bin build/release/bin] [--rounds 5] [--iterations 200] [--interval 50] [--threads 1]

Both train configs/demo_cpu.yaml and evaluate at the same iterations, in turns, the
one first that was second before. Compared are, over all of a process from its start
to its end, the last save included:
  wall       time that passed
  processor  time on processors, the thread that writes and the kernel's part included
Medians over the rounds, of the times and of the ratio within each round: other work
on the machine disturbs both sides of a round alike. The files are on the disk of
--folder when a save is done (fsync).
"""
import argparse
import glob
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))


def times(command):
    """Wall and processor seconds of a process."""
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{text}")
    return time.monotonic() - start, usage.ru_utime + usage.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default="build/release/bin")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=200)
    parser.add_argument("--interval", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--folder", help="where runs write (default: a temporary one)")
    args = parser.parse_args()
    tool = lambda name: os.path.join(os.path.abspath(args.bin), name)  # noqa: E731
    with tempfile.TemporaryDirectory(dir=args.folder) as scratch:
        corpus = os.path.join(HERE, "..", "datasets", "corpus.txt")
        times([tool("txdata"), "prepare", corpus, "--tokenizer=char", f"--out={scratch}/data"])
        times([tool("txc"), "compile", os.path.join(HERE, "..", "configs", "demo_cpu.yaml"), "--target=cpu", "-o",
               f"{scratch}/step.so"])
        runs = 0

        def train(saves):
            nonlocal runs
            runs += 1
            out = f"{scratch}/out{runs}"
            result = times([tool("txrun"), f"{scratch}/step.so", f"--dataset={scratch}/data", f"--threads={args.threads}",
                            f"--max_iters={args.iterations}", f"--eval_interval={args.interval}", "--eval_iters=1",
                            *(["--always_save_checkpoint"] if saves else ["--keep_checkpoints=0"]), f"--out_dir={out}"])
            (path,) = glob.glob(f"{out}/run_*.json")
            with open(path) as file:
                made = json.load(file)["summary"]["total_checkpoints"]
            assert made == (-(-args.iterations // args.interval) if saves else 0), made
            if saves:
                newest = max(glob.glob(f"{out}/checkpoints/*"))
                nonlocal size
                size = sum(os.path.getsize(path) for path in glob.glob(newest + "/*"))
            return result

        size = 0
        with_saves, without = [], []
        for number in range(args.rounds):
            for saves in ((True, False) if number % 2 else (False, True)):
                (with_saves if saves else without).append(train(saves))
    print(f"{args.rounds} rounds of {args.iterations} iterations, threads {args.threads}, a checkpoint of {size / 1e6:.1f} MB "
          f"every {args.interval}, load of the machine {os.getloadavg()[0]:.1f}")
    for k, name in enumerate(("wall", "processor")):
        ratios = [saved[k] / plain[k] for saved, plain in zip(with_saves, without)]
        print(f"{name:<10} {statistics.median(t[k] for t in without):7.2f} s without, "
              f"{statistics.median(t[k] for t in with_saves):7.2f} s with: {100 * statistics.median(ratios) - 100:+.2f}% "
              f"({100 * min(ratios) - 100:+.2f} to {100 * max(ratios) - 100:+.2f})")


if __name__ == "__main__":
    main()
