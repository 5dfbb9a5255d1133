"""How well forecasts meet published figures that they were not fitted to, and the calibration that follows.

For every figure of an accelerator that says enough, the program that stands for it is compiled for that
accelerator (cached; minutes each the first time), timed by the model, and held against the figure: with the
model's parameters fitted to all figures, to those of other chips only, and to those of other models only.

  python scripts/score_forecasts.py tpu            prints the scores
  python scripts/score_forecasts.py tpu --write    and keeps them: docs/forecast_scores_tpu.csv,
                                                   docs/forecast_scores.md and
                                                   trainbench/forecast/timing/calibration.yaml
"""

import argparse
import functools
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

from trainbench.forecast.compiler import compilers

# Before JAX is imported: the products of matrices are compiled in this process.
os.environ.update(compilers.ENVIRONMENT["tpu"])

import jax
import jax.numpy as jnp

from trainbench.compiled import hlo
from trainbench.forecast import targets
from trainbench.forecast.compiler import build, topology
from trainbench.forecast.tables import documents
from trainbench.forecast.timing import calibration, cases, chip_model, score_table, scoring, time_model
from trainbench.forecast.timing.calibration import Calibration
from trainbench.forecast.timing.demand import Demands
from trainbench.forecast.timing.schedule import Parameters
from trainbench.forecast.timing.scoring import Case
from trainbench.reference import figures
from trainbench.results import store

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
CALIBRATION = ROOT / "trainbench" / "forecast" / "timing" / calibration.FILE
HEADER = """\
# What published figures say of the time model of forecasts. Written by
# `python scripts/score_forecasts.py tpu --write` (and gpu); read by calibration.py beside it.
"""
# Published rates of one product of square bf16 matrices: the only ones of these chips that can be compiled
# here. By the figure's id: the target, and the sides of the matrices as its note says.
PRODUCTS = {
    "matmul-tpu-v6e-x1-bf16-jax": ("v6e-1", 8192),
    "matmul-tpu-v7x-ironwood-x1-bf16-jax": ("tpu7x-1", 32768),
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    arguments.add_argument("platform", choices=sorted(scoring.GRIDS))
    arguments.add_argument("--write", action="store_true")
    options = arguments.parse_args()
    calibrated, scores = scoring.score(list(_cases(options.platform)), scoring.GRIDS[options.platform])
    text = score_table.written(scores)
    print(text)
    print(yaml.safe_dump({options.platform: calibration.dump(calibrated)}, sort_keys=False))
    if options.write:
        _keep(options.platform, calibrated, text)


def _keep(platform: str, calibrated: Calibration, text: str) -> None:
    kept = yaml.safe_load(CALIBRATION.read_text()) or {}
    sections = yaml.safe_dump(kept | {platform: calibration.dump(calibrated)}, sort_keys=False)
    store.write_whole(CALIBRATION, (HEADER + sections).encode())
    store.write_whole(DOCS / f"forecast_scores_{platform}.csv", text.encode())
    table = score_table.markdown(score_table.read(text))
    documents.write(DOCS / "forecast_scores.md", score_table.name(platform), table)


def _cases(platform: str) -> Iterator[Case]:
    rows = cases.rows(figures.load(), platform)
    for number, row in enumerate(rows, 1):
        print(f"{number} of {len(rows)}: {row.figure.id} on {row.target.name}", file=sys.stderr, flush=True)
        try:
            found = cases.case(row, build.built(cases.tree(row), row.target))
        except build.CompilerFailed as error:
            found = str(error)
        if isinstance(found, Case):
            yield found
        else:
            print(f"  left out: {found}", file=sys.stderr)
    if platform == "tpu":
        yield from map(_product, PRODUCTS)


def _product(figure_id: str) -> Case:
    """A published product of matrices beside the program that the compiler makes of it."""
    name, side = PRODUCTS[figure_id]
    target, figure = targets.find(name), figures.find(figure_id)
    device = topology.devices(target).handles[0]
    matrix = jax.ShapeDtypeStruct(
        (side, side), jnp.bfloat16, sharding=jax.sharding.SingleDeviceSharding(device)
    )
    module = hlo.parse(jax.jit(jnp.matmul).lower(matrix, matrix).compile().as_text() or "")
    demands = Demands(module, chip_model.for_target(target))

    @functools.cache
    def expected(parameters: Parameters) -> float:
        return 2 * side**3 / 1e12 / time_model.timed(demands, parameters).expected_s

    return Case(figure_id, target.chip, "matmul", figure.value, expected)


if __name__ == "__main__":
    main()
