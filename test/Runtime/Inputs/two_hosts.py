"""two_hosts.py FOLDER: starts two ranks on two hosts that are namespaces, and cuts the cable."""
import glob
import json
import os
import re
import signal
import subprocess
import sys
import time

os.chdir(sys.argv[1])
TIMEOUT = 4
NAME = f"txc{os.getpid() % 100000}"
HOSTS = {"10.213.77.1": NAME + "a", "10.213.77.2": NAME + "b"}
RUN = ["--dataset=data", "--gradient_accumulation_steps=2", "--eval_interval=0", "--quiet",
       f"--comm_timeout={TIMEOUT}"]


def call(*words):
    subprocess.run(words, check=True, timeout=60)


def beneath(pid):
    found = []
    for task in glob.glob(f"/proc/{pid}/task/*/children"):
        try:
            with open(task) as file:
                for child in file.read().split():
                    found += [int(child), *beneath(int(child))]
        except OSError:
            pass
    return found


def ranks(pid):
    """The running txrun processes beneath one."""
    found = []
    for child in beneath(pid):
        try:
            with open(f"/proc/{child}/stat") as file:
                name, rest = file.read().split("(", 1)[1].rsplit(")", 1)
            if name == "txrun" and rest.split()[0] not in "ZX":
                found.append(child)
        except OSError:
            pass
    return found


def end(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


# What mpirun calls to start its part on the other host: `agent HOST COMMAND...`.
with open("agent", "w") as file:
    file.write("#!/bin/sh\nhost=$1; shift\ncase $host in\n")
    for address, host in HOSTS.items():
        file.write(f"{address}) exec ip netns exec {host} unshare -u sh -c \"hostname {host}; $*\" ;;\n")
    file.write("esac\nexit 1\n")
os.chmod("agent", 0o755)


def start(out, *options):
    first, second = HOSTS
    mpirun = ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none", "-n", "2", "-H",
              f"{first}:1,{second}:1", "--mca", "plm_rsh_agent", os.path.abspath("agent"), "--mca",
              "btl_tcp_if_include", "10.213.77.0/24", "--mca", "oob_tcp_if_include", "10.213.77.0/24", "-x",
              f"MASTER_ADDR={first}", "-x", "PATH", "--wdir", os.getcwd()]
    # The other host's words may not get through.
    each = ["sh", "-c", f'exec txrun "$@" 2> {out}.$OMPI_COMM_WORLD_RANK', "txrun"]
    script = f"hostname {HOSTS[first]}; exec \"$@\""
    return subprocess.Popen(["ip", "netns", "exec", HOSTS[first], "unshare", "-u", "sh", "-c", script, "sh", *mpirun,
                             *each, "two.so", *RUN, *options, "--out_dir=" + out])


def log(out):
    (path,) = glob.glob(out + "/run_*.json")
    with open(path) as file:
        return json.load(file)


def losses(out):
    return [record["loss"] for record in log(out)["training_iterations"]]


run = None
try:
    for host in HOSTS.values():
        call("ip", "netns", "add", host)
    a, b = HOSTS.values()
    call("ip", "link", "add", "cable", "netns", a, "type", "veth", "peer", "name", "cable", "netns", b)
    for address, host in HOSTS.items():
        call("ip", "-n", host, "addr", "add", address + "/24", "dev", "cable")
        for device in ("cable", "lo"):
            call("ip", "-n", host, "link", "set", device, "up")

    call("txrun", "--nproc=2", "two.so", *RUN, "--max_iters=5", "--out_dir=one-host")
    run = start("two-hosts", "--max_iters=5")
    assert run.wait(timeout=120) == 0, [open(path).read() for path in glob.glob("two-hosts.*")]
    one, two = losses("one-host"), losses("two-hosts")
    assert len(one) == 5 and all(abs(x - y) < 1e-5 * x for x, y in zip(one, two, strict=True)), (one, two)
    print("two hosts train as one")

    run = start("cut", "--max_iters=100000000")
    limit = time.monotonic() + 60
    while not glob.glob("cut/run_*.json") or len(losses("cut")) < 3:
        assert run.poll() is None and time.monotonic() < limit, [open(path).read() for path in glob.glob("cut.*")]
        time.sleep(0.2)
    time.sleep(1.5)
    both = ranks(run.pid)
    assert len(both) == 2, both
    begin = time.monotonic()
    call("ip", "-n", b, "link", "set", "cable", "down")
    while ranks(run.pid):
        assert time.monotonic() - begin < TIMEOUT + 10, [open(path).read() for path in glob.glob("cut.*")]
        time.sleep(0.1)
    print(f"both ended after {time.monotonic() - begin:.1f} s")
    for rank, host in enumerate((a, b)):
        text = open(f"cut.{rank}").read()
        other = rf"rank {1 - rank} \(host {b if rank == 0 else a}, process \d+\)"
        assert re.search(other + " (hangs|died)", text), (rank, text)
    assert log("cut")["metadata"]["exit_code"] == 3, log("cut")["metadata"]
finally:
    if run and run.poll() is None:
        for pid in [*beneath(run.pid), run.pid]:
            end(pid)
        run.wait()
    for host in HOSTS.values():
        # mpirun's part on the other host is no child of ours.
        left = subprocess.run(["ip", "netns", "pids", host], check=False, stdout=subprocess.PIPE, text=True)
        for pid in left.stdout.split():
            end(int(pid))
        subprocess.run(["ip", "netns", "del", host], check=False)
print("noticed")
