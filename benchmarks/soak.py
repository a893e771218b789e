#!/usr/bin/env python3
"""Whether a long run of txrun takes more and more memory, open files or threads.

  benchmarks/soak.py [--bin build/release/bin] [--iterations 2000] [--interval 50] [txc's options ...]

Trains configs/demo_cpu.yaml (options change it) with the log on, a record of
every iteration, and an evaluation and a checkpoint after every --interval
iterations. After each iteration it reads from /proc what txrun has: resident
memory (Rss), the part of it that is not of files (Anonymous), open file
descriptors and threads. The memory is that of smaps_rollup, for which the kernel
counts pages; the counters of status lag by up to 64 pages per thread. It prints
a table of the largest values and fails if the least of 50 iterations at the end is
above the least of iterations 100 to 149: by one for files and threads, by more
than --tolerance KiB for memory. The least, because a save under way has memory
and files of its own for a while. The last 20 iterations do not count: txrun may
be ending when their lines are read. The tolerance of 512 KiB is for what is no leak:
pages of the token files that come to be mapped one by one, freed memory that
malloc keeps, and the records of evaluations and checkpoints, which the log keeps
as text (300 bytes each).
"""
import argparse
import fcntl
import glob
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
MEMORY = ("Rss", "Anonymous")
COLUMNS = (*MEMORY, "fds", "threads")


def sample(pid):
    """Rss and Anonymous in KiB, open file descriptors, threads."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        next(file)  # the addresses
        fields = dict(line.split(":", 1) for line in file)
    files = 0
    for number in os.listdir(f"/proc/{pid}/fd"):
        try:
            # What a save under way has open is not left open.
            files += "/.incomplete-" not in os.readlink(f"/proc/{pid}/fd/{number}")
        except FileNotFoundError:
            pass
    memory = (int(fields[name].split()[0]) for name in MEMORY)
    return *memory, files, len(os.listdir(f"/proc/{pid}/task"))


def soak(command, environment):
    """Runs txrun --json and gives, for each iteration, what it had just after."""
    samples = {}
    with tempfile.TemporaryFile("w+") as errors, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors,
                                                                  env={**os.environ, **environment}) as run:
        try:
            # A page holds a few lines: txrun waits when it is that far ahead of the samples.
            fcntl.fcntl(run.stdout, fcntl.F_SETPIPE_SZ, 4096)
            for line in run.stdout:
                if line.startswith(b'{"event":"iteration"'):
                    try:
                        samples[json.loads(line)["iter"]] = sample(run.pid)
                    except (OSError, KeyError, StopIteration):
                        pass  # it has just ended
        finally:
            run.stdout.close()
            if run.poll() is None and sys.exc_info()[0]:
                run.kill()
        code = run.wait()
        errors.seek(0)
        text = errors.read()
    if code:
        sys.exit(f"{' '.join(command)} ended with exit code {code}:\n{text}")
    return samples


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default="build/release/bin")
    parser.add_argument("--iterations", type=int, default=2000)
    parser.add_argument("--interval", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tolerance", type=int, default=512, help="KiB")
    parser.add_argument("--preload", help="a library loaded into txrun, as one whose leak must be seen")
    args, options = parser.parse_known_args()
    if args.iterations < 220:
        parser.error("--iterations: at least 220, since 50 near the end are compared with those from 100 to 149")
    tool = lambda name: os.path.join(os.path.abspath(args.bin), name)  # noqa: E731
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run([tool("txdata"), "prepare", os.path.join(HERE, "..", "datasets", "corpus.txt"), "--tokenizer=char",
                        f"--out={scratch}/data"], check=True, stdout=subprocess.DEVNULL)
        subprocess.run([tool("txc"), "compile", os.path.join(HERE, "..", "configs", "demo_cpu.yaml"), *options, "--target=cpu",
                        "-o", f"{scratch}/step.so"], check=True)
        samples = soak([tool("txrun"), f"{scratch}/step.so", f"--dataset={scratch}/data", f"--threads={args.threads}",
                        f"--max_iters={args.iterations}", f"--lr_decay_iters={args.iterations}", "--log_interval=1",
                        "--gradient_log_interval=1", f"--eval_interval={args.interval}", "--eval_iters=2",
                        "--always_save_checkpoint", "--json", f"--out_dir={scratch}/out"], {"LD_PRELOAD": args.preload} if args.preload else {})
        (path,) = glob.glob(f"{scratch}/out/run_*.json")
        with open(path) as file:
            summary = json.load(file)["summary"]
        assert summary["total_iterations"] == args.iterations, summary
        assert summary["total_checkpoints"] >= args.iterations // args.interval, summary
    missing = [i for i in range(args.iterations - 20) if i not in samples]
    assert not missing, f"iterations {missing} were not seen"

    edges = [0, 50, 100, 150, *(n for n in range(500, args.iterations, 500)), args.iterations]
    print(f"{summary['total_iterations']} iterations, {summary['total_checkpoints']} checkpoints, "
          f"{summary['total_eval_steps']} evaluations; the most of each range, memory in KiB")
    print(f"{'iterations':>12}" + "".join(f"{name:>10}" for name in COLUMNS))
    for begin, end in zip(edges, edges[1:]):
        part = [samples[i] for i in range(begin, end) if i in samples]
        print(f"{begin:>6}-{end - 1:<5}" + "".join(f"{max(row[k] for row in part):>10}" for k in range(len(COLUMNS))))

    first = [samples[i] for i in range(100, 150) if i in samples]
    last = [samples[i] for i in range(args.iterations - 70, args.iterations - 20) if i in samples]
    faults = []
    for k, name in enumerate(COLUMNS):
        before, after = (min(row[k] for row in rows) for rows in (first, last))
        print(f"{name}: at least {after} in {args.iterations - 70}-{args.iterations - 21}, {before} in 100-149")
        if after - before > (args.tolerance if name in MEMORY else 0):
            faults.append(name)
    if faults:
        sys.exit(f"grows: {', '.join(faults)}")
    print("no growth")


if __name__ == "__main__":
    main()
