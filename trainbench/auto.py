"""A value that the program chose."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Auto:
    """A chosen value and why."""

    value: Any
    reason: str
