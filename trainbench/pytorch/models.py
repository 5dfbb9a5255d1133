"""The architectures in PyTorch: Hugging Face's, which nothing but their configuration makes ours.

Their parameters, initial values aside, are those of trainbench.models one by one; the tests compare the loss
and the steps of both with the same weights. Nothing is downloaded.
"""

from collections.abc import Callable
from typing import Any

import torch
import transformers

from trainbench.config import ModelConfig
from trainbench.models import bert, distances, gpt2, llama, resnet, t5, vit

transformers.logging.set_verbosity_error()

# The same function as "gelu_new", by PyTorch's own kernel.
TANH_GELU = "gelu_pytorch_tanh"


def build(model: ModelConfig, attention: str) -> torch.nn.Module:
    """The model with random weights on torch's default device, in float32.

    Args:
      attention: "sdpa" or "eager".
    """
    built: torch.nn.Module = BUILDERS[model.family](model.architecture, attention)
    return built


def parameter_count(model: torch.nn.Module) -> int:
    """Trained scalars; a tensor that two layers share counts once."""
    return sum(parameter.numel() for parameter in model.parameters())


def _resnet(config: resnet.Config, attention: str) -> torch.nn.Module:
    """ResNet v1.5: `downsample_in_bottleneck=False` puts the stride into the 3x3."""
    del attention
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
        embedder.embedder = type(embedder.embedder)(
            resnet.IMAGE_CHANNELS, config.width, kernel_size=3, stride=1
        )
        embedder.pooler = torch.nn.Identity()
    return model


def _vit(config: vit.Config, attention: str) -> torch.nn.Module:
    return transformers.ViTForImageClassification(
        transformers.ViTConfig(
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
            attn_implementation=attention,
        )
    )


def _bert(config: bert.Config, attention: str) -> torch.nn.Module:
    """`pad_token_id=None`, because Hugging Face blocks the look-up gradient of that row; ours does not."""
    return transformers.BertForMaskedLM(
        transformers.BertConfig(
            vocab_size=config.vocabulary,
            hidden_size=config.width,
            num_hidden_layers=config.depth,
            num_attention_heads=config.heads,
            intermediate_size=config.mlp_width,
            max_position_embeddings=config.positions,
            type_vocab_size=config.segments,
            layer_norm_eps=bert.LAYER_NORM_EPSILON,
            hidden_dropout_prob=config.dropout_rate,
            attention_probs_dropout_prob=config.dropout_rate,
            pad_token_id=None,
            attn_implementation=attention,
        )
    )


def _gpt2(config: gpt2.Config, attention: str) -> torch.nn.Module:
    """With GELU's tanh form as one kernel: Hugging Face's default writes it as eight operations."""
    return transformers.GPT2LMHeadModel(
        transformers.GPT2Config(
            vocab_size=config.vocabulary,
            n_embd=config.width,
            n_layer=config.depth,
            n_head=config.heads,
            n_positions=config.positions,
            layer_norm_epsilon=gpt2.LAYER_NORM_EPSILON,
            activation_function=TANH_GELU,
            resid_pdrop=config.dropout_rate,
            embd_pdrop=config.dropout_rate,
            attn_pdrop=config.dropout_rate,
            attn_implementation=attention,
            use_cache=False,
        )
    )


def _llama(config: llama.Config, attention: str) -> torch.nn.Module:
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
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
            attn_implementation=attention,
            use_cache=False,
        )
    )


def _t5(config: t5.Config, attention: str) -> torch.nn.Module:
    """Hugging Face ties the head to the token table even where it is asked not to; here it has its own."""
    model = transformers.T5ForConditionalGeneration(
        transformers.T5Config(
            vocab_size=config.vocabulary,
            d_model=config.width,
            d_kv=config.head_width,
            d_ff=config.mlp_width,
            num_layers=config.depth,
            num_heads=config.heads,
            relative_attention_num_buckets=distances.RANGES,
            relative_attention_max_distance=distances.FARTHEST,
            layer_norm_epsilon=t5.NORM_EPSILON,
            feed_forward_proj=f"gated-{TANH_GELU}",
            tie_word_embeddings=False,
            dropout_rate=0.0,
            attn_implementation=attention,
            use_cache=False,
        )
    )
    table = torch.randn(config.vocabulary, config.width) * config.width**-0.5
    model.lm_head.weight = torch.nn.Parameter(table)
    return model


BUILDERS: dict[str, Callable[[Any, str], torch.nn.Module]] = {
    "resnet": _resnet,
    "vit": _vit,
    "bert": _bert,
    "gpt2": _gpt2,
    "llama": _llama,
    "t5": _t5,
}
