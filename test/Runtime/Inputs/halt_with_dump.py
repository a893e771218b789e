"""halt_with_dump.py FOLDER DATA: what --nonfinite=halt-with-dump says and writes."""
import glob
import json
import math
import os
import re
import shutil
import struct
import subprocess
import sys

folder, data = sys.argv[1:]
DUMP = "--nonfinite=halt-with-dump"


def run(out, *more, step="step", code=0, keep=False):
    if not keep:
        shutil.rmtree(f"{folder}/{out}", ignore_errors=True)
    launch = ["--threads=1"] if step == "step" else ["--nproc=2"]
    result = subprocess.run(
        ["txrun", f"{folder}/{step}.so", f"--dataset={data}", *launch, "--gradient_accumulation_steps=4", "--learning_rate=1e-4",
         "--warmup_iters=2", "--eval_interval=0", "--eval_iters=4", "--quiet", f"--out_dir={folder}/{out}", *more],
        capture_output=True, text=True, timeout=120)
    assert result.returncode == code, (result.args, result.returncode, result.stderr)
    return result.stderr


def dump(out, *more, step="step", keep=False):
    """A run that halts: its dump folder, the report, the lines of each rank."""
    error = run(out, DUMP, *more, step=step, code=4, keep=keep)
    path, = glob.glob(f"{folder}/{out}/nonfinite-iter-*")
    report = json.load(open(f"{path}/report.json"))
    assert path.endswith(f"-{report['iter']}") and f"iteration {report['iter']}: {report['reason']}" in error, error
    said = re.split(r"^txrun: error: (?:rank \d: )?", error, flags=re.M)[1:]
    assert len(said) == (1 if step == "step" else 2) and len(set(said)) == 1, error
    first = report["first"]
    assert f"first not finite: {first['name']} ({first['op']}, {first['direction']}; command {first['command']} of" in error, error
    log = json.load(open(glob.glob(f"{folder}/{out}/run_*.json")[0]))
    assert log["metadata"]["exit_code"] == 4
    assert log["metadata"]["error"] == said[0].strip(), log["metadata"]["error"]
    return path, report, said[0]


def array(path):
    """Values and shape of an .npy file of i32."""
    content = open(path, "rb").read()
    size, = struct.unpack_from("<H", content, 8)
    shape = eval(re.search(rb"'shape': (\([^)]*\))", content).group(1))
    assert b"'<i4'" in content[:size]
    return struct.unpack(f"<{math.prod(shape)}i", content[10 + size:]), shape


def saved(path):
    """The tensors of the only checkpoint, without metadata."""
    checkpoint, = glob.glob(f"{path}/checkpoints/*")
    return [content[8 + struct.unpack_from("<Q", content)[0]:]
            for content in (open(f"{checkpoint}/{part}.safetensors", "rb").read() for part in ("model", "optimizer"))]


run("start", "--max_iters=1")
start = open(glob.glob(f"{folder}/start/checkpoints/*/model.safetensors")[0], "rb").read()
size, = struct.unpack_from("<Q", start)
header = json.loads(start[8:8 + size])


def weights(name, changes):
    """A file of the weights with other values at some elements of some tensors."""
    content = bytearray(start)
    for tensor, element, values in changes:
        struct.pack_into(f"<{len(values)}f", content, 8 + size + header[tensor]["data_offsets"][0] + 4 * element, *values)
    open(f"{folder}/{name}.safetensors", "wb").write(content)
    return f"--init_from={folder}/{name}.safetensors"


# One infinite weight: the product that reads it is the first.
path, report, said = dump("forward", weights("forward", [("blocks.1.ffn.down.weight", 7, [math.inf])]))
first, buffer = report["first"], report["first"]["buffer"]
assert (first["name"], first["op"], first["direction"], first["entry"]) == ("blocks.1.ffn.down", "linear", "forward", "micro"), first
assert (buffer["name"], buffer["shape"], buffer["elements"]) == ("micro/blocks.1.ffn.down", [2, 16, 32], 1024), buffer
# Output 0 of all 32 tokens, since the weight is in row 0.
assert buffer["nan"] + buffer["infinite"] == 32 and buffer["first"] == [0, 0, 0], buffer
assert -1 < buffer["finite_min"] < 0 < buffer["finite_max"] < 1, buffer
before, = report["not_finite_state"]
assert (before["name"], before["infinite"], before["nan"], before["first"]) == ("blocks.1.ffn.down.weight", 1, 0, [0, 7]), before
assert "not finite before the step: param blocks.1.ffn.down.weight, f32 [32, 85]: 1 infinite of 2,720 elements, first at [0, 7]" in said, said
assert report["iter"] == 0 and first["micro_batch"] == 0 and not report["update_made"]
tokens, shape = array(f"{path}/tokens.npy")
targets, _ = array(f"{path}/targets.npy")
assert shape == (2, 16) and tokens[1:16] == targets[:15]
# The state before the update: the file's weights, moments of zero, and a run that goes on from there ends alike.
assert saved(path)[0] == open(f"{folder}/forward.safetensors", "rb").read()[8 + size:] and not any(saved(path)[1])
inner = os.path.relpath(path, folder)
assert dump(inner, "--init_from=resume", keep=True)[1]["first"] == first
print("forward named")

# All activations are 0 and the loss is ln(128). Backward a weight near the largest number meets the norm of rows of zeros.
train = open(f"{data}/train.bin", "rb").read()
train = struct.unpack(f"<{len(train) // 2}H", train)
common = max(set(train), key=train.count)
_, report, _ = dump("backward", weights("backward", [("wte.weight", 0, [0.0] * 128 * 32), ("lm_head.weight", 32 * common, [3e38])]))
first = report["first"]
assert (first["name"], first["direction"], first["entry"]) == ("final_norm", "backward", "micro"), first
assert first["op"].startswith("rms_norm_vjp") and first["buffer"]["infinite"] > 0, first
assert report["not_finite_state"] == [] and "gradient elements are infinite or not a number" in report["reason"]
# A little less, and only the norm of the gradients is too large, which the step finds out when it makes the update.
_, report, said = dump("norm", "--gradient_accumulation_steps=1", weights("norm", [("wte.weight", 0, [0.0] * 128 * 32), ("lm_head.weight", 32 * common, [1e37])]))
assert (report["first"]["name"], report["first"]["entry"], report["first"]["micro_batch"]) == ("global_norm", "update", None), report
assert report["first"]["buffer"]["name"] == "stats" and report["update_made"] and "the state after the update" in said
print("backward named")

path, report, said = dump("eval", "--eval_only", weights("eval", [("blocks.0.ffn_norm.weight", 3, [math.nan])]))
first = report["first"]
assert (first["name"], first["entry"], first["direction"]) == ("blocks.0.attn.residual+blocks.0.ffn_norm", "eval", "forward"), first
assert report["batch"]["stream"] == "eval_train" and first["buffer"]["first"] == [0, 0, 3]
print("evaluation named")

# Infinite weights of a rare token: found in the micro batch that has it, on the rank that has it, after updates that were made.
# A batch is the same micro batch on one rank and on two.
rare = min(set(train), key=lambda t: abs(train.count(t) - len(train) // 600))
bad = weights("rare", [("wte.weight", 32 * rare, [math.inf] * 32)])
path, one, _ = dump("one", bad, "--max_iters=40")
assert one["iter"] > 0 and one["first"]["name"] == "wte+blocks.0.attn_norm" and one["first"]["buffer"]["name"] == "micro/wte"
tokens, _ = array(f"{path}/tokens.npy")
count = one["first"]["buffer"]["infinite"]
assert count == 32 * tokens.count(rare) > 0 and one["first"]["buffer"]["first"] == [*divmod(tokens.index(rare), 16), 0]
assert one["batch"]["number"] == 4 * one["iter"] + one["first"]["micro_batch"]
run("until", bad, f"--max_iters={one['iter']}")
assert saved(path) == saved(f"{folder}/until")
for step in ("two", "sharded"):
    path, two, said = dump(step, bad, "--max_iters=40", step=step)
    assert [two[key] for key in ("iter", "update_made")] == [one[key] for key in ("iter", "update_made")]
    assert array(f"{path}/tokens.npy")[0] == tokens and two["batch"]["number"] == one["batch"]["number"]
    found = two["first"]
    assert found["rank"] + 2 * found["micro_batch"] == one["first"]["micro_batch"] and f"rank {found['rank']})" in said
    assert (found["name"], found["buffer"]["infinite"]) == (one["first"]["name"], count), found
    assert {before["name"] for before in two["not_finite_state"]} >= {"wte.weight"}
# All ranks have written their part of the state.
assert dump(os.path.relpath(path, folder), "--init_from=resume", step=step, keep=True)[1]["first"] == found
print("ranks agree")

for step in ("step", "two"):
    states = []
    for policy in ("stop", "halt-with-dump"):
        run("finite", f"--nonfinite={policy}", "--max_iters=8", "--eval_interval=4", step=step)
        newest = sorted(glob.glob(f"{folder}/finite/checkpoints/*"))[-1]
        states.append([open(file, "rb").read() for file in sorted(glob.glob(f"{newest}/*.safetensors"))])
        assert not glob.glob(f"{folder}/finite/nonfinite*")
    assert states[0] == states[1] and len(states[0]) == (2 if step == "step" else 4), len(states[0])
print("finite runs unchanged")
