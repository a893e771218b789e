#!/usr/bin/env python3
"""Times 2 ranks of one core each against 1 rank of one core, with equal work per rank.

  benchmarks/parallel_cpu.py --bin build/release/bin [--rounds 5] [--steps 6] [--zero 0,1,3] [--folder DIR]

Model: 6 layers, 6 heads, width 384, block 256, batch 8, vocabulary 256, fp32 (arch_llama).
Every round runs one process on one core, then two that know nothing of each other on one
core each, which is what the machine's memory and clock allow two ranks at most, and then
two ranks, for each level of ZeRO, so that what else the machine does falls on all. A rank
does --micro micro batches per step. Prints medians over all steps after the first two, and
the ratio of tokens/s. --folder keeps the compiled steps and the data, and uses those it
holds: made where txc is, it can be carried to a quieter machine with txrun only.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
SIZE = ["--n_layer=6", "--n_head=6", "--n_embd=384", "--block_size=256", "--batch_size=8", "--vocab_size=256",
        "--dtype=fp32", "--target=cpu"]
WARM_UP = 2


def call(command, **options):
    command = [str(word) for word in command]
    done = subprocess.run(command, capture_output=True, text=True, **options)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default="build/release/bin")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--micro", type=int, default=1, help="micro batches of a rank per step")
    parser.add_argument("--zero", default="0,1,3")
    parser.add_argument("--folder", help="where steps and data are kept")
    parser.add_argument("--pack", action="store_true", help="only fill --folder")
    parser.add_argument("--txc", action="append", default=[], help="one more option of txc compile")
    args = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        sys.exit("this process may run on one core only; two ranks need two")
    tools = pathlib.Path(args.bin).absolute()
    levels = [int(level) for level in args.zero.split(",")]

    if args.pack and not args.folder:
        parser.error("--pack fills --folder, which is not given")

    with tempfile.TemporaryDirectory() as scratch:
        folder = pathlib.Path(args.folder or scratch)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "data").exists():
            (folder / "text").write_bytes(bytes((i * 2654435761 >> 7) & 0xFF for i in range(200_000)))
            call([tools / "txdata", "prepare", folder / "text", "--tokenizer=byte", f"--out={folder / 'data'}"])

        def compile_step(name, *more):
            if not (folder / name).exists():
                call([tools / "txc", "compile", HERE.parent / "configs" / "arch_llama.yaml", *SIZE, *args.txc, *more,
                      "-o", folder / name])

        compile_step("one.so")
        for level in levels:
            compile_step(f"zero{level}.so", "--mesh=dp:2", f"--zero={level}")

        if args.pack:
            return

        def run(step, ranks, processes=1):
            """Milliseconds of the steps of each of so many processes that run at once."""
            with tempfile.TemporaryDirectory(dir=scratch) as out:
                started = []
                for process in range(processes):
                    words = [tools / "txrun", folder / step, f"--dataset={folder / 'data'}", f"--out_dir={out}/{process}",
                             "--quiet", f"--max_iters={WARM_UP + args.steps}",
                             f"--gradient_accumulation_steps={ranks * args.micro}", "--log_interval=1", "--eval_interval=0"]
                    if ranks > 1:
                        words.append(f"--nproc={ranks}")
                    # One thread per rank; of two, both may run on both cores, which is one each.
                    words = ["taskset", "-c", ",".join(map(str, cores[process:process + ranks])), *map(str, words)]
                    started.append(subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                                    env={**os.environ, "OMP_NUM_THREADS": "1"}))
                texts = [process.communicate()[0] for process in started]
                for process, text in zip(started, texts):
                    if process.returncode:
                        sys.exit(f"{' '.join(process.args)} failed:\n{text}")
                logs = [json.loads(path.read_text()) for path in pathlib.Path(out).glob("*/*.json")]
                return [record["time_ms"] for log in logs for record in log["training_iterations"][WARM_UP:]]

        one, apart, two = [], [], {level: [] for level in levels}
        for number in range(args.rounds):
            one += run("one.so", 1)
            apart += run("one.so", 1, processes=2)
            for level in levels:
                two[level] += run(f"zero{level}.so", 2)
            print(f"round {number + 1}: load of the machine {os.getloadavg()[0]:.1f}", file=sys.stderr, flush=True)
    base = statistics.median(one)
    print(f"{args.rounds} rounds of {args.steps} steps, {args.micro} micro batches of a rank per step")
    print(f"{'':12} {'median ms':>9} {'least ms':>9} {'tokens/s, times 1 rank':>23} {'of least':>9}")
    print(f"{'1 rank':12} {base:9.1f} {min(one):9.1f}")
    for name, times in [("2 apart", apart), *((f"2, zero {level}", two[level]) for level in levels)]:
        print(f"{name:12} {statistics.median(times):9.1f} {min(times):9.1f} "
              f"{2 * base / statistics.median(times):23.2f} {2 * min(one) / min(times):9.2f}")


if __name__ == "__main__":
    main()
