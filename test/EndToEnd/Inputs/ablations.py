"""ablations.py CONFIGS DATA DIR: trains presets and ablations of them at small size, as
`txc compile PRESET --key=value` and `txrun`, and checks that each override changes
what it should: architecture name, parameters, FLOPs, program and losses; nothing else."""
import glob
import json
import subprocess
import sys

configs, data, folder = sys.argv[1:]
L, C, T, V = 2, 48, 16, 128
small = [f"--n_layer={L}", "--n_head=4", f"--n_embd={C}", f"--block_size={T}", f"--vocab_size={V}",
         "--batch_size=2", "--target=cpu"]


def call(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Run:
    def __init__(self, name, preset, *overrides):
        spec, step = f"{configs}/{preset}.yaml", f"{folder}/{name}.so"
        call("txc", "compile", spec, *small, *overrides, "-o", step)
        facts = json.loads(call("txc", "explain", step, "--json"))
        self.program = call("txc", "compile", spec, *small, *overrides, "--emit=import")
        self.name = facts["architecture_name"]
        self.config = facts["config"]
        self.parameters = facts["parameters"]["total"]
        self.flops = facts["flops_per_token"]["full"], facts["flops_per_token"]["causal"]
        call("txrun", step, f"--dataset={data}", "--max_iters=3", "--gradient_accumulation_steps=2", "--seed=3",
             "--learning_rate=1e-2", "--warmup_iters=0", "--eval_interval=0", "--quiet", f"--out_dir={folder}/{name}")
        log = json.load(open(glob.glob(f"{folder}/{name}/run_*.json")[0]))
        self.losses = [i["loss"] for i in log["training_iterations"]]
        assert len(self.losses) == 3
        # What the log and the start-up report say is what was compiled.
        assert log["startup_info"]["model"]["architecture_name"] == self.name
        assert log["training_iterations"][0]["mfu"]["architecture"] == self.name


gpt2 = Run("gpt2", "arch_gpt2")
assert gpt2.name == "2L-4H-48D-AbsPos-LN-NB-GELU-PostNorm", gpt2.name
assert "tx.rope" not in gpt2.program and "tx.rms_norm" not in gpt2.program

# Just adding RoPE: the position table goes.
rope = Run("rope", "arch_gpt2", "--position_encoding=rope")
assert rope.name == "2L-4H-48D-RoPE-LN-NB-GELU-PostNorm", rope.name
assert rope.parameters == gpt2.parameters - T * C and rope.flops == gpt2.flops
assert "tx.rope" in rope.program and "wpe.weight" not in rope.program

# Just adding RMSNorm: one gain per norm, as before.
rms = Run("rms", "arch_gpt2", "--normalization=rmsnorm")
assert rms.name == "2L-4H-48D-AbsPos-RMS-GELU-PostNorm", rms.name
assert rms.parameters == gpt2.parameters and rms.flops == gpt2.flops
assert "tx.rms_norm" in rms.program and "tx.layer_norm" not in rms.program

# Just adding pre-norm: the same weights elsewhere. The first block reads the embedding
# before a norm, or through it.
pre = Run("pre", "arch_gpt2", "--norm_position=pre")
assert pre.name == "2L-4H-48D-AbsPos-LN-NB-GELU-PreNorm", pre.name
assert pre.parameters == gpt2.parameters and pre.flops == gpt2.flops
assert pre.program.index("tx.layer_norm") < pre.program.index("tx.linear")
assert gpt2.program.index("tx.linear") < gpt2.program.index("tx.layer_norm")

# All together, LLaMA-like: SwiGLU costs what GELU does; the output layer is untied.
llama = Run("llama", "arch_llama")
assert llama.name == "2L-4H-48D-RoPE-RMS-SwiGLU-PreNorm", llama.name
assert llama.parameters == gpt2.parameters - T * C + V * C and llama.flops == gpt2.flops

# gpt2 with all that sets llama apart is llama.
same = Run("same", "arch_gpt2", "--position_encoding=rope", "--normalization=rmsnorm", "--norm_position=pre",
           "--ffn_type=swiglu", "--weight_tying=False")
assert (same.name, same.parameters, same.flops) == (llama.name, llama.parameters, llama.flops)
assert same.losses == llama.losses, (same.losses, llama.losses)

# Attention in parts: the same model and work, the same losses but for rounding.
parts = Run("parts", "arch_llama", "--attention_backend=manual", "--n_kv_head=2", "--dropout=0.1")
whole = Run("whole", "arch_llama", "--n_kv_head=2", "--dropout=0.1")
assert (parts.name, parts.parameters, parts.flops) == (whole.name, whole.parameters, whole.flops)
assert all(abs(a - b) < 1e-5 * b for a, b in zip(parts.losses, whole.losses)), (parts.losses, whole.losses)

# The other presets.
team, custom, hybrid = Run("team", "arch_team"), Run("custom", "arch_custom"), Run("hybrid", "arch_hybrid")
assert team.name == llama.name and team.losses == llama.losses
assert custom.name == "2L-4H-48D-RoPE-RMS-GELU-PreNorm", custom.name
assert hybrid.name == "2L-4H-48D-RoPE-LN-NB-GELU-PreNorm", hybrid.name
assert custom.parameters == hybrid.parameters == gpt2.parameters - T * C

# Out of memory: a smaller batch. It is the micro batch that changes.
smaller = Run("smaller", "train_shakespeare", "--batch_size=1", "--dropout=0")
assert smaller.config["train"]["batch_size"] == 1 and "tensor<1x16xi32>" in smaller.program
assert smaller.parameters == gpt2.parameters

losses = {tuple(run.losses) for run in (gpt2, rope, rms, pre, llama, custom, hybrid)}
assert len(losses) == 7, "two different models have the same losses"

# What the old system's commands have that ours do not is refused with its remedy.
for old, remedy in (("--compile=False", "everything is compiled"), ("--use_fsdp=True", "zero: 3")):
    for command in (["txc", "compile", f"{configs}/arch_llama.yaml"], ["txrun", f"{folder}/llama.so"]):
        result = subprocess.run([*command, old], capture_output=True, text=True)
        assert result.returncode == 2 and remedy in result.stderr, (command, result.stderr)
print("each override changes what it should")
