"""Scaling: what is put beside what, efficiency with its interval, and the tables."""

import sys

import pytest

from tests.report import many
from tests.results import examples
from trainbench.report import scaling_table, text
from trainbench.report.page import scaling as page
from trainbench.report.scaling import ON_A_CPU, scalings
from trainbench.report.series import runs
from trainbench.results.collect import Collection, Loaded
from trainbench.results.record import Communication, Parallel, Throughput


def point(
    devices, rate, *, batch=64, fixed=None, mode="data", axes=None, relative=0.02, share=None, **changes
):
    """A run on so many devices; `fixed` is the global batch that was asked for."""
    made = many.point(examples.ok_gpu(), devices, batch, devices=devices)
    sizes = {"data": 1, "fsdp": 1, "tensor": 1} | (axes or {mode: devices})
    several = devices > 1
    asked = {"name": mode, **{axis: "rest" if axis == mode else size for axis, size in sizes.items()}}
    sent = Communication(bytes_per_step=1e6 * (devices - 1) / devices, time_fraction=share)
    return many.changed(
        made,
        id=f"{mode}-{devices}-{batch}-{fixed}-{rate}-{axes}",
        config=made.config | {"parallel": asked, "global_batch_size": fixed},
        throughput=Throughput(
            samples_per_s=rate, samples_per_s_ci95=(rate * (1 - relative), rate * (1 + relative))
        ),
        parallel=Parallel(**sizes) if several else None,
        communication=sent if several else None,
        **changes,
    )


def scaled(*results):
    return scalings(runs(loaded(*results)))


def loaded(*results):
    return [Loaded(many.Path(f"{result.id}/result.json"), result) for result in results]


def test_efficiency_is_the_rate_per_device_over_that_of_the_fewest():
    (found,) = scaled(point(8, 640.0), point(2, 180.0), point(1, 100.0))
    assert [one.devices for one in found.points] == [1, 2, 8]
    assert [one.efficiency for one in found.points] == pytest.approx([1, 0.9, 0.8])
    assert [one.sent_bytes for one in found.points] == [None, 5e5, 8.75e5]


def test_the_interval_is_that_of_a_ratio():
    first, second = scaled(point(1, 100.0, relative=0.03), point(2, 180.0, relative=0.04))[0].points
    assert (first.efficiency_low, first.efficiency_high) == (None, None)
    assert second.efficiency_low == pytest.approx(0.9 * (1 - 0.05))
    assert second.efficiency_high == pytest.approx(0.9 * (1 + 0.05))


def test_a_rate_without_an_interval_leaves_the_efficiency_without_one():
    last = scaled(point(1, 100.0), point(2, 180.0, relative=0.0))[0].points[-1]
    assert (last.efficiency, last.efficiency_low, last.efficiency_high) == (pytest.approx(0.9), None, None)


def test_a_batch_per_device_is_weak_scaling_and_a_global_batch_is_strong():
    weak = [point(count, 100.0 * count) for count in (1, 2, 4)]
    strong = [point(count, 90.0 * count, batch=64 // count, fixed=64) for count in (1, 2, 4)]
    found = scaled(*weak, *strong)
    assert sorted((one.kind, one.batch, len(one.points)) for one in found) == [
        ("strong", 64, 3),
        ("weak", 64, 3),
    ]
    assert {one.title.rpartition(" · ")[2] for one in found} == {
        "weak scaling, batch 64 per device",
        "strong scaling, batch 64 in all",
    }


def test_rates_at_several_batches_per_device_are_no_scaling():
    assert scaled(point(1, 100.0, batch=8), point(2, 100.0, batch=16)) == ()
    assert scaled(point(4, 100.0), point(4, 101.0)) == ()


def test_each_way_of_splitting_scales_by_itself():
    found = scaled(*(point(count, 100.0, mode=mode) for mode in ("data", "fsdp") for count in (2, 4)))
    assert len(found) == 2
    assert sum("parallel fsdp" in one.name for one in found) == 1


def test_the_outermost_axis_that_varies_scales_and_others_are_told_apart():
    sizes = [(data, tensor) for data in (1, 2) for tensor in (1, 4)]
    points = [
        point(data * tensor, 100.0, mode="data_tensor", axes={"data": data, "tensor": tensor})
        for data, tensor in sizes
    ]
    found = scaled(*points)
    assert sorted(one.name.rpartition(" · ")[2] for one in found) == ["tensor 1", "tensor 4"]
    assert all(len(one.points) == 2 for one in found)


def test_an_axis_that_stays_the_same_is_told_too():
    points = [
        point(2 * data, 100.0, mode="data_tensor", axes={"data": data, "tensor": 2}) for data in (1, 2, 4)
    ]
    (found,) = scaled(*points)
    assert found.name.endswith(" · tensor 2")


def test_failed_points_are_left_out():
    failed = point(4, 100.0, status="failed", status_reason="it broke")
    assert [one.devices for one in scaled(point(1, 100.0), point(2, 190.0), failed)[0].points] == [1, 2]


def on_a_cpu(result):
    hardware = result.hardware.model_copy(update={"device_kind": "cpu", "chip": None, "chip_count": None})
    return many.changed(result, hardware=hardware)


def test_the_table_has_every_figure_and_says_what_they_are():
    found = scaled(point(1, 100.0), point(2, 180.0, share=0.125))
    title, head, _, *rest = scaling_table.lines(found, 100)
    assert "weak scaling, batch 64 per device" in title
    assert head.split() == [
        "devices",
        "images/s",
        "±",
        "per",
        "chip",
        "efficiency",
        "95",
        "%",
        "sent",
        "alone",
    ]
    assert rest[0].split() == ["1", "100", "2.0", "%", "100", "100.0", "%", "-", "-", "-"]
    assert rest[1].split() == [
        "2",
        "180",
        "2.0",
        "%",
        "90.0",
        "90.0",
        "%",
        "87.5",
        "%",
        "to",
        "92.5",
        "%",
        "0.477",
        "MiB",
        "12.5",
        "%",
    ]
    assert [line.partition(":")[0] for line in rest[3:]] == ["efficiency", "sent", "alone"]
    assert list(scaling_table.lines((), 100)) == []


def test_simulated_devices_are_warned_of_and_have_no_chips():
    found = scaled(on_a_cpu(point(1, 100.0)), on_a_cpu(point(2, 110.0)))
    *_, last = scaling_table.lines(found, 100)
    assert last == ON_A_CPU
    assert "per device" in "\n".join(scaling_table.lines(found, 100))
    assert "simulated" in page.plot(found).title
    assert "simulated" not in page.plot(scaled(point(1, 100.0), point(2, 180.0))).title


def test_points_that_were_not_steady_are_named():
    unsteady = point(2, 180.0)
    unsteady = many.changed(unsteady, timing=unsteady.timing.model_copy(update={"steady": False}))
    assert "not steady: on 2" in list(scaling_table.lines(scaled(point(1, 100.0), unsteady), 100))


def test_page_and_text_have_the_table_and_the_plot_has_share_and_interval(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    results = (point(1, 100.0), point(2, 180.0, share=0.125))
    section = page.section(runs(loaded(*results)))
    assert [cell.text for cell in section.tables[0].rows[1]][4:6] == ["90.0 %", "87.5 % to 92.5 %"]
    (plot,) = section.plots
    assert plot.lines[1].endswith("2 devices: 180/s, 90.0 % of ideal")
    columns, *others = (layer["data"]["values"] for layer in plot.chart.to_dict()["layer"])
    assert [row["collectives"] for row in columns] == [12.5]
    assert others[-1][1]["low"] == pytest.approx(87.5, abs=0.1)
    text.write(Collection(tuple(loaded(*results)), ()), sys.stdout)
    assert "87.5 % to 92.5 %" in capsys.readouterr().out
