"""fail_ranks.py FOLDER: starts ranks, does something bad to one of them, and looks at how all end."""
import glob
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

os.chdir(sys.argv[1])
TIMEOUT = 4
RUN = ["--dataset=data", "--max_iters=1000000", "--gradient_accumulation_steps=2", "--eval_interval=0", "--quiet",
       f"--comm_timeout={TIMEOUT}"]
MPIRUN = ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none"]
HOST = re.escape(socket.gethostname())


def tree(pid):
    """The processes beneath one."""
    found = []
    for task in glob.glob(f"/proc/{pid}/task/*/children"):
        try:
            with open(task) as file:
                for child in file.read().split():
                    found += [int(child), *tree(int(child))]
        except OSError:
            pass
    return found


def variables(pid):
    try:
        with open(f"/proc/{pid}/environ") as file:
            return dict(word.split("=", 1) for word in file.read().split("\0") if "=" in word)
    except OSError:
        return {}


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def wait_for(condition, seconds, what):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def iterations(out):
    return sum(open(path).read().count('"event":"iteration"') for path in glob.glob(out + "/run_*.jsonl"))


def disturb(name, rank, number, expected):
    """Sends a signal to one of two ranks that train."""
    out = "out-" + name
    run = subprocess.Popen(["txrun", "--nproc=2", "two.so", *RUN, "--out_dir=" + out], stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, text=True)
    beneath = []
    try:
        wait_for(lambda: run.poll() is not None or iterations(out) > 2, 60, f"{name}: the ranks do not train")
        time.sleep(1.5)  # what is known of a rank is half a second old
        assert run.poll() is None, run.communicate()[0]
        beneath = tree(run.pid)
        ranks = {variables(pid).get("OMPI_COMM_WORLD_RANK"): pid for pid in beneath}
        ranks.pop(None, None)
        assert sorted(ranks) == ["0", "1"], ranks
        start = time.monotonic()
        os.kill(ranks[str(rank)], number)
        text = run.communicate(timeout=TIMEOUT + 40)[0]
        took = time.monotonic() - start
    finally:
        run.kill()
        for pid in beneath:
            if alive(pid) and "OMPI_COMM_WORLD_RANK" in variables(pid):
                os.kill(pid, signal.SIGKILL)
                beneath = None
    assert beneath is not None, f"{name}: a rank outlived the run\n{text}"
    assert run.returncode == 3, f"{name}: exit code {run.returncode}\n{text}"
    assert took < TIMEOUT + 10, f"{name}: took {took:.1f} s\n{text}"
    expected = expected.format(place=rf"rank {rank} \(host {HOST}, process {ranks[str(rank)]}\)")
    assert re.search(expected, text), f"{name}: expected {expected}\n{text}"
    (path,) = glob.glob(out + "/run_*.json")
    with open(path) as file:
        log = json.load(file)
    done = [record["iter"] for record in log["training_iterations"]]
    assert len(done) > 2 and done == list(range(len(done))), done
    with open(path + "l") as file:
        assert [json.loads(line) for line in file.read().split("\n")[:-1]]
    if rank != 0:  # who lives writes how it ended
        assert log["metadata"]["exit_code"] == 3 and "rank 1" in log["metadata"]["error"], log["metadata"]
    print(f"{name}: {took:.1f} s")


where = r" in iteration \d+, last in collective '[^']+'"
disturb("killed", 1, signal.SIGKILL, r"rank 0: {place} died" + where)
disturb("killed0", 0, signal.SIGKILL, r"rank 1: {place} died")
disturb("stopped", 1, signal.SIGSTOP, r"rank 0: {place} hangs" + where)


def launch(words, expected, *texts):
    start = time.monotonic()
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=TIMEOUT + 60)
    took = time.monotonic() - start
    assert done.returncode == expected, f"{words}: exit code {done.returncode}\n{done.stdout}"
    assert took < TIMEOUT + 10, f"{words}: took {took:.1f} s"
    for text in texts:
        assert re.search(text, done.stdout), f"{words}: expected {text}\n{done.stdout}"


# Two ranks with different files. Before MPI starts: it is the control plane that compares.
launch([*MPIRUN, "-n", "1", "txrun", "two.so", *RUN, "--out_dir=a", ":", "-n", "1", "txrun", "other.so", *RUN,
        "--out_dir=b"], 3, r"rank 1 \(host .*\) disagrees with rank 0 \(host .*\) about step.so \(its hash\): ")
shutil.copytree("data", "changed")
with open("changed/train.bin", "r+b") as file:
    file.write(b"\1\0")
launch([*MPIRUN, "-n", "1", "txrun", "two.so", *RUN, "--out_dir=a", ":", "-n", "1", "txrun", "two.so", *RUN,
        "--dataset=changed", "--out_dir=b"], 3, "disagrees with rank 0 .* about the training data: ")
launch([*MPIRUN, "-n", "3", "txrun", "two.so", *RUN], 2, r"compiled for 2 ranks \(mesh dp:2\), mpirun started 3")

# A port that something else has.
with socket.socket() as taken:
    taken.bind(("127.0.0.1", 0))
    taken.listen()
    port = taken.getsockname()[1]
    launch([*MPIRUN, "-x", "MASTER_ADDR=127.0.0.1", "-x", f"MASTER_PORT={port}", "-n", "2", "txrun", "two.so", *RUN], 3,
           f"127.0.0.1 port {port} is in use on this host .*set MASTER_PORT")
# An address that is nobody's here, and a name that is none.
launch([*MPIRUN, "-x", "MASTER_ADDR=192.0.2.1", "-n", "2", "txrun", "two.so", *RUN], 3,
       "192.0.2.1 port .*: not an address of this host .*set MASTER_ADDR")
launch([*MPIRUN, "-x", "MASTER_ADDR=no.such.host.invalid", "-n", "2", "txrun", "two.so", *RUN], 3,
       "MASTER_ADDR=no.such.host.invalid: .*give all ranks the name or the address of rank 0's host")
# One rank cannot write its part of the last checkpoint: rank 0 does not wait for it, both say which rank and why.
out = "unwritable"
with subprocess.Popen(["txrun", "--nproc=2", "two.so", "--dataset=data", "--max_iters=1500", "--lr_decay_iters=1500",
                       "--gradient_accumulation_steps=2", "--eval_interval=0", "--quiet", "--out_dir=" + out],
                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
    try:
        wait_for(lambda: run.poll() is not None or iterations(out) > 0, 60, "the ranks do not train")
        os.makedirs(out + "/checkpoints/.incomplete-000001-iter-1500")
        os.symlink("/dev/full", out + "/checkpoints/.incomplete-000001-iter-1500/optimizer-00002-of-00002.safetensors")
        text = run.communicate(timeout=60)[0]
    finally:
        run.kill()
assert run.returncode in (1, 3), (run.returncode, text)  # of the rank that ends first
assert re.search(r"rank 1.*optimizer-00002-of-00002.safetensors: cannot create: ", text), text
assert os.listdir(out + "/checkpoints") == [], os.listdir(out + "/checkpoints")
print("all ended")
