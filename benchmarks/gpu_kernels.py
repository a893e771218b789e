#!/usr/bin/env python3
"""Where the time of a step on a GPU goes, and how far each kernel is from its floor.

  benchmarks/gpu_kernels.py PROFILE.json              what txrun --profile wrote
  benchmarks/gpu_kernels.py STEP.so --dataset=DIR     profiles it first

One row for all commands that do the same (blocks.0.ffn.up, blocks.1.ffn.up, ... are
blocks.*.ffn.up), those first from whose floor most is to be gained. A floor is the larger of
bytes over the bandwidth of a copy and FLOPs over the rate of a large matrix product,
both as measured on one H200 (docs/numbers.md, "On a GPU"); --bandwidth and --flops
are those of another GPU. Bytes and FLOPs are the least that the command must move and
do, so that nothing reaches 1.00 exactly, and what a cache keeps may go below.
"""
import argparse
import collections
import json
import os
import re
import subprocess
import sys
import tempfile

BANDWIDTH, FLOPS = 4.27e12, 790e12


def floor_ms(command, bandwidth, flops):
    """Of one command; None if the profile does not say what it moves."""
    if command["bytes"] is None and command["flops"] is None:
        return None
    return 1e3 * max((command["bytes"] or 0) / bandwidth, (command["flops"] or 0) / flops)


def rows_of(profile, bandwidth=BANDWIDTH, flops=FLOPS):
    groups = collections.OrderedDict()
    for entry in profile["entries"]:
        times = profile["gradient_accumulation_steps"] if entry["name"].startswith("micro") else 1
        for command in entry["commands"]:
            name = re.sub(r"blocks\.\d+\.", "blocks.*.", command["name"])
            # A launch in several phases has a function for each.
            kernel = command["kernel"] if command["kind"] == "gemm" else re.sub(r"(_\d+)?_p(\d+)$", r" \2", command["kernel"] or "")
            key = (entry["name"], command["kind"], name, kernel)
            row = groups.setdefault(key, {"entry": key[0], "kind": key[1], "name": name, "kernel": kernel, "count": 0,
                                          "ms": 0.0, "floor": 0.0})
            row["count"] += times
            row["ms"] += times * command["milliseconds"]
            floor = floor_ms(command, bandwidth, flops)
            row["floor"] = None if floor is None or row["floor"] is None else row["floor"] + times * floor
    rows = list(groups.values())
    for row in rows:
        row["gain"] = None if row["floor"] is None else row["ms"] - row["floor"]
    return sorted(rows, key=lambda row: -(row["ms"] if row["gain"] is None else row["gain"]))


def table(profile, bandwidth=BANDWIDTH, flops=FLOPS, most=30):
    rows = rows_of(profile, bandwidth, flops)
    total, known = sum(row["ms"] for row in rows), [row for row in rows if row["floor"] is not None]
    lines = [f"{profile['device']}, {profile['step']}, {profile['library']}",
             f"{'count':>5} {'ms':>8} {'share':>6} {'floor':>8} {'ratio':>6} {'gain':>7}  what"]

    def line(count, ms, floor, what):
        figures = ("", "", "") if floor is None else (f"{floor:.3f}", f"{ms / floor:.2f}" if floor > 1e-6 else "", f"{ms - floor:.3f}")
        return f"{count:>5} {ms:8.3f} {100 * ms / total:5.1f}% {figures[0]:>8} {figures[1]:>6} {figures[2]:>7}  {what}"
    for row in rows[:most]:
        lines.append(line(row["count"], row["ms"], row["floor"], f"{row['name']}: {row['kernel']}"))
    if len(rows) > most:
        rest = rows[most:]
        floor = None if any(row["floor"] is None for row in rest) else sum(row["floor"] for row in rest)
        lines.append(line(sum(row["count"] for row in rest), sum(row["ms"] for row in rest), floor, f"{len(rest)} more"))
    lines.append(line(sum(row["count"] for row in rows), total,
                      sum(row["floor"] for row in known) if len(known) == len(rows) else None, "all"))
    if len(known) < len(rows):
        missing = sum(row["ms"] for row in rows if row["floor"] is None)
        lines.append(f"without a floor, since the step does not say what they move: {missing:.3f} ms")
    return "\n".join(lines)


def profile_of(step, dataset, txrun, iterations):
    with tempfile.TemporaryDirectory() as out:
        command = [txrun, step, f"--dataset={dataset}", f"--profile={iterations}", "--gradient_accumulation_steps=1", "--tune",
                   "--eval_interval=0", "--quiet", f"--out_dir={out}"]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{' '.join(command)} exited with {done.returncode}:\n{done.stdout}{done.stderr}")
        with open(os.path.join(out, "profile.json")) as file:
            return json.load(file)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what")
    parser.add_argument("--dataset")
    parser.add_argument("--txrun", default="build/release/bin/txrun")
    parser.add_argument("--iterations", type=int, default=5)
    parser.add_argument("--bandwidth", type=float, default=BANDWIDTH, help="bytes per second of a copy")
    parser.add_argument("--flops", type=float, default=FLOPS, help="of a large bf16 matrix product, per second")
    parser.add_argument("--most", type=int, default=30, help="rows")
    args = parser.parse_args()
    if args.what.endswith(".json"):
        with open(args.what) as file:
            profile = json.load(file)
    elif args.dataset:
        profile = profile_of(args.what, args.dataset, args.txrun, args.iterations)
    else:
        parser.error("a step needs --dataset=DIR")
    print(table(profile, args.bandwidth, args.flops, args.most))


if __name__ == "__main__":
    main()
