"""Prints a program with OBJECT replaced by a step.object that holds a file.

usage: embed-object.py PROGRAM.mlir OBJECT.o TARGET"""
import sys

program, path, target = sys.argv[1:]
with open(path, "rb") as file:
    code = "".join(f"\\{byte:02X}" for byte in file.read())
with open(program) as file:
    print(file.read().replace("OBJECT", f'step.object "{target}" "{code}"'))
