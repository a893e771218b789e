#!/usr/bin/env bash
# Runs fuzz targets under libFuzzer with address and undefined-behaviour
# sanitizers, one after the other:
#
#   scripts/fuzz.sh [--minutes=N] [--corpus=DIR] [TARGET ...]     all targets, 1 minute of CPU time each
#
# An input that takes over 1 s of CPU time or 60 s in all, one allocation of over
# 256 MB, over 256 MB in all, a crash or a sanitizer's finding stops a target; what
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
    case "$name" in replay | limits) ;; *) targets+=("$name") ;; esac
  done
fi
for name in "${targets[@]}"; do
  if [ ! -f "test/fuzz/$name.cpp" ] || [ "$name" = replay ] || [ "$name" = limits ]; then
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

# What the process itself takes counts, however busy the machine is.
limit=$(awk -v m="$minutes" 'BEGIN { print int(m * 60 + 0.5) }')
TIMEFORMAT='%U %S'
# Freed memory that the sanitizer holds back counts as memory in use.
export ASAN_OPTIONS="quarantine_size_mb=8:${ASAN_OPTIONS:-}"
# By default undefined behaviour is only printed.
export UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1:${UBSAN_OPTIONS:-}"
failed=()
printf '\n%-14s %10s %8s  %s\n' target inputs 'CPU s' result
for name in "${targets[@]}"; do
  mkdir -p "$corpus/$name"
  seeds=()
  [ -d "test/fuzz/corpus/$name" ] && seeds+=("test/fuzz/corpus/$name")
  memory=256
  # Files that the build makes serve as inputs too.
  case "$name" in step_file | explain) cp build/fuzz/test/unit/Runtime/toy.so "$corpus/$name/" ;; esac
  # These hold the compiler's libraries, whose own size the limit must leave room for.
  case "$name" in spec | command_line | explain) memory=1024 ;; esac
  log="build/fuzz/findings/$name.log"
  : >"$log"
  used=0
  result=ok
  while [ "$result" = ok ] && [ "${used%.*}" -lt "$limit" ]; do
    wall=$(awk -v l="$limit" -v u="$used" 'BEGIN { w = int(l - u) + 1; print w < 120 ? w : 120 }')
    took=$({ time "build/fuzz/bin/fuzz-$name" -max_total_time="$wall" -timeout=60 -rss_limit_mb="$memory" \
      -malloc_limit_mb=256 -max_len=65536 -print_final_stats=1 -artifact_prefix="build/fuzz/findings/$name-" \
      "$corpus/$name" "${seeds[@]}" >>"$log" 2>&1; } 2>&1) || result="FAILED, see $log"
    used=$(awk -v u="$used" -v t="$took" 'BEGIN { split(t, a, " "); printf "%.2f", u + a[1] + a[2] }')
    echo "$name: $used s of CPU time so far" >>"$log"
  done
  [ "$result" = ok ] || failed+=("$name")
  inputs=$(awk '/^stat::number_of_executed_units:/ { n += $2 } END { print n + 0 }' "$log")
  printf '%-14s %10s %8s  %s\n' "$name" "$inputs" "$used" "$result"
done
echo "${#targets[@]} targets, ${#failed[@]} with findings"
[ ${#failed[@]} -eq 0 ]
