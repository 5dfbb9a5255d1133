"""`python -m trainbench prepare`: write a data set to the disk, and say what lies there."""

from collections.abc import Iterator, Mapping
from typing import Any

from trainbench import config
from trainbench.data import prepare, tfdata
from trainbench.data.prepared import Prepared
from trainbench.data.reading import data_directory
from trainbench.data.settings import ImageData, SyntheticData, TextData
from trainbench.errors import UserError
from trainbench.report.numbers import size
from trainbench.training.compile import cache_directory


def prepare_and_show(tree: Mapping[str, Any]) -> None:
    """Prepare the set that the `data` section names, unless it is there, and print what it holds.

    Raises:
      UserError: it cannot be prepared here.
    """
    data = config.parse_data(tree)
    if isinstance(data, SyntheticData):
        raise UserError(
            "data=synthetic has nothing to prepare",
            allowed="data=digits, photos, kjv, tfds or tfds_text",
            fix="python -m trainbench prepare data=tfds data.name=NAME",
        )
    found = prepare.prepare(
        data.name,
        data_directory(data, cache_directory()),
        download=data.download,
        manual_dir=data.manual_dir,
        file_format=tfdata.FORMAT
        if isinstance(data, ImageData) and data.loader == "tfdata"
        else "array_record",
        text=isinstance(data, TextData),
    )
    for line in _summary(found):
        print(line)


def _summary(found: Prepared) -> Iterator[str]:
    info = found.builder.info
    yield f"prepared     {info.full_name} in {info.data_dir}"
    for name, split in info.splits.items():
        stored = f"{size(split.num_bytes)} in {split.num_shards} files"
        yield f"{name:<12} {split.num_examples:,} records · {stored}"
