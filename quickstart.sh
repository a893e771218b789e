#!/usr/bin/env bash
# From a fresh Debian 12 (or Ubuntu 24.04) to a language model that learns:
# installs packages, builds, prepares Shakespeare's text, compiles a small LLaMA
# and trains it on this machine. Takes a few minutes the first time.
#
#   ./quickstart.sh [options of txrun, e.g. --max_iters=1000]
set -euo pipefail
cd "$(dirname "$0")"
scripts/install-packages.sh build
scripts/build.sh txc txrun txdata
bin=build/release/bin

[ -f data/shakespeare_char/meta.json ] || "$bin/txdata" prepare shakespeare_char --allow_fallback
mkdir -p build/demo
"$bin/txc" compile configs/demo_cpu.yaml -o build/demo/step.so
"$bin/txrun" build/demo/step.so --dataset=shakespeare_char "$@"
