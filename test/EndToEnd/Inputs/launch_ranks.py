"""launch_ranks.py CONFIGS FOLDER: trains small models on 1, 2 and 4 ranks, started in each of
the ways that docs/launch.md names, and compares their logs."""
import glob
import json
import os
import socket
import subprocess
import sys
import tempfile

configs, folder = sys.argv[1:]
os.chdir(folder)
MODELS = {
    "tied": [configs + "/arch_gpt2.yaml", "--n_layer=2", "--n_head=2", "--n_embd=36", "--dropout=0.1"],
    "untied": [configs + "/arch_llama.yaml", "--n_layer=2", "--n_head=3", "--n_kv_head=1", "--n_embd=36",
               "--d_ff=50"],
}
SIZES = ["--target=cpu", "--dtype=float32", "--block_size=20", "--batch_size=3", "--vocab_size=79", "--bucket_mb=0"]
RUN = ["--dataset=data", "--max_iters=5", "--gradient_accumulation_steps=8", "--eval_interval=3", "--eval_iters=4",
       "--learning_rate=1e-2", "--warmup_iters=0", "--quiet"]
MPIRUN = ["mpirun", "--allow-run-as-root", "--oversubscribe", "--bind-to", "none"]
# What other launchers write, with mpirun's own variables gone: MPI itself reads others.
AS = {
    "torchrun": "RANK=$r WORLD_SIZE=$n LOCAL_RANK=$r LOCAL_WORLD_SIZE=$n MASTER_ADDR=127.0.0.1",
    "mpiexec": "PMI_RANK=$r PMI_SIZE=$n",
    "srun": "SLURM_PROCID=$r SLURM_NTASKS=$n SLURM_LOCALID=$r SLURM_STEP_ID=0 SLURM_JOB_ID=%d "
            "SLURM_STEP_NODELIST=localhost" % os.getpid(),
}


def call(words, expected=0, **variables):
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=280,
                          env={**os.environ, **variables})
    assert done.returncode == expected, f"{words}: exit code {done.returncode}\n{done.stdout}"
    return done.stdout


def compile_step(model, ranks=1, zero=0):
    out = f"{model}-{ranks}-{zero}.so"
    call(["txc", "compile", *MODELS[model], *SIZES, f"--mesh=dp:{ranks}", f"--zero={zero}", "-o", out])
    return out


def start(ranks, launcher):
    if launcher == "--nproc":
        return ["txrun", f"--nproc={ranks}"]
    if launcher == "mpirun":
        return [*MPIRUN, "-n", str(ranks), "txrun"]
    script = ("r=$OMPI_COMM_WORLD_RANK n=$OMPI_COMM_WORLD_SIZE; "
              "unset OMPI_COMM_WORLD_RANK OMPI_COMM_WORLD_SIZE OMPI_COMM_WORLD_LOCAL_SIZE; "
              f"export {AS[launcher]}; exec txrun \"$@\"")
    return [*MPIRUN, "-n", str(ranks), "sh", "-c", script, "txrun"]


def figures(out):
    (path,) = glob.glob(out + "/run_*.json")  # rank 0 alone writes one
    with open(path) as file:
        log = json.load(file)
    assert log["metadata"]["exit_code"] == 0, log["metadata"]
    losses = [record["loss"] for record in log["training_iterations"]]
    norms = [record["gradients"]["global_norm"] for record in log["training_iterations"]]
    tests = [record[key] for record in log["eval_steps"] for key in ("train_loss", "val_loss")]
    assert len(losses) == 5 and len(tests) == 4, (losses, tests)
    assert losses[-1] < losses[0], "nothing is learned, so nothing is shown"
    return losses + norms + tests


def train(step, ranks, launcher, turn=0):
    out = f"out-{step}-{launcher}-{turn}"
    call([*start(ranks, launcher), step, *RUN, "--out_dir=" + out])
    return figures(out)


def near(expected, got, what):
    for one, other in zip(expected, got, strict=True):
        assert abs(one - other) < 1e-4 * abs(one), (what, expected, got)


for model, ranks, runs in [
        ("tied", 2, [(0, "--nproc"), (1, "--nproc"), (2, "torchrun"), (3, "--nproc")]),
        ("untied", 4, [(0, "srun"), (1, "mpirun"), (2, "mpiexec"), (3, "mpirun")]),
]:
    one_step = compile_step(model)
    call(["txrun", one_step, *RUN, "--threads=1", "--out_dir=out-" + model])
    one = figures("out-" + model)
    for zero, launcher in runs:
        step = compile_step(model, ranks, zero)
        first = train(step, ranks, launcher)
        near(one, first, step)
        if zero in (0, 3):
            assert train(step, ranks, launcher, 1) == first, f"{step}: the same run twice differs"
print("all as one rank")

# What else a run may do: evaluate only, generate text; write tensors it may not.
for zero in (1, 3):
    step = f"tied-2-{zero}.so"
    text = call(["txrun", "--nproc=2", step, *RUN, "--eval_only", f"--out_dir=only{zero}"])
    with open(glob.glob(f"only{zero}/run_*.json")[0]) as file:
        log = json.load(file)
    assert len(log["eval_steps"]) == 1 and not log["training_iterations"], log["eval_steps"]
samples = call(["txrun", "--nproc=2", "tied-2-1.so", *RUN, "--max_iters=1", "--sample", "--max_new_tokens=8", "--json",
                "--out_dir=samples"])
assert samples.count('"event":"sample"') == 1, samples
refused = call(["txrun", "--nproc=2", "tied-2-3.so", *RUN, "--sample", "--out_dir=refused"], expected=2)
assert "--sample: with zero 3 no rank has all weights" in refused, refused
refused = call(["txrun", "--nproc=2", "tied-2-0.so", *RUN, "--dump_tensors=tensors", "--out_dir=refused"], expected=2)
assert "--dump_tensors: 2 ranks share what it writes" in refused and not os.path.exists("tensors"), refused

# Ranks that MPI does not know, as torchrun would start them on a CPU. Two at a time must not
# make MPI's folder of the host, which would be a race of MPI's own.
with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = str(free.getsockname()[1])
folders = [tempfile.TemporaryDirectory(prefix="mpi") for _ in range(2)]
alone = [subprocess.Popen(["txrun", "tied-2-0.so", *RUN, "--comm_timeout=60"], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True,
                          env={**os.environ, "RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
                               "OMPI_MCA_orte_tmpdir_base": folders[rank].name, "MASTER_PORT": port}) for rank in (0, 1)]
try:
    for rank, process in enumerate(alone):
        text = process.communicate(timeout=120)[0]
        assert process.returncode == 3 and "says that this process is rank 0 of 1" in text, text
        assert "txrun --nproc=2" in text, text
finally:
    for process in alone:
        process.kill()
print("refused what cannot be")
