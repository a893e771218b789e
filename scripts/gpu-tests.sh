#!/usr/bin/env bash
# The truth on a GPU, in two halves, so that the machine with the GPU needs neither
# the compiler nor a checkout (docs/gpu.md, "Tests"):
#
#   scripts/gpu-tests.sh pack DIR    where txc is built: compiles the kernels' cases
#                                    and the steps, trains the CPU's side, writes DIR
#   DIR/gpu-tests.sh run DIR         where the GPU is: runs everything, prints a line
#                                    per check and a summary; 1 if a check failed or
#                                    none ran, 3 if there is no GPU
#
# pack takes the tools from build/release, or from $TXC_BUILD_DIR, and builds what is
# missing there. run needs bash, python3 and the NVIDIA driver with cuBLASLt;
# compute-sanitizer, if it finds it.
set -euo pipefail
usage() { sed -n '/^#   /s/^# *//p' "$0" >&2; exit 2; }
[ $# -ge 2 ] || usage
here="$(cd "$(dirname "$0")" && pwd)"
python="${PYTHON:-python3}"
command -v "$python" >/dev/null || { echo "error: $python not found; install Python 3" >&2; exit 1; }
half="$1"; folder="$2"; shift 2
case "$half" in
  pack)
    root="$(dirname "$here")"
    build="${TXC_BUILD_DIR:-$root/build/release}"
    if [ ! -f "$build/build.ninja" ]; then
      echo "error: $build is not configured; run scripts/build.sh, or name a build folder in TXC_BUILD_DIR" >&2
      exit 1
    fi
    targets=(txc txrun txdata CodegenTest run-cases)
    [[ " $* " == *" --ranks-only "* ]] && targets=(txc txrun txdata)
    # What checks the backend alone is there with clang and ptxas only.
    if grep -q 'cuda_smoke' "$build/build.ninja"; then
      targets+=(cuda_smoke)
    fi
    ninja -C "$build" "${targets[@]}"
    mkdir -p "$folder"
    cp "$here/gpu-tests.sh" "$here/gpu_tests.py" "$folder"
    exec "$python" -u "$here/gpu_tests.py" pack "$folder" --build="$build" --source="$root" "$@" ;;
  run)
    [ -f "$folder/gpu_tests.py" ] || { echo "error: $folder: no pack; make one with scripts/gpu-tests.sh pack $folder" >&2; exit 1; }
    exec "$python" -u "$folder/gpu_tests.py" run "$folder" "$@" ;;
  *) usage ;;
esac
