"""check-help.py TOOL...: the help of each tool and of each command that it lists."""
import re
import subprocess
import sys


def check(words):
    done = subprocess.run([*words, "--help"], capture_output=True, text=True)
    name = " ".join(words)
    assert done.returncode == 0, f"{name} --help: exit code {done.returncode}"
    assert not done.stderr, f"{name} --help writes to standard error: {done.stderr}"
    lines = done.stdout.splitlines()
    long = [line for line in lines if len(line) > 80]
    assert not long, f"{name} --help: beyond 80 columns: {long}"
    assert lines[2] == "Examples:", f"{name} --help: line 3 is {lines[2]!r}"
    assert all(line.startswith("  ") or not line for line in lines[3:lines.index("Usage:")])
    print(name + ": ok")
    return done.stdout


for tool in sys.argv[1:]:
    text = check([tool])
    section = re.search(r"^Commands:\n(.*?)\n\n", text, flags=re.M | re.S)
    for command in re.findall(r"^  (\w+)", section.group(1) if section else "", flags=re.M):
        check([tool, command])
