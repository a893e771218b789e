"""lit's view of txc's tests: shell tests over txc's tools and FileCheck."""
import importlib.util
import os
import shutil
import subprocess

import lit.formats

config.name = "txc"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test", ".yaml"]
config.excludes = ["Inputs", "unit", "CMakeLists.txt"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.txc_build_dir, "test")
# ctest runs many lits at once. Each keeps a file of times in its folder, which others would
# garble, so each gets a folder of its own.
if "alone" in lit_config.params:
    config.test_exec_root = os.path.join(config.test_exec_root, "ctest", lit_config.params["alone"].replace("/", "_"))

path = [config.txc_tools_dir, config.llvm_tools_dir, os.environ.get("PATH", "")]
config.environment["PATH"] = os.pathsep.join(path)
for variable in ("HOME", "TMPDIR", "OMP_NUM_THREADS", "ASAN_OPTIONS", "UBSAN_OPTIONS"):
    if variable in os.environ:
        config.environment[variable] = os.environ[variable]

config.substitutions += [
    ("%configs", os.path.join(config.txc_source_dir, "configs")),
    ("%share", os.path.join(config.txc_build_dir, "share")),
    ("%build", config.txc_build_dir),
    ("%root", config.txc_source_dir),
    ("%python", config.python),
    ("%cc", config.cc),
]


# A sanitizer takes memory of its own, by the terabyte of addresses, and takes signals for itself.
if config.txc_sanitize:
    config.available_features.add("sanitizer")
# Features: what a test may need that a machine may lack.
if importlib.util.find_spec("torch"):
    config.available_features.add("torch")
else:
    lit_config.warning("no PyTorch for %s: tests that REQUIRE torch are skipped" % config.python)
if importlib.util.find_spec("torch") and importlib.util.find_spec("transformers"):
    config.available_features.add("transformers")
else:
    lit_config.warning("no transformers for %s: logits are compared with our own reference only" % config.python)
data = os.environ.get("TXC_TEST_DATA_DIR", "")
if data and os.path.isdir(data):
    config.available_features.add("shakespeare")
    config.substitutions.append(("%data", data))
else:
    lit_config.note("TXC_TEST_DATA_DIR is not set: tests on tiny Shakespeare are skipped; the others make their data")
for tool in ("mandoc", "fish", "zsh"):
    if shutil.which(tool):
        config.available_features.add(tool)
    else:
        lit_config.note("no %s on this machine: tests that REQUIRE it are skipped" % tool)
if shutil.which("mpirun") and os.path.exists(os.path.join(config.txc_build_dir, "lib/txc/libtxc_mpi.so")):
    config.available_features.add("mpi")
else:
    lit_config.warning("no Open MPI: tests of several ranks on the CPU are skipped")
def can_make_hosts():
    """Whether this process may make network namespaces, connect them and name hosts."""
    return os.geteuid() == 0 and bool(shutil.which("ip")) and bool(shutil.which("unshare")) and subprocess.run(
        ["unshare", "-n", "-u", "sh", "-c", "hostname other && ip link add cable type veth peer name other"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


if can_make_hosts():
    config.available_features.add("namespaces")
else:
    lit_config.warning("no network namespaces (root and iproute2): the test of two hosts is skipped")
# As lib/Codegen/Gpu/RunPtxas.cpp looks for it.
ptxas = [os.environ.get("TXC_PTXAS"), shutil.which("ptxas"), os.path.join(os.environ.get("CUDA_HOME", ""), "bin/ptxas"),
         "/usr/local/cuda/bin/ptxas"]
if any(path and os.access(path, os.X_OK) for path in ptxas):
    config.available_features.add("ptxas")
else:
    lit_config.warning("no ptxas (CUDA toolkit): tests that need GPU machine code are skipped")
if shutil.which("nvidia-smi") and subprocess.run(["nvidia-smi", "-L"], stdout=subprocess.DEVNULL,
                                                 stderr=subprocess.DEVNULL).returncode == 0:
    config.available_features.add("cuda")
if shutil.which("chromium"):
    config.available_features.add("chromium")
else:
    lit_config.warning("no chromium: tests that look at txreport's pages in a browser are skipped")
