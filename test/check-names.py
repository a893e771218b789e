#!/usr/bin/env python3
"""Checks that every pass has one name: its def in Passes.td, its argument, its
.cpp file and its test agree."""
import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parent.parent
errors = []
passes = 0


def kebab(name):
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


for table in sorted(root.glob("include/txc/*/Passes.td")):
    stage = table.parent.name
    for name, argument in re.findall(r'def (\w+) : Pass<"([\w-]+)"', table.read_text()):
        passes += 1
        where = f"{table.relative_to(root)}: {name}"
        if name == f"Verify{stage}":
            expected, test = f"tx-{stage.lower()}-verify", "verify"
        else:
            expected, test = f"tx-{stage.lower()}-{kebab(name)}", kebab(name)
        if argument != expected:
            errors.append(f"{where} has argument {argument}, expected {expected}")
        if not (root / "lib" / stage / f"{name}.cpp").exists():
            errors.append(f"{where} has no lib/{stage}/{name}.cpp")
        if not (root / "test" / stage / f"{test}.mlir").exists():
            errors.append(f"{where} has no test/{stage}/{test}.mlir")
if not passes:
    errors.append("no pass found")
print("\n".join(errors) or f"{passes} passes, each with one name")
sys.exit(bool(errors))
