"""Writes a case file whose kernels do nothing, for the driver of a GPU that does not
exist (test/unit/Cuda/gpu): an addition in place that is right as long as it adds 0, a
result that stays poison, and what a kernel must not touch.

  write_cases.py FILE [right|wrong|unwritten|truncated]
"""
import json
import struct
import sys

path, kind = sys.argv[1:]
data = b""


def put(values):
    global data
    data += b"\0" * (-len(data) % 16)
    at = len(data)
    data += values if isinstance(values, bytes) else struct.pack(f"<{len(values)}f", *values)
    return at


def case(name, buffers, result, tolerance=1e-6):
    return {"group": "Nothing.Done", "name": name, "image": 0, "arguments": list(range(len(buffers))), "workspaces": [100],
            "phases": [{"function": "nothing", "grid": [0, 1, 1], "block": [32, 1, 1], "shared": 1024, "scalars": [7],
                        "maps": []}],
            "buffers": buffers,
            "results": [{"expected": put(result), "tolerance": tolerance, "element_tolerance": tolerance,
                         "each_alone": False}]}


given = [1.0, -2.0, 3.5]
image = put(b".version 8.0\n\0")
in_place = [{"type": "f32", "bytes": 12, "data": put(given)}, {"type": "f32", "bytes": 12, "shares": 0}]
nan = float("nan")
cases = [case("in place", in_place, given), case("not to be written", [{"type": "f32", "bytes": 8}], [nan, nan])]
if kind == "wrong":
    cases.append(case("other values", in_place, [1.0, -2.0, 3.6]))
if kind == "unwritten":
    cases.append(case("not written", [{"type": "f32", "bytes": 8}], [0.0, 0.0]))
header = json.dumps({"target": "sm_90a", "images": [{"offset": image, "bytes": 14}], "cases": cases}).encode()
header += b" " * (-len(header) % 64)
with open(path, "wb") as file:
    file.write(b"TXCCASE1" + struct.pack("<Q", len(header)) + header + (data[:-4] if kind == "truncated" else data))
