"""The peer: the same transformer in PyTorch, as a user would write it.

Reads the config that `txc explain --json` prints, so that both sides compute the
same model. Parameter names are txc's YAML paths. Runs on PyTorch
1.13 (Debian 12) and newer.
"""
import math

import torch
import torch.nn as nn
import torch.nn.functional as F


def flatten(config):
    """All keys of the sections model, train and parallel in one dict."""
    return {key: value for section in config.values() for key, value in section.items()}


class Norm(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.kind, self.eps = config["normalization"], config["norm_eps"]
        self.weight = nn.Parameter(torch.ones(config["n_embd"]))
        self.bias = nn.Parameter(torch.zeros(config["n_embd"])) if self.kind == "layernorm" else None

    def forward(self, x):
        if self.kind == "rmsnorm":
            return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps) * self.weight
        return F.layer_norm(x, self.weight.shape, self.weight, self.bias, self.eps)


def rope_tables(config, head_dim):
    frequency = config["rope_theta"] ** (-torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim)
    angle = torch.outer(torch.arange(config["block_size"], dtype=torch.float64), frequency)
    return angle.cos().float(), angle.sin().float()


def rotate(x, cos, sin, layout):
    """x: [B, heads, T, D]; cos, sin: [T, D/2]."""
    if layout == "half":
        a, b = x.chunk(2, -1)
        return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack([a * cos - b * sin, a * sin + b * cos], -1).flatten(-2)


class Attention(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.heads, self.kv = config["n_head"], config["n_kv_head"]
        self.dim = config["head_dim"]
        self.qkv = nn.Linear(config["n_embd"], (self.heads + 2 * self.kv) * self.dim, bias=config["bias"])
        self.proj = nn.Linear(self.heads * self.dim, config["n_embd"], bias=config["bias"])
        mask = torch.full((config["block_size"], config["block_size"]), float("-inf")).triu(1)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, x, tables):
        B, T, _ = x.shape
        H, K, D = self.heads, self.kv, self.dim
        q, k, v = self.qkv(x).split([H * D, K * D, K * D], -1)
        q = q.view(B, T, H, D).transpose(1, 2)
        k = k.view(B, T, K, D).transpose(1, 2)
        v = v.view(B, T, K, D).transpose(1, 2)
        if tables is not None:
            q = rotate(q, *tables, self.config["rope_layout"])
            k = rotate(k, *tables, self.config["rope_layout"])
        if K != H:
            k, v = (t.repeat_interleave(H // K, dim=1) for t in (k, v))
        scores = q @ k.transpose(-1, -2) / math.sqrt(D) + self.mask[:T, :T]
        y = scores.softmax(-1) @ v
        return self.proj(y.transpose(1, 2).reshape(B, T, H * D))


ACTIVATIONS = {
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "relu": F.relu,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.01),
}


class FeedForward(nn.Module):
    def __init__(self, config):
        super().__init__()
        dim, hidden, bias = config["n_embd"], config["d_ff"], config["bias"]
        self.swiglu = config["ffn_type"] == "swiglu"
        if self.swiglu:
            self.gate_up = nn.Linear(dim, 2 * hidden, bias=bias)
        else:
            self.up = nn.Linear(dim, hidden, bias=bias)
            self.activation = ACTIVATIONS[config["activation"]]
        self.down = nn.Linear(hidden, dim, bias=bias)

    def forward(self, x):
        if self.swiglu:
            gate, up = self.gate_up(x).chunk(2, -1)
            return self.down(F.silu(gate) * up)
        return self.down(self.activation(self.up(x)))


class Block(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.post = config["norm_position"] == "post"
        self.attn_norm, self.ffn_norm = Norm(config), Norm(config)
        self.attn, self.ffn = Attention(config), FeedForward(config)

    def forward(self, x, tables):
        if self.post:
            x = self.attn_norm(x + self.attn(x, tables))
            return self.ffn_norm(x + self.ffn(x))
        x = x + self.attn(self.attn_norm(x), tables)
        return x + self.ffn(self.ffn_norm(x))


class Transformer(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.wte = nn.Embedding(config["vocab_size"], config["n_embd"])
        self.learned = config["position_encoding"] == "learned_absolute"
        if self.learned:
            self.wpe = nn.Embedding(config["block_size"], config["n_embd"])
        self.blocks = nn.ModuleList(Block(config) for _ in range(config["n_layer"]))
        self.final_norm = Norm(config)
        if not config["weight_tying"]:
            self.lm_head = nn.Linear(config["n_embd"], config["vocab_size"], bias=False)
        self.tables = rope_tables(config, config["head_dim"]) if config["position_encoding"] == "rope" else None

    def forward(self, tokens, targets):
        x = self.wte(tokens)
        if self.learned:
            x = x + self.wpe.weight
        for block in self.blocks:
            x = block(x, self.tables)
        head = self.wte.weight if self.config["weight_tying"] else self.lm_head.weight
        logits = self.final_norm(x) @ head.t()
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.reshape(-1),
                               ignore_index=self.config["ignore_index"])
