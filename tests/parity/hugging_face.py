"""The Hugging Face side: the same architecture from our Config, random weights, one pass, optimizer steps.

Nothing is downloaded. All use of torch is in this file, so that without the `parity` extra each test module here
is reported as skipped, with the reason.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from tests.parity.weights import Arrays, translate_all
from trainbench.models import bert, resnet, vit

WHY = "the parity tests need torch and transformers: pip install trainbench[parity]"
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
    return Twin("resnet", randomised(model))


def vit_twin(config: vit.Config) -> Twin:
    """ViT with the epsilon of the original implementation; Hugging Face's default is BERT's."""
    hf_config = transformers.ViTConfig(
        hidden_size=config.width,
        num_hidden_layers=config.depth,
        num_attention_heads=config.heads,
        intermediate_size=config.mlp_width,
        image_size=config.image_size,
        patch_size=config.patch,
        num_labels=config.classes,
        layer_norm_eps=vit.LAYER_NORM_EPSILON,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        attn_implementation="eager",
    )
    return Twin("vit", randomised(transformers.ViTForImageClassification(hf_config)))


def bert_twin(config: bert.Config) -> Twin:
    """BERT without dropout. `pad_token_id=None`, because Hugging Face blocks the look-up gradient of that row,
    which the original implementation does not."""
    hf_config = transformers.BertConfig(
        vocab_size=config.vocabulary,
        hidden_size=config.width,
        num_hidden_layers=config.depth,
        num_attention_heads=config.heads,
        intermediate_size=config.mlp_width,
        max_position_embeddings=config.positions,
        type_vocab_size=config.segments,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        pad_token_id=None,
        attn_implementation="eager",
    )
    return Twin("bert", randomised(transformers.BertForMaskedLM(hf_config)))


def randomised(model: Any) -> Any:
    """The model with no tensor left at a trivial 0 or 1, which would hide a swapped or unused one."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if name.endswith("running_var") or (name.endswith("weight") and tensor.ndim == 1):
                tensor.uniform_(0.5, 1.5, generator=generator)
            elif tensor.ndim == 1 and tensor.is_floating_point():
                tensor.normal_(0.0, 0.1, generator=generator)
            elif tensor.is_floating_point():
                fan_in = tensor[0].numel() if tensor.ndim > 1 else 1
                tensor.normal_(0.0, fan_in**-0.5, generator=generator)
    return model


def state_of(twin: Twin) -> Arrays:
    """Copies of the parameters and running statistics."""
    tensors = dict(twin.model.named_parameters())
    tensors |= {name: tensor for name, tensor in twin.model.named_buffers() if "running_" in name}
    unknown = [name for name in twin.model.state_dict() if name not in tensors and BATCH_COUNTER not in name]
    # BERT's decoder shares its two tensors with the token table and the head's bias.
    assert all(name.startswith("cls.predictions.decoder.") for name in unknown), unknown
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


def sgd(twin: Twin, *, learning_rate: float, momentum: float, weight_decay: float) -> Any:
    """torch's SGD with Nesterov momentum over all parameters."""
    return torch.optim.SGD(
        twin.model.parameters(),
        lr=learning_rate,
        momentum=momentum,
        weight_decay=weight_decay,
        nesterov=True,
    )


def adamw(twin: Twin, *, learning_rate: float, epsilon: float, weight_decay: float) -> Any:
    """torch's AdamW over all parameters, default betas."""
    return torch.optim.AdamW(
        twin.model.parameters(), lr=learning_rate, eps=epsilon, weight_decay=weight_decay
    )


def run_steps(twin: Twin, optimizer: Any, batches: list[dict[str, Any]]) -> Arrays:
    """The state after one training step on each batch."""
    for inputs in batches:
        run_pass(twin, inputs, train=True)
        optimizer.step()
    return state_of(twin)


def _array(tensor: Any) -> np.ndarray:
    return tensor.detach().numpy().copy()
