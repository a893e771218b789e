#!/usr/bin/env bash
# Runs fuzz targets under libFuzzer with address and undefined-behaviour
# sanitizers, one after the other:
#
#   scripts/fuzz.sh [--minutes=N] [--corpus=DIR] [TARGET ...]     all targets, 1 minute each
#
# An input that takes over 1 s, one allocation of over 256 MB, over 1 GB in all
# (sanitizers included), a crash or a sanitizer's finding stops a target; what
# caused it stays in build/fuzz/findings. New inputs are kept in --corpus
# (default build/fuzz/corpus). Fails if any target found something or none ran.
set -euo pipefail
cd "$(dirname "$0")/.."

minutes=1
corpus=build/fuzz/corpus
targets=()
for argument in "$@"; do
  case "$argument" in
    --minutes=*) minutes="${argument#*=}" ;;
    --corpus=*) corpus="${argument#*=}" ;;
    -*) echo "usage: $0 [--minutes=N] [--corpus=DIR] [TARGET ...]" >&2; exit 2 ;;
    *) targets+=("$argument") ;;
  esac
done
if ! [[ "$minutes" =~ ^[0-9]+(\.[0-9]+)?$ ]]; then
  echo "error: --minutes=$minutes: expected a number" >&2
  exit 2
fi
if [ ${#targets[@]} -eq 0 ]; then
  for folder in test/fuzz/*.cpp; do
    name=$(basename "$folder" .cpp)
    [ "$name" = replay ] || targets+=("$name")
  done
fi
for name in "${targets[@]}"; do
  if [ ! -f "test/fuzz/$name.cpp" ] || [ "$name" = replay ]; then
    echo "error: no fuzz target '$name'; test/fuzz/*.cpp are the targets" >&2
    exit 2
  fi
done
if ! command -v clang++-19 >/dev/null || ! ls /usr/lib/llvm-19/lib/clang/19/lib/linux/libclang_rt.fuzzer-*.a >/dev/null 2>&1; then
  echo "error: libFuzzer needs the packages clang-19 and libclang-rt-19-dev: apt-get install clang-19 libclang-rt-19-dev" >&2
  exit 1
fi

mkdir -p build/fuzz/findings
[ -f build/fuzz/build.ninja ] || cmake --preset fuzz -DPython3_EXECUTABLE=/usr/bin/python3 >build/fuzz/configure.log
ninja -C build/fuzz "${targets[@]/#/fuzz-}"

seconds=$(awk -v m="$minutes" 'BEGIN { print int(m * 60 + 0.5) }')
failed=()
printf '\n%-14s %10s %8s  %s\n' target inputs seconds result
for name in "${targets[@]}"; do
  mkdir -p "$corpus/$name"
  seeds=()
  [ -d "test/fuzz/corpus/$name" ] && seeds+=("test/fuzz/corpus/$name")
  # Files that the build makes serve as inputs too.
  case "$name" in step_file | explain) cp build/fuzz/test/unit/Runtime/toy.so "$corpus/$name/" ;; esac
  log="build/fuzz/findings/$name.log"
  start=$SECONDS
  result=ok
  if ! "build/fuzz/bin/fuzz-$name" -max_total_time="$seconds" -timeout=1 -rss_limit_mb=1024 -malloc_limit_mb=256 \
    -max_len=65536 -print_final_stats=1 -artifact_prefix="build/fuzz/findings/$name-" "$corpus/$name" "${seeds[@]}" >"$log" 2>&1; then
    result="FAILED, see $log"
    failed+=("$name")
  fi
  inputs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -1)
  printf '%-14s %10s %8s  %s\n' "$name" "${inputs:-?}" "$((SECONDS - start))" "$result"
done
echo "${#targets[@]} targets, ${#failed[@]} with findings"
[ ${#failed[@]} -eq 0 ]
