"""The columns of a table of results, read off the record's own classes: a field there is a column here.

Names are the record's, joined by "_": `throughput_samples_per_s`, `timing_step_time_s_median`. An interval
makes two columns, `_low` and `_high`. What is neither one value nor a list of them (comparisons, autos) is
JSON text.
"""

import re
import types
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AwareDatetime

from trainbench.results.record import Result, Section

Kind = Literal["text", "integer", "number", "boolean", "time", "JSON"]

_KINDS: dict[Any, Kind] = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "boolean",
    AwareDatetime: "time",
}

# Of the table alone, not the record: name, type, unit, scope, what it says.
TABLES_OWN = (
    ("file", "text", "", "", "the result's file"),
    ("outcome", "text", "", "run", "status, kind and steadiness in one: ok, not steady, forecast, oom, ..."),
)

# The first that the end of a name fits; a part of a section has the unit of the section where it names none.
_UNITS = (
    (r"samples_per_s(_ci95)?_(low|high)|samples_per_s", "samples/s"),
    (r"samples_per_s_per_chip", "samples/s/chip"),
    (r"tokens_per_s", "tokens/s"),
    (r"tflops_per_s_per_chip", "TFLOP/s/chip"),
    (r"peak_tflops", "TFLOP/s"),
    (r"flops_per_sample", "FLOP/sample"),
    (r"_flops", "FLOP"),
    (r"bytes(_allocator|_compiled)?", "bytes"),
    (r"mean_w", "W"),
    (r"joules_per_sample", "J/sample"),
    (r"usd_per_million_samples", "USD/1,000,000 samples"),
    (r"(_fraction(_bounds_low|_bounds_high)?|_mfu|_hfu|_cv|resident_change|evaluation_value)", "fraction"),
    (r"image_size", "pixels"),
    (r"sequence_length", "tokens"),
    (r"(warmup|timed)_steps|steps_per_(block|call)|trace_steps", "steps"),
    (r"_s", "s"),
    (r"reproduction_(value|measured)", "samples/s/chip"),
    (r"_deviation|beside_error", "fraction"),
    (r"evaluation_loss", "nats"),
    (r"_s_(median|mean|p5|p95|ci95_low|ci95_high)", "s"),
)
_SCOPES = (
    "over all devices",
    "over all processes",
    "per device",
    "of one chip",
    "of the fullest device",
    "of process 0",
)


@dataclass(frozen=True)
class Column:
    """One column: where its values are in a record, and what they mean.

    Attributes:
      path: the fields on the way there.
      end: which end of an interval it is; None where it is no interval.
      listed: whether a value is a list of `kind`.
      unit: empty for texts, counts and ratios.
      scope: what a value is about: a device, a chip, all of them; "run" is the run as a whole.
    """

    name: str
    path: tuple[str, ...]
    kind: Kind
    unit: str
    scope: str
    description: str
    listed: bool = False
    end: int | None = None

    def value(self, result: Result) -> Any:
        """What the record has there; None where it, or the section it is in, is unknown."""
        value: Any = result
        for field in self.path:
            value = getattr(value, field)
            if value is None:
                return None
        return value if self.end is None else value[self.end]


@cache
def columns() -> tuple[Column, ...]:
    """Every column but `file` and those of the configuration, in the order of the record.

    >>> next(column.unit for column in columns() if column.name == "memory_limit_bytes")
    'bytes'
    """
    return tuple(_of(Result, (), ""))


def _of(section: type[Section], path: tuple[str, ...], about: str) -> Iterator[Column]:
    for name, field in section.model_fields.items():
        plain = _plain(field.annotation)
        if isinstance(plain, type) and issubclass(plain, Section):
            inside = "; ".join(filter(None, [_first_sentence(plain), field.description]))
            yield from _of(plain, (*path, name), inside)
        elif path or name != "config":
            yield from _leaves((*path, name), plain, field.description or "", about)


def _leaves(path: tuple[str, ...], plain: Any, description: str, about: str) -> Iterator[Column]:
    name = "_".join(path)
    scope = _scope(name, description) or _scope(name, about) or "run"
    column = Column(name, path, _kind(plain), _unit(name), scope, description or about)
    inner = get_args(plain)
    if get_origin(plain) is not tuple or _kind(_plain(inner[0])) == "JSON":
        yield column
    elif inner[-1] is ...:
        yield replace(column, kind=_kind(_plain(inner[0])), listed=True)
    else:
        for end, word in enumerate(("low", "high")):
            unit = _unit(f"{name}_{word}")
            yield replace(column, name=f"{name}_{word}", kind="number", unit=unit, end=end)


def _plain(annotation: Any) -> Any:
    """The annotation without constraints and without None."""
    if get_origin(annotation) is Annotated:
        return _plain(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        kept = [inner for inner in get_args(annotation) if inner is not type(None)]
        return _plain(kept[0]) if len(kept) == 1 else annotation
    return annotation


def _kind(plain: Any) -> Kind:
    if get_origin(plain) is Literal:
        plain = type(get_args(plain)[0])
    return _KINDS.get(plain, "JSON")


def _unit(name: str) -> str:
    return next((unit for ending, unit in _UNITS if re.search(f"(?:{ending})$", name)), "")


def _scope(name: str, words: str) -> str:
    if name.endswith("per_chip"):
        return "per chip"
    return next((scope for scope in _SCOPES if scope in words), "")


def _first_sentence(section: type[Section]) -> str:
    return re.split(r"[.;:]", section.__doc__ or "", maxsplit=1)[0]
