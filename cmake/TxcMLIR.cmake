# Finds Debian's MLIR 19 and defines how compiler libraries and tools are built.

find_package(MLIR 19.1 REQUIRED CONFIG PATHS /usr/lib/llvm-19/lib/cmake/mlir)
list(APPEND CMAKE_MODULE_PATH "${MLIR_CMAKE_DIR}" "${LLVM_CMAKE_DIR}")
include(TableGen)
include(AddLLVM)
include(AddMLIR)
# The package's config leaves a bare name, which needs it on PATH.
set(MLIR_TABLEGEN_EXE "${LLVM_TOOLS_BINARY_DIR}/mlir-tblgen")
separate_arguments(TXC_LLVM_DEFINITIONS NATIVE_COMMAND "${LLVM_DEFINITIONS}")

# Flags for code that includes LLVM's headers: no exceptions (LLVM is built
# without them), warnings on, generated and mirrored headers on the path.
add_library(txc_llvm_flags INTERFACE)
target_include_directories(txc_llvm_flags SYSTEM INTERFACE ${LLVM_INCLUDE_DIRS} ${MLIR_INCLUDE_DIRS})
target_include_directories(txc_llvm_flags INTERFACE
  "${PROJECT_SOURCE_DIR}/include" "${PROJECT_BINARY_DIR}/include" "${PROJECT_SOURCE_DIR}/runtime/include")
target_compile_definitions(txc_llvm_flags INTERFACE ${TXC_LLVM_DEFINITIONS})
target_compile_options(txc_llvm_flags INTERFACE -fno-exceptions -Wall -Wextra -Wno-unused-parameter)

# MLIR's headers that most of the compiler includes, parsed once. Files include what
# they use all the same: without the option nothing changes but the time.
if(TXC_PRECOMPILE_HEADERS)
  file(WRITE "${PROJECT_BINARY_DIR}/precompiled.cpp" "")
  add_library(txc_precompiled STATIC "${PROJECT_BINARY_DIR}/precompiled.cpp")
  target_link_libraries(txc_precompiled PRIVATE txc_llvm_flags)
  target_precompile_headers(txc_precompiled PRIVATE
    <mlir/Dialect/Arith/IR/Arith.h>
    <mlir/Dialect/Func/IR/FuncOps.h>
    <mlir/Dialect/LLVMIR/LLVMDialect.h>
    <mlir/Dialect/SCF/IR/SCF.h>
    <mlir/Dialect/Vector/IR/VectorOps.h>
    <mlir/IR/BuiltinOps.h>
    <mlir/IR/IRMapping.h>
    <mlir/IR/ImplicitLocOpBuilder.h>
    <mlir/Pass/PassManager.h>
    <llvm/Support/JSON.h>
    <llvm/Support/raw_ostream.h>
    <map>
    <set>
    <string>)
endif()
function(txc_precompile target)
  if(TXC_PRECOMPILE_HEADERS)
    target_precompile_headers(${target} REUSE_FROM txc_precompiled)
    # They serve code that was compiled as they were: libraries are -fPIC, programs would be -fPIE.
    set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
    target_compile_options(${target} PRIVATE -fPIC)
  endif()
endfunction()

# txc_add_library(Name [deps...]): a static library of all .cpp files of this
# folder. MLIR and LLVM come from their shared libraries, linked by the tools.
function(txc_add_library name)
  file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*.cpp")
  add_library(${name} STATIC ${sources})
  target_link_libraries(${name} PUBLIC txc_llvm_flags ${ARGN})
  txc_precompile(${name})
  add_dependencies(${name} TxcTableGen)
endfunction()

# txc_add_tool(name deps...): an executable of all .cpp files of this folder.
function(txc_add_tool name)
  file(GLOB sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*.cpp")
  add_executable(${name} ${sources})
  target_link_libraries(${name} PRIVATE txc_llvm_flags ${ARGN} MLIR LLVM)
  txc_precompile(${name})
  add_dependencies(${name} TxcTableGen)
endfunction()
