"""The names and layouts of the Hugging Face models' tensors, translated to ours one by one."""

import re
from collections.abc import Mapping

import numpy as np
from flax import nnx

Arrays = dict[str, np.ndarray]

# Hugging Face module (a regular expression), our module, kind of layer.
MODULES = {
    "resnet": [
        (r"resnet\.embedder\.embedder\.convolution", "stem_conv", "conv"),
        (r"resnet\.embedder\.embedder\.normalization", "stem_norm", "norm"),
        *(
            (rf"resnet\.encoder\.stages\.(\d+)\.layers\.(\d+)\.layer\.{index}\.{theirs}", ours, kind)
            for index in range(3)
            for theirs, ours, kind in (
                ("convolution", rf"stages/\1/\2/conv{index + 1}", "conv"),
                ("normalization", rf"stages/\1/\2/norm{index + 1}", "norm"),
            )
        ),
        (
            r"resnet\.encoder\.stages\.(\d+)\.layers\.(\d+)\.shortcut\.convolution",
            r"stages/\1/\2/shortcut/conv",
            "conv",
        ),
        (
            r"resnet\.encoder\.stages\.(\d+)\.layers\.(\d+)\.shortcut\.normalization",
            r"stages/\1/\2/shortcut/norm",
            "norm",
        ),
        (r"classifier\.1", "head", "dense"),
    ],
    "vit": [
        (r"vit\.embeddings\.cls_token", "class_token", "table"),
        (r"vit\.embeddings\.position_embeddings", "position_embedding", "table"),
        (r"vit\.embeddings\.patch_embeddings\.projection", "patch_embedding", "patches"),
        (r"vit\.layers\.(\d+)\.layernorm_before", r"blocks/\1/attention_norm", "norm"),
        (r"vit\.layers\.(\d+)\.attention\.q_proj", r"blocks/\1/attention/query", "dense"),
        (r"vit\.layers\.(\d+)\.attention\.k_proj", r"blocks/\1/attention/key", "dense"),
        (r"vit\.layers\.(\d+)\.attention\.v_proj", r"blocks/\1/attention/value", "dense"),
        (r"vit\.layers\.(\d+)\.attention\.o_proj", r"blocks/\1/attention/out", "dense"),
        (r"vit\.layers\.(\d+)\.layernorm_after", r"blocks/\1/mlp_norm", "norm"),
        (r"vit\.layers\.(\d+)\.mlp\.fc1", r"blocks/\1/mlp/up", "dense"),
        (r"vit\.layers\.(\d+)\.mlp\.fc2", r"blocks/\1/mlp/down", "dense"),
        (r"vit\.layernorm", "norm", "norm"),
        (r"classifier", "head", "dense"),
    ],
    "bert": [
        (r"bert\.embeddings\.word_embeddings", "embeddings/token", "table"),
        (r"bert\.embeddings\.position_embeddings", "embeddings/position", "table"),
        (r"bert\.embeddings\.token_type_embeddings", "embeddings/segment", "table"),
        (r"bert\.embeddings\.LayerNorm", "embeddings/norm", "norm"),
        (r"bert\.encoder\.layer\.(\d+)\.attention\.self\.(\w+)", r"blocks/\1/attention/\2", "dense"),
        (r"bert\.encoder\.layer\.(\d+)\.attention\.output\.dense", r"blocks/\1/attention/out", "dense"),
        (r"bert\.encoder\.layer\.(\d+)\.attention\.output\.LayerNorm", r"blocks/\1/attention_norm", "norm"),
        (r"bert\.encoder\.layer\.(\d+)\.intermediate\.dense", r"blocks/\1/mlp/up", "dense"),
        (r"bert\.encoder\.layer\.(\d+)\.output\.dense", r"blocks/\1/mlp/down", "dense"),
        (r"bert\.encoder\.layer\.(\d+)\.output\.LayerNorm", r"blocks/\1/mlp_norm", "norm"),
        (r"cls\.predictions\.transform\.dense", "head/dense", "dense"),
        (r"cls\.predictions\.transform\.LayerNorm", "head/norm", "norm"),
        (r"cls\.predictions\.bias", "head/bias", "table"),
    ],
    "gpt2": [
        (r"transformer\.wte", "token", "table"),
        (r"transformer\.wpe", "position", "table"),
        (r"transformer\.h\.(\d+)\.ln_1", r"blocks/\1/attention_norm", "norm"),
        # query, key or value, of which Hugging Face's c_attn is the three side by side
        (r"transformer\.h\.(\d+)\.attn\.c_attn\.(\w+)", r"blocks/\1/attention/\2", "dense, [in, out]"),
        (r"transformer\.h\.(\d+)\.attn\.c_proj", r"blocks/\1/attention/out", "dense, [in, out]"),
        (r"transformer\.h\.(\d+)\.ln_2", r"blocks/\1/mlp_norm", "norm"),
        (r"transformer\.h\.(\d+)\.mlp\.c_fc", r"blocks/\1/mlp/up", "dense, [in, out]"),
        (r"transformer\.h\.(\d+)\.mlp\.c_proj", r"blocks/\1/mlp/down", "dense, [in, out]"),
        (r"transformer\.ln_f", "norm", "norm"),
    ],
    "llama": [
        (r"model\.embed_tokens", "token", "table"),
        (r"model\.layers\.(\d+)\.input_layernorm", r"blocks/\1/attention_norm", "norm"),
        *(
            (rf"model\.layers\.(\d+)\.self_attn\.{theirs}_proj", rf"blocks/\1/attention/{ours}", "dense")
            for theirs, ours in (("q", "query"), ("k", "key"), ("v", "value"), ("o", "out"))
        ),
        (r"model\.layers\.(\d+)\.post_attention_layernorm", r"blocks/\1/mlp_norm", "norm"),
        (r"model\.layers\.(\d+)\.mlp\.(\w+)_proj", r"blocks/\1/mlp/\2", "dense"),
        (r"model\.norm", "norm", "norm"),
        (r"lm_head", "head", "dense"),
    ],
    "t5": [
        (r"shared", "token", "table"),
        (
            r"(\w+)\.block\.0\.layer\.0\.SelfAttention\.relative_attention_bias",
            r"\1/position_bias",
            "table",
        ),
        *(
            (
                rf"(\w+)\.block\.(\d+)\.layer\.\d\.{theirs}\.{letter}",
                rf"\1/blocks/\2/{ours}/{projection}",
                "dense",
            )
            for theirs, ours in (("SelfAttention", "attention"), ("EncDecAttention", "cross_attention"))
            for letter, projection in (("q", "query"), ("k", "key"), ("v", "value"), ("o", "out"))
        ),
        *(
            (
                rf"(\w+)\.block\.(\d+)\.layer\.\d\.DenseReluDense\.{theirs}",
                rf"\1/blocks/\2/mlp/{ours}",
                "dense",
            )
            for theirs, ours in (("wi_0", "gate"), ("wi_1", "up"), ("wo", "down"))
        ),
        *(
            (rf"{side}\.block\.(\d+)\.layer\.{index}\.layer_norm", rf"{side}/blocks/\1/{norm}", "norm")
            for side, norms in (
                ("encoder", ("attention_norm", "mlp_norm")),
                ("decoder", ("attention_norm", "cross_attention_norm", "mlp_norm")),
            )
            for index, norm in enumerate(norms)
        ),
        (r"(\w+)\.final_layer_norm", r"\1/norm", "norm"),
        (r"lm_head", "head", "dense"),
    ],
}

# (kind of layer, Hugging Face leaf) -> our leaf.
LEAVES = {
    ("conv", "weight"): "/kernel",
    ("dense", "weight"): "/kernel",
    ("dense", "bias"): "/bias",
    ("dense, [in, out]", "weight"): "/kernel",
    ("dense, [in, out]", "bias"): "/bias",
    ("patches", "weight"): "/kernel",
    ("patches", "bias"): "/bias",
    ("norm", "weight"): "/scale",
    ("norm", "bias"): "/bias",
    ("norm", "running_mean"): "/mean",
    ("norm", "running_var"): "/var",
    ("table", "weight"): "",
    ("table", ""): "",
}


def translate(family: str, name: str) -> tuple[str, str]:
    """Our path and the kind of layer of one Hugging Face tensor name; KeyError when no rule or two fit."""
    module, _, leaf = name.rpartition(".")
    found = [
        (match.expand(ours) + LEAVES[kind, used_leaf], kind)
        for theirs, ours, kind in MODULES[family]
        for used_module, used_leaf in ((module, leaf), (name, ""))
        if (match := re.fullmatch(theirs, used_module)) and (kind, used_leaf) in LEAVES
    ]
    if len(found) != 1:
        raise KeyError(f"{name}: {len(found)} rules of {family} fit")
    return found[0]


def lay_out(kind: str, tensor: np.ndarray) -> np.ndarray:
    """The tensor in our layout: HWIO for convolutions, [in, out] for dense layers, the same for the rest."""
    if tensor.ndim < 2 or kind in ("table", "norm", "dense, [in, out]"):
        return tensor
    if kind == "conv":
        return tensor.transpose(2, 3, 1, 0)
    if kind == "patches":
        return tensor.transpose(2, 3, 1, 0).reshape(-1, tensor.shape[0])
    return tensor.transpose(1, 0)


def translate_all(family: str, tensors: Mapping[str, np.ndarray]) -> Arrays:
    """All tensors under our paths and in our layouts; no two of them may land on one path."""
    translated: Arrays = {}
    for name, tensor in _apart(tensors).items():
        path, kind = translate(family, name)
        assert path not in translated, f"{path} is filled twice"
        translated[path] = lay_out(kind, tensor)
    return translated


def _apart(tensors: Mapping[str, np.ndarray]) -> Arrays:
    """The tensors with query, key and value under names of their own where they are stored as one."""
    apart: Arrays = {}
    for name, tensor in tensors.items():
        module, joined, leaf = name.rpartition(".c_attn.")
        if joined:
            parts = zip(("query", "key", "value"), np.split(tensor, 3, axis=-1), strict=True)
            apart |= {f"{module}.c_attn.{part}.{leaf}": values for part, values in parts}
        else:
            apart[name] = tensor
    return apart


def flatten(state: nnx.State) -> Arrays:
    """A state's arrays by path, for comparison."""
    return {"/".join(map(str, path)): np.asarray(leaf[...]) for path, leaf in nnx.to_flat_state(state)}


def fill(state: nnx.State, arrays: Arrays) -> nnx.State:
    """The state with every leaf replaced by the array of its path; each must be used exactly once."""
    flat = [("/".join(map(str, path)), path, leaf) for path, leaf in nnx.to_flat_state(state)]
    assert {name for name, _, _ in flat} == set(arrays)
    for name, _, leaf in flat:
        assert leaf.shape == arrays[name].shape, name
    return nnx.from_flat_state([(path, leaf.replace(arrays[name])) for name, path, leaf in flat])
