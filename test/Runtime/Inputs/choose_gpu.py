"""choose_gpu.py FOLDER: starts two ranks as each launcher would, the second with a number on its host
for which there is no GPU, on a host with six that do not exist."""
import os
import re
import socket
import subprocess
import sys

os.chdir(sys.argv[1])
LAUNCHERS = {
    "torchrun": "RANK={rank} WORLD_SIZE=2 LOCAL_RANK={local}",
    "mpirun": "OMPI_COMM_WORLD_RANK={rank} OMPI_COMM_WORLD_SIZE=2 OMPI_COMM_WORLD_LOCAL_RANK={local}",
    "mpiexec": "PMI_RANK={rank} PMI_SIZE=2 MPI_LOCALRANKID={local}",
    "srun": "SLURM_PROCID={rank} SLURM_NTASKS=2 SLURM_LOCALID={local} SLURM_STEP_ID=0 SLURM_JOB_ID=1",
}
for name, text in LAUNCHERS.items():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    running = []
    for rank, local in ((0, 0), (1, 7)):
        variables = dict(word.split("=") for word in text.format(rank=rank, local=local).split())
        running.append(subprocess.Popen(["txrun", "two.so", "--dataset=data", f"--out_dir={name}", "--gradient_accumulation_steps=2",
                                         "--keep_checkpoints=0", "--comm_timeout=30"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        text=True, env={**os.environ, **variables, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}))
    texts = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [3, 3], texts
    assert re.search(r"the number of this rank on its host .* asks for GPU 7, this process may use 6", texts[1]), texts
    print(f"{name}: GPU 7 for rank 1")
