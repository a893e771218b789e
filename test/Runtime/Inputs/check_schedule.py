"""check_schedule.py: the rates that runs log are those of docs/schedules.md.

Arguments: folders of logs. Prints the schedule of each and whether all fit."""
import glob
import json
import math
import sys


def rate(schedule, i, W, E, P, M):
    if i < W:
        return P * (i + 1) / (W + 1)
    D = max(W, E - E // 5)
    if schedule == "constant":
        return P
    if i >= E:
        return M
    return {"cosine": M + (P - M) * (1 + math.cos(math.pi * (i - W) / (E - W))) / 2,
            "linear": P - (P - M) * (i - W) / (E - W),
            "wsd": P if i <= D else P - (P - M) * (i - D) / (E - D)}[schedule]


for folder in sys.argv[1:]:
    log = json.load(open(glob.glob(folder + "/run_*.json")[0]))
    config = log["config"]
    arguments = [config[key] for key in ("warmup_iters", "lr_decay_iters", "learning_rate", "min_lr")]
    wrong = [it["iter"] for it in log["training_iterations"]
             if not math.isclose(it["lr"], rate(config["schedule"], it["iter"], *arguments), rel_tol=1e-13)]
    print(config["schedule"], len(log["training_iterations"]), "iterations, wrong:", wrong)
