"""A record from the bytes of a result file, whatever they are: current, older, newer, damaged or foreign."""

import json
from typing import Any, NoReturn

from pydantic import ValidationError

from trainbench.results.migrate import MIGRATIONS, to_present
from trainbench.results.record import SCHEMA_VERSION, Result

_SHOWN_ERRORS = 3
# Other programs' files may have one or two of these.
_MARKS = frozenset({"schema_version", "kind", "status", "config"})
_ENOUGH_MARKS = 3
_NO_VERSION = "it has no schema_version"
_AGAIN = "leave this file out, or run the benchmark again"


class Unreadable(Exception):
    """No record came of it.

    Args:
      why: a predicate, to be read after the file's name: "is damaged or not a result: ...".
      allowed: what would have been accepted.
      fix: what the user can do.
      foreign: it is sound JSON, but of something else.
    """

    def __init__(self, why: str, *, allowed: str = "", fix: str = _AGAIN, foreign: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.allowed = allowed
        self.fix = fix
        self.foreign = foreign


def record(content: bytes) -> Result:
    """The record in `content`, migrated if it is of an older schema.

    A file of the present schema is parsed once; only what fails is looked at more closely.

    Raises:
      Unreadable: not a result, damaged, or written by a newer trainbench.
    """
    try:
        result = Result.model_validate_json(content, strict=True)
    except ValidationError as error:
        return _older(_raw(content), error)
    if "schema_version" not in result.model_fields_set:
        raise _damaged(_NO_VERSION)
    return result


def _older(raw: Any, error: ValidationError) -> Result:
    """The record in the content of an older file; `error` says why it is none of the present schema."""
    if _version(raw) == SCHEMA_VERSION:
        raise _invalid(error) from error
    try:
        return Result.model_validate_json(json.dumps(to_present(raw)), strict=True)
    except ValidationError as older:
        raise _invalid(older) from older


def _raw(content: bytes) -> Any:
    try:
        return json.loads(content.decode("utf-8"), parse_constant=_no_constant)
    except UnicodeDecodeError as error:
        raise _damaged("it is not UTF-8 text") from error
    except ValueError as error:
        raise _damaged(str(error)) from error
    except RecursionError as error:
        raise _damaged("it is nested too deeply") from error


def _no_constant(name: str) -> NoReturn:
    """Nothing: NaN and infinity are not JSON, though Python's parser takes them."""
    raise ValueError(f"it holds {name}, which is not JSON")


def _version(raw: Any) -> int:
    """Its version, which a migration or the present record can take."""
    foreign = not isinstance(raw, dict) or len(_MARKS & raw.keys()) < _ENOUGH_MARKS
    version = raw.get("schema_version") if isinstance(raw, dict) else None
    if type(version) is not int:
        raise _damaged(_NO_VERSION, foreign=foreign)
    if foreign:
        raise _damaged("it lacks most fields of one", foreign=True)
    if version > SCHEMA_VERSION:
        raise Unreadable(
            f"was written by a newer trainbench (schema {version})",
            allowed=f"schema {SCHEMA_VERSION}",
            fix="upgrade trainbench to read it",
        )
    if version != SCHEMA_VERSION and version not in MIGRATIONS:
        raise _damaged(f"there is no schema {version}")
    return version


def _damaged(why: str, *, foreign: bool = False) -> Unreadable:
    return Unreadable(
        f"is damaged or not a result: {why}", allowed="a result file as trainbench wrote it", foreign=foreign
    )


def _invalid(error: ValidationError) -> Unreadable:
    return Unreadable(
        f"is not a valid result: {_first_errors(error)}",
        allowed=f"a result file of schema {SCHEMA_VERSION}, as trainbench wrote it",
    )


def _first_errors(error: ValidationError) -> str:
    """The first few complaints on one line, each as "field: what is wrong"."""
    found = error.errors(include_url=False)
    shown = [f"{'.'.join(str(part) for part in item['loc']) or 'record'}: {item['msg']}" for item in found]
    more = f"; and {len(shown) - _SHOWN_ERRORS} more" if len(shown) > _SHOWN_ERRORS else ""
    return "; ".join(shown[:_SHOWN_ERRORS]) + more
