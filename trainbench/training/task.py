"""What a model is trained to do: its batch, its loss, and what one sample costs.

Everything else about a batch (synthetic values, shardings, ahead-of-time compilation, memory) is derived
from `batch_spec`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from trainbench import models
from trainbench.data import span_lengths
from trainbench.data.spec import ArraySpec, ImageWire
from trainbench.models import bert, t5

# A family's own `Config`; each family is a module with the names that trainbench.models lists.
Architecture = Any
Batch = Mapping[str, jax.Array]
Metrics = dict[str, jax.Array]


class Score(NamedTuple):
    """Sums over predictions, each a scalar: right ones (int32), all (int32), their losses (float32)."""

    right: jax.Array
    predictions: jax.Array
    loss: jax.Array


class Task(Protocol):
    """The contract between a model family and the training step."""

    @property
    def architecture(self) -> Architecture:
        """The model's own `Config`."""

    @property
    def sample_unit(self) -> str:
        """What one sample is: "image" or "sequence"."""

    @property
    def tokens_per_sample(self) -> int | None:
        """Tokens of one sample; None where samples are not text."""

    def batch_spec(self, batch_size: int) -> dict[str, ArraySpec]:
        """The arrays of one batch of `batch_size` samples."""

    def loss(self, model: nnx.Module, batch: Batch, rngs: nnx.Rngs) -> tuple[jax.Array, Metrics]:
        """(mean loss, scalar float32; further scalars), in training mode."""

    @property
    def accuracy_name(self) -> Literal["accuracy", "masked_accuracy"]:
        """What a share of right predictions is called: "accuracy" or "masked_accuracy"."""

    def evaluate(self, model: nnx.Module, batch: Batch) -> Score:
        """How good the predictions for a batch are, in evaluation mode."""

    def flops_per_sample(self) -> int:
        """Model FLOPs of one training sample: 2 per multiply-add, backward = 2 x forward.

        Convention of Chowdhery et al. 2022 (PaLM, arXiv:2204.02311, appendix B): embedding look-ups cost 0,
        the output projection counts, attention counts in full, recomputation does not count.
        """


@dataclass(frozen=True)
class ImageClassification:
    """Softmax cross-entropy over classes. B batch, H x W pixels, C channels.

    Images arrive as uint8 [B, H, W, C]; they are scaled, normalised, resized (bilinear) to
    `image_size` where they differ from it, and grey images repeated to three channels, on the device.
    """

    architecture: Architecture
    family: str
    image_size: int
    compute_dtype: np.dtype
    wire: ImageWire
    sample_unit: str = "image"
    accuracy_name: Literal["accuracy"] = "accuracy"
    tokens_per_sample: int | None = None

    def batch_spec(self, batch_size: int) -> dict[str, ArraySpec]:
        wire = self.wire
        pixels = (batch_size, wire.height, wire.width, wire.channels)
        return {
            "image": ArraySpec(pixels, np.dtype(np.uint8), 0, 255),
            "label": ArraySpec((batch_size,), np.dtype(np.int32), 0, wire.classes - 1),
        }

    def loss(self, model: nnx.Module, batch: Batch, rngs: nnx.Rngs) -> tuple[jax.Array, Metrics]:
        logits = self._logits(model, batch, train=True, rngs=rngs)
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"]).mean()
        return loss, {"loss": loss}

    def evaluate(self, model: nnx.Module, batch: Batch) -> Score:
        logits = self._logits(model, batch, train=False, rngs=None)
        weights = jnp.ones_like(batch["label"], jnp.float32)
        return _score(logits, batch["label"], weights)

    def _logits(self, model: nnx.Module, batch: Batch, *, train: bool, rngs: nnx.Rngs | None) -> jax.Array:
        return model(self.preprocess(batch["image"]), train=train, rngs=rngs)

    def preprocess(self, pixels: jax.Array) -> jax.Array:
        """uint8 [B, H, W, C] to normalised compute-dtype images [B, image_size, image_size, 3]."""
        batch, height, width, channels = pixels.shape
        mean, std = jnp.asarray(self.wire.mean), jnp.asarray(self.wire.std)
        images = (pixels.astype(jnp.float32) / 255.0 - mean) / std
        if (height, width) != (self.image_size, self.image_size):
            shape = (batch, self.image_size, self.image_size, channels)
            images = jax.image.resize(images, shape, method="bilinear")
        if channels == 1:
            images = jnp.broadcast_to(images, (*images.shape[:-1], 3))
        return images.astype(self.compute_dtype)

    def flops_per_sample(self) -> int:
        forward_macs = models.FAMILIES[self.family].forward_macs
        return 3 * 2 * forward_macs(self.architecture, image_size=self.image_size)


@dataclass(frozen=True)
class MaskedLanguageModel:
    """Cross-entropy at the masked positions of a sequence. B batch, T tokens, P predictions.

    As published pre-training does, the head sees only the P positions that are to be predicted
    (Devlin et al. 2019, arXiv:1810.04805; `max_predictions_per_seq` in google-research/bert).
    """

    architecture: bert.Config
    sequence_length: int
    sample_unit: str = "sequence"
    accuracy_name: Literal["masked_accuracy"] = "masked_accuracy"

    @property
    def tokens_per_sample(self) -> int:
        return self.sequence_length

    @property
    def predictions(self) -> int:
        return bert.predictions_per_sequence(self.sequence_length)

    def batch_spec(self, batch_size: int) -> dict[str, ArraySpec]:
        tokens, targets = (batch_size, self.sequence_length), (batch_size, self.predictions)
        int32, last_token = np.dtype(np.int32), self.architecture.vocabulary - 1
        return {
            "token_ids": ArraySpec(tokens, int32, 0, last_token),
            "segment_ids": ArraySpec(tokens, int32, 0, 1),
            "padding_mask": ArraySpec(tokens, np.dtype(np.bool_), 1, 1),
            "masked_positions": ArraySpec(targets, int32, 0, self.sequence_length - 1),
            "masked_labels": ArraySpec(targets, int32, 0, last_token),
            "masked_weights": ArraySpec(targets, np.dtype(np.float32), 1, 1),
        }

    def loss(self, model: nnx.Module, batch: Batch, rngs: nnx.Rngs) -> tuple[jax.Array, Metrics]:
        logits = self._logits(model, batch, train=True, rngs=rngs)
        loss = _weighted_loss(logits, batch["masked_labels"], batch["masked_weights"])
        return loss, {"loss": loss}

    def evaluate(self, model: nnx.Module, batch: Batch) -> Score:
        logits = self._logits(model, batch, train=False, rngs=None)
        return _score(logits, batch["masked_labels"], batch["masked_weights"])

    def _logits(self, model: nnx.Module, batch: Batch, *, train: bool, rngs: nnx.Rngs | None) -> jax.Array:
        return model(
            batch["token_ids"],
            segment_ids=batch["segment_ids"],
            padding_mask=batch["padding_mask"],
            masked_positions=batch["masked_positions"],
            train=train,
            rngs=rngs,
        )

    def flops_per_sample(self) -> int:
        return (
            3
            * 2
            * bert.forward_macs(
                self.architecture, sequence_length=self.sequence_length, predictions=self.predictions
            )
        )


@dataclass(frozen=True)
class CausalLanguageModel:
    """Cross-entropy of each next token of a sequence. B batch, T tokens.

    A row has T inputs and T targets, the target being the input one further on, as nanoGPT and llm.c count
    tokens. Both are in the batch, so that no token of the text is spent on being an input alone, and every
    array of a row divides over devices as its T tokens do.
    """

    architecture: Architecture
    family: str
    sequence_length: int
    sample_unit: str = "sequence"
    accuracy_name: Literal["accuracy"] = "accuracy"

    @property
    def tokens_per_sample(self) -> int:
        return self.sequence_length

    def batch_spec(self, batch_size: int) -> dict[str, ArraySpec]:
        shape = (batch_size, self.sequence_length)
        int32, last_token = np.dtype(np.int32), self.architecture.vocabulary - 1
        return {
            "token_ids": ArraySpec(shape, int32, 0, last_token),
            "target_ids": ArraySpec(shape, int32, 0, last_token),
            "target_weights": ArraySpec(shape, np.dtype(np.float32), 1, 1),
        }

    def loss(self, model: nnx.Module, batch: Batch, rngs: nnx.Rngs) -> tuple[jax.Array, Metrics]:
        logits = self._logits(model, batch, train=True, rngs=rngs)
        loss = _weighted_loss(logits, batch["target_ids"], batch["target_weights"])
        return loss, {"loss": loss}

    def evaluate(self, model: nnx.Module, batch: Batch) -> Score:
        """One sequence after another: the logits of a whole evaluation batch are larger than a training's."""

        def score_row(row: Batch) -> Score:
            logits = self._logits(model, {name: array[None] for name, array in row.items()}, train=False)
            return _score(logits[0], row["target_ids"], row["target_weights"])

        scores = jax.lax.map(score_row, dict(batch))
        return Score(*(jnp.sum(each) for each in scores))

    def _logits(
        self, model: nnx.Module, batch: Batch, *, train: bool, rngs: nnx.Rngs | None = None
    ) -> jax.Array:
        return model(batch["token_ids"], train=train, rngs=rngs)

    def flops_per_sample(self) -> int:
        forward_macs = models.FAMILIES[self.family].forward_macs
        return 3 * 2 * forward_macs(self.architecture, sequence_length=self.sequence_length)


@dataclass(frozen=True)
class SpanCorruption:
    """Cross-entropy of the spans that were taken out of a text. B batch, T inputs, U targets.

    The encoder reads the text with a sentinel in place of each span, the decoder writes the sentinels with
    their spans (Raffel et al. 2020, arXiv:1910.10683, section 3.1.4). T inputs make U targets: 512 and 114.
    """

    architecture: t5.Config
    sequence_length: int
    sample_unit: str = "sequence"
    accuracy_name: Literal["accuracy"] = "accuracy"

    @property
    def tokens_per_sample(self) -> int:
        """The inputs, as Raffel et al. count: 128 sequences of 512 are 2^16 tokens (section 3.1.2)."""
        return self.sequence_length

    @property
    def target_length(self) -> int:
        return span_lengths.target_length(self.sequence_length)

    def batch_spec(self, batch_size: int) -> dict[str, ArraySpec]:
        inputs, targets = (batch_size, self.sequence_length), (batch_size, self.target_length)
        int32, last_token = np.dtype(np.int32), self.architecture.vocabulary - 1
        return {
            "token_ids": ArraySpec(inputs, int32, 0, last_token),
            "padding_mask": ArraySpec(inputs, np.dtype(np.bool_), 1, 1),
            "decoder_ids": ArraySpec(targets, int32, 0, last_token),
            "target_ids": ArraySpec(targets, int32, 0, last_token),
            "target_weights": ArraySpec(targets, np.dtype(np.float32), 1, 1),
        }

    def loss(self, model: nnx.Module, batch: Batch, rngs: nnx.Rngs) -> tuple[jax.Array, Metrics]:
        logits = self._logits(model, batch, train=True, rngs=rngs)
        loss = _weighted_loss(logits, batch["target_ids"], batch["target_weights"])
        return loss, {"loss": loss}

    def evaluate(self, model: nnx.Module, batch: Batch) -> Score:
        logits = self._logits(model, batch, train=False, rngs=None)
        return _score(logits, batch["target_ids"], batch["target_weights"])

    def _logits(self, model: nnx.Module, batch: Batch, *, train: bool, rngs: nnx.Rngs | None) -> jax.Array:
        arrays = {name: batch[name] for name in ("token_ids", "padding_mask", "decoder_ids")}
        return model(**arrays, train=train, rngs=rngs)

    def flops_per_sample(self) -> int:
        inputs, targets = self.sequence_length, self.target_length
        return 3 * 2 * t5.forward_macs(self.architecture, sequence_length=inputs, target_length=targets)


def _weighted_loss(logits: jax.Array, labels: jax.Array, weights: jax.Array) -> jax.Array:
    """The mean cross-entropy of the predictions that count; 0 where none does."""
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    return jnp.sum(losses * weights) / jnp.maximum(jnp.sum(weights), 1.0)


def _score(logits: jax.Array, labels: jax.Array, weights: jax.Array) -> Score:
    """The score of logits [..., classes] where `weights` are 1; labels and weights are [...]."""
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
    right = (jnp.argmax(logits, axis=-1) == labels) & (weights > 0)
    return Score(jnp.sum(right), jnp.sum(weights > 0), jnp.sum(losses * weights))
