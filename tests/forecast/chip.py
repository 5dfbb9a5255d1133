"""A chip to test with."""

from trainbench.forecast.timing.chip_model import ChipModel

# Round numbers, so that times can be told in one's head: 1 FLOP, byte, cycle a microsecond each, or so.
CHIP = ChipModel(
    name="a test chip",
    flops_per_s={"bf16": 1e12, "fp8": None},
    memory_bytes_per_s=1e9,
    clock_hz=1e9,
    devices=4,
    network_bytes_per_s=1e8,
)
