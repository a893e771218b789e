"""check_run_log.py LOG.json DOC.md: the log is what the document says.

Its fields are those of the tables, no more and no less; nulls stand only where
the tables allow them; figures that follow from others do so exactly."""
import json
import math
import re
import sys

log = json.load(open(sys.argv[1]))
documented, may_be_null = set(), set()
for path, null in re.findall(r"^\| `([\w.\[\]*]+)` \|[^|]*\| *([^|]*?) *\|[^|]*\|$", open(sys.argv[2]).read(), flags=re.M):
    documented.add(path)
    if null:
        may_be_null.add(path)
options = set(log["config"])
found, nulls = set(), set()


def walk(value, path):
    if isinstance(value, dict) and value:
        for key, each in value.items():
            walk(each, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for each in value:
            walk(each, path + "[]")
    else:
        section, _, key = path.rpartition(".")
        if section in ("config", "startup_info.model") and key in options:
            path = section + ".*"
        found.add(path)
        if value is None:
            nulls.add(path)
        elif isinstance(value, float):
            assert math.isfinite(value), path


walk(log, "")
documented.discard("training_iterations[].gradients")  # whose parts are there
for name, paths in (("documented but not in the log", documented - found), ("in the log but not documented", found - documented),
                    ("null but documented as never null", nulls - may_be_null)):
    if paths:
        print(name + ":", sorted(paths))

model, theory, metadata = log["startup_info"]["model"], log["startup_info"]["theory"], log["metadata"]
optimizer = log["startup_info"]["optimizer"]
tokens = optimizer["micro_batch_size"] * model["block_size"]
for full, total in (("full", "flops_per_token"), ("causal", "flops_per_token_causal")):
    assert sum(g[full] for g in theory["flops_by_group"]) == model[total] == theory[total]
    assert sum(line[full] for line in metadata["flops"]) == model[total] * tokens
assert sum(p["bytes"] for p in theory["memory_by_part"]) == model["arena_bytes"] == metadata["memory_plan"]["arena_bytes"]
commands = {entry["name"]: entry["num_commands"] for entry in metadata["memory_plan"]["entries"]}
for buffer in metadata["memory_plan"]["buffers"]:
    assert buffer["offset"] + buffer["bytes"] <= model["arena_bytes"]
    assert buffer["entry"] is None or 0 <= buffer["begin"] <= buffer["end"] < commands[buffer["entry"]]
assert optimizer["tokens_per_iteration"] == tokens * optimizer["gradient_accumulation_steps"]
for it in log["training_iterations"]:
    mfu = it["mfu"]
    # The last digit printed: the same double.
    assert mfu["achieved_tflops"] == mfu["flops_per_token"] * mfu["tokens_per_sec"] / 1e12
    assert mfu["mfu_percent"] == 100 * mfu["achieved_tflops"] / mfu["hardware_peak_tflops"]
    assert math.isclose(mfu["tokens_per_sec"] * it["time_ms"] / 1e3, optimizer["tokens_per_iteration"], rel_tol=1e-12)
    layers = model["n_layer"] * (mfu["attention_flops_per_layer"] + mfu["ffn_flops_per_layer"]) + mfu["logit_flops"]
    assert layers == mfu["flops_per_token"]
    g = it["gradients"]
    assert g["grad_min"] <= g["grad_mean"] <= g["grad_max"]
    # norm^2 = n (mean^2 + std^2)
    n = model["trainable_parameters"]
    assert math.isclose(g["global_norm"] ** 2, n * (g["grad_mean"] ** 2 + g["grad_std"] ** 2), rel_tol=1e-4)
    assert 0 < it["memory"]["allocated_gb"] <= it["memory"]["peak_gb"] + 1e-3
    assert it["memory"]["reserved_gb"] * 1e9 == model["arena_bytes"]
best = None
for evaluation in log["eval_steps"]:
    best = min(best or (math.inf, 0), (evaluation["val_loss"], evaluation["iter"]))
    assert (evaluation["best_val_loss"], evaluation["best_val_iter"]) == best
    assert math.isclose(evaluation["perplexity"], math.exp(evaluation["val_loss"]), rel_tol=1e-12)
summary = log["summary"]
assert (summary["best_val_loss"], summary["best_val_iter"]) == best
assert summary["total_iterations"] == len(log["training_iterations"])
assert summary["final_train_loss"] == log["training_iterations"][-1]["loss"]

events = [json.loads(line) for line in open(sys.argv[1] + "l")]
assert [e for e in events if e.pop("event") == "iteration"] == log["training_iterations"]
print("checked", len(documented), "fields")
