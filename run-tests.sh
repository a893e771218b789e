#!/usr/bin/env bash
# Installs what the tests need, builds, and runs all of them. Fails when any test
# fails or none ran; ends in ctest's summary line.
set -euo pipefail
cd "$(dirname "$0")"
scripts/install-packages.sh test
scripts/build.sh
ctest --preset release --no-tests=error -j "$(nproc)" "$@"
