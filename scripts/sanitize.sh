#!/usr/bin/env bash
# Builds with sanitizers and runs the tests under them:
#
#   scripts/sanitize.sh address [CTEST ARGUMENT ...]   address and undefined behaviour, every test
#   scripts/sanitize.sh runtime [CTEST ARGUMENT ...]   the same without the compiler: the runtime's tests
#   scripts/sanitize.sh thread [CTEST ARGUMENT ...]    data races, the runtime's tests; needs clang-19,
#                                                      libclang-rt-19-dev and libomp-19-dev
#
# Folders: build/asan, build/asan-runtime, build/tsan. docs/guides/sanitizers.md says what is left
# out and why. TXC_JOBS: compilers and tests at a time, default all processors.
set -euo pipefail
cd "$(dirname "$0")/.."

kind="${1:-}"
[ $# -eq 0 ] || shift
jobs="${TXC_JOBS:-$(nproc)}"
configure=()
case "$kind" in
  address) folder=build/asan configure=(--preset asan) ;;
  runtime) folder=build/asan-runtime configure=(--preset asan -B build/asan-runtime -DTXC_BUILD_COMPILER=OFF) ;;
  thread)
    folder=build/tsan configure=(--preset tsan)
    archer=/usr/lib/llvm-19/lib/libarcher.so
    if ! command -v clang++-19 >/dev/null || [ ! -f "$archer" ] ||
      ! ls /usr/lib/llvm-19/lib/clang/19/lib/linux/libclang_rt.tsan-*.a >/dev/null 2>&1; then
      echo "error: thread needs the packages clang-19, libclang-rt-19-dev and libomp-19-dev:" \
        "apt-get install clang-19 libclang-rt-19-dev libomp-19-dev" >&2
      exit 1
    fi
    ;;
  *)
    echo "usage: $0 address|runtime|thread [CTEST ARGUMENT ...]" >&2
    exit 2
    ;;
esac

mkdir -p "$folder"
[ -f "$folder/build.ninja" ] || cmake "${configure[@]}" -DPython3_EXECUTABLE=/usr/bin/python3 >"$folder/configure.log"
ninja -C "$folder" -j "$jobs"

# LLVM and MLIR are not instrumented: containers and arenas that are made on one side and
# grow on the other look like overflows, and what lives until exit like leaks.
all=$([ "$kind" = runtime ] && echo 1 || echo 0)
export ASAN_OPTIONS="detect_leaks=$all:detect_container_overflow=$all:allow_user_poisoning=$all:${ASAN_OPTIONS:-}"
# The search for leaks follows thread-local data of libraries that are closed since, and
# crashes now and then: it goes without (use_tls).
export LSAN_OPTIONS="use_tls=0:suppressions=$PWD/test/sanitizers/leaks.supp:print_suppressions=0:${LSAN_OPTIONS:-}"
export UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1:${UBSAN_OPTIONS:-}"
if [ "$kind" = thread ]; then
  export OMP_TOOL_LIBRARIES="$archer" # tells the sanitizer how OpenMP's threads wait for each other
  export TSAN_OPTIONS="ignore_noninstrumented_modules=1:second_deadlock_stack=1:suppressions=$PWD/test/sanitizers/threads.supp:${TSAN_OPTIONS:-}"
fi
ctest --test-dir "$folder" --no-tests=error --output-on-failure -j "$jobs" "$@"
