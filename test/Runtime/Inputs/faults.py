"""faults.py FOLDER DATA: what happens to a run of one rank whose surroundings fail."""
import glob
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time

folder, data = sys.argv[1:]
os.chdir(folder)


def command(out, *more):
    return ["txrun", "step.so", f"--dataset={data}", "--threads=1", "--gradient_accumulation_steps=1", "--max_iters=400",
            "--lr_decay_iters=400", "--warmup_iters=2", "--eval_interval=20", "--eval_iters=1", "--log_interval=1",
            "--always_save_checkpoint", "--quiet", f"--out_dir={out}", *more]


def run(out, *more, code=0, **how):
    result = subprocess.run(command(out, *more), capture_output=True, text=True, timeout=120, **how)
    assert result.returncode == code, (result.args, result.returncode, result.stdout, result.stderr)
    return result.stderr


def start(out, *more, **how):
    """A run that has done more than 45 iterations, so that it has saved."""
    process = subprocess.Popen(command(out, *more), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **how)
    end = time.monotonic() + 60
    while process.poll() is None and (lines(out) < 45 or not glob.glob(out + "/checkpoints/[0-9]*")):
        if time.monotonic() > end:
            process.kill()
            raise AssertionError("it does not train")
        time.sleep(0.01)
    return process


def lines(out):
    return sum(open(path).read().count('"event":"iteration"') for path in glob.glob(out + "/run_*.jsonl"))


def result(out):
    """The bits of a run: losses, gradients, evaluations, what it saved last."""
    (path,) = glob.glob(out + "/run_*.json")
    log = json.load(open(path))
    newest = sorted(glob.glob(out + "/checkpoints/[0-9]*"))[-1]
    return ([(it["iter"], it["loss"], it["gradients"]["global_norm"]) for it in log["training_iterations"]],
            [(it["iter"], it["train_loss"], it["val_loss"]) for it in log["eval_steps"]],
            [hashlib.sha256(open(f"{newest}/{name}.safetensors", "rb").read()).hexdigest() for name in ("model", "optimizer")])


def check_log(out, code):
    """The log of a run that ended early is whole and says why."""
    (path,) = glob.glob(out + "/run_*.json")
    log = json.load(open(path))
    assert log["metadata"]["exit_code"] == code and log["metadata"]["error"], log["metadata"]
    assert [it["iter"] for it in log["training_iterations"]] == list(range(len(log["training_iterations"])))
    for line in open(path + "l").read().splitlines():
        json.loads(line)
    return log


run("whole")
whole = result("whole")
assert len(whole[0]) == 400

# Stopped for a while, then continued.
process = start("stopped")
process.send_signal(signal.SIGSTOP)
before = lines("stopped")
time.sleep(0.5)
assert lines("stopped") <= before + 1
process.send_signal(signal.SIGCONT)
_, error = process.communicate(timeout=120)
assert process.returncode == 0, error
assert before < 400 and result("stopped") == whole
print("stopped and continued: the same bits")

# A token file that is cut off while it is read: the run ends, names it, and goes on when it is back.
shutil.copytree(data, "cut")
process = start("cut_run", "--dataset=cut")
os.truncate("cut/train.bin", 2)
_, error = process.communicate(timeout=120)
assert process.returncode == 1, (process.returncode, error)
assert re.search(r"cut/train.bin: it ends at byte 2, \d+ bytes short; it was whole, with \d+ bytes, when it was opened: put it "
                 r"back and go on with --init_from=resume", error), error
check_log("cut_run", 1)
error = run("cut_run", "--init_from=resume", "--dataset=cut", code=1)
assert "cut/train.bin" in error, error
shutil.copy(data + "/train.bin", "cut/train.bin")
run("cut_run", "--init_from=resume", "--dataset=cut")
assert result("cut_run") == whole
# One that vanishes is open still.
process = start("gone_run", "--dataset=cut")
shutil.rmtree("cut")
_, error = process.communicate(timeout=120)
assert process.returncode == 0, error
assert result("gone_run") == whole
print("token files cut off and removed")

# Two runs in one folder; a run that was killed leaves nothing locked.
process = start("shared")
error = run("shared", code=1)
assert f"another run works in this folder (process {process.pid} on {socket.gethostname()}); give another --out_dir" in error, error
process.kill()
process.communicate()
run("shared", "--init_from=resume")
assert result("shared") == whole
print("one run per folder")

# A clock that jumps a day to and fro: checkpoints are taken by their number.
process = start("clock", env={**os.environ, "LD_PRELOAD": os.path.abspath("clock.so")})
process.kill()
process.communicate()
for age, path in enumerate(sorted(glob.glob("clock/checkpoints/[0-9]*"))):
    for name in (path, *glob.glob(path + "/*")):
        os.utime(name, (1e9 - 1e6 * age, 1e9 - 1e6 * age))  # the newest looks oldest
newest = sorted(glob.glob("clock/checkpoints/[0-9]*"))[-1]
out = subprocess.run([word for word in command("clock", "--init_from=resume") if word != "--quiet"], text=True, timeout=120,
                     capture_output=True, env={**os.environ, "LD_PRELOAD": os.path.abspath("clock.so")})
assert out.returncode == 0 and f"Resumed {newest} after" in out.stdout, (newest, out.stdout, out.stderr)
assert result("clock") == whole
print("clock jumps")

# Less memory than the plan needs: both figures, before anything is trained. With a little more, it trains.
def limited(kind, bytes):
    return lambda: resource.setrlimit(kind, (bytes, bytes))


error = run("memory", code=1, preexec_fn=limited(resource.RLIMIT_AS, 80 << 20))
assert re.search(r"not enough memory: the step needs an arena of [\d.]+ [kM]B and the host [\d.]+ MB beside it, "
                 r"[\d.]+ MB are available \(ulimit -v\); take fewer --threads", error), error
run("memory", preexec_fn=limited(resource.RLIMIT_AS, 400 << 20))
assert result("memory") == whole
print("memory")

# Files that may not grow beyond what the log needs: it says so, and what was saved before is whole.
size = os.path.getsize("step.so") + (64 << 10)
error = run("full", code=1, preexec_fn=limited(resource.RLIMIT_FSIZE, size))
assert re.search(r"full/run_\S+: cannot write the log('s lines)?: File too large", error), error
run("full", "--init_from=resume")
assert result("full") == whole
print("a full disk")
