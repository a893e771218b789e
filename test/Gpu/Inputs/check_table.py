"""Compares the rows of gpu_kernels.py with the sums that the profile itself gives."""
import json
import sys

sys.path.insert(0, sys.argv[1])
import gpu_kernels

profile = json.load(open(sys.argv[2]))
micro = profile["gradient_accumulation_steps"]
times = {entry["name"]: micro if entry["name"].startswith("micro") else 1 for entry in profile["entries"]}
total = sum(times[entry["name"]] * command["milliseconds"] for entry in profile["entries"] for command in entry["commands"])
rows = gpu_kernels.rows_of(profile)
print("rows add up:", abs(sum(row["ms"] for row in rows) - total) < 1e-9 * total and
      sum(row["count"] for row in rows) == sum(times[e["name"]] * len(e["commands"]) for e in profile["entries"]))
