#!/usr/bin/env python3
"""What reporting and logging each iteration cost, against the step.

  benchmarks/report_cost.py --bin build/release/bin [--rounds 3] [--callgrind]

A record costs the same whatever the size of the matrices, so it is measured on
a tiny model of demo_cpu's depth, where it is not lost in noise: processor time,
the kernel's included, of runs with --log_interval=1 less that of runs without
reports, in turns. The step is configs/demo_cpu.yaml on one thread: time of 14
iterations less that of 4. --callgrind also counts the instructions below
Trainer::report and needs valgrind; steps for it are compiled for x86-64-v3, the
most that valgrind knows.
"""
import argparse
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
DEMO = os.path.join(HERE, "..", "configs", "demo_cpu.yaml")
TINY = ["--n_embd=32", "--d_ff=88", "--block_size=16", "--batch_size=1"]


def processor_seconds(command):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{result.stdout}{result.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default="build/release/bin")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--callgrind", action="store_true")
    args = parser.parse_args()
    tool = lambda name: os.path.join(os.path.abspath(args.bin), name)  # noqa: E731
    with tempfile.TemporaryDirectory() as scratch:
        corpus = os.path.join(HERE, "..", "datasets", "corpus.txt")
        processor_seconds([tool("txdata"), "prepare", corpus, "--tokenizer=char", f"--out={scratch}/data"])
        for name, options in (("demo", []), ("tiny", TINY), ("tiny3", TINY + ["--cpu=x86-64-v3"])):
            processor_seconds([tool("txc"), "compile", DEMO, *options, "--target=cpu", "-o", f"{scratch}/{name}.so"])

        def train(name, iterations, interval, *before):
            return processor_seconds([*before, tool("txrun"), f"{scratch}/{name}.so", f"--dataset={scratch}/data", "--threads=1",
                                      f"--max_iters={iterations}", f"--log_interval={interval}", "--gradient_log_interval=1",
                                      "--eval_interval=0", "--keep_checkpoints=0", f"--out_dir={scratch}/out"])

        never = 10**9
        reports, steps = [], []
        for _ in range(args.rounds):
            reports.append((train("tiny", 1500, 1) - train("tiny", 1500, never)) / 1500)
            steps.append((train("demo", 14, never) - train("demo", 4, never)) / 10)
        report, step = statistics.median(reports), statistics.median(steps)
        print(f"report and log: {report * 1e6:.0f} us of processor time per iteration")
        print(f"step of demo_cpu: {step * 1e3:.1f} ms of processor time")
        print(f"share: {100 * report / step:.3f}%")
        if args.callgrind:
            out = f"{scratch}/callgrind"
            train("tiny3", 100, 1, "valgrind", "--tool=callgrind", f"--callgrind-out-file={out}")
            text = subprocess.run(["callgrind_annotate", "--inclusive=yes", "--threshold=100", out], capture_output=True,
                                  text=True, check=True).stdout
            counts = [int(n.replace(",", "")) for n in re.findall(r"^ *([\d,]+) .*Trainer::report\(", text, flags=re.M)]
            print(f"Trainer::report: {max(counts) // 100:,} instructions" if counts else
                  "Trainer::report was inlined; build with -fno-inline-functions-called-once")


if __name__ == "__main__":
    main()
