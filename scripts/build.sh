#!/usr/bin/env bash
# Configures and builds in build/release: the targets named, or everything.
set -euo pipefail
cd "$(dirname "$0")/.."
log=build/release/configure.log
mkdir -p build/release
if [ ! -f build/release/build.ninja ]; then
  # Not pyenv's or conda's python3: the packages are the system's.
  cmake --preset release -DPython3_EXECUTABLE=/usr/bin/python3 >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
fi
ninja -C build/release "$@"
