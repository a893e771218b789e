"""Compares what `txc explain` sums from each program with integers known by hand."""
import json
import pathlib
import subprocess
import sys

configs = pathlib.Path(sys.argv[1])
small = ["--n_layer=6", "--n_head=6", "--n_embd=384", "--block_size=256"]
# config, overrides, parameters, FLOPs per token in full and causal
rows = [
    ("arch_gpt2", [], 124373760, 854654976, 798087168),
    ("arch_llama", [], 162220800, 854654976, 798087168),
    ("arch_team", [], 162220800, 854654976, 798087168),
    ("arch_hybrid", [], 123587328, 854654976, 798087168),
    ("arch_custom", [], 123587328, 854654976, 798087168),
    ("arch_gpt2", small, 30036864, 186679296, 183154176),
    ("train_shakespeare", [], 30036864, 186679296, 183154176),
    ("arch_gpt2", small + ["--vocab_size=65"], 10745088, 70928640, 67403520),
    ("arch_llama", small, 49255296, 186679296, 183154176),
    ("llama2_1b", [], 1294159104, 8341291008, 7831931904),
    ("llama_1.4b", [], 1420396544, 9111601152, 8507916288),
    ("llama3_8b", [], 8030261248, 48249176064, 46639349760),
    ("qwen3_1.8b", [], 1829296128, 10319425536, 9715740672),
]
wrong = 0
for config, overrides, *known in rows:
    command = ["txc", "explain", str(configs / f"{config}.yaml"), "--json", *overrides]
    found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    flops = found["flops_per_token"]
    integers = [found["parameters"]["total"], flops["full"], flops["causal"]]
    if integers != known:
        wrong += 1
        print(f"{config} {overrides}: found {integers}, expected {known}")
# FLOPs of attention over those of the FFN: (6 * 4 C^2 + 12 C T) / (6 * 8 C^2), with
# 6 C (T + 1) instead of 12 C T where only visible pairs count.
C, T = 768, 1024
ratios = ((24 * C * C + 12 * C * T) / (48 * C * C), (24 * C * C + 6 * C * (T + 1)) / (48 * C * C))
for config in ("arch_gpt2", "arch_llama"):
    command = ["txc", "explain", str(configs / f"{config}.yaml"), "--json"]
    flops = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)["flops_per_token"]
    found = (flops["attention_to_ffn_full"], flops["attention_to_ffn_causal"])
    print(f"{config}: attention/FFN {found[0]:.3f} full, {found[1]:.3f} causal, as by hand: {found == ratios}")
print(f"{len(rows) - wrong} of {len(rows)} rows are exact")
