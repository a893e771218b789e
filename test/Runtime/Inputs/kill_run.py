"""kill_run.py LOGS COMMAND...: starts the run again and again, kills it with
SIGKILL at some instant, and reads what it left behind."""
import atexit
import glob
import json
import os
import subprocess
import sys
import time

folder, command = sys.argv[1], sys.argv[2:]
records = 0
for round in range(6):
    out = f"{folder}/{round}"
    run = subprocess.Popen([*command, "--out_dir=" + out])
    atexit.register(run.kill)  # it would outlive a check that fails
    # The first rounds are killed as soon as there is a log, the others later.
    while not glob.glob(out + "/run_*.json") or (round > 2 and not any('"iteration"' in open(path).read()
                                                                      for path in glob.glob(out + "/run_*.jsonl"))):
        assert run.poll() is None
        time.sleep(0.002)
    # By the clock: a fast run writes more while its log is read than a reader parses.
    end = time.monotonic() + 0.02 + 0.017 * round
    while time.monotonic() < end:
        time.sleep(0.001)
        for path in glob.glob(out + "/run_*.json"):  # also while it is written
            json.load(open(path))
    run.kill()
    run.wait()
    path, = glob.glob(out + "/run_*.json")
    log = json.load(open(path))
    assert log["end_time"] is None and log["metadata"]["exit_code"] is None
    assert log["metadata"]["memory_plan"]["buffers"] and log["metadata"]["flops"]
    assert log["summary"]["total_iterations"] == len(log["training_iterations"])
    assert [it["iter"] for it in log["training_iterations"]] == list(range(len(log["training_iterations"])))
    lines = open(path + "l").read().split("\n")
    complete = [json.loads(line) for line in lines[:-1]]
    assert complete[0]["event"] == "start"
    records += len(log["training_iterations"])
assert records > 0
print("valid after 6 kills")
