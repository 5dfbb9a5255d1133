"""`reproduce=ID`: a run as a published figure was measured, and the answer to whether it comes out again.

`expand` turns the figure into overrides before Hydra composes them, so that what will run stands in the
configuration like anything else, and every key can still be overridden. `judge` sets the result beside the
figure.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainbench import config, shipped
from trainbench.autos import CPU_FLOPS_PER_STEP
from trainbench.data.settings import SYNTHETIC, SyntheticData
from trainbench.errors import UserError
from trainbench.measure.statistics import MIN_BLOCKS_FOR_INTERVAL
from trainbench.model_flops import flops_per_sample
from trainbench.reference import figures, match, vocabulary
from trainbench.reference.differences import RunFacts, differences, same_chip
from trainbench.reference.figure import Figure
from trainbench.results import record
from trainbench.training.compile import cache_directory
from trainbench.training.device import Devices, all_devices

# How near counts as the same. The table's own repeats of one configuration lie within 4 % of each other
# (ResNet-50, PyTorch, V100 with 16 and 32 GB: 1200 and 1156 images/s); another framework deserves twice that
# and a little.
TOLERANCE = 0.10

# Precision as published -> the policy here that computes alike. Where a GPU has both, fp16 and bf16 run at
# the same peak; what calls itself FP32 on an Ampere GPU may have been TF32.
PRECISIONS = {
    "fp32": "fp32",
    "fp32 or tf32": "tf32",
    "tf32": "tf32",
    "bf16": "bf16",
    "bf16_full": "bf16_full",
    "fp16": "bf16",
    "fp16-amp": "bf16",
}

# Published data sets that TFDS has under another name; a set that is not prepared here is stood in for by
# one that is shipped, of the same kind.
IMAGES, IMAGES_STAND_IN = "tfds", "photos"
TEXT, TEXT_STAND_IN = "tfds_text", "kjv"

# Keys without whose published value there is no comparison.
FIXED = ("model", "image_size", "sequence_length")


def expand(overrides: Sequence[str], devices: Devices | None = None) -> list[str]:
    """The overrides with those that `reproduce=ID` among them stands for; the user's own ones win.

    Args:
      devices: what it will run on; None asks JAX, if a figure is to be reproduced.

    Raises:
      UserError: there is no such figure, or it does not say enough to be run.
    """
    parts = (override.lstrip("+").partition("=") for override in overrides)
    given = {key: _unquoted(value) for key, _, value in parts}
    wanted = given.get("reproduce", "null")
    if wanted == "null":
        return list(overrides)
    if not wanted:
        raise UserError(
            "reproduce= names no figure",
            allowed="the id of a published figure, as `references` lists them",
            fix="python -m trainbench references model=resnet50",
        )
    figure = figures.find(wanted, _extra(given))
    if given.get("global_batch_size", "null") != "null":
        # Stands for both, and the two at once are refused.
        given.setdefault("batch_size", "default")
    _check_enough(figure, given)
    _check_same_workload(figure, given)
    generated = {**conditions(figure), **_on_this_machine(figure, devices or all_devices(), given)}
    return [*(f"{key}={value}" for key, value in generated.items() if key not in given), *overrides]


def _unquoted(text: str) -> str:
    """A value as Hydra will read it, without the quotes that the shell left."""
    quoted = len(text) > 1 and text[0] == text[-1] and text[0] in "'\""
    return text[1:-1] if quoted else text


def conditions(figure: Figure) -> dict[str, str]:
    """The figure's conditions as configuration keys, per chip, as far as it states them.

    >>> conditions(figures.find("resnet-50-v1-5-v100-x1-fp16-amp-r224-pytorch"))["batch_size"]
    '256'
    """
    found: dict[str, Any] = {
        "model": figure.model,
        "precision": PRECISIONS.get(figure.precision or ""),
        "image_size": figure.image_size,
        "sequence_length": figure.sequence_length,
        "optimizer": figure.optimizer if figure.optimizer in shipped.names("optimizer") else None,
        "gradient_accumulation": figure.accumulation if figure.accumulation > 1 else None,
        "batch_size": _batch_per_chip(figure),
        "data": _data(figure) if figure.data == "real" else SYNTHETIC,
    }
    return {key: str(value) for key, value in found.items() if value is not None}


def judge(figure: Figure, run: RunFacts, interval: tuple[float, float] | None) -> record.Reproduction:
    """The answer.

    Args:
      run: the conditions of the run, with its rate per chip, if it got to one.
      interval: 95 % interval of that rate.
    """
    published, measured = figure.samples_per_s_per_chip, run.samples_per_s_per_chip
    assert published is not None
    verdict, reason = _verdict(figure, run, interval)
    return record.Reproduction(
        reference_id=figure.id,
        accelerator=figure.label,
        value=published,
        measured=measured,
        deviation=None if measured is None else measured / published - 1,
        verdict=verdict,
        verdict_reason=reason,
        differences=tuple(difference.text for difference in differences(run, figure)),
        source=figure.source,
        date=figure.date,
    )


def _verdict(
    figure: Figure, run: RunFacts, interval: tuple[float, float] | None
) -> tuple[record.ReproductionVerdict, str]:
    published, measured = figure.samples_per_s_per_chip, run.samples_per_s_per_chip
    assert published is not None
    if measured is None:
        return "not judged", "the run came to no rate"
    if not match.comparable(run, figure):
        return "not judged", f"{run.model} at this size is not what was measured"
    ratio = f"{measured / published:.3g} x the published rate per chip"
    if not same_chip(run, figure):
        bearable = "a CPU, at a batch and a number of steps that it can bear"
        where = bearable if run.accelerator == "CPU" else run.chip_id or run.accelerator
        return "another machine", f"{ratio}, on {where}; published on {figure.label}"
    material = [difference for difference in differences(run, figure) if difference.material]
    other = [difference for difference in material if difference.stated]
    if other:
        count = f"{len(other)} condition{'s' * (len(other) > 1)}"
        return "other conditions", f"{ratio}, with {count} that move throughput unlike the published ones"
    verdict, reason = _within(published, interval or (measured, measured))
    unsaid = (
        f"; open in its source: {', '.join(d.text.partition(':')[0] for d in material)}" if material else ""
    )
    return verdict, f"{ratio}: {reason}{unsaid}"


def _within(published: float, interval: tuple[float, float]) -> tuple[record.ReproductionVerdict, str]:
    """Whether a whole interval lies inside or outside the tolerance around the published rate."""
    low, high = (end / published - 1 for end in interval)
    ends = f"{low:+.1%} to {high:+.1%} with its interval"
    if low >= -TOLERANCE and high <= TOLERANCE:
        return "reproduced", f"within {max(abs(low), abs(high)):.1%}, interval included"
    if low > TOLERANCE or high < -TOLERANCE:
        return "not reproduced", f"{'faster' if low > 0 else 'slower'}, {ends}, more than {TOLERANCE:.0%}"
    return "not judged", f"{ends}, which crosses the limit of {TOLERANCE:.0%}"


def _extra(given: Mapping[str, str]) -> Path | None:
    named = given.get("reference.extra", "null")
    return None if named in ("null", "") else Path(named)


def _check_enough(figure: Figure, given: Iterable[str]) -> None:
    obstacles = figure.obstacles()
    unstated = {key: words for key, words in figure.unstated().items() if key not in given}
    if not (obstacles or unstated):
        return
    alike = any(other.runnable and other.name == figure.name for other in figures.load())
    model = f" model={figure.name}" if alike else ""
    fix = f"choose another figure: python -m trainbench references runnable=yes{model}"
    if not obstacles:
        fix = f"state it yourself: reproduce={figure.id} " + " ".join(f"{key}=..." for key in unstated)
    raise UserError(
        f"reproduce={figure.id}: {'; '.join([*obstacles, *unstated.values()])}",
        allowed="a figure that names a model, precision, size and batch that can be run here",
        fix=fix,
    )


def _check_same_workload(figure: Figure, given: Mapping[str, str]) -> None:
    fixed = {key: value for key, value in conditions(figure).items() if key in FIXED}
    for key, value in fixed.items():
        if key in given and _meant(key, given[key]) != value:
            as_published = " ".join(f"{key}={value}" for key, value in fixed.items())
            raise UserError(
                f"{key}={given[key]} is not what reproduce={figure.id} was measured with, {value}",
                allowed=f"{as_published}; of all other keys (batch_size, precision, data, ...) any value",
                fix=f"leave {key} out, or leave reproduce out",
            )


def _meant(key: str, value: str) -> str:
    """The value, or what a model's alias stands for."""
    is_model = key == "model" and value in shipped.names("model")
    return str(shipped.read("model", value)["name"]) if is_model else value


def _batch_per_chip(figure: Figure) -> int | None:
    """Samples per chip and optimizer step; None where it is not stated, or no whole number."""
    micro = figure.micro_batch_per_chip
    return int(micro) * figure.accumulation if micro is not None and micro == int(micro) else None


def _data(figure: Figure) -> str:
    return IMAGES if figure.task == vocabulary.IMAGE_CLASSIFICATION else TEXT


def _on_this_machine(figure: Figure, devices: Devices, given: Mapping[str, str]) -> dict[str, str]:
    """What has to differ from the figure's conditions on these devices, with the data that lie here."""
    found = {}
    if "data.name" in given:
        # A set that the user names is that one, or an error that says how to prepare it.
        found["data"] = _data(figure)
    elif figure.data == "real" and "data" not in given and not _is_prepared(_data(figure), given):
        found["data"] = IMAGES_STAND_IN if _data(figure) == IMAGES else TEXT_STAND_IN
    batch = _batch_per_chip(figure)
    tf32 = PRECISIONS.get(figure.precision or "") == "tf32"
    if tf32 and (devices.platform == "cpu" or (devices.chip and devices.chip.peak_tflops["tf32"] is None)):
        found["precision"] = "fp32"
    if devices.platform == "cpu":
        found |= _on_a_cpu(figure, batch)
    else:
        _check_has_units(figure, devices, given)
    if devices.chip is not None and batch is not None and batch % devices.chip.jax_devices_per_chip == 0:
        found["batch_size"] = str(batch // devices.chip.jax_devices_per_chip)
    return found


def _check_has_units(figure: Figure, devices: Devices, given: Mapping[str, str]) -> None:
    """Refuse a 16-bit figure where bfloat16, which stands for fp16 here, is no speed of the chip."""
    lacks = devices.chip is not None and devices.chip.peak_tflops["bf16"] is None
    if lacks and devices.chip and figure.precision_class == "16-bit" and "precision" not in given:
        raise UserError(
            f"reproduce={figure.id} was measured in {figure.precision}; {devices.chip.name} has no bfloat16 "
            "units, and training in fp16 is not built here",
            allowed="figures in fp32 on this chip, or a precision of your own",
            fix=f"reproduce={figure.id} precision=fp32, or references chip={devices.chip.id} precision=fp32",
        )


def _is_prepared(group: str, given: Mapping[str, str]) -> bool:
    """Whether the data set of a shipped configuration, in the directory that is asked for, lies there."""
    # Imported late: TFDS takes seconds to import.
    from trainbench.data.reading import data_directory

    settings = config.parse_data({"data": shipped.read("data", group) | {"dir": given.get("data.dir")}})
    assert not isinstance(settings, SyntheticData)
    return (data_directory(settings, cache_directory()) / settings.name).is_dir()


def _on_a_cpu(figure: Figure, batch: int | None) -> dict[str, str]:
    """A batch whose step takes seconds, and no accumulation.

    Where one sample takes many seconds already, no more steps than an interval needs.
    """
    found = {"gradient_accumulation": "1"}
    flops = flops_per_sample(figure)
    if batch is None or flops is None:
        return found
    smaller = batch // figure.accumulation
    while smaller > 1 and smaller * flops > CPU_FLOPS_PER_STEP:
        smaller //= 2
    if smaller * flops > CPU_FLOPS_PER_STEP:
        found |= {"steps": str(MIN_BLOCKS_FOR_INTERVAL), "warmup": "1"}
    return found | {"batch_size": str(smaller)}
