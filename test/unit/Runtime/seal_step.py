#!/usr/bin/env python3
"""Writes the content hash into the note of a hand-made step.so.

usage: seal_step.py IN OUT [OFFSET=U32 ...]
OFFSET=U32 first overwrites 4 bytes of the note, e.g. 8=2 makes it ABI 2.
"""
import hashlib
import struct
import sys

MAGIC = struct.pack("<Q", 0x0A1A50455453CB74)
data = bytearray(open(sys.argv[1], "rb").read())
at = data.find(b"txc\0" + MAGIC) + 4
if at < 4:
    sys.exit(f"{sys.argv[1]}: no note of txc")
for change in sys.argv[3:]:
    offset, value = change.split("=")
    struct.pack_into("<I", data, at + int(offset), int(value))
data[at + 24 : at + 56] = bytes(32)
data[at + 24 : at + 56] = hashlib.sha256(data).digest()
open(sys.argv[2], "wb").write(data)
