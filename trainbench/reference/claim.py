"""The table of claims, `claims.yaml` beside this file, as typed data; its head explains the fields.

A claim is judged by its checks; `claims` computes what they find. Loading refuses an unknown attribute,
kind or field, so that a slip in the file can't silently select nothing.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib import resources
from typing import Any

import yaml

from trainbench.reference.figure import Figure

# Attributes in which two figures must agree to be compared, unless a check names others; which of such pairs
# are like for like, `differences` tells.
SAME = ("name", "task", "image_size", "sequence_length", "precision_class", "padding", "metric_kind")

# Claims are round numbers ("about 400"): a number within a tenth of one agrees with it.
TOLERANCE = 0.1

# One name for metrics that say the same per chip; rates of samples have theirs from `attribute`.
_METRIC_KINDS = {
    "tokens/sec": "tokens/s",
    "tokens/sec/device": "tokens/s",
    "hours": "time",
    "minutes": "time",
}
_BITS = {"fp32": "32-bit", "8-bit float": "8-bit", "8-bit integer": "8-bit"}
_DERIVED = ("model", "family", "bits", "metric_kind", "precision_class", "micro_batch_per_chip")
_ATTRIBUTES = frozenset({field.name for field in fields(Figure)} | set(_DERIVED))
_KEYS = {
    "rate": {"rows", "per", "because"},
    "ratio": {
        *("numerator", "denominator", "same", "pairs", "because"),
        *("quantity", "divide_by"),
    },
    "specification": {"chips", "quantities", "rows", "because"},
    "peak_ratio": {"numerator", "denominator", "divide_by", "because"},
}

Rows = Mapping[str, Any]


@dataclass(frozen=True)
class Claimed:
    """The number or range claimed; None at an open end."""

    low: float
    high: float | None
    unit: str

    def agrees(self, value: float) -> bool:
        """Whether a number that was found meets the claim, give or take TOLERANCE; "above x" has no give.

        >>> Claimed(400, 400, "images/s").agrees(432), Claimed(1, None, "x").agrees(0.95)
        (True, False)
        """
        if self.high is None:
            return value > self.low
        return self.low * (1 - TOLERANCE) <= value <= self.high * (1 + TOLERANCE)

    def factor_off(self, value: float) -> float:
        """By which factor a number misses the claim, 1 where it doesn't.

        >>> Claimed(3, 5, "x").factor_off(1.5), Claimed(3, 5, "x").factor_off(10)
        (2.0, 2.0)
        """
        if value < self.low:
            return self.low / value
        return 1.0 if self.high is None else max(1.0, value / self.high)

    def __str__(self) -> str:
        if self.high is None:
            return f"above {self.low:g}{self.unit}"
        space = "" if self.unit == "x" else " "
        number = f"{self.low:g}" if self.low == self.high else f"{self.low:g}-{self.high:g}"
        return f"{number}{space}{self.unit}"


@dataclass(frozen=True)
class Outside:
    """A source that is not in the table of figures; its numbers take no part in a verdict."""

    text: str
    address: str
    date: str | None


@dataclass(frozen=True)
class Near:
    """Two figures that are too unlike to count, compared for what the ratio shows."""

    label: str
    numerator: str
    denominator: str
    per: str
    quantity: str


@dataclass(frozen=True)
class Check:
    """One look at the data. Fields as in claims.yaml; those that another kind uses are empty."""

    kind: str
    label: str
    claimed: Claimed
    rows: Rows
    per: str
    numerator: Any
    denominator: Any
    same: tuple[str, ...]
    pairs: tuple[tuple[str, str], ...]
    because: str
    quantity: str
    divide_by: str | None
    chips: tuple[str, ...]
    quantities: tuple[str, ...]


@dataclass(frozen=True)
class Claim:
    """One claim as it is repeated, and the checks that judge it ("any" or "all" of them)."""

    id: str
    text: str
    combine: str
    conditions: str
    sources: tuple[Outside, ...]
    checks: tuple[Check, ...]
    near: tuple[Near, ...]


@dataclass(frozen=True)
class Table:
    """All claims in the file's order, and which GPU stands beside which TPU."""

    claims: tuple[Claim, ...]
    peers: Mapping[str, str]


@functools.cache
def load() -> Table:
    """The claims that ship with the package."""
    text = resources.files("trainbench.reference").joinpath("claims.yaml").read_text(encoding="utf-8")
    return parse(text)


def parse(text: str) -> Table:
    """The claims in a YAML text like claims.yaml.

    Raises:
      ValueError: a field, kind or attribute that is not known.
    """
    table = yaml.safe_load(text)
    return Table(tuple(_claim(block) for block in table["claims"]), table["peers"])


def attribute(figure: Figure, name: str) -> Any:
    """An attribute of a figure by its name in claims.yaml.

    `family` is TPU or GPU; `bits` the width of the precision class; `metric_kind` one word for metrics that
    say the same per chip.
    """
    if name == "family":
        return "TPU" if figure.accelerator.startswith("TPU") else "GPU"
    if name == "bits":
        return _BITS.get(figure.precision_class or "", figure.precision_class)
    if name == "metric_kind":
        is_rate = figure.samples_per_s_per_chip is not None
        return "samples/s" if is_rate else _METRIC_KINDS.get(figure.metric, figure.metric)
    return getattr(figure, name)


def matches(figure: Figure, rows: Rows) -> bool:
    """Whether `figure` has all the attributes that `rows` asks for."""
    return all(_fits(attribute(figure, name), wanted) for name, wanted in rows.items())


def describe(rows: Rows) -> str:
    """A row filter in words, for what was looked for.

    >>> describe({"model": "resnet50", "accelerator": ["V100", "A100"], "batch": {"max": 16}})
    'model resnet50, accelerator V100 or A100, batch at most 16'
    """
    return ", ".join(f"{name.replace('_', ' ')} {_words(wanted)}" for name, wanted in rows.items())


def _words(wanted: Any) -> str:
    if isinstance(wanted, Mapping):
        phrases = {"min": "at least", "max": "at most", "not": "other than"}
        return " and ".join(f"{phrases[key]} {_words(value)}" for key, value in wanted.items())
    if isinstance(wanted, list):
        return " or ".join(_words(value) for value in wanted)
    return "not stated" if wanted is None else str(wanted).replace("_", " ")


def _fits(value: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        if "not" in wanted:
            return value not in (wanted["not"] if isinstance(wanted["not"], list) else [wanted["not"]])
        return value is not None and wanted.get("min", value) <= value <= wanted.get("max", value)
    return value in wanted if isinstance(wanted, list) else value == wanted


def _claim(block: dict[str, Any]) -> Claim:
    if block["combine"] not in ("any", "all"):
        raise ValueError(f"{block['id']}: combine is any or all, not {block['combine']!r}")
    return Claim(
        id=block["id"],
        text=block["text"],
        combine=block["combine"],
        conditions=" ".join(block["conditions"].split()),
        sources=tuple(
            Outside(one["text"], one["address"], one.get("date")) for one in block.get("sources", [])
        ),
        checks=tuple(_check(block["id"], check) for check in block["checks"]),
        near=tuple(
            Near(
                one["label"],
                one["numerator"],
                one["denominator"],
                one.get("per", "chip"),
                one.get("quantity", "speed"),
            )
            for one in block.get("near", [])
        ),
    )


def _check(claim: str, block: dict[str, Any]) -> Check:
    unknown = set(block) - {"kind", "label", "claimed", "unit"} - _KEYS.get(block["kind"], set())
    if block["kind"] not in _KEYS or unknown:
        raise ValueError(f"{claim}: a check of kind {block['kind']!r} has no {', '.join(sorted(unknown))}")
    sides = [block.get(side, {}) for side in ("rows", "numerator", "denominator")]
    names = {name for side in sides if isinstance(side, dict) for name in side} | set(block.get("same", SAME))
    if names - _ATTRIBUTES:
        raise ValueError(f"{claim}: figures have no {', '.join(sorted(names - _ATTRIBUTES))}")
    claimed = block["claimed"]
    low, high = claimed if isinstance(claimed, list) else (claimed, claimed)
    return Check(
        kind=block["kind"],
        label=block["label"],
        claimed=Claimed(low, high, block.get("unit", "x")),
        rows=block.get("rows", {}),
        per=block.get("per", "chip"),
        numerator=block.get("numerator", {}),
        denominator=block.get("denominator", {}),
        same=tuple(block.get("same", SAME)),
        pairs=tuple((above, below) for above, below in block.get("pairs", [])),
        because=block.get("because", ""),
        quantity=block.get("quantity", "speed"),
        divide_by=block.get("divide_by"),
        chips=tuple(block.get("chips", [])),
        quantities=tuple(block.get("quantities", [])),
    )
