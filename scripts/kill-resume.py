#!/usr/bin/env python3
"""Kills a training run at random instants, resumes it, and compares it with one that was left alone.

  scripts/kill-resume.py step.so --dataset=DIR [--kills=200] [--seed=1] [--txrun=txrun]

The run saves after every second update, so that many kills (SIGKILL) hit a save. It is right if
every resumed run ends with the same bits: losses, gradient norms, weights and both moments.
"""
import argparse
import glob
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("step")
parser.add_argument("--dataset", required=True)
parser.add_argument("--kills", type=int, default=200)
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--iterations", type=int, default=40)
parser.add_argument("--txrun", default="txrun")
options = parser.parse_args()
random.seed(options.seed)


def command(out, *more):
    return [options.txrun, options.step, f"--dataset={options.dataset}", "--threads=1", "--gradient_accumulation_steps=2",
            f"--max_iters={options.iterations}", f"--lr_decay_iters={options.iterations}", "--warmup_iters=3",
            "--learning_rate=1e-2", "--eval_interval=2", "--eval_iters=1", "--log_interval=1", "--always_save_checkpoint",
            "--quiet", f"--out_dir={out}", *more]


def result(out):
    log = json.load(open(glob.glob(out + "/run_*.json")[0]))
    losses = [(it["iter"], it["loss"], it["lr"], it["gradients"]["global_norm"]) for it in log["training_iterations"]]
    evaluations = [(it["iter"], it["train_loss"], it["val_loss"]) for it in log["eval_steps"]]
    newest = sorted(glob.glob(out + "/checkpoints/*"))[-1]
    files = {name: hashlib.sha256(open(f"{newest}/{name}.safetensors", "rb").read()).hexdigest()
             for name in ("model", "optimizer")}
    return {"losses": losses, "evaluations": evaluations, **files}


with tempfile.TemporaryDirectory() as folder:
    start = time.monotonic()
    subprocess.run(command(folder + "/whole"), check=True)
    seconds = time.monotonic() - start
    whole = result(folder + "/whole")
    assert len(whole["losses"]) == options.iterations
    killed = during_save = without_checkpoint = different = unloadable = runs = 0
    while killed < options.kills:
        out = f"{folder}/run{runs}"
        runs += 1
        how = "--init_from=scratch"
        while True:
            process = subprocess.Popen(command(out, how), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            try:
                # Later than a run lasts: some are left to end.
                _, error = process.communicate(timeout=random.uniform(0, 1.2 * seconds) if killed < options.kills else 300)
                if process.returncode == 0:
                    break
                print("cannot resume:", error.decode(), file=sys.stderr)
                unloadable += 1
                break
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                killed += 1
            during_save += bool(glob.glob(out + "/checkpoints/.incomplete-*"))
            if glob.glob(out + "/checkpoints/[0-9]*"):
                how = "--init_from=resume"
            else:
                without_checkpoint += 1
                shutil.rmtree(out, ignore_errors=True)
                how = "--init_from=scratch"
        if process.returncode == 0:
            now = result(out)
            for key in whole:
                if now[key] != whole[key]:
                    print(f"{out}: {key} differ", file=sys.stderr)
                    different += 1
        shutil.rmtree(out, ignore_errors=True)
    print(f"{killed} kills in {runs} runs, {during_save} during a save, {without_checkpoint} before the first checkpoint: "
          f"{unloadable} unloadable, {different} different")
    sys.exit(unloadable + different > 0)
