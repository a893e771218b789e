#!/usr/bin/env python3
"""ptxas, but whatever is called attention* claims to spill 24 bytes."""
import os
import re
import shutil
import subprocess
import sys

ptxas = shutil.which("ptxas") or os.path.join(os.environ.get("CUDA_HOME", "/usr/local/cuda"), "bin/ptxas")
run = subprocess.run([ptxas] + sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
function = ""
for line in run.stdout.splitlines():
    function = (re.findall(r"Compiling entry function '(\w+)'", line) or [function])[0]
    print(re.sub(r"\d+ bytes spill stores", "24 bytes spill stores", line) if function.startswith("attention") else line)
sys.exit(run.returncode)
