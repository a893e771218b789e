"""Compares the logits of decoding with the loss of the evaluation: the prompt is the
one window of tokens that the val split has, so both see the same positions."""
import argparse
import glob
import json
import pathlib

import numpy

parser = argparse.ArgumentParser()
parser.add_argument("--text", help="the val split's text, one byte per token")
parser.add_argument("--log", help="folder of the run's log")
parser.add_argument("--tensors", help="what --dump_tensors wrote")
options = parser.parse_args()

tokens = list(pathlib.Path(options.text).read_bytes())
folder = pathlib.Path(options.tensors) / "decode"
losses = []
for position, target in enumerate(tokens[1:]):
    logits = numpy.load(folder / f"logits.{position}.npy").astype(numpy.float64)
    sequences = logits.shape[0]
    for row in logits[:, 0]:
        assert numpy.array_equal(row, logits[0, 0]), f"sequences differ at position {position}"
    row = logits[0, 0]
    losses.append(numpy.log(numpy.exp(row - row.max()).sum()) + row.max() - row[target])
(log,) = glob.glob(options.log + "/run_*.json")
evaluation = json.load(open(log))["eval_steps"][-1]
decoded = float(numpy.mean(losses))
assert abs(decoded - evaluation["val_loss"]) < 2e-6 * max(1, decoded), (decoded, evaluation["val_loss"])
assert 1e-3 < decoded < 5, decoded
assert abs(evaluation["perplexity"] - numpy.exp(evaluation["val_loss"])) < 1e-6 * evaluation["perplexity"]
print(f"{len(losses)} positions, {sequences} sequences: loss of decoding equals that of evaluation")
