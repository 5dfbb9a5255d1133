"""From the compiled step of a run, and its trace, to the record's section on what devices send each other."""

import functools
from collections.abc import Iterator, Mapping

from trainbench.compiled import hlo
from trainbench.compiled.collectives import ALL_GATHER, ALL_REDUCE, REDUCE_SCATTER, ring_bytes
from trainbench.compiled.traffic import Traffic, traffic
from trainbench.results import record
from trainbench.run import Parts
from trainbench.trace_section import communication_fraction
from trainbench.training import exchange

# A compiled step that sends this much more or less than expected is worth a word.
TOLERANCE = 0.05


def communication_section(parts: Parts) -> record.Communication | None:
    """The section; None for a single device, and where nothing was compiled."""
    found = _traffic(parts)
    if found is None or parts.config is None:
        return None
    steps, expected = parts.config.steps_per_call, _expected(parts)
    return record.Communication(
        collectives=tuple(
            record.Collective(
                kind=one.kind, group_size=one.group_size, count=one.count / steps, bytes=one.bytes / steps
            )
            for one in found.sent
        ),
        bytes_per_step=found.bytes / steps,
        expected_bytes_per_step=None if expected is None else sum(expected.values()),
        time_fraction=communication_fraction(parts.trace)[0] if parts.trace else None,
    )


def communication_doubts(parts: Parts) -> Iterator[str]:
    """What of the section is unknown, and where the compiled step is not what theory expects."""
    section, found = communication_section(parts), _traffic(parts)
    if section is None or found is None:
        alone = _text(parts) is None
        what = "of a step that was compiled for several devices only" if alone else "unknown program text"
        yield f"communication: {what}"
        return
    yield from (f"communication: unknown is {what}" for what in found.unknown)
    if section.time_fraction is None:
        traced = communication_fraction(parts.trace)[1] if parts.trace else "measured with trace=true only"
        yield f"time_fraction: {traced}"
    expected = _expected(parts)
    if expected is None:
        yield "expected_bytes_per_step: what split layers send is no matter of the parameters' sizes"
    elif sum(expected.values()) > 0:
        yield from _surprise(parts, section, expected)


def _surprise(parts: Parts, section: record.Communication, expected: Mapping[str, float]) -> Iterator[str]:
    """Where the compiled step sends more, less or otherwise, with the reasons that are known for sure."""
    ratio = section.bytes_per_step / sum(expected.values())
    reasons = list(_reasons(parts, section, expected))
    if abs(ratio - 1) > TOLERANCE:
        name = _reduced_twice(parts, section, expected)
        if name:
            reasons.append(f"as much as if the gradient of {name} were reduced once for each of two uses")
    elif not reasons:
        return
    if abs(ratio - 1) > TOLERANCE:
        told = f"the compiled step sends {ratio:.2f} times what is expected"
    else:
        told = "the compiled step sends as much as is expected, by other collectives"
    yield f"communication: {': '.join([told, *(['; '.join(reasons)] if reasons else [])])}"


def _reasons(parts: Parts, section: record.Communication, expected: Mapping[str, float]) -> Iterator[str]:
    accumulated = parts.request.gradient_accumulation
    if accumulated > 1 and parts.devices is not None and parts.devices.platform == "cpu":
        yield f"XLA:CPU reduces gradients once for each of {accumulated} micro-batches"
    sent = {kind: sum(one.bytes for one in section.collectives if one.kind == kind) for kind in expected}
    once = expected[ALL_GATHER] / 2
    if once and abs(sent[ALL_GATHER] / once - 1) < TOLERANCE:
        yield "parameters are gathered once and kept, not gathered again for the backward pass"
    if expected[REDUCE_SCATTER] and not sent[REDUCE_SCATTER]:
        yield "whole gradients are reduced and then cut, which sends twice as much as a reduce-scatter"


def _reduced_twice(parts: Parts, section: record.Communication, expected: Mapping[str, float]) -> str | None:
    """The largest parameter, if reducing its gradient once more explains what is sent too much."""
    assert parts.placed is not None
    everything = sum(expected.values())
    name, largest = max(parts.placed.state.params.items(), key=lambda item: item[1].size)
    devices = parts.placed.mesh.size
    for size in (_element_bytes(parts).reduced, largest.dtype.itemsize):
        again = ring_bytes(ALL_REDUCE, largest.size * size, devices)
        if abs(section.bytes_per_step - everything - again) < TOLERANCE * everything:
            return name
    return None


def _traffic(parts: Parts) -> Traffic | None:
    text = _text(parts)
    return None if text is None else _of_program(text)


def _text(parts: Parts) -> str | None:
    """The compiled step; None for a single device, and where nothing was compiled."""
    if parts.executable is None or parts.placed is None or parts.placed.mesh.size < 2:
        return None
    return parts.executable.text()


@functools.lru_cache(maxsize=1)
def _of_program(text: str) -> Traffic | None:
    # No result is lost for a text that is not understood, as a compiler may write next year.
    try:
        return traffic(hlo.parse(text))
    except Exception:
        return None


def _expected(parts: Parts) -> dict[str, float] | None:
    assert parts.placed is not None
    return exchange.expected_bytes(parts.placed.state.params.values(), _element_bytes(parts))


def _element_bytes(parts: Parts) -> exchange.ElementBytes:
    request, devices = parts.request, parts.devices
    assert devices is not None
    precision = request.precision
    return exchange.element_bytes(
        devices.platform, precision.param_dtype, precision.compute_dtype, request.gradient_accumulation
    )
