"""A sweep over numbers of devices ends with how it scales."""

import sys

import pytest

from tests.sweeping import Processes, value
from trainbench import cli
from trainbench.errors import ExitCode
from trainbench.processes import child, sweep_scaling
from trainbench.report.page import images

ARGUMENTS = ["-m", "parallel.data=1,2,4", "hydra.sweep.dir=swept"]


class OnDevices(Processes):
    """Processes whose results are of as many devices as they were asked for."""

    def result(self, batch, status, arguments):
        made = super().result(batch, status, arguments)
        count = int(value(arguments, "parallel.data"))
        rate = 100.0 * count**0.9
        return made.model_copy(
            update={
                "hardware": made.hardware.model_copy(update={"device_count": count, "chip_count": count}),
                "throughput": made.throughput.model_copy(
                    update={"samples_per_s": rate, "samples_per_s_ci95": (0.99 * rate, 1.01 * rate)}
                ),
            }
        )


@pytest.fixture
def swept(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["trainbench"])

    def run(processes, arguments=ARGUMENTS):
        monkeypatch.setattr(child, "run", processes)
        assert cli.main(arguments) == ExitCode.OK
        return capsys.readouterr().out, tmp_path / "swept"

    return run


def test_the_table_of_scaling_stands_below_that_of_the_points_and_the_plot_beside_them(swept):
    printed, directory = swept(OnDevices())
    assert "weak scaling, batch 8 per device" in printed
    assert "93.3 %" in printed, "2 devices do 1.87 times as much as one"
    assert "87.1 %" in printed
    assert [(directory / name).stat().st_size > 1000 for name in sweep_scaling.PLOT_FILES] == [True, True]
    assert (directory / "scaling.png").read_bytes().startswith(b"\x89PNG")
    assert printed.rstrip().endswith("plot: scaling.png and scaling.svg in swept")


def test_a_sweep_on_one_number_of_devices_says_nothing_of_scaling(swept):
    printed, directory = swept(Processes(), ["-m", "batch_size=8,16", "hydra.sweep.dir=swept"])
    assert "scaling" not in printed
    assert not (directory / "scaling.png").exists()


def test_a_plot_that_cannot_be_drawn_costs_no_table(swept, monkeypatch):
    def broken(found):
        raise RuntimeError("no fonts")

    monkeypatch.setattr(images, "images", broken)
    printed, _ = swept(OnDevices())
    assert "weak scaling" in printed
    assert "warning: the plot was not drawn: RuntimeError: no fonts" in printed
