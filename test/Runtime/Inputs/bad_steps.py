"""bad_steps.py FOLDER DATA: what becomes of updates with gradients that are not finite, and of spikes."""
import glob
import json
import math
import shutil
import statistics
import struct
import subprocess
import sys

folder, data = sys.argv[1:]


def run(out, *more, step="step", code=0):
    shutil.rmtree(f"{folder}/{out}", ignore_errors=True)
    return go(out, *more, step=step, code=code)


def go(out, *more, step="step", code=0):
    launch = ["--nproc=2"] if step == "two" else ["--threads=1"]
    result = subprocess.run(
        ["txrun", f"{folder}/{step}.so", f"--dataset={data}", *launch, "--gradient_accumulation_steps=2", "--learning_rate=1e-4",
         "--warmup_iters=" + ("1000000" if "spike" in out else "2"), "--eval_interval=0", "--log_interval=1", "--quiet", f"--out_dir={folder}/{out}", *more],
        capture_output=True, text=True, timeout=120)
    assert result.returncode == code, (result.args, result.returncode, result.stderr)
    return result.stderr


def iterations(out):
    path, = glob.glob(f"{folder}/{out}/run_*.json")
    log = json.load(open(path))
    assert log["summary"]["total_skipped"] == sum(it["skipped"] is not None for it in log["training_iterations"])
    return log["training_iterations"]


# Weights of which those of one rare token are infinite.
run("start", "--max_iters=1")
file = bytearray(open(glob.glob(f"{folder}/start/checkpoints/*/model.safetensors")[0], "rb").read())
size, = struct.unpack_from("<Q", file)
header = json.loads(file[8:8 + size])
name = next(n for n in header if "wte" in n)
width = header[name]["shape"][1]
tokens = open(f"{data}/train.bin", "rb").read()
tokens = struct.unpack(f"<{len(tokens) // 2}H", tokens)
vocabulary = header[name]["shape"][0]
rare = min((t for t in set(tokens)), key=lambda t: abs(tokens.count(t) - len(tokens) // 400))
begin = 8 + size + header[name]["data_offsets"][0] + 4 * width * rare
file[begin:begin + 4 * width] = struct.pack("<f", math.inf) * width
open(f"{folder}/bad.safetensors", "wb").write(file)

error = run("stop", f"--init_from={folder}/bad.safetensors", "--max_iters=40", code=4)
assert "diverged" in error and "iteration " in error, error

for step in ("step", "two"):
    run("skip_" + step, f"--init_from={folder}/bad.safetensors", "--max_iters=40", "--nonfinite=skip", step=step)
one, two = iterations("skip_step"), iterations("skip_two")
assert len(one) == 40
skipped = [it["iter"] for it in one if it["skipped"]]
assert 0 < len(skipped) < 40, skipped
assert skipped == [it["iter"] for it in two if it["skipped"]]
for it, other in zip(one, two):
    assert (it["loss"] is None) == bool(it["skipped"])
    if it["loss"] is not None:
        assert abs(it["loss"] - other["loss"]) < 2e-6 * it["loss"]
    else:
        assert "gradient elements are infinite or not a number" in it["skipped"]

# A skipped update leaves every bit of the weights and moments: a run that ends after one has those of one that ends before.
first = skipped[0]
if first > 0:
    saved = []
    for count in (first, first + 1):
        run("end", f"--init_from={folder}/bad.safetensors", f"--max_iters={count}", "--nonfinite=skip")
        newest = sorted(glob.glob(f"{folder}/end/checkpoints/*"))[-1]
        saved.append([open(f"{newest}/{part}.safetensors", "rb").read() for part in ("model", "optimizer")])
    assert saved[0] == saved[1]
print("skipped alike")

# Weights that train no more are noticed.
file[begin - 4 * width * rare:begin + 4 * width * (vocabulary - rare)] = struct.pack("<f", math.inf) * width * vocabulary
open(f"{folder}/bad.safetensors", "wb").write(file)
error = run("never", f"--init_from={folder}/bad.safetensors", "--max_iters=40", "--nonfinite=skip", code=4)
assert "iteration 9: the last 10 updates were skipped" in error, error

# Spikes, of weights that hardly move: recomputed from the log.
run("spike", "--max_iters=120", "--spike_zscore=1.2")
window, spikes = [], 0
for it in iterations("spike"):
    last = window[-100:]
    limit = statistics.fmean(last) + 1.2 * statistics.pstdev(last) if len(last) >= 20 else math.inf
    assert (it["loss"] > limit) == bool(it["skipped"]), it
    if it["skipped"]:
        assert "standard deviations above the mean" in it["skipped"] and it.get("gradients") is None
        spikes += 1
    else:
        window.append(it["loss"])
assert spikes > 0
run("spike_parts", "--max_iters=60", "--spike_zscore=1.2")
go("spike_parts", "--max_iters=120", "--init_from=resume")
assert [(it["loss"], it["skipped"]) for it in iterations("spike_parts")] == [(it["loss"], it["skipped"]) for it in iterations("spike")]
print("spikes skipped")
