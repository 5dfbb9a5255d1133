"""Image batches by tf.data, from a set prepared as TFRECORD: TensorFlow's way, for comparison with Grain's.

TensorFlow is imported when batches are asked for, never before. There is no state to go on from: an
interrupted run begins its data anew.
"""

import importlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import tensorflow_datasets as tfds

from trainbench import extras
from trainbench.data import catalogue, prepared
from trainbench.data.pipeline import HostBatch, Shard
from trainbench.data.prepared import Prepared
from trainbench.data.settings import ImageData
from trainbench.errors import UserError

FORMAT = "tfrecord"

# The crop of Szegedy et al. 2014 (arXiv:1409.4842, section 6): 8 to 100 % of the area, sides 3:4 to 4:3.
AREA = (0.08, 1.0)
ASPECT = (3 / 4, 4 / 3)
TRIES = 10

# How many records are mixed beyond the order of the files.
SHUFFLED = 10_000


class TfBatches:
    """Endless host batches of a tf.data set; `close` lets go of it."""

    def __init__(self, dataset: Any) -> None:
        self._iterator: Iterator[HostBatch] | None = dataset.as_numpy_iterator()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> HostBatch:
        if self._iterator is None:
            raise StopIteration
        try:
            return next(self._iterator)
        except StopIteration:
            raise
        # TensorFlow names neither the record nor a type of its own that could be caught without importing it.
        except Exception as error:
            raise UserError(
                f"tf.data cannot read a record: {str(error).splitlines()[0]}",
                allowed="records that TensorFlow can decode",
                fix="data.loader=grain, which names damaged records and can leave them out",
            ) from error

    def close(self) -> None:
        self._iterator = None


def batches(
    directory: Path, settings: ImageData, size: int, batch_size: int, seed: int, shard: Shard
) -> TfBatches:
    """Endless shuffled batches: image uint8 [B, size, size, 3], label int32 [B]; all fixed by `seed`.

    Raises:
      UserError: TensorFlow is missing, the set is not prepared as TFRECORD, or has not what `settings` name.
    """
    found = open_tfrecord(settings.name, directory)
    found.image_shape(settings.image_key)
    found.class_count(settings.label_key)
    found.check_split(settings.split)
    # Last, as it takes seconds.
    tf = tensorflow()
    examples = _examples(tf, found, settings, shard, seed)
    dataset = examples.enumerate().map(
        _transform(tf, settings, size, seed), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    return TfBatches(dataset.batch(batch_size, drop_remainder=True).prefetch(1))


def open_tfrecord(name: str, directory: Path) -> Prepared:
    """The set `name`, prepared as TFRECORD under `directory`.

    Raises:
      UserError: it is not.
    """
    directory = directory.expanduser()
    path = prepared.locate(name, directory)
    if path is None:
        raise catalogue.not_prepared(name, directory, needs="data.loader=tfdata")
    found = prepared.open_stored(name, path)
    prepared.require_format(found, (FORMAT,), path, text=False)
    return found


def tensorflow() -> Any:
    """TensorFlow, kept off the accelerator.

    Raises:
      UserError: it is not installed.
    """
    # TensorFlow greets at length on stderr; warnings and errors still come through.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
    try:
        tf = importlib.import_module("tensorflow")
    except ImportError as error:
        raise UserError(
            "data.loader=tfdata needs TensorFlow, which is not installed",
            allowed="data.loader=grain, which does not",
            fix=f"data.loader=grain, or {extras.install('prepare')}",
        ) from error
    # It would take the accelerator's memory from JAX.
    tf.config.set_visible_devices([], "GPU")
    return tf


def _examples(tf: Any, found: Prepared, settings: ImageData, shard: Shard, seed: int) -> Any:
    """The endless stream of this process's stored examples, shuffled anew each epoch."""
    part = tfds.even_splits(settings.split, shard.count)[shard.index]
    # TFDS would keep a small set in memory, and what reading costs would not be seen.
    reading = tfds.ReadConfig(shuffle_seed=seed, interleave_cycle_length=16, try_autocache=False)
    decoders = tfds.decode.PartialDecoding(
        dict.fromkeys((settings.image_key, settings.label_key), True),
        decoders={settings.image_key: tfds.decode.SkipDecoding()},
    )
    stored = found.builder.as_dataset(split=part, shuffle_files=True, decoders=decoders, read_config=reading)
    options = tf.data.Options()
    options.deterministic = True
    return stored.shuffle(SHUFFLED, seed=seed, reshuffle_each_iteration=True).repeat().with_options(options)


def _transform(tf: Any, settings: ImageData, size: int, seed: int) -> Any:
    def transform(index: Any, example: Any) -> Any:
        crop_seed, flip_seed = tf.unstack(tf.random.split(tf.stack([tf.constant(seed, tf.int64), index]), 2))
        image = _cropped(tf, example[settings.image_key], crop_seed)
        image = tf.image.resize(image, (size, size), method="bilinear")
        if settings.flip:
            image = tf.image.stateless_random_flip_left_right(image, seed=flip_seed)
        image = tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8)
        image = tf.ensure_shape(image, (size, size, 3))
        return {"image": image, "label": tf.cast(example[settings.label_key], tf.int32)}

    return transform


def _cropped(tf: Any, content: Any, seed: Any) -> Any:
    """A random part of the encoded image; of a JPEG no more than that is decoded."""

    def of_jpeg() -> Any:
        top, left, height, width = _window(tf, tf.io.extract_jpeg_shape(content), seed)
        return tf.io.decode_and_crop_jpeg(content, tf.stack([top, left, height, width]), channels=3)

    def of_other() -> Any:
        image = tf.io.decode_image(content, channels=3, expand_animations=False)
        top, left, height, width = _window(tf, tf.shape(image), seed)
        return tf.slice(image, [top, left, 0], [height, width, 3])

    return tf.cond(tf.io.is_jpeg(content), of_jpeg, of_other)


def _window(tf: Any, shape: Any, seed: Any) -> tuple[Any, Any, Any, Any]:
    begin, extent, _ = tf.image.stateless_sample_distorted_bounding_box(
        tf.concat([shape[:2], [3]], axis=0),
        bounding_boxes=tf.zeros([1, 0, 4]),
        seed=seed,
        min_object_covered=0.0,
        aspect_ratio_range=ASPECT,
        area_range=AREA,
        max_attempts=TRIES,
        use_image_if_no_bounding_boxes=True,
    )
    return begin[0], begin[1], extent[0], extent[1]
