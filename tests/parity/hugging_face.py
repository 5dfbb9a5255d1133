"""The Hugging Face side: the same architecture from our Config, random weights, one pass, optimizer steps.

Nothing is downloaded. All use of torch is in this file, so that without the `parity` extra each test module
here is reported as skipped, with the reason.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from tests.parity.weights import Arrays, translate_all
from trainbench.models import bert, distances, gpt2, llama, resnet, t5, vit

WHY = "the parity tests need torch and transformers: make parity installs them"
torch = pytest.importorskip("torch", reason=WHY)
transformers = pytest.importorskip("transformers", reason=WHY)

BATCH_COUNTER = "num_batches_tracked"  # torch's own bookkeeping, without influence at a fixed momentum


@dataclass(frozen=True)
class Outcome:
    """What one pass or several steps gave, everything under our paths and in our layouts."""

    logits: np.ndarray
    loss: float
    gradients: Arrays
    state: Arrays  # parameters and running statistics


@dataclass(frozen=True)
class Twin:
    """A Hugging Face model and the name of the family that translates its tensors."""

    family: str
    model: Any


def resnet_twin(config: resnet.Config) -> Twin:
    """ResNet v1.5: `downsample_in_bottleneck=False` puts the stride into the 3x3."""
    torch.manual_seed(0)
    expansion = resnet.EXPANSION[config.block]
    model = transformers.ResNetForImageClassification(
        transformers.ResNetConfig(
            embedding_size=config.width,
            hidden_sizes=[config.width * 2**stage * expansion for stage in range(len(config.depths))],
            depths=list(config.depths),
            layer_type=config.block,
            downsample_in_bottleneck=False,
            num_labels=config.classes,
        )
    )
    if config.stem == "small":
        # Hugging Face has no such stem; its convolution layer and no pool make one.
        embedder = model.resnet.embedder
        embedder.embedder = type(embedder.embedder)(3, config.width, kernel_size=3, stride=1)
        embedder.pooler = torch.nn.Identity()
    randomise(model)
    shrink_branches(model)
    return Twin("resnet", model)


def vit_twin(config: vit.Config) -> Twin:
    """ViT with the epsilon of the original implementation; Hugging Face's default is BERT's."""
    torch.manual_seed(0)
    hf_config = transformers.ViTConfig(
        hidden_size=config.width,
        num_hidden_layers=config.depth,
        num_attention_heads=config.heads,
        intermediate_size=config.mlp_width,
        image_size=config.image_size,
        patch_size=config.patch,
        num_labels=config.classes,
        layer_norm_eps=vit.LAYER_NORM_EPSILON,
        initializer_range=weight_deviation(config.width),
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        attn_implementation="eager",
    )
    model = transformers.ViTForImageClassification(hf_config)
    randomise(model)
    return Twin("vit", model)


def bert_twin(config: bert.Config) -> Twin:
    """BERT without dropout.

    `pad_token_id=None`, because Hugging Face blocks the look-up gradient of that row; the original does not.
    """
    torch.manual_seed(0)
    hf_config = transformers.BertConfig(
        vocab_size=config.vocabulary,
        hidden_size=config.width,
        num_hidden_layers=config.depth,
        num_attention_heads=config.heads,
        intermediate_size=config.mlp_width,
        max_position_embeddings=config.positions,
        type_vocab_size=config.segments,
        initializer_range=weight_deviation(config.width),
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=None,
        attn_implementation="eager",
    )
    model = transformers.BertForMaskedLM(hf_config)
    randomise(model)
    return Twin("bert", model)


def gpt2_twin(config: gpt2.Config) -> Twin:
    """GPT-2 without dropout, its epsilon and tanh GELU being Hugging Face's defaults."""
    torch.manual_seed(0)
    hf_config = transformers.GPT2Config(
        vocab_size=config.vocabulary,
        n_embd=config.width,
        n_layer=config.depth,
        n_head=config.heads,
        n_positions=config.positions,
        initializer_range=weight_deviation(config.width),
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        attn_implementation="eager",
    )
    model = transformers.GPT2LMHeadModel(hf_config)
    randomise(model)
    return Twin("gpt2", model)


def llama_twin(config: llama.Config) -> Twin:
    """Llama, its frequencies not stretched."""
    torch.manual_seed(0)
    hf_config = transformers.LlamaConfig(
        vocab_size=config.vocabulary,
        hidden_size=config.width,
        num_hidden_layers=config.depth,
        num_attention_heads=config.heads,
        num_key_value_heads=config.key_heads,
        head_dim=config.head_width,
        intermediate_size=config.mlp_width,
        max_position_embeddings=config.positions,
        rope_parameters={"rope_type": "default", "rope_theta": config.rotary_base},
        rms_norm_eps=llama.NORM_EPSILON,
        tie_word_embeddings=config.tied,
        initializer_range=weight_deviation(config.width),
        attn_implementation="eager",
    )
    model = transformers.LlamaForCausalLM(hf_config)
    randomise(model)
    return Twin("llama", model)


def t5_twin(config: t5.Config) -> Twin:
    """T5 version 1.1 without dropout.

    Hugging Face ties the head to the token table even where it is asked not to; here it gets a table of its
    own again. `tie_word_embeddings=False` still says that logits are not scaled.
    """
    torch.manual_seed(0)
    hf_config = transformers.T5Config(
        vocab_size=config.vocabulary,
        d_model=config.width,
        d_kv=config.head_width,
        d_ff=config.mlp_width,
        num_layers=config.depth,
        num_heads=config.heads,
        relative_attention_num_buckets=distances.RANGES,
        relative_attention_max_distance=distances.FARTHEST,
        layer_norm_epsilon=t5.NORM_EPSILON,
        feed_forward_proj="gated-gelu",
        tie_word_embeddings=False,
        dropout_rate=0.0,
        attn_implementation="eager",
    )
    model = transformers.T5ForConditionalGeneration(hf_config)
    assert not model.config.scale_decoder_outputs
    shape = (config.vocabulary, config.width)
    model.lm_head.weight = torch.nn.Parameter(torch.randn(shape) * config.width**-0.5)
    with torch.no_grad():
        # Larger than at first, so that each range of distance counts.
        for name, parameter in model.named_parameters():
            if name.endswith("relative_attention_bias.weight"):
                parameter.normal_()
    randomise(model)
    return Twin("t5", model)


def weight_deviation(width: int) -> float:
    """The published 0.02 at full width, larger in narrow models so that their attention is not uniform."""
    return 0.02 if width >= 768 else width**-0.5


def randomise(model: Any) -> None:
    """Leaves no bias, norm or running statistic at a trivial 0 or 1, which would hide a swapped one.

    The frequencies of rotary positions are constants, though kept as a buffer.
    """
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if tensor.ndim != 1 or not tensor.is_floating_point() or "rotary_emb" in name:
                continue
            if name.endswith(("weight", "running_var")):
                tensor.uniform_(0.5, 1.5)
            else:
                tensor.normal_(0.0, 0.1)


def shrink_branches(model: Any) -> None:
    """Small scales in each residual branch's last norm, near the zero that Goyal et al. 2017 start from.

    At scale 1 a random ResNet-50 in training mode amplifies rounding until torch's own gradients differ by
    10 % between float32 and float64, and nothing could be compared.
    """
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            block, _, rest = name.partition(".layer.")
            if rest.endswith("normalization.weight") and int(rest[0]) == _last_layer(model, block):
                tensor.uniform_(0.1, 0.3)


def _last_layer(model: Any, block: str) -> int:
    return len(model.get_submodule(block).layer) - 1


def clearance(twin: Twin, inputs: dict[str, Any], *, train: bool) -> float:
    """How far this batch stays from the points where a ResNet's gradient jumps, relative to the activations.

    A ReLU's gradient jumps where its input changes sign, max-pool's where two of its inputs swap places. Two
    float32 programs agree on a gradient only if every activation is further from these points than rounding.
    """
    distances = []

    def watch(module: Any, inputs: Any) -> None:
        values = inputs[0].detach()
        nearest = _smallest_lead(values) if isinstance(module, torch.nn.MaxPool2d) else values.abs().min()
        distances.append((nearest / values.square().mean().sqrt()).item())

    kinds = (torch.nn.ReLU, torch.nn.MaxPool2d)
    watched = [module for module in twin.model.modules() if isinstance(module, kinds)]
    _forward_with_hooks(twin, inputs, [(module, watch) for module in watched], train=train)
    return min(distances)


def _smallest_lead(values: Any) -> Any:
    """By how much the largest input of a 3x3/2 pool exceeds the second, where it is positive, at least."""
    batch, channels = values.shape[:2]
    padded = torch.nn.functional.pad(values, (1, 1, 1, 1), value=-1.0)
    windows = torch.nn.functional.unfold(padded, 3, stride=2).reshape(batch, channels, 9, -1)
    first, second = windows.topk(2, dim=2).values.unbind(2)
    return (first - second)[first > 0].min()


def move_away_from_zero(twin: Twin, inputs: dict[str, Any], *, train: bool) -> None:
    """Shifts the biases of a ResNet's norms so that on this batch no ReLU input is near 0.

    Each channel's zero is put into the widest gap between that channel's values around it. The layers are
    visited in the order of one forward pass, in which later layers already see the shifted values.
    """

    def shift(bias: Any) -> Any:
        def hook(module: Any, inputs: Any) -> Any:
            zero = torch.stack([_widest_gap(channel) for channel in inputs[0].transpose(0, 1).flatten(1)])
            bias.sub_(zero)
            return inputs[0] - zero[:, None, None]

        return hook

    hooks = [
        (module.activation, shift(_norm_before(module).bias))
        for module in twin.model.modules()
        if isinstance(getattr(module, "activation", None), torch.nn.ReLU)
    ]
    _forward_with_hooks(twin, inputs, hooks, train=train)


def _norm_before(module: Any) -> Any:
    """The norm whose bias adds to the input of a module's activation: its own, or its branch's last."""
    return module.normalization if hasattr(module, "normalization") else module.layer[-1].normalization


def _widest_gap(values: Any) -> Any:
    """The middle of the widest gap between neighbouring values within a fifth of a deviation of 0."""
    reach = 0.2 * values.std()
    near = torch.cat([values[values.abs() < reach], torch.stack([-reach, reach])]).sort().values
    widest = near.diff().argmax()
    return (near[widest] + near[widest + 1]) / 2


def _forward_with_hooks(
    twin: Twin, inputs: dict[str, Any], hooks: list[tuple[Any, Any]], *, train: bool
) -> None:
    """One forward pass with a hook before each given module; running statistics stay as they were."""
    handles = [module.register_forward_pre_hook(hook) for module, hook in hooks]
    statistics = {name: buffer.clone() for name, buffer in twin.model.named_buffers()}
    twin.model.train(train)
    with torch.no_grad():
        twin.model(**inputs)
        for name, buffer in twin.model.named_buffers():
            buffer.copy_(statistics[name])
    for handle in handles:
        handle.remove()


def state_of(twin: Twin) -> Arrays:
    """Copies of the parameters and running statistics."""
    tensors = dict(twin.model.named_parameters())
    tensors |= {name: tensor for name, tensor in twin.model.named_buffers() if "running_" in name}
    unknown = [name for name in twin.model.state_dict() if name not in tensors and BATCH_COUNTER not in name]
    # Decoders, and T5's two sides, share their tensors with the token table, BERT's with the head's bias.
    shared = ("cls.predictions.decoder.", "lm_head.", "encoder.embed_tokens.", "decoder.embed_tokens.")
    assert all(name.startswith(shared) for name in unknown), unknown
    return translate_all(twin.family, {name: _array(tensor) for name, tensor in tensors.items()})


def images_to_torch(images: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Hugging Face's inputs for images [B, H, W, C] and labels [B]."""
    return {
        "pixel_values": torch.from_numpy(images.transpose(0, 3, 1, 2).copy()),
        "labels": torch.from_numpy(labels).long(),
    }


def text_to_torch(text: Arrays, labels: np.ndarray) -> dict[str, Any]:
    """Hugging Face's inputs for our text arrays and labels [B, T], negative where nothing is predicted."""
    return {
        "input_ids": torch.from_numpy(text["token_ids"]).long(),
        "token_type_ids": torch.from_numpy(text["segment_ids"]).long(),
        "attention_mask": torch.from_numpy(text["padding_mask"]).long(),
        "labels": torch.from_numpy(np.where(labels < 0, -100, labels)).long(),
    }


def next_tokens_to_torch(token_ids: np.ndarray) -> dict[str, Any]:
    """Hugging Face's inputs for token_ids [B, T]: it shifts the labels itself and predicts the last T - 1."""
    tokens = torch.from_numpy(token_ids).long()
    return {"input_ids": tokens, "labels": tokens}


def pairs_to_torch(pair: Arrays, labels: np.ndarray) -> dict[str, Any]:
    """Hugging Face's inputs for our text arrays and labels [B, U], negative where nothing is predicted."""
    return {
        "input_ids": torch.from_numpy(pair["token_ids"]).long(),
        "attention_mask": torch.from_numpy(pair["padding_mask"]).long(),
        "decoder_input_ids": torch.from_numpy(pair["decoder_ids"]).long(),
        "labels": torch.from_numpy(np.where(labels < 0, -100, labels)).long(),
    }


def run_pass(twin: Twin, inputs: dict[str, Any], *, train: bool) -> Outcome:
    """One forward and backward pass."""
    twin.model.train(train)
    twin.model.zero_grad()
    output = twin.model(**inputs)
    output.loss.backward()
    gradients = {name: _array(parameter.grad) for name, parameter in twin.model.named_parameters()}
    return Outcome(
        logits=_array(output.logits),
        loss=output.loss.item(),
        gradients=translate_all(twin.family, gradients),
        state=state_of(twin),
    )


def run_step(twin: Twin, optimizer: Any, inputs: dict[str, Any]) -> None:
    """One training step; the twin's parameters and running statistics move on."""
    run_pass(twin, inputs, train=True)
    optimizer.step()


def _array(tensor: Any) -> np.ndarray:
    return tensor.detach().numpy().copy()
