"""Data sets that lie ready on the disk: opened from their own description, without TensorFlow or network.

TFDS takes seconds to import, so import this module only where a data set is used.
"""

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from trainbench.data import catalogue, embedded, pipeline
from trainbench.data.stored import DESCRIPTION, Reference, find, parse
from trainbench.errors import UserError, first_line, nearest

# The formats of TFDS that can be read at any place.
RANDOM_ACCESS = ("array_record", "parquet")


@dataclass(frozen=True)
class Prepared:
    """A data set that lies ready on the disk; `builder` is TFDS's, and only reads."""

    name: str
    builder: Any

    def records(
        self, split: str, raw: Collection[str] = (), config_key: str = "data.split"
    ) -> pipeline.Records:
        """Random access to a split, or to a slice of it as TFDS writes them ("train[:10%]").

        Args:
          raw: image features that come as their stored bytes.
          config_key: the configuration key that `split` was given with.

        Raises:
          UserError: there is no such split or slice, or nothing is in it.
        """
        for key in raw:
            self.check_key(key, "data.image_key")
        self.check_split(split, config_key)
        images = [key for key in raw if isinstance(self._features[key], tfds.features.Image)]
        decoders = {key: tfds.decode.SkipDecoding() for key in images}
        return pipeline.Records(
            self.builder.as_data_source(split=split, decoders=decoders), f"{self.name} {split}"
        )

    def check_split(self, split: str, config_key: str = "data.split") -> None:
        """Nothing if the split or slice exists and has records.

        Raises:
          UserError: see `records`.
        """
        splits = self.builder.info.splits
        there = ", ".join(f"{name} ({each.num_examples:,})" for name, each in splits.items())
        allowed = f"""{there}, sums such as train+test, and slices, quoted: '{config_key}="train[:10%]"'"""
        try:
            count = splits[split].num_examples
        # TFDS raises different ones for a name, a form and a range.
        except (ValueError, KeyError, AssertionError) as error:
            base = split.partition("[")[0].partition("+")[0].strip()
            likely = base if base in splits else nearest(base, splits) or next(iter(splits))
            reason = str(error).strip("'\"").splitlines()[0]
            raise UserError(
                f"{config_key}={split}: {self.name} has no such split or slice ({reason})",
                allowed=allowed,
                fix=f"{config_key}={likely}",
            ) from error
        if not count:
            raise UserError(
                f"{config_key}={split}: no record of {self.name} is in it",
                allowed=allowed,
                fix=f"{config_key}={split.partition('[')[0]}",
            )

    def overlap(self, split: str, other: str) -> bool:
        """Whether two splits or slices have a record in common."""
        first, second = (self.builder.info.splits[name].file_instructions for name in (split, other))
        return any(
            one.filename == two.filename and one.skip < _end(two) and two.skip < _end(one)
            for one in first
            for two in second
        )

    def check_key(self, key: str, config_key: str) -> None:
        """Nothing if the set has the feature `key`.

        Raises:
          UserError: it has not; the message lists those that exist.
        """
        if key not in self._features:
            raise UserError(
                f"{config_key}={key}: {self.name} has no such feature",
                allowed=", ".join(sorted(self._features)),
                fix=f"{config_key}={nearest(key, self._features) or next(iter(self._features), 'NAME')}",
            )

    def image_shape(self, key: str) -> tuple[int | None, int | None, int | None]:
        """(height, width, channels) of the image feature `key`; None where images differ.

        Raises:
          UserError: the feature is missing, or no image of 8-bit pixels.
        """
        self.check_key(key, "data.image_key")
        if not _is_image(self._features[key]):
            raise self._wrong_kind(key, "data.image_key", "an image of 8-bit pixels", _is_image)
        height, width, channels = self._features[key].shape
        return height, width, channels

    def class_count(self, key: str) -> int:
        """The number of classes of the label feature `key`.

        Raises:
          UserError: the feature is missing, or does not say how many classes it has.
        """
        self.check_key(key, "data.label_key")
        if not _is_label(self._features[key]):
            raise self._wrong_kind(
                key, "data.label_key", "a label that says how many classes it has", _is_label
            )
        return int(self._features[key].num_classes)

    def check_text(self, key: str) -> None:
        """Nothing if the feature `key` is text.

        Raises:
          UserError: it is missing or something else.
        """
        self.check_key(key, "data.text_key")
        if not _is_text(self._features[key]):
            raise self._wrong_kind(key, "data.text_key", "text", _is_text)

    def fingerprint(self) -> str:
        """Name and version, and a hash of what tells one content from another.

        It covers the features, and the examples and bytes of each split and shard; not the place on the disk,
        nor the format of the files.
        """
        info = self.builder.info
        splits = {
            name: [split.num_bytes, list(map(int, split.shard_lengths))]
            for name, split in info.splits.items()
        }
        content = json.dumps([info.full_name, splits, info.features.to_json()], sort_keys=True, default=str)
        return f"{info.full_name} {hashlib.sha256(content.encode()).hexdigest()[:16]}"

    @property
    def _features(self) -> Any:
        return self.builder.info.features

    def _wrong_kind(self, key: str, config_key: str, kind: str, fits: Any) -> UserError:
        choices = sorted(name for name, feature in self._features.items() if fits(feature))
        feature = self._features[key]
        return UserError(
            f"{config_key}={key}: this feature of {self.name} is not {kind}, but {_described(feature)}",
            allowed=", ".join(choices) or f"no feature of {self.name}",
            fix=f"{config_key}={choices[0]}" if choices else "another data set, by data.name=NAME",
        )


def open_set(name: str, directory: Path, *, text: bool = False) -> Prepared:
    """The data set `name` under `directory`, read at random access; an embedded one is prepared on first use.

    `directory` may also be the data set's own, the one with its dataset_info.json. `text` only chooses the
    configuration that error messages name.

    Raises:
      UserError: unknown, not prepared, prepared in another form, damaged, or incomplete.
    """
    directory = directory.expanduser()
    if name in embedded.BUILDERS:
        # Imported here: preparing brings TFDS's downloader along, and needs this module.
        from trainbench.data import prepare

        return prepare.prepare(name, directory, download=False)
    found = locate(name, directory)
    if found is None:
        raise catalogue.not_prepared(name, directory, text=text)
    opened = open_stored(name, found)
    require_format(opened, RANDOM_ACCESS, found, text)
    return opened


def locate(name: str, directory: Path) -> Path | None:
    """The directory in which the set `name` lies prepared, or None.

    Raises:
      UserError: `directory` is another set's own, or cannot be read.
    """
    reference = embedded_reference(name) if name in embedded.BUILDERS else parse(name)
    try:
        if (directory / DESCRIPTION).is_file():
            return _own_directory(reference, directory)
        found = find(reference, directory)
    except OSError as error:
        raise UserError(
            f"{directory} cannot be read: {error.strerror or error}",
            allowed="a directory that this user may read",
            fix="choose another one with data.dir=DIR, or mend its permissions",
        ) from error
    return found.path if found else None


def embedded_reference(name: str) -> Reference:
    """Under which name and version an embedded set lies on the disk."""
    builder_class = embedded.builder_class(name)
    return Reference(builder_class.name, None, str(builder_class.VERSION))


def open_stored(name: str, path: Path) -> Prepared:
    """The set whose own directory is `path`, whatever its format.

    Raises:
      UserError: its description is damaged, or files are missing.
    """
    try:
        builder = tfds.builder_from_directory(path)
        splits = builder.info.splits
        features = builder.info.features
        files = [Path(file) for split in splits.values() for file in split.filepaths]
        if not splits or not features:
            raise ValueError("it names no split or no feature")
    # Whatever a damaged file makes TFDS, its JSON parser or its protocol buffers raise.
    except Exception as error:
        raise UserError(
            f"{path / DESCRIPTION} or the features.json beside it is damaged: {first_line(error)}",
            allowed="a directory as TFDS 4 wrote it",
            fix=f"copy it again, or delete {path} and prepare the set again",
        ) from error
    missing = [file for file in files if not (file.is_file() and file.stat().st_size)]
    if missing:
        raise UserError(
            f"{name} is incomplete: {len(missing)} of {len(files)} files are missing or empty in {path}, "
            f"the first is {missing[0].name}",
            allowed="the whole directory",
            fix=f"copy it again, or delete {path} and prepare the set again",
        )
    return Prepared(name, builder)


def require_format(opened: Prepared, formats: Collection[str], path: Path, text: bool) -> None:
    """Nothing if the set is stored in one of `formats`.

    Raises:
      UserError: it is not; for TFRECORD the message names the loader that reads it.
    """
    there = sorted(each.value for each in opened.builder.info.available_file_formats())
    if set(there) & set(formats):
        return
    other = "data.loader=tfdata" if "tfrecord" in there and not text else None
    other = "data.loader=grain" if "array_record" in there else other
    loader = "data.loader=tfdata" if "tfrecord" in formats else ""
    command = catalogue.prepare_command(opened.name, Path("OTHER_DIR"), text=text, needs=loader)
    raise UserError(
        f"{opened.name} is prepared as {' and '.join(there) or 'nothing'} in {path}",
        allowed=" or ".join(formats),
        fix=(f"{other}; or " if other else "") + command,
    )


def _own_directory(reference: Reference, directory: Path) -> Path:
    opened = open_stored(str(reference), directory)
    info = opened.builder.info
    own = Reference(info.name, info.config_name or None, str(info.version))
    if reference.base != own.base or reference.config not in (None, own.config):
        raise UserError(
            f"data.dir={directory} is itself a data set, and not {reference}",
            allowed=f"data.name={own}",
            fix=f"data.name={own}, or the directory above all data sets as data.dir",
        )
    return directory


def _end(part: Any) -> int:
    """Where a part of a file ends; TFDS takes -1 for all that is left."""
    return int(part.skip + part.take if part.take >= 0 else part.examples_in_shard)


def _is_image(feature: Any) -> bool:
    """An image, or an array that could be one, of 8-bit pixels."""
    kinds = tfds.features.Image, tfds.features.Tensor
    return isinstance(feature, kinds) and len(feature.shape) == 3 and feature.np_dtype == np.uint8


def _is_label(feature: Any) -> bool:
    return isinstance(feature, tfds.features.ClassLabel) and bool(feature.num_classes)


def _is_text(feature: Any) -> bool:
    return isinstance(feature, tfds.features.Text)


def _described(feature: Any) -> str:
    kind = type(feature).__name__
    shape, dtype = getattr(feature, "shape", None), getattr(feature, "np_dtype", None)
    name = getattr(dtype, "__name__", None) or str(dtype)
    return f"{kind} of shape {shape} and type {name}" if isinstance(shape, tuple) else kind
