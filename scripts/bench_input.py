"""The image pipeline against a bare Grain loop over the same records and transforms: images/s as a ratio.

    python scripts/bench_input.py --threads 2

Both sides read the photographs that trainbench ships (JPEG, 500 x 375 pixels), cut them at random to 224
pixels and batch them, in turns in one process, for each decoder. The bare loop is what anybody would write
with Grain; the pipeline also names and counts damaged records and can be resumed. Each round gives one ratio
by the clock and one by the processor time of all threads; printed are the medians and their 95 % intervals.
"""

import argparse
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grain
import numpy as np
import tensorflow_datasets as tfds

from trainbench.data import pipeline, prepared
from trainbench.data.bad_records import BadRecords
from trainbench.data.images import RandomResizedCrop
from trainbench.data.pipeline import HostBatch, Reading, Sample, Shard
from trainbench.data.settings import DECODERS
from trainbench.measure.statistics import summarise
from trainbench.training.compile import cache_directory

SIZE = 224
SEED = 0
# The goals: what may be lost against the bare loop; and the rate of the best decoder that was tried before
# this pipeline was written (simplejpeg and OpenCV's resize, standing alone, on one core of an AMD EPYC).
LEAST_RATIO = 0.95
LEAST_IMAGES = 762


@dataclass(frozen=True)
class Cost:
    """What some images took: seconds by the clock, and of processor time over all threads."""

    wall_s: float
    cpu_s: float


def main() -> None:
    """Print rates and ratios for each decoder."""
    options = parse(sys.argv[1:])
    photos = prepared.open_set("photos", options.dir)
    for decoder in options.decoder or DECODERS:
        print(f"{decoder}, {options.threads} threads, {options.rounds} rounds:")
        for line in compare(photos, decoder, options):
            print(f"  {line}")


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--dir", type=Path, default=cache_directory() / "tfds", help="where the photos live")
    parser.add_argument("--decoder", action="append", choices=DECODERS, help="this one only")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="that decode, on each side")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--batches", type=int, default=8, help="of each side in a round")
    parser.add_argument("--rounds", type=int, default=20)
    return parser.parse_args(arguments)


def compare(photos: prepared.Prepared, decoder: str, options: argparse.Namespace) -> Iterator[str]:
    """One line on each side, and one on each ratio."""
    crop = RandomResizedCrop("image", "label", SIZE, True, decoder)
    with tempfile.TemporaryDirectory() as scratch:
        bad = BadRecords(os.path.join(scratch, "bad_records"), limit=0)
        reading = Reading(workers=0, threads=options.threads)
        records = photos.records("train", raw=["image"])
        samples = pipeline.shuffled(records, SEED, Shard(), pipeline.Transform(crop, bad), reading)
        ours = pipeline.Batches(samples.batch(options.batch_size, drop_remainder=True), reading)
        bare = iter(bare_loop(photos, crop, options))
        same_images(next(ours), next(bare))
        rounds = list(measured(ours, bare, options))
        ours.close()
        bare.close()
    images = options.batches * options.batch_size
    for name, costs in zip(("pipeline", "bare Grain loop"), zip(*rounds, strict=True), strict=True):
        wall = images / float(np.median([cost.wall_s for cost in costs]))
        cpu = images / float(np.median([cost.cpu_s for cost in costs]))
        yield f"{name:16} {wall:7.0f} images/s, {cpu:7.0f} images per processor second"
    yield ratio("images/s", [there.wall_s / here.wall_s for here, there in rounds])
    ratios = [there.cpu_s / here.cpu_s for here, there in rounds]
    yield ratio("images per processor second", ratios)
    each = options.batches * options.batch_size / float(np.median([here.cpu_s for here, _ in rounds]))
    yield f"{verdict(float(np.median(ratios)) >= LEAST_RATIO)}: at least {LEAST_RATIO:.0%} of the bare loop"
    if decoder == "opencv":
        yield f"{verdict(each >= LEAST_IMAGES)}: at least {LEAST_IMAGES} images per processor second"


def bare_loop(
    photos: prepared.Prepared, crop: RandomResizedCrop, options: argparse.Namespace
) -> grain.IterDataset:
    """The loop without trainbench: nothing is named, and a damaged record ends it."""
    source = photos.builder.as_data_source(split="train", decoders={"image": tfds.decode.SkipDecoding()})
    # The slice takes all; it stands there for Grain's random numbers to be the same as in the pipeline.
    dataset = grain.MapDataset.source(source).seed(SEED).shuffle()[0::1].repeat().random_map(Crop(crop))
    read_options = grain.ReadOptions(
        num_threads=options.threads, prefetch_buffer_size=max(1, options.threads)
    )
    return dataset.to_iter_dataset(read_options).batch(options.batch_size, drop_remainder=True)


def verdict(is_met: bool) -> str:
    return "met" if is_met else "NOT MET"


class Crop(grain.transforms.RandomMap):
    """The same function of each record as in the pipeline."""

    def __init__(self, function: Callable[[Mapping[str, Any], np.random.Generator], Sample]) -> None:
        self._function = function

    def random_map(self, element: Mapping[str, Any], rng: np.random.Generator) -> Sample:
        return self._function(element, rng)


def same_images(here: HostBatch, there: HostBatch) -> None:
    """Nothing if both sides gave the same batch; else they would not do the same work."""
    for name in here:
        np.testing.assert_array_equal(here[name], there[name])


def measured(
    ours: Iterator[HostBatch], bare: Iterator[HostBatch], options: argparse.Namespace
) -> Iterator[tuple[Cost, Cost]]:
    """The cost of (pipeline, bare loop) in each round, each side first in every second one."""
    for number in range(options.rounds):
        sides = {0: ours, 1: bare}
        costs = {side: cost(sides[side], options.batches) for side in ((0, 1) if number % 2 else (1, 0))}
        print(f"round {number + 1:2}: {costs[1].wall_s / costs[0].wall_s:.4f}", file=sys.stderr)
        yield costs[0], costs[1]


def cost(batches: Iterator[HostBatch], count: int) -> Cost:
    """What the next `count` batches take."""
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    for _ in itertools.islice(batches, count):
        pass
    return Cost(time.perf_counter() - wall_s, time.process_time() - cpu_s)


def ratio(unit: str, ratios: list[float]) -> str:
    """The median ratio with its interval."""
    summary = summarise(ratios)
    interval = "no interval: too few rounds"
    if summary.ci95 is not None:
        interval = f"95 % interval [{summary.ci95[0]:.4f}, {summary.ci95[1]:.4f}]"
    return f"{unit}, pipeline / bare loop = {summary.median:.4f}, {interval}"


if __name__ == "__main__":
    main()
