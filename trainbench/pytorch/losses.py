"""The mean loss of a batch, family by family, as the tasks of trainbench.training.task have it.

Legend: B batch, H height, W width, C channels, T tokens, Q queries, P predictions, D width, V vocabulary.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.nn import functional

from trainbench.config import Request
from trainbench.training.task import ImageClassification, MaskedLanguageModel, SpanCorruption, Task

Batch = Mapping[str, torch.Tensor]
Loss = Callable[[torch.nn.Module, Batch], torch.Tensor]


def loss_of(task: Task, request: Request, device: torch.device) -> Loss:
    """A function from the model and a batch, as `task.batch_spec` has it, to its mean loss, float32 []."""
    if isinstance(task, ImageClassification):
        return _image_loss(task, request, device)
    if isinstance(task, MaskedLanguageModel):
        return _masked_loss
    return _span_loss if isinstance(task, SpanCorruption) else _causal_loss


def _image_loss(task: ImageClassification, request: Request, device: torch.device) -> Loss:
    dtype = torch.bfloat16 if request.precision.name == "bf16_full" else torch.float32
    # Made once: each step would wait for them on their way to the device.
    mean, std = (torch.tensor(values, device=device) for values in (task.wire.mean, task.wire.std))
    channels_last = request.torch.channels_last

    def loss(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
        images = preprocess(batch["image"], mean, std, task.image_size).to(dtype)
        if not channels_last:
            images = images.contiguous()
        logits = model(pixel_values=images).logits
        return functional.cross_entropy(logits.float(), batch["label"].long())

    return loss


def preprocess(pixels: torch.Tensor, mean: torch.Tensor, std: torch.Tensor, image_size: int) -> torch.Tensor:
    """Normalised float32 images [B, 3, S, S] of uint8 pixels [B, H, W, C]; channels stay last in memory."""
    images = ((pixels.float() / 255.0 - mean) / std).permute(0, 3, 1, 2)
    if tuple(images.shape[2:]) != (image_size, image_size):
        images = functional.interpolate(
            images, (image_size, image_size), mode="bilinear", align_corners=False, antialias=True
        )
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images


def _masked_loss(model: Any, batch: Batch) -> torch.Tensor:
    """As published pre-training does, the head sees only the P positions that are to be predicted."""
    mask = batch["padding_mask"]
    hidden = model.bert(
        input_ids=batch["token_ids"],
        token_type_ids=batch["segment_ids"],
        # [B, 1, T, T], as Hugging Face takes a mask as it is; its own way from [B, T] asks the host.
        attention_mask=_pairs(mask, mask.shape[1], model.config._attn_implementation),
    ).last_hidden_state
    positions = batch["masked_positions"].long()[..., None].expand(-1, -1, hidden.shape[-1])
    logits = model.cls(hidden.gather(1, positions))
    return _weighted(logits, batch["masked_labels"], batch["masked_weights"])


def _pairs(mask: torch.Tensor, queries: int, attention: str) -> torch.Tensor:
    """[B, 1, Q, T] of bool [B, T]: whether a query may look at a token; plain attention adds it to logits."""
    pairs = mask[:, None, None, :].expand(-1, 1, queries, -1)
    if attention == "sdpa":
        return pairs
    return torch.where(pairs, 0.0, torch.finfo(torch.float32).min)


def _causal_loss(model: torch.nn.Module, batch: Batch) -> torch.Tensor:
    logits = model(input_ids=batch["token_ids"], use_cache=False).logits
    return _weighted(logits, batch["target_ids"], batch["target_weights"])


def _span_loss(model: Any, batch: Batch) -> torch.Tensor:
    """Encoder and decoder one by one, since each wants the mask of padding in a shape of its own."""
    mask, attention = batch["padding_mask"], model.config._attn_implementation
    inputs, targets = batch["token_ids"], batch["decoder_ids"]
    encoded = model.encoder(
        input_ids=inputs, attention_mask=_pairs(mask, mask.shape[1], attention)
    ).last_hidden_state
    decoded = model.decoder(
        input_ids=targets,
        encoder_hidden_states=encoded,
        encoder_attention_mask=_pairs(mask, targets.shape[1], attention),
        use_cache=False,
    ).last_hidden_state
    return _weighted(model.lm_head(decoded), batch["target_ids"], batch["target_weights"])


def _weighted(logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The mean over predictions of weight 1; weights are 0 where a row has fewer."""
    losses = functional.cross_entropy(logits.float().flatten(0, 1), labels.long().flatten(), reduction="none")
    flat = weights.flatten()
    return (losses * flat).sum() / flat.sum().clamp(min=1.0)
