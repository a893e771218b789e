"""Models in Hugging Face's layouts: makes them, computes their logits, compares them.

  hugging_face.py make --layout=llama|gpt2 --out=DIR [--dtype=F32|BF16|F16] [--files=N] [--by=transformers]
  hugging_face.py logits MODEL --text=FILE --tensors=DIR [--by=transformers]
  hugging_face.py equal MODEL MODEL [--within=X]

`make` writes a small model of random weights. `logits` compares what txrun --dump_tensors wrote for
the prompt in FILE, one token per byte, with what the definition of the model says: here in float64 of
numpy, or by the package transformers itself in float32. `equal` says whether two models have the
same tensors: names, shapes and the bits of their float32 values, or the values within X.
"""
import argparse
import json
import math
import pathlib
import struct

import numpy

TOLERANCE = 1e-5


# -- Files ---------------------------------------------------------------------------------------


def widen(raw, dtype):
    if dtype == "F32":
        return numpy.frombuffer(raw, "<f4")
    if dtype == "F16":
        return numpy.frombuffer(raw, "<f2").astype(numpy.float32)
    assert dtype == "BF16", dtype
    return (numpy.frombuffer(raw, "<u2").astype(numpy.uint32) << 16).view(numpy.float32)


def narrow(values, dtype):
    values = numpy.ascontiguousarray(values, numpy.float32)
    if dtype == "F32":
        return values.tobytes()
    if dtype == "F16":
        return values.astype("<f2").tobytes()
    return (values.view(numpy.uint32) >> 16).astype("<u2").tobytes()  # towards zero: any bf16 will do


def read_file(path):
    data = pathlib.Path(path).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    assert header.pop("__metadata__", {}).get("format") in ("pt", "txc"), path
    tensors = {}
    for name, entry in header.items():
        begin, end = (8 + length + offset for offset in entry["data_offsets"])
        tensors[name] = widen(data[begin:end], entry["dtype"]).reshape(entry["shape"])
    return tensors


def read_model(folder):
    folder = pathlib.Path(folder)
    index = folder / "model.safetensors.index.json"
    files = sorted(set(json.loads(index.read_text())["weight_map"].values())) if index.exists() else ["model.safetensors"]
    tensors = {}
    for name in files:
        tensors.update(read_file(folder / name))
    return tensors, json.loads((folder / "config.json").read_text())


def write_model(folder, tensors, config, dtype, files):
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    names = list(tensors)
    where = {}
    for number in range(files):
        name = f"model-{number + 1:05}-of-{files:05}.safetensors" if files > 1 else "model.safetensors"
        header, data = {"__metadata__": {"format": "pt"}}, b""
        for tensor in names[number::files]:
            raw = narrow(tensors[tensor], dtype)
            header[tensor] = {"dtype": dtype, "shape": list(tensors[tensor].shape),
                              "data_offsets": [len(data), len(data) + len(raw)]}
            data += raw
            where[tensor] = name
        text = json.dumps(header).encode()
        (folder / name).write_bytes(struct.pack("<Q", len(text)) + text + data)
    if files > 1:
        index = {"metadata": {"total_size": sum(t.size * 4 for t in tensors.values())}, "weight_map": where}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))


# -- Models --------------------------------------------------------------------------------------

LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 256, "hidden_size": 32,
         "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
         "hidden_act": "silu", "max_position_embeddings": 64, "rms_norm_eps": 1e-6, "rope_theta": 5000.0,
         "tie_word_embeddings": False}
GPT2 = {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "vocab_size": 256, "n_embd": 32, "n_layer": 2,
        "n_head": 4, "n_positions": 34, "n_inner": None, "activation_function": "gelu_new",
        "layer_norm_epsilon": 1e-5}


def random_model(layout):
    random = numpy.random.default_rng(7)
    normal = lambda *shape: random.normal(0, 0.2, shape)
    gain = lambda width: 1 + normal(width)
    out = {}
    if layout == "llama":
        c = LLAMA
        width, hidden = c["hidden_size"], c["intermediate_size"]
        head = width // c["num_attention_heads"]
        keys = head * c["num_key_value_heads"]
        out["model.embed_tokens.weight"] = normal(c["vocab_size"], width)
        for i in range(c["num_hidden_layers"]):
            layer = f"model.layers.{i}."
            out[layer + "self_attn.q_proj.weight"] = normal(width, width)
            out[layer + "self_attn.k_proj.weight"] = normal(keys, width)
            out[layer + "self_attn.v_proj.weight"] = normal(keys, width)
            out[layer + "self_attn.o_proj.weight"] = normal(width, width)
            out[layer + "mlp.gate_proj.weight"] = normal(hidden, width)
            out[layer + "mlp.up_proj.weight"] = normal(hidden, width)
            out[layer + "mlp.down_proj.weight"] = normal(width, hidden)
            out[layer + "input_layernorm.weight"] = gain(width)
            out[layer + "post_attention_layernorm.weight"] = gain(width)
        out["model.norm.weight"] = gain(width)
        out["lm_head.weight"] = normal(c["vocab_size"], width)
        return out, LLAMA
    c = GPT2
    width = c["n_embd"]
    out["transformer.wte.weight"] = normal(c["vocab_size"], width)
    out["transformer.wpe.weight"] = normal(c["n_positions"], width)
    for i in range(c["n_layer"]):
        layer = f"transformer.h.{i}."
        for name, inputs, outputs in (("attn.c_attn", width, 3 * width), ("attn.c_proj", width, width),
                                      ("mlp.c_fc", width, 4 * width), ("mlp.c_proj", 4 * width, width)):
            out[layer + name + ".weight"] = normal(inputs, outputs)
            out[layer + name + ".bias"] = normal(outputs)
        for name in ("ln_1", "ln_2"):
            out[layer + name + ".weight"] = gain(width)
            out[layer + name + ".bias"] = normal(width)
    out["transformer.ln_f.weight"] = gain(width)
    out["transformer.ln_f.bias"] = normal(width)
    return out, GPT2


def softmax(x):
    e = numpy.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def attend(q, k, v):
    """[heads, T, D] each."""
    positions = q.shape[1]
    scores = q @ k.transpose(0, 2, 1) / math.sqrt(q.shape[2])
    scores[:, ~numpy.tril(numpy.ones((positions, positions), bool))] = -numpy.inf
    mixed = softmax(scores) @ v
    return mixed.transpose(1, 0, 2).reshape(positions, -1)


def heads(x, count):
    return x.reshape(x.shape[0], count, -1).transpose(1, 0, 2)


def llama_logits(weights, c, tokens):
    count, groups = c["num_attention_heads"], c.get("num_key_value_heads") or c["num_attention_heads"]
    eps = c.get("rms_norm_eps", 1e-6)
    norm = lambda x, name: x / numpy.sqrt((x * x).mean(-1, keepdims=True) + eps) * weights[name + ".weight"]

    def linear(x, name):
        y = x @ weights[name + ".weight"].T
        return y + weights[name + ".bias"] if name + ".bias" in weights else y

    def rotate(x):
        half = x.shape[2] // 2
        angle = numpy.arange(x.shape[1])[:, None] * c.get("rope_theta", 10000.0) ** (-numpy.arange(half) / half)
        a, b = x[..., :half], x[..., half:]
        return numpy.concatenate([a * numpy.cos(angle) - b * numpy.sin(angle),
                                  b * numpy.cos(angle) + a * numpy.sin(angle)], -1)

    x = weights["model.embed_tokens.weight"][tokens]
    for i in range(c["num_hidden_layers"]):
        layer = f"model.layers.{i}."
        y = norm(x, layer + "input_layernorm")
        q = rotate(heads(linear(y, layer + "self_attn.q_proj"), count))
        k = rotate(heads(linear(y, layer + "self_attn.k_proj"), groups)).repeat(count // groups, 0)
        v = heads(linear(y, layer + "self_attn.v_proj"), groups).repeat(count // groups, 0)
        x = x + linear(attend(q, k, v), layer + "self_attn.o_proj")
        y = norm(x, layer + "post_attention_layernorm")
        gate = linear(y, layer + "mlp.gate_proj")
        x = x + linear(gate / (1 + numpy.exp(-gate)) * linear(y, layer + "mlp.up_proj"), layer + "mlp.down_proj")
    tied = c.get("tie_word_embeddings", False)
    return norm(x, "model.norm") @ weights["model.embed_tokens.weight" if tied else "lm_head.weight"].T


ACTIVATIONS = {
    "gelu_new": lambda x: 0.5 * x * (1 + numpy.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "gelu": lambda x: 0.5 * x * (1 + numpy.vectorize(math.erf)(x / math.sqrt(2))),
    "relu": lambda x: numpy.maximum(x, 0),
    "silu": lambda x: x / (1 + numpy.exp(-x)),
}


def gpt2_logits(weights, c, tokens):
    count, eps = c["n_head"], c.get("layer_norm_epsilon", 1e-5)
    act = ACTIVATIONS[c.get("activation_function", "gelu_new")]

    def norm(x, name):
        x = x - x.mean(-1, keepdims=True)
        return x / numpy.sqrt((x * x).mean(-1, keepdims=True) + eps) * weights[name + ".weight"] + weights[name + ".bias"]

    conv = lambda x, name: x @ weights[name + ".weight"] + weights[name + ".bias"]  # Conv1D: [in, out]
    x = weights["transformer.wte.weight"][tokens] + weights["transformer.wpe.weight"][: len(tokens)]
    for i in range(c["n_layer"]):
        layer = f"transformer.h.{i}."
        q, k, v = numpy.split(conv(norm(x, layer + "ln_1"), layer + "attn.c_attn"), 3, -1)
        x = x + conv(attend(heads(q, count), heads(k, count), heads(v, count)), layer + "attn.c_proj")
        x = x + conv(act(conv(norm(x, layer + "ln_2"), layer + "mlp.c_fc")), layer + "mlp.c_proj")
    tied = c.get("tie_word_embeddings", True)
    return norm(x, "transformer.ln_f") @ weights["transformer.wte.weight" if tied else "lm_head.weight"].T


# -- Commands ------------------------------------------------------------------------------------


def make(options):
    if options.by == "reference":
        tensors, config = random_model(options.layout)
        write_model(options.out, tensors, config, options.dtype, options.files)
        return
    import torch
    import transformers
    torch.manual_seed(7)
    config = LLAMA if options.layout == "llama" else GPT2
    known = {key: value for key, value in config.items() if key not in ("architectures", "model_type")}
    make_config, make_model = ((transformers.LlamaConfig, transformers.LlamaForCausalLM) if options.layout == "llama" else
                               (transformers.GPT2Config, transformers.GPT2LMHeadModel))
    model = make_model(make_config(**known))
    with torch.no_grad():  # biases are zero and gains one at first
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
    model = model.to({"F32": torch.float32, "BF16": torch.bfloat16, "F16": torch.float16}[options.dtype])
    model.save_pretrained(options.out, safe_serialization=True, max_shard_size="5GB" if options.files == 1 else "20KB")


def logits(options):
    tokens = list(pathlib.Path(options.text).read_bytes())
    if options.by == "reference":
        tensors, config = read_model(options.model)
        tensors = {name: values.astype(numpy.float64) for name, values in tensors.items()}
        compute = llama_logits if config["model_type"] == "llama" else gpt2_logits
        expected = compute(tensors, config, numpy.array(tokens))
    else:
        import torch
        import transformers
        model = transformers.AutoModelForCausalLM.from_pretrained(options.model).float().eval()
        with torch.no_grad():
            expected = model(torch.tensor([tokens])).logits[0].double().numpy()
    folder = pathlib.Path(options.tensors) / "decode"
    ours = numpy.stack([numpy.load(folder / f"logits.{i}.npy").reshape(-1) for i in range(len(tokens))])
    assert ours.shape == expected.shape, (ours.shape, expected.shape)
    error, largest = float(numpy.abs(ours - expected).max()), float(numpy.abs(expected).max())
    assert largest > 0.5, f"logits of at most {largest} show nothing"
    print(f"{len(tokens)} positions, logits up to {largest:.2f}, by {options.by}: largest difference {error:.1e}")
    assert error < TOLERANCE * max(1, largest), f"beyond {TOLERANCE}"


def equal(options):
    (a, _), (b, _) = (read_model(folder) for folder in options.models)
    assert a.keys() == b.keys(), a.keys() ^ b.keys()
    for name in a:
        assert a[name].shape == b[name].shape, (name, a[name].shape, b[name].shape)
        if options.within == 0:
            assert a[name].tobytes() == b[name].tobytes(), name
        error = float(numpy.abs(a[name] - b[name]).max())
        assert error <= options.within, (name, error)
    print(f"{len(a)} tensors are equal, " + (f"within {options.within}" if options.within else "bit by bit"))


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
commands = parser.add_subparsers(required=True)
command = commands.add_parser("make")
command.add_argument("--layout", choices=["llama", "gpt2"], required=True)
command.add_argument("--out", required=True)
command.add_argument("--dtype", choices=["F32", "BF16", "F16"], default="F32")
command.add_argument("--files", type=int, default=1)
command.add_argument("--by", choices=["reference", "transformers"], default="reference")
command.set_defaults(run=make)
command = commands.add_parser("logits")
command.add_argument("model")
command.add_argument("--text", required=True)
command.add_argument("--tensors", required=True)
command.add_argument("--by", choices=["reference", "transformers"], default="reference")
command.set_defaults(run=logits)
command = commands.add_parser("equal")
command.add_argument("models", nargs=2)
command.add_argument("--within", type=float, default=0)
command.set_defaults(run=equal)
chosen = parser.parse_args()
chosen.run(chosen)
