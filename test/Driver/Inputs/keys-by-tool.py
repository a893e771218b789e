"""Gives every key of the option table, and every option of either tool, to the tool
that it is not for: each must be refused, with exit code 2 and the name of the other.

The table is read from docs/spec.md's source, `txc --print-spec-reference`, the
options from the tools' own --help."""
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

spec = sys.argv[1]


def run(*command):
    return subprocess.run(command, capture_output=True, text=True)


def options(*command):
    return set(re.findall(r"^  (?:-\w, )?--([\w-]+)", run(*command, "--help").stdout, re.M))


table = dict(re.findall(r"^\| `(\w+)` \| (txc|txrun) \|", run("txc", "--print-spec-reference").stdout, re.M))
of_txc, of_txrun = options("txc", "compile"), options("txrun")
assert len(table) > 50 and set(table.values()) == {"txc", "txrun"}, table
missing = [key for key, tool in table.items() if key not in (of_txc if tool == "txc" else of_txrun)]
assert not missing, f"not in --help: {missing}"

# Option, tool that must refuse it, tool to be named.
cases = [(option, "txrun", "txc") for option in of_txc - of_txrun]
cases += [(option, "txc", "txrun") for option in of_txrun - of_txc]
both = (of_txc & of_txrun) - {"help"}
assert not both, f"both tools take {both}"


def fault(case):
    option, tool, other = case
    result = run(tool, *(["compile", spec, "--emit=import"] if tool == "txc" else ["step.so"]), f"--{option}=1")
    if result.returncode != 2:
        return f"{tool} --{option}=1: exit code {result.returncode}"
    named = rf"\b{other}\b"
    if option not in ("json", "version") and not re.search(named, result.stderr.replace(f"{tool}: error", "")):
        return f"{tool} --{option}=1 does not name {other}: {result.stderr}"
    return None


with ThreadPoolExecutor(2) as pool:
    faults = [text for text in pool.map(fault, cases) if text]
print("\n".join(faults) or f"all {len(cases)} options are sent to their tool")
