#!/usr/bin/env python3
"""Checks that every numbered constraint in dialects/ has an invalid test.

A case of test/Dialect names what it breaks in a comment: `// tx.param (C2)`.
Every op must also stand in its dialect's ops.mlir (the round trip)."""
import pathlib
import re
import sys

root = pathlib.Path(__file__).resolve().parent.parent
errors = []
count = 0
for dialect in ("Tx", "Step"):
    tests = root / "test" / "Dialect" / dialect
    tested = set()
    for test in tests.glob("invalid*.mlir"):
        for op, number in re.findall(r"^// ([\w.]+) \(C(\d+)\)", test.read_text(), re.M):
            tested.add((op, number))
    round_trip = (tests / "ops.mlir").read_text()
    declared = set()
    for table in sorted((root / "dialects" / dialect).glob("*Ops.td")):
        for definition in re.split(r"^def ", table.read_text(), flags=re.M)[1:]:
            name = re.match(rf'{dialect}_\w+ : {dialect}_\w*Op<"([\w.]+)"', definition)
            if not name:
                continue
            op = f"{dialect.lower()}.{name.group(1)}"
            if not re.search(rf"^ *(%.* = )?{re.escape(op)}\b(?!_)", round_trip, re.M):
                errors.append(f"{table.relative_to(root)}: {op} is not in test/Dialect/{dialect}/ops.mlir")
            for number in re.findall(r"\* \(C(\d+)\)", definition):
                declared.add((op, number))
                if (op, number) not in tested:
                    errors.append(f"{table.relative_to(root)}: no invalid test for {op} (C{number})")
    count += len(declared)
if not count:
    errors.append("no constraint found")
print("\n".join(errors) or f"{count} constraints, each with an invalid test")
sys.exit(bool(errors))
