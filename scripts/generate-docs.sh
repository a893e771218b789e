#!/usr/bin/env bash
# Writes the documents that are made from tables: docs/spec.md and docs/generated/.
# test/Docs/generated.test fails when they are not what this writes.
#
#   scripts/generate-docs.sh [ROOT]    ROOT: where docs/ is, this project if not given
set -euo pipefail
here="$(cd "$(dirname "$0")/.." && pwd)"
root="${1:-$here}"
mkdir -p "$root/docs/generated"
tblgen=$(command -v mlir-tblgen-19 || command -v mlir-tblgen || echo /usr/lib/llvm-19/bin/mlir-tblgen)
include=$("$(command -v llvm-config-19 || command -v llvm-config || echo /usr/lib/llvm-19/bin/llvm-config)" --includedir)
for dialect in Tx Step; do
  "$tblgen" -gen-dialect-doc -dialect="${dialect,,}" -I "$here/dialects" -I "$include" \
    "$here/dialects/$dialect/${dialect}Ops.td" -o "$root/docs/generated/${dialect,,}.md"
done
txc=$(command -v txc || echo "$here/build/release/bin/txc")
[ -x "$txc" ] || { echo "error: $txc: not there; build it (scripts/build.sh txc) or put txc on the path" >&2; exit 1; }
"$txc" --print-spec-reference >"$root/docs/spec.md"
"$txc" --print-stage-reference >"$root/docs/generated/stages.md"
