"""Short names for the pairs of a comparison, no two alike where anything tells them apart."""

from collections.abc import Sequence

from trainbench.results.compare_pairs import Pair, Work, chip, work_of

# What a label names besides model, precision and batch size, where it tells pairs apart.
_TELLING = (
    *("optimizer", "data", "input", "image_size", "sequence_length"),
    *("device_count", "gradient_accumulation", "steps_per_call", "kind"),
)


def labels_of(pairs: Sequence[Pair]) -> list[str]:
    """Model, precision and batch of each pair; and what tells it from others that are alike in these."""
    short = [_label(pair) for pair in pairs]
    chips = [_chips(pair) for pair in pairs]
    telling = _telling(pairs, short)
    several_chips = len(set(chips)) > 1
    full = []
    for pair, label, where in zip(pairs, short, chips, strict=True):
        more = [
            f"{name.replace('_', ' ')} {getattr(pair.work, name)}" for name in telling[label] if pair.work
        ]
        full.append(" ".join([label, *more, *pair.settings, *([f"on {where}"] if several_chips else [])]))
    return full


def _telling(pairs: Sequence[Pair], short: Sequence[str]) -> dict[str, list[str]]:
    """Of each short label, the facts in which its pairs differ."""
    works: dict[str, list[Work]] = {label: [] for label in short}
    for pair, label in zip(pairs, short, strict=True):
        if pair.work:
            works[label].append(pair.work)
    return {
        label: [name for name in _TELLING if len({getattr(work, name) for work in alike}) > 1]
        for label, alike in works.items()
    }


def _label(pair: Pair) -> str:
    """What both sides ran; what differs, as where two configurations were run in turn, stands elsewhere."""
    works = [work for result in (*pair.base.results, *pair.new.results) if (work := work_of(result))]
    if not works:
        return _unknown(pair)
    words = {
        "model": works[0].model,
        "precision": works[0].precision,
        "batch_size": f"batch {works[0].batch_size}",
    }
    shared = [word for name, word in words.items() if len({getattr(work, name) for work in works}) == 1]
    return " ".join(shared) or "both sides"


def _unknown(pair: Pair) -> str:
    """A name for runs that ended before it was known what they ran: their model, as it was asked for."""
    model = next((result.config.get("model") for result in (*pair.base.results, *pair.new.results)), None)
    return str(model.get("name", "unknown")) if isinstance(model, dict) else "unknown"


def _chips(pair: Pair) -> str:
    names = dict.fromkeys(chip(result) or "?" for result in (*pair.base.results, *pair.new.results))
    return " / ".join(names)
