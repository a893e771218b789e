#!/usr/bin/env python3
"""run_block.py FILE.md HEADING ROOT: runs the first code block under a heading,
line by line, in this folder, with the project's configs/ beside it."""
import os
import pathlib
import re
import subprocess
import sys

text = pathlib.Path(sys.argv[1]).read_text()
heading, root = sys.argv[2], sys.argv[3]
section = re.split(r"^## ", text, flags=re.M)
body = next(s for s in section if s.startswith(heading + "\n"))
block = re.search(r"^```\w*\n(.*?)^```", body, flags=re.M | re.S).group(1)
if not os.path.exists("configs"):
    os.symlink(os.path.join(root, "configs"), "configs")
commands = [line for line in block.splitlines() if line and not line.startswith("export PATH")]
assert commands, "no command under " + heading
for command in commands:
    print("$", command, flush=True)
    subprocess.run(command, shell=True, check=True)
