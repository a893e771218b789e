"""Compares the losses of runs with those of the first, which they must equal but for rounding in float32."""
import glob
import json
import sys


def losses(folder):
    (path,) = glob.glob(folder + "/run_*.json")
    with open(path) as file:
        log = json.load(file)
    found = [record["loss"] for record in log["training_iterations"]]
    for record in log["eval_steps"]:
        found += [record["train_loss"], record["val_loss"]]
    assert found, folder
    return found


expected = losses(sys.argv[1])
for folder in sys.argv[2:]:
    got = losses(folder)
    assert len(got) == len(expected), (folder, got, expected)
    for one, other in zip(expected, got):
        assert abs(one - other) < 2e-5 * abs(one), (folder, one, other)
