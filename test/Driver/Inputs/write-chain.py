"""Writes files that each inherit from the next, more than txc follows."""
import pathlib
import sys

folder = pathlib.Path(sys.argv[1])
for i in range(20):
    (folder / f"chain{i}.yaml").write_text(f"base: chain{i + 1}.yaml\n")
(folder / "chain20.yaml").write_text("model: {}\n")
