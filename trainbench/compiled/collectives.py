"""How much a collective sends, by the ring algorithms.

Over a ring of n chips a reduction of B bytes sends 2 (n-1)/n B from every chip: (n-1)/n B to reduce each part
at one place, as much again to give everyone the result; gathering and scattering are one half of that.
Derivation: the scaling book, "Sharded Matrices and How to Multiply Them" (jax-ml/scaling-book sharding.md).

Devices that share a chip reduce on the chip first, so n counts chips.
"""

from trainbench.compiled.hlo import Computation, Instruction

ALL_REDUCE, ALL_GATHER, REDUCE_SCATTER = "all-reduce", "all-gather", "reduce-scatter"
COLLECTIVES = (
    ALL_REDUCE,
    ALL_GATHER,
    REDUCE_SCATTER,
    "all-to-all",
    "ragged-all-to-all",
    "collective-permute",
    "collective-broadcast",
)
# XLA for TPUs writes a reduction of which each device keeps a part as a fusion of an all-reduce with what
# cuts its result, and computes it as a reduce-scatter: the fused computation is called so (libtpu 0.0.43).
_CUT_REDUCTION = "all-reduce-scatter"
# Asynchronous operations in halves: the first tells what is sent.
_LATER_HALVES = ("-done", "-update")


def base_opcode(opcode: str) -> str:
    """The opcode without what marks its asynchronous halves."""
    return opcode.removesuffix("-start").removesuffix("-done").removesuffix("-update")


def is_collective(opcode: str) -> bool:
    return base_opcode(opcode) in COLLECTIVES


def begins_collective(opcode: str) -> bool:
    """Whether this is a collective, or the first half of one: each is counted once."""
    return is_collective(opcode) and not opcode.endswith(_LATER_HALVES)


def kind_of(computation: Computation, collective: Instruction) -> str:
    """The opcode of what a collective of `computation` is carried out as."""
    opcode = base_opcode(collective.opcode)
    if opcode == ALL_REDUCE and computation.name.startswith(_CUT_REDUCTION):
        return REDUCE_SCATTER
    return opcode


def sent_bytes(
    computation: Computation, collective: Instruction, devices: int, devices_per_chip: int = 1
) -> float:
    """Bytes that one chip sends to others for `collective`, of a program on `devices`, with padding."""
    shapes = (computation.by_name[name].shape for name in collective.operands)
    payload = sum(shape.bytes for shape in shapes)
    return _sent(kind_of(computation, collective), payload, collective.group_size(devices), devices_per_chip)


def sent_data_bytes(computation: Computation, collective: Instruction, devices: int) -> float:
    """Bytes of the arrays' own elements that one device sends for `collective`, without padding."""
    shapes = (computation.by_name[name].shape for name in collective.operands)
    payload = sum(shape.data_bytes for shape in shapes)
    return _sent(kind_of(computation, collective), payload, collective.group_size(devices))


def _sent(kind: str, payload: int, group: int, devices_per_chip: int = 1) -> float:
    if kind in ("collective-permute", "collective-broadcast"):
        return float(payload * devices_per_chip) if group > devices_per_chip else 0.0
    return ring_bytes(kind, payload, group, devices_per_chip)


def ring_bytes(opcode: str, payload: int, group: int, devices_per_chip: int = 1) -> float:
    """Bytes that one chip sends where each device of a group contributes `payload`.

    >>> ring_bytes("all-reduce", 1000, 4)
    1500.0
    >>> ring_bytes("all-gather", 1000, 4)  # 4000 bytes in all, of which a chip has a quarter
    3000.0
    """
    chips = -(-group // devices_per_chip)
    share = (chips - 1) / chips
    if opcode == ALL_REDUCE:
        return 2 * share * payload
    if opcode == ALL_GATHER:
        return share * payload * group
    if opcode == REDUCE_SCATTER:
        return share * payload
    return share * payload * devices_per_chip
