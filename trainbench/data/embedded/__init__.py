"""Data sets that ordinary packages carry: real data on every machine, written once as ArrayRecord."""

import importlib
from typing import Any

# What users type, and the TFDS builder behind it as "module:class".
BUILDERS: dict[str, str] = {
    "digits": "trainbench.data.embedded.digits:TrainbenchDigits",
    "photos": "trainbench.data.embedded.photos:TrainbenchPhotos",
    "kjv": "trainbench.data.embedded.kjv:TrainbenchKjv",
}


def builder_class(name: str) -> Any:
    """The TFDS builder class of an embedded data set, imported now: TFDS takes seconds to import."""
    module, _, class_name = BUILDERS[name].partition(":")
    return getattr(importlib.import_module(module), class_name)
