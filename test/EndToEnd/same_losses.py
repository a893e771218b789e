#!/usr/bin/env python3
"""same_losses.py A B C: the runs in folders A and B have equal losses, gradient
norms and evaluations; those of C differ."""
import glob
import json
import sys


def figures(folder):
    with open(glob.glob(folder + "/run_*.json")[0]) as f:
        log = json.load(f)
    assert log["training_iterations"] and log["eval_steps"], "an empty log proves nothing"
    return ([(i["loss"], i["gradients"]["global_norm"]) for i in log["training_iterations"]],
            [(e["train_loss"], e["val_loss"]) for e in log["eval_steps"]])


a, b, c = map(figures, sys.argv[1:])
assert a == b, f"the same run twice differs:\n{a}\n{b}"
assert a != c, "another seed gives the same run"
print("equal")
