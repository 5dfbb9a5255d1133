"""Short names for the pairs of a comparison, no two alike where anything tells them apart."""

from collections.abc import Sequence

from trainbench.results.compare_pairs import Pair, chip

# What a label names besides model, precision and batch size, where it tells pairs apart.
_TELLING = (
    *("optimizer", "data", "input", "image_size", "sequence_length"),
    *("device_count", "gradient_accumulation", "steps_per_call", "kind"),
)


def labels_of(pairs: Sequence[Pair]) -> list[str]:
    """Model, precision and batch of each pair; and what tells it from others that are alike in these."""
    short = [_label(pair) for pair in pairs]
    chips = [_chips(pair) for pair in pairs]
    full = []
    for pair, label, where in zip(pairs, short, chips, strict=True):
        alike = [
            vars(other.work) for other, name in zip(pairs, short, strict=True) if name == label and other.work
        ]
        telling = [name for name in _TELLING if len({str(facts[name]) for facts in alike}) > 1]
        more = [f"{name.replace('_', ' ')} {getattr(pair.work, name)}" for name in telling if pair.work]
        full.append(" ".join([label, *more, *([f"on {where}"] if len(set(chips)) > 1 else [])]))
    return full


def _label(pair: Pair) -> str:
    work = pair.work
    return f"{work.model} {work.precision} batch {work.batch_size}" if work else _unknown(pair)


def _unknown(pair: Pair) -> str:
    """A name for runs that ended before it was known what they ran: their model, as it was asked for."""
    model = next((result.config.get("model") for result in (*pair.base.results, *pair.new.results)), None)
    return str(model.get("name", "unknown")) if isinstance(model, dict) else "unknown"


def _chips(pair: Pair) -> str:
    names = dict.fromkeys(chip(result) or "?" for result in (*pair.base.results, *pair.new.results))
    return " / ".join(names)
