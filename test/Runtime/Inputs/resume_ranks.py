"""resume_ranks.py FOLDER DATA: a run of two ranks that goes on from a checkpoint has
the bits of one that was left alone; with other ranks or another ZeRO level it
has the same state, and losses equal within fp32 rounding."""
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import time

folder, data = sys.argv[1:]


def run(step, out, iterations, *more, ranks=2):
    command = ["txrun"] + (["--nproc=2"] if ranks == 2 else ["--threads=1"]) + [
        f"{folder}/{step}.so", f"--dataset={data}", "--gradient_accumulation_steps=4", "--learning_rate=2e-3", "--warmup_iters=2",
        "--lr_decay_iters=12", f"--max_iters={iterations}", "--eval_interval=3", "--eval_iters=2", "--log_interval=1", "--quiet",
        f"--out_dir={folder}/{out}", *more]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def wait(process, code=0):
    _, errors = process.communicate(timeout=120)
    assert process.returncode == code, (process.args, process.returncode, errors)


def losses(out, begin):
    path, = glob.glob(f"{folder}/{out}/run_*.jsonl")
    events = [json.loads(line) for line in open(path)]
    found = [event["loss"] for event in events if event["event"] == "iteration" and event["iter"] >= begin]
    found += [event["val_loss"] for event in events if event["event"] == "evaluation" and event["iter"] > begin]
    assert len(found) > 3
    return found


def near(a, b):
    assert len(a) == len(b)
    return max(abs(x - y) / abs(y) for x, y in zip(a, b))


worst = 0
for level, other in (("zero0", "zero3"), ("zero3", "zero1")):
    wait(run(level, level, 12))
    wait(run(level, "half", 6))
    for step, out, ranks in ((level, "same", 2), (other, "other", 2), ("one", "one", 1)):
        shutil.copytree(f"{folder}/half", f"{folder}/{out}")
        wait(run(step, out, 12, "--init_from=resume", ranks=ranks))
    assert losses("same", 6) == losses(level, 6), level
    worst = max(worst, near(losses("other", 6), losses(level, 6)), near(losses("one", 6), losses(level, 6)))
    # And from one rank to two.
    shutil.copytree(f"{folder}/one", f"{folder}/two")
    wait(run(level, "two", 15, "--init_from=resume"))
    wait(run("one", "one", 15, "--init_from=resume", ranks=1))
    worst = max(worst, near(losses("two", 12), losses("one", 12)))
    for out in ("half", "same", "other", "one", "two"):
        shutil.rmtree(f"{folder}/{out}")
assert worst < 2e-6, worst
print("resumed alike")

# Signals that come to the launcher reach all ranks, which obey after the same update.
process = run("zero3", "signals", 1000000)
try:
    while not glob.glob(f"{folder}/signals/checkpoints/[0-9]*"):
        assert process.poll() is None
        time.sleep(0.01)
    before = max(os.listdir(f"{folder}/signals/checkpoints"))
    process.send_signal(signal.SIGUSR1)
    end = time.monotonic() + 60
    while max(name for name in os.listdir(f"{folder}/signals/checkpoints") if name[0] != ".") == before:
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    wait(process, 128 + signal.SIGTERM)
finally:
    process.kill()
newest = max(glob.glob(f"{folder}/signals/checkpoints/[0-9]*"))
manifest = json.load(open(newest + "/manifest.json"))
path, = glob.glob(f"{folder}/signals/run_*.jsonl")
last = [event["iter"] for event in map(json.loads, open(path)) if event["event"] == "iteration"][-1]
assert manifest["iteration"] == last + 1 and manifest["num_ranks"] == 2
assert len(manifest["files"]) == 4
print("saved at signals")
