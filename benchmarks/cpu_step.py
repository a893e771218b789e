#!/usr/bin/env python3
"""Times txc's training step and PyTorch's on this CPU, in one run, in turns.

  benchmarks/cpu_step.py --bin build/release/bin [--rounds 3] [--steps 5]

Model: 6 layers, 6 heads, width 384, block 256, batch 8, vocabulary 256, fp32;
GPT-2 (layernorm, learned positions, GELU) and LLaMA (RMSNorm, RoPE, SwiGLU).
Each round runs one process of each side for `steps` steps after 2 warm-up
steps, so that noise of the machine falls on both. Prints the medians over all
steps, the ratio and the peak resident memory (VmHWM) of each process.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
SIZE = ["--n_layer=6", "--n_head=6", "--n_embd=384", "--block_size=256", "--batch_size=8", "--vocab_size=256",
        "--dtype=fp32"]
VARIANTS = {"gelu": "arch_gpt2.yaml", "swiglu": "arch_llama.yaml"}

PEER = r"""
import json, resource, sys, time
sys.path.insert(0, sys.argv[1])
import torch
from torch_model import Transformer, flatten
config, steps = flatten(json.load(open(sys.argv[2]))["config"]), int(sys.argv[3])
torch.manual_seed(0)
torch.set_num_threads(int(sys.argv[4]))
model = Transformer(config)
for p in model.parameters():
    if p.dim() > 1:
        torch.nn.init.normal_(p, 0, 0.02)
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.95), weight_decay=0.1)
times = []
for step in range(steps + 2):
    data = torch.randint(0, config["vocab_size"], (config["batch_size"], config["block_size"] + 1))
    start = time.perf_counter()
    loss = model(data[:, :-1], data[:, 1:])
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    times.append((time.perf_counter() - start) * 1e3)
print(json.dumps({"ms": times[2:], "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))
"""


def run(command, **kwargs):
    result = subprocess.run(command, capture_output=True, text=True, **kwargs)
    if result.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{result.stdout}{result.stderr}")
    return result.stdout


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", default="build/release/bin")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    args = parser.parse_args()
    tool = lambda name: os.path.join(os.path.abspath(args.bin), name)  # noqa: E731
    environment = {**os.environ, "OMP_NUM_THREADS": str(args.threads)}

    with tempfile.TemporaryDirectory() as scratch:
        text = os.path.join(scratch, "text.txt")
        with open(text, "wb") as f:
            f.write(bytes((i * 2654435761 >> 7) & 0xFF for i in range(200_000)))
        run([tool("txdata"), "prepare", text, "--tokenizer=byte", f"--out={scratch}/data"])
        print(f"{args.threads} threads, {args.rounds} rounds of {args.steps} steps")
        print(f"{'variant':8} {'txc ms':>8} {'torch ms':>9} {'torch/txc':>9} {'txc MiB':>8} {'torch MiB':>9}")
        for variant, spec in VARIANTS.items():
            spec = os.path.join(HERE, "..", "configs", spec)
            step, explain = f"{scratch}/{variant}.so", f"{scratch}/{variant}.json"
            run([tool("txc"), "compile", spec, *SIZE, "--target=cpu", "-o", step])
            with open(explain, "w") as f:
                f.write(run([tool("txc"), "explain", step, "--json"]))
            ours, theirs, our_peak, their_peak = [], [], 0, 0
            for _ in range(args.rounds):
                out = f"{scratch}/out_{variant}_{len(ours)}"
                run([tool("txrun"), step, f"--dataset={scratch}/data", "--keep_checkpoints=0", f"--out_dir={out}", "--quiet",
                     f"--max_iters={args.steps + 2}", "--gradient_accumulation_steps=1", "--log_interval=1",
                     "--eval_interval=0"], env=environment)
                log = json.load(open(next(os.path.join(out, f) for f in os.listdir(out) if f.endswith(".json"))))
                ours += [it["time_ms"] for it in log["training_iterations"]][2:]
                our_peak = max(our_peak, max(it["memory"]["max_allocated_gb"] for it in log["training_iterations"]) * 1e9)
                peer = json.loads(run(["/usr/bin/python3", "-c", PEER, HERE, explain, str(args.steps),
                                       str(args.threads)], env=environment))
                theirs += peer["ms"]
                their_peak = max(their_peak, peer["peak"])
            a, b = statistics.median(ours), statistics.median(theirs)
            print(f"{variant:8} {a:8.1f} {b:9.1f} {b / a:9.2f} {our_peak / 2**20:8.0f} {their_peak / 2**20:9.0f}")


if __name__ == "__main__":
    main()
