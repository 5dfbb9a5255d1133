"""What a sweep consists of: its points, each with a directory, and the folder that it goes on in.

Hydra composes and launches the points. They are worked out here as well, before the first one runs, so that
the sweep knows how many there are and which of them an earlier, interrupted sweep has left.
"""

import copy
import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_module
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_launcher import BasicLauncher
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig

from trainbench import complaints
from trainbench.errors import UserError
from trainbench.processes import child
from trainbench.results import store

PLAN_FILE = "sweep.json"
LOCK_FILE = ".sweep.lock"
# The label, and with it the directory, of a point from which no other has to be told.
ONLY_POINT = "point"
_LONGEST_NAME = 120  # file systems allow 255 bytes
_PARTS = ("hydra.sweep.subdir", "hydra.output_subdir")


@dataclass(frozen=True)
class Sweep:
    """A sweep that is about to run, or to go on.

    Attributes:
      asked: the overrides as they were typed.
      varied: the keys that differ between the points.
      directory: where its points' directories are.
      points: the overrides of each point; None where the sweeper decides as it goes.
      here: whether the points run on this machine, one after the other.
      goes_on: whether an interrupted sweep with the same overrides is in `directory`.
      configurations: what the user's own configurations say, as a digest; None where there are none.
    """

    asked: tuple[str, ...]
    varied: frozenset[str]
    directory: Path
    points: tuple[tuple[str, ...], ...] | None
    here: bool
    goes_on: bool
    configurations: str | None = None

    def label(self, overrides: Sequence[str]) -> str:
        """What tells the point with these overrides from the others."""
        return " ".join(item for item in overrides if _key(item) in self.varied) or ONLY_POINT

    def home(self, overrides: Sequence[str]) -> Path:
        """The directory of the point with these overrides, named by what varies."""
        return self.directory / directory_name(self.label(overrides))


def directory_name(label: str) -> str:
    """A file name that says what `label` says; two labels never share one.

    >>> directory_name("batch_size=8 model=vit_tiny")
    'batch_size=8,model=vit_tiny'
    >>> directory_name("data.split=train[:10%]")
    'data.split=train_10_,a4f65376'
    """
    plain = label.replace(" ", ",")
    name = re.sub(r"[^\w.=,+-]+", "_", plain, flags=re.ASCII)
    if name == plain and "," not in label and len(name) <= _LONGEST_NAME:
        return name
    return f"{name[:_LONGEST_NAME]},{hashlib.sha256(label.encode()).hexdigest()[:8]}"


def plan(asked: Sequence[str], config_dir: str | None = None) -> Sweep:
    """The sweep over `asked`, in the folder of an interrupted one with the same overrides if there is one.

    Raises:
      UserError: Hydra cannot compose that.
    """
    for override in asked:
        if _key(override) in _PARTS:
            raise UserError(
                f"{_key(override)} does not apply to a sweep: each point's directory is named by what varies",
                allowed="hydra.sweep.dir=DIR, for where the whole sweep goes",
                fix=f"leave {override} out",
            )
    try:
        with initialize_config_module(config_module="trainbench.configs", version_base="1.3"):
            return _planned(tuple(asked), config_dir)
    except complaints.ERRORS as error:
        raise complaints.translated(error, asked) from None


def _planned(asked: tuple[str, ...], config_dir: str | None) -> Sweep:
    parser = OverridesParser.create(config_loader=_config_loader(config_dir))
    parsed = parser.parse_overrides(list(asked))
    own = [f"hydra.searchpath=[{child.quoted(_url(config_dir))}]"] if config_dir else []
    fixed = [str(item.input_line) for item in parsed if item.is_hydra_override()]
    settings = compose(config_name="config", overrides=[*own, *fixed], return_hydra_config=True).hydra
    params = [f"{key}={value}" for key, value in (settings.sweeper.get("params") or {}).items()]
    parsed = [*parser.parse_overrides(params), *parsed]
    job = [item for item in parsed if not item.is_hydra_override()]
    basic = settings.sweeper._target_.endswith(f".{BasicSweeper.__name__}")
    points = BasicSweeper.split_arguments(job, None)[0] if basic else None
    if points == []:
        empty = [str(item.input_line) for item in job if item.is_sweep_override()]
        raise UserError(
            f"the sweep over {' '.join(empty)} has no points",
            allowed="at least one value for each key",
            fix="python -m trainbench -m batch_size=8,16,32",
        )
    given = any(_key(override) == "hydra.sweep.dir" for override in asked)
    unfinished = None if given else _unfinished(asked)
    directory = unfinished or Path(settings.sweep.dir)
    return Sweep(
        asked=asked,
        varied=frozenset(_key(str(item.input_line)) for item in job if item.is_sweep_override()),
        directory=directory,
        points=None if points is None else tuple(tuple(point) for point in points),
        here=_is_here(settings),
        goes_on=unfinished is not None,
        configurations=digest(config_dir),
    )


def _config_loader(config_dir: str | None) -> ConfigLoaderImpl:
    """What finds the names that `model=glob(*)` stands for: the user's own ones too."""
    path = copy.deepcopy(GlobalHydra.instance().config_loader().get_search_path())
    if config_dir:
        path.append("command-line", _url(config_dir))
    return ConfigLoaderImpl(path)


def _url(directory: str) -> str:
    return f"file://{Path(directory).absolute()}"


def digest(config_dir: str | None) -> str | None:
    """What the configurations in a directory of the user's own say, in short; None without a directory.

    Raises:
      UserError: one of them can't be read.
    """
    if config_dir is None:
        return None
    total = hashlib.sha256()
    files = [file for pattern in ("*.yaml", "*/*.yaml") for file in Path(config_dir).glob(pattern)]
    for file in sorted(files):
        try:
            content = file.read_bytes()
        except OSError as error:
            raise UserError(f"{file} cannot be read: {error.strerror}", fix="check its permissions") from None
        total.update(f"{file.relative_to(config_dir)}\0{len(content)}\0".encode() + content)
    return total.hexdigest()


def _is_here(settings: DictConfig) -> bool:
    return str(settings.launcher._target_).endswith(f".{BasicLauncher.__name__}")


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")


def _unfinished(asked: Sequence[str]) -> Path | None:
    """The folder of the last sweep with these overrides, if it was interrupted."""
    folders = [file.parent for file in Path("multirun").glob(f"*/*/{PLAN_FILE}")]
    same = [folder for folder in folders if _noted(folder).get("overrides") == sorted(asked)]
    if not same:
        return None
    last = max(same, key=lambda folder: str(_noted(folder).get("started_utc")))
    return None if _noted(last).get("finished") else last


def _noted(folder: Path) -> dict[str, Any]:
    """What the sweep's file says; nothing where it is damaged."""
    try:
        content = json.loads((folder / PLAN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def note(sweep: Sweep, *, finished: bool) -> None:
    """Write into its folder what the sweep is, and whether it came to its end.

    Raises:
      UserError: the folder cannot be written to.
    """
    started = _noted(sweep.directory).get("started_utc")
    content = {
        "overrides": sorted(sweep.asked),
        "started_utc": started if sweep.goes_on and started else datetime.now(UTC).isoformat(),
        "finished": finished,
    }
    store.write_whole(sweep.directory / PLAN_FILE, (json.dumps(content, indent=2) + "\n").encode())
