// What step.so is as a file, from a program that codegen might have written.
//
// RUN: %cc -O1 -c %S/Inputs/kernels.c -o %t.o
// RUN: %python %S/Inputs/embed-object.py %s %t.o x86-64-v3 > %t.mlir
// RUN: txc compile %t.mlir --from=codegen -o %t.so

// One symbol in, none out, no library.
// RUN: llvm-nm -D %t.so | FileCheck %s --check-prefix=SYMBOLS --implicit-check-not={{.}}
// SYMBOLS: {{^[0-9a-f]+}} T txc_step_query
// RUN: llvm-readelf -d %t.so | FileCheck %s --check-prefix=DYNAMIC --implicit-check-not=NEEDED
// DYNAMIC: FLAGS

// The note is in a segment of its own; the stack is not executable; nothing is
// writable and executable at once.
// RUN: llvm-readelf -l %t.so | FileCheck %s --check-prefix=SEGMENTS --implicit-check-not=RWE
// SEGMENTS-DAG: {{^ *}}NOTE{{ }}
// SEGMENTS-DAG: GNU_STACK {{.*}} RW {{ *}}0
// SEGMENTS-DAG: GNU_RELRO
// RUN: llvm-readelf -n %t.so | FileCheck %s --check-prefix=NOTE
// NOTE: .note.txc
// NOTE: txc 0x00000038
// NOTE: description data: 74 cb 53 54 45 50 1a 0a 06 00 00 00 00 00 00 00 03 00 00 00

// The entry calls the device once per command and phase, and looks at each status.
// RUN: llvm-objdump -d --no-show-raw-insn --disassemble-symbols=txc_entry_micro %t.so | FileCheck %s --check-prefix=CODE
// CODE-COUNT-4: call
// CODE-NOT: call

// The file says what it is without being loaded.
// RUN: txc explain %t.so --json | FileCheck %s --check-prefix=EXPLAIN
// EXPLAIN-DAG: "arena_bytes": 4096
// EXPLAIN-DAG: "target": "cpu:x86-64-v3"
// EXPLAIN-DAG: "name": "scale"

// Same program, same bytes, from anywhere.
// RUN: rm -rf %t.dir && mkdir -p %t.dir/tmp && cd %t.dir && env TMPDIR=%t.dir/tmp txc compile %t.mlir --from=codegen -o %t.dir/other.so
// RUN: cmp %t.so %t.dir/other.so
// RUN: rmdir %t.dir/tmp

// Machine code that is missing is named before the linker sees it.
// RUN: %python -c "print(open('%t.mlir').read().replace('@twice', '@thrice'))" > %t.missing.mlir
// RUN: not txc compile %t.missing.mlir --from=codegen -o %t.missing.so 2>&1 | FileCheck %s --check-prefix=MISSING
// MISSING: thrice

step.program @small arena_bytes 4096 lower_bound 1024 {
  step.alloc @w param : tensor<3x4xf32> bytes 48 offset 64
  step.alloc @x activation : tensor<6x4xf32> bytes 96 offset 192 in @micro
  step.alloc @y activation : tensor<6x3xf32> bytes 72 offset 320 in @micro
  step.alloc @z activation : tensor<6x3xf32> bytes 72 offset 448 in @micro
  step.kernel @twice "row_wise" blocks [7] {
  }
  step.kernel @scale "row_wise" blocks [2, 5] {
  }
  step.entry @init {
    step.fill "w" @w value 3
  }
  step.entry @micro {
    step.launch "scale" @scale [@x] offsets [0] inputs 0
    step.gemm "layer" @x, @w transposed, @y m 6 n 3 k 4
    step.launch "twice" @twice [@y, @z] offsets [0, 0] inputs 1
  }
  OBJECT
}
