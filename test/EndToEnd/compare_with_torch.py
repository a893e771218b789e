#!/usr/bin/env python3
"""Replays a run of txrun in PyTorch (fp32, CPU) and compares.

  compare_with_torch.py --explain explain.json --log run.json --tensors DIR

Starts from the parameters in DIR/init, feeds the batches in DIR/iterN, and
compares every iteration's loss (relative) and every gradient (relative norm)
with what txrun logged and dumped. Exit code 1 if any is beyond its tolerance.
"""
import argparse
import json
import os
import sys

import numpy as np
import torch

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "benchmarks"))
from torch_model import Transformer, flatten  # noqa: E402


def load(path):
    return torch.from_numpy(np.load(path))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--explain", required=True)
    parser.add_argument("--log", required=True)
    parser.add_argument("--tensors", required=True)
    parser.add_argument("--loss_tolerance", type=float, default=1e-4)
    parser.add_argument("--grad_tolerance", type=float, default=1e-3)
    args = parser.parse_args()

    with open(args.explain) as f:
        config = flatten(json.load(f)["config"])
    with open(args.log) as f:
        log = json.load(f)
    recipe = {**config, **log["config"]}
    model = Transformer(config)
    names = [name for name, _ in model.named_parameters()]
    dumped = sorted(f[:-4] for f in os.listdir(os.path.join(args.tensors, "init")) if f.endswith(".npy"))
    assert sorted(names) == dumped, f"parameters differ: {sorted(names)} against {dumped}"
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.copy_(load(os.path.join(args.tensors, "init", name + ".npy")).view_as(p))

    decayed = [p for p in model.parameters() if p.dim() >= 2]
    others = [p for p in model.parameters() if p.dim() < 2]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": recipe["weight_decay"]}, {"params": others, "weight_decay": 0.0}],
        lr=1.0, betas=(recipe["beta1"], recipe["beta2"]), eps=recipe["eps"])

    worst_loss, worst_grad, worst_name = 0.0, 0.0, ""
    for iteration in log["training_iterations"]:
        folder = os.path.join(args.tensors, f"iter{iteration['iter']}")
        micro_batches = sorted(f for f in os.listdir(folder) if f.startswith("tokens."))
        optimizer.zero_grad(set_to_none=True)
        loss = 0.0
        for f in micro_batches:
            tokens = load(os.path.join(folder, f)).long()
            targets = load(os.path.join(folder, f.replace("tokens.", "targets."))).long()
            part = model(tokens, targets) / len(micro_batches)
            part.backward()
            loss += part.item()
        worst_loss = max(worst_loss, abs(loss - iteration["loss"]) / abs(loss))
        for name, p in model.named_parameters():
            ours = load(os.path.join(folder, "grad", name + ".npy")).view_as(p)
            norm = p.grad.norm().item()
            error = (ours - p.grad).norm().item() / max(norm, 1e-12)
            if not error <= worst_grad:
                worst_grad, worst_name = error, f"{name} at iteration {iteration['iter']}"
        norm = torch.sqrt(sum(p.grad.double().pow(2).sum() for p in model.parameters())).item()
        if recipe["grad_clip"] > 0 and norm > recipe["grad_clip"]:
            for p in model.parameters():
                p.grad.mul_(recipe["grad_clip"] / norm)
        for group in optimizer.param_groups:
            group["lr"] = iteration["lr"]
        optimizer.step()

    steps = len(log["training_iterations"])
    print(f"{steps} steps, {len(names)} parameters: worst loss error {worst_loss:.2e} (relative), "
          f"worst gradient error {worst_grad:.2e} (relative norm; {worst_name})")
    if steps == 0 or not worst_loss <= args.loss_tolerance or not worst_grad <= args.grad_tolerance:
        print(f"beyond the tolerances {args.loss_tolerance} and {args.grad_tolerance}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
