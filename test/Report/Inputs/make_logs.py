"""Writes logs of runs that never ran, for tests of txreport: make_logs.py FOLDER."""
import json
import math
import os
import sys

folder = sys.argv[1]
os.makedirs(folder, exist_ok=True)


def log(name, architecture, start, iterations=60, floor=1.5, **more):
    parameters = 1234567
    records = [{
        "iter": i, "loss": floor + 3 * math.exp(-i / 20), "time_ms": 500.0 if i == 0 else 10 + start + i % 3,
        "lr": 1e-3 * min(1, (i + 1) / 10),
        "mfu": {"mfu_percent": 40.0 + start, "achieved_tflops": 0.5, "tokens_per_sec": 51200 / (1 + start),
                "architecture": architecture},
        "memory": {"allocated_gb": 1.5, "peak_gb": 2.0, "reserved_gb": 1.75},
        "gradients": {"global_norm": 30.0 if i == 30 else 1 + math.sin(i) / 4},
    } for i in range(iterations)]
    evaluations = [{"iter": i, "train_loss": floor + 3 * math.exp(-i / 20), "val_loss": floor + 0.1 + 3 * math.exp(-i / 20)}
                   for i in range(20, iterations + 1, 20)]
    out = {
        "run_name": name, "start_time": "2025-01-03T14:30:2%d+0100" % start,
        "config": {"n_layer": 2, "learning_rate": 1e-3, "max_iters": iterations, "floor": floor, "note": "<b>&amp;</b>"},
        "startup_info": {
            "model": {"architecture_name": architecture, "total_parameters": parameters},
            "optimizer": {"tokens_per_iteration": 512}, "hardware": {"peak_tflops": 1.25},
            "dataset": {"name": "toy", "tokenizer": "char", "vocab_size": 65}},
        "training_iterations": records, "eval_steps": evaluations, "checkpoints": [],
        "metadata": {"exit_code": 0, "error": None, "signal": None},
        "end_time": "2025-01-03T14:40:00+0100",
        "summary": {"total_iterations": iterations, "best_val_loss": evaluations[-1]["val_loss"]},
    }
    out.update(more)
    return out


def plan(layers, unit):
    """A plan as the compiler makes it: state below, then what lives from the forward to the backward pass."""
    buffers, offset = [], 0
    for kind in ("param", "grad", "moment1", "moment2"):
        for i in range(layers):
            buffers.append({"name": "blocks.%d.ffn.weight" % i, "kind": kind, "offset": offset, "bytes": unit, "entry": None,
                            "begin": 0, "end": 0})
            offset += unit
    commands = 2 * layers
    for i in range(layers):
        buffers.append({"name": "micro/blocks.%d.ffn.up" % i, "kind": "activation", "offset": offset + i * unit, "bytes": unit,
                        "entry": "micro", "begin": i, "end": commands - 1 - i})
        buffers.append({"name": "eval/blocks.%d.ffn.up" % i, "kind": "activation", "offset": offset + i % 2 * unit,
                        "bytes": unit, "entry": "eval", "begin": i, "end": min(i + 1, layers - 1)})
    buffers.append({"name": "update/norm", "kind": "a kind of later versions", "offset": offset, "bytes": 64,
                    "entry": "update", "begin": 0, "end": 1})
    arena = offset + layers * unit
    entries = [("init", layers), ("micro", commands), ("update", 3), ("eval", layers)]
    flops = []
    for i in range(layers):
        flops += [{"name": "blocks.%d.ffn.up" % i, "op": "linear", "full": 1000, "causal": 1000},
                  {"name": "blocks.%d.attn" % i, "op": "attention", "full": 400, "causal": 250},
                  {"name": "blocks.%d.ffn.up" % i, "op": "linear_vjp", "full": 2000, "causal": 2000}]
    flops.append({"name": "lm_head", "op": "linear", "full": 5000, "causal": 5000})
    return {"exit_code": 0, "memory_plan": {
        "arena_bytes": arena, "arena_lower_bound": arena, "buffers": buffers,
        "entries": [{"name": name, "num_commands": count} for name, count in entries]}, "flops": flops}


def write(name, value):
    with open(os.path.join(folder, name), "w") as file:
        file.write(value if isinstance(value, str) else json.dumps(value))


write("a.json", log("run_a", "2L-2H-64D-RoPE-RMS-SwiGLU-PreNorm", 1, metadata=plan(12, 4096)))
write("b.json", log("run_b", "2L-2H-64D-AbsPos-LN-NB-GELU-PostNorm", 2, floor=2.0, metadata=plan(1200, 1 << 20)))
write("c.json", log("run_c", "2L-2H-64D-RoPE-RMS-SwiGLU-PreNorm", 3, floor=1.75))
# Still running: no end, figures that are not known yet.
running = log("run_d", "2L-2H-64D-NoPos-RMS-GELU-PreNorm", 4, iterations=30, end_time=None, metadata=None)
running["config"]["max_iters"] = 60
running["eval_steps"] = []
running["summary"]["best_val_loss"] = None
for record in running["training_iterations"]:
    record["mfu"]["mfu_percent"] = None
    record["gradients"] = None
write("running.json", running)
# Of another program: little in it, -100 for what it does not know.
write("foreign.json", {"run_name": "foreign", "eval_steps": [{"iter": 10, "val_loss": 3.5}], "training_iterations": [
    {"iter": i, "loss": 4.0, "time_ms": 20.0, "mfu": {"mfu_percent": -100.0}} for i in range(3)]})
write("empty.json", {"training_iterations": [], "eval_steps": []})
evil = "</script><script>throw 'evil'</script><img src=x onerror=\"throw 'evil'\">\x1b[2J\u2028-->"
write("evil.json", log(evil, "A" + evil, 5, metadata={"error": evil, "exit_code": 1, "flops": [
    {"name": evil, "op": evil, "full": 1, "causal": 1}], "memory_plan": {
        "arena_bytes": 100, "entries": [{"name": evil, "num_commands": 1}],
        "buffers": [{"name": evil, "kind": evil, "offset": 0, "bytes": 100, "entry": evil, "begin": 0, "end": 0}]}}))
write("diverged.json", log("run_e", "2L-2H-64D-RoPE-RMS-SwiGLU-PreNorm", 6, floor=2.5, metadata={"exit_code": 4}))
write("long.json", log("run_long", "2L-2H-64D-RoPE-RMS-SwiGLU-PreNorm", 7, iterations=30000))
# Not run logs
write("other.json", {"version": 1, "dtype": "uint16"})
write("array.json", [1, 2])
write("cut.json", json.dumps(running)[:200])
write("nothing.json", "")
write("lines.jsonl", '{"event":"start"}\n{"event":"iteration"}\n')
wrong = log("wrong", "x", 1)
wrong["training_iterations"][3]["loss"] = "much"
write("wrong.json", wrong)
odd = log("odd", "x", 1, metadata=plan(2, 64))
odd["metadata"]["memory_plan"]["buffers"][3]["offset"] = -1
write("odd-plan.json", odd)
