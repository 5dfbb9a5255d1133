"""How much a collective sends, by the ring algorithms.

Over a ring of n chips a reduction of B bytes sends 2 (n-1)/n B from every chip: (n-1)/n B to reduce each part
at one place, as much again to give everyone the result; gathering and scattering are one half of that.
Derivation: the scaling book, "Sharded Matrices and How to Multiply Them" (jax-ml/scaling-book sharding.md).

Devices that share a chip reduce on the chip first, so n counts chips.
"""

from trainbench.compiled.hlo import Computation, Instruction

COLLECTIVES = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "ragged-all-to-all",
    "collective-permute",
    "collective-broadcast",
)


def base_opcode(opcode: str) -> str:
    """The opcode without what marks its asynchronous halves."""
    return opcode.removesuffix("-start").removesuffix("-done").removesuffix("-update")


def is_collective(opcode: str) -> bool:
    return base_opcode(opcode) in COLLECTIVES


def sent_bytes(
    computation: Computation, collective: Instruction, devices: int, devices_per_chip: int = 1
) -> float:
    """Bytes that one chip sends to others for `collective`, a program's on `devices`."""
    shapes = (computation.by_name[name].shape for name in collective.operands)
    payload = sum(shape.bytes for shape in shapes)
    opcode, group = base_opcode(collective.opcode), collective.group_size(devices)
    if opcode in ("collective-permute", "collective-broadcast"):
        return float(payload * devices_per_chip) if devices > devices_per_chip else 0.0
    return ring_bytes(opcode, payload, group, devices_per_chip)


def ring_bytes(opcode: str, payload: int, group: int, devices_per_chip: int = 1) -> float:
    """Bytes that one chip sends where each device of a group contributes `payload`.

    >>> ring_bytes("all-reduce", 1000, 4)
    1500.0
    >>> ring_bytes("all-gather", 1000, 4)  # 4000 bytes in all, of which a chip has a quarter
    3000.0
    """
    chips = -(-group // devices_per_chip)
    share = (chips - 1) / chips
    if opcode == "all-reduce":
        return 2 * share * payload
    if opcode == "all-gather":
        return share * payload * group
    if opcode == "reduce-scatter":
        return share * payload
    return share * payload * devices_per_chip
