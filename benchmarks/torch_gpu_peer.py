#!/usr/bin/env python3
"""PyTorch's training step on a GPU, as fast as a plain script gets: what gpu_step.py compares with.

  torch_gpu_peer.py CONFIG.json [--sdpa=auto|flash|cudnn] [--compile=default|max-autotune|none]
  torchrun --nproc-per-node=N torch_gpu_peer.py CONFIG.json --share=ddp|fsdp --steps=S

CONFIG.json has the options of a step ("config" in the log of txrun). The model is
torch_model.py's with PyTorch's fused attention and norms; fp32 weights, bf16 autocast,
torch.compile, fused AdamW, clipping at 1.0; random tokens. Rotary positions rotate the
halves of a head whatever the layout, which costs the same in our step and less here.

Talks in lines: prints {"ready": ...} when compiled and warm; then for every number N
that it reads runs N steps and prints their milliseconds, by CUDA events, and the peak
of PyTorch's allocator. Ends with the input. With --steps it prints one such line and
ends; --share shares the model among processes as DDP or FSDP2 (bf16 parameters and
gradients in exchanges, one unit per block) do.
"""
import argparse
import contextlib
import json
import os
import sys
import time

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

import torch_model


class Norm(torch_model.Norm):
    def forward(self, x):
        weight = self.weight.to(x.dtype)
        if self.kind == "rmsnorm":
            return F.rms_norm(x, weight.shape, weight, self.eps)
        bias = None if self.bias is None else self.bias.to(x.dtype)
        return F.layer_norm(x, weight.shape, weight, bias, self.eps)


class Attention(torch_model.Attention):
    def __init__(self, config):
        super().__init__(config)
        del self.mask

    def forward(self, x, tables):
        B, T, _ = x.shape
        H, K, D = self.heads, self.kv, self.dim
        q, k, v = self.qkv(x).split([H * D, K * D, K * D], -1)
        q, k, v = (t.view(B, T, -1, D).transpose(1, 2) for t in (q, k, v))
        if tables is not None:
            q, k = (torch_model.rotate(t, *tables, "half").to(v.dtype) for t in (q, k))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=K != H)
        return self.proj(y.transpose(1, 2).reshape(B, T, H * D))


def make_step(config, args, device):
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")
    # The blocks of torch_model look these up by name.
    torch_model.Norm, torch_model.Attention = Norm, Attention
    model = torch_model.Transformer(config).to(device)
    if model.tables is not None:
        model.tables = tuple(table.to(device) for table in model.tables)
    for parameter in model.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, 0, 0.02)
    if args.share == "ddp":
        model = torch.nn.parallel.DistributedDataParallel(model, device_ids=[device.index], gradient_as_bucket_view=True)
    elif args.share == "fsdp":
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.bfloat16)
        for block in model.blocks:
            fully_shard(block, mp_policy=policy)
        fully_shard(model, mp_policy=policy)
    compiled = model if args.compile == "none" else torch.compile(model, mode=None if args.compile == "default" else args.compile)
    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=device.type == "cuda")
    shape = (8, config["batch_size"], config["block_size"] + 1)
    data = torch.randint(0, min(config["vocab_size"], 50257), shape, device=device)

    def step(number):
        batch = data[number % len(data)]
        with torch.autocast(device.type, torch.bfloat16):
            loss = compiled(batch[:, :-1].contiguous(), batch[:, 1:].contiguous())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss
    return step


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config")
    parser.add_argument("--sdpa", default="auto", choices=("auto", "flash", "cudnn"))
    parser.add_argument("--compile", default="default", choices=("default", "max-autotune", "none"))
    parser.add_argument("--share", default="none", choices=("none", "ddp", "fsdp"))
    parser.add_argument("--steps", type=int, default=0)
    args = parser.parse_args()
    with open(args.config) as file:
        config = json.load(file)
    rank = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", rank)
    torch.cuda.set_device(device)
    if args.share != "none":
        torch.distributed.init_process_group("nccl", device_id=device)
    backends = {"flash": [SDPBackend.FLASH_ATTENTION], "cudnn": [SDPBackend.CUDNN_ATTENTION]}.get(args.sdpa)
    with sdpa_kernel(backends) if backends else contextlib.nullcontext():
        start = time.monotonic()
        step = make_step(config, args, device)
        first = None
        for number in range(4):
            step(number)
            torch.cuda.synchronize()
            first = first or time.monotonic() - start
        torch.cuda.reset_peak_memory_stats()
        if rank == 0:
            print(json.dumps({"ready": round(time.monotonic() - start, 1), "first_step_s": round(first, 1),
                              "torch": torch.__version__, "gpu": torch.cuda.get_device_name()}), flush=True)
        number = 0
        for line in [str(args.steps)] if args.steps else sys.stdin:
            marks = [torch.cuda.Event(enable_timing=True)]
            marks[0].record()
            for _ in range(int(line)):
                loss = step(number)
                number += 1
                marks.append(torch.cuda.Event(enable_timing=True))
                marks[-1].record()
            torch.cuda.synchronize()
            if rank == 0:
                print(json.dumps({"ms": [a.elapsed_time(b) for a, b in zip(marks, marks[1:])], "loss": loss.item(),
                                  "peak_bytes": torch.cuda.max_memory_allocated()}), flush=True)
    if args.share != "none":
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
