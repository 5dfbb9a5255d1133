"""Runs on real data, from the configuration to the record."""

import json
import os
import signal
import time

import grain
import numpy as np
import orbax.checkpoint as ocp
import pytest

from tests import commands
from tests.building import SHALLOW, request, tree
from tests.data import small_sets
from trainbench import autos, benchmark
from trainbench.data import prepare
from trainbench.data.image_set import ImageSet
from trainbench.data.pipeline import Shard
from trainbench.data.reading import Surroundings
from trainbench.errors import ExitCode, UserError
from trainbench.real_data import open_data

DATA = [
    (f"model={name}_tiny", f"data={data}")
    for name, data in (("resnet", "digits"), ("bert", "kjv"), ("gpt2", "kjv"), ("t5", "kjv"))
]
FAST = ("measure=quick", "steps=8", "warmup=1")
# How long is measured what a run sets its own steps against.
BESIDE = {name: getattr(autos, name) for name in ("SHORT_BLOCK_S", "LOADER_BLOCK_S")}


@pytest.fixture
def run(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("TRAINBENCH_CACHE", str(cache))
    for name, seconds in BESIDE.items():
        monkeypatch.setattr(autos, name, seconds / 10)
    # It stays on for the whole process, and other tests tell whether it is on.
    monkeypatch.setattr(benchmark, "enable_compilation_cache", lambda: None)

    def run_here(model, *overrides, code=ExitCode.OK):
        """The record of a run of the model with a single block."""
        composed = tree(*SHALLOW[model], *overrides)
        found = benchmark.run_and_show(composed, tmp_path, "python -m trainbench")
        record = json.loads((tmp_path / "result.json").read_text())
        assert found == code, record["status_reason"]
        return record

    return run_here


def small_photos(directory, damaged=()):
    """A prepared set of 64 JPEGs of which those numbered are cut short."""

    class Damaged(small_sets.SmallPhotos, skip_registration=True):
        name = "damaged_photos"

        def _generate_examples(self, count):
            for key, example in super()._generate_examples(count):
                if count == 64 and key in damaged:
                    example["image"].truncate(len(example["image"].getvalue()) // 2)
                yield key, example

    Damaged(data_dir=str(directory), file_format="array_record").download_and_prepare()
    return ("data=tfds", "data.name=damaged_photos", f"data.dir={directory}")


@pytest.mark.parametrize(
    ("overrides", "chosen"),
    [
        (("resnet_tiny", "data=digits", "batch_size=8"), {"data.decoder"}),
        (
            ("resnet_tiny", "data=photos", "batch_size=8", "model.architecture.classes=10"),
            {"data.decoder"},
        ),
        (("bert_tiny", "data=kjv", "batch_size=8"), {"data.tokenizer"}),
        (("t5_tiny", "data=kjv", "batch_size=8"), {"data.tokenizer"}),
    ],
)
def test_every_embedded_set_trains(run, overrides, chosen):
    record = run(*overrides, *FAST)
    assert record["status"] == "ok"
    assert record["input"]["mode"] == "real"
    assert record["input"]["stall_fraction"] is not None
    assert record["input"]["bad_records"] == {}
    assert set(record["autos"]) >= {"data.workers", "data.threads"} | chosen
    assert (record["evaluation"] is None) == ("data=photos" in overrides)
    assert record["loss"]["curve"]


def delayed(monkeypatch, before_batch):
    """Have the loader call that with the number of each batch before it gives the batch."""
    given = ImageSet.batches

    def batches(self, batch_size, seed):
        for number, batch in enumerate(given(self, batch_size, seed)):
            before_batch(number)
            yield batch

    monkeypatch.setattr(ImageSet, "batches", batches)


def paced(seconds):
    """Wait so that batches come at this interval, whatever making them takes of it."""
    due = 0.0

    def wait(number):
        nonlocal due
        due = max(due + seconds, time.perf_counter())
        time.sleep(max(0.0, due - time.perf_counter()))

    return wait


def test_a_known_delay_of_every_batch_is_found_within_five_per_cent(run, monkeypatch):
    delay_s = 0.15
    for name, seconds in BESIDE.items():
        monkeypatch.setattr(autos, name, seconds)
    delayed(monkeypatch, paced(delay_s))
    record = run("vit_tiny", "data=digits", "batch_size=8", "input=all", "steps=30", "warmup=5")
    given = record["input"]
    step_s = {way: 16 / rate["samples_per_s"] for way, rate in given["rates"].items()}
    assert step_s["real"] == pytest.approx(delay_s, rel=0.05)
    assert 16 / given["loader"]["samples_per_s"] == pytest.approx(delay_s, rel=0.05)
    assert given["stall_fraction"] == pytest.approx(1 - step_s["resident"] / delay_s, abs=0.05)
    assert given["stall_fraction"] > 0.3
    assert given["capacity_over_demand"] == pytest.approx(step_s["resident"] / delay_s, rel=0.05)
    assert given["verdict"] == "input-bound"


def test_all_three_ways_with_several_steps_in_a_call(run):
    record = run("vit_tiny", "data=digits", "batch_size=8", "input=all", "steps_per_call=2", *FAST)
    assert set(record["input"]["rates"]) == {"resident", "host", "real"}
    assert record["input"]["loader"]["samples_per_s"] > 0
    assert record["input"]["capacity_over_demand"] > 1
    assert record["throughput"]["samples_per_s"] == pytest.approx(
        record["input"]["rates"]["real"]["samples_per_s"]
    )


def test_padding_is_fed_but_not_useful(run):
    record = run("bert_tiny", "data=kjv", "batch_size=8", "data.packing=none", *FAST)
    padding = record["input"]["padding_fraction"]
    assert 0 < padding < 1
    speed = record["throughput"]
    assert speed["useful_tokens_per_s"] == pytest.approx((1 - padding) * speed["tokens_per_s"])


def test_documents_joined_leave_no_padding(run):
    record = run("bert_tiny", "data=kjv", "batch_size=8", *FAST)
    assert record["input"]["padding_fraction"] == 0
    assert record["throughput"]["useful_tokens_per_s"] == record["throughput"]["tokens_per_s"]


def test_damaged_images_in_the_middle_are_named_counted_and_left_out(run, tmp_path):
    data = small_photos(tmp_path / "tfds", damaged=(5, 40))
    record = run("resnet_tiny", *data, "batch_size=8", *FAST)
    left_out = record["input"]["bad_records"]
    assert len(left_out) == 2
    assert all(name.startswith("damaged_photos train[") for name in left_out)
    assert any(line.startswith("bad_records: 2 left out") for line in record["warnings"])


def test_more_damage_than_allowed_stops_the_run_and_keeps_what_was_measured(run, tmp_path):
    """The ways of feeding that need no data set were measured before."""
    data = small_photos(tmp_path / "tfds", damaged=(5, 40))
    arguments = ("batch_size=8", "data.bad_records=0", "input=all", *FAST)
    record = run("resnet_tiny", *data, *arguments, code=ExitCode.FAILED_CHECK)
    assert record["status"] == "failed"
    assert "] is damaged: " in record["status_reason"]
    assert "fix: " in record["status_reason"]
    assert set(record["input"]["rates"]) >= {"resident", "host"}
    assert len(record["input"]["bad_records"]) == 1


def test_ctrl_c_while_the_loader_hangs_keeps_the_blocks_that_were_measured(run, monkeypatch):
    def hang(number):
        if number == 25:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(60)

    delayed(monkeypatch, hang)
    monkeypatch.setattr("trainbench.data.feed.CLOSE_S", 0.1)
    arguments = ("resnet_tiny", "data=digits", "batch_size=8", "measure=quick", "steps=100", "warmup=1")
    started = time.monotonic()
    record = run(*arguments, code=ExitCode.INTERRUPTED)
    assert time.monotonic() - started < 50
    assert record["status"] == "interrupted"
    assert record["timing"] is not None


@pytest.mark.parametrize("data", DATA)
def test_orbax_keeps_from_where_a_data_set_is_to_be_read_on(cache, tmp_path, data):
    opened = open_data(request(*data), Surroundings(2, Shard(), tmp_path, cache))
    batches = opened.batches(8, seed=3)
    for _ in range(5):
        next(batches)
    with ocp.CheckpointManager(tmp_path / "kept") as manager:
        manager.save(1, args=ocp.args.Composite(data=grain.checkpoint.CheckpointSave(batches)))
        manager.wait_until_finished()
        meant = [next(batches) for _ in range(3)]
        fresh = opened.batches(8, seed=3)
        manager.restore(1, args=ocp.args.Composite(data=grain.checkpoint.CheckpointRestore(fresh)))
        found = [next(fresh) for _ in range(3)]
    for one, other in zip(meant, found, strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])
    batches.close()
    fresh.close()


def test_more_classes_than_the_model_knows_are_refused(run):
    with pytest.raises(UserError, match="data=digits has 10 classes"):
        run("resnet_tiny", "data=digits", "model.architecture.classes=5", *FAST)


def test_a_worker_process_reads_for_the_run(cache, tmp_path):
    """In a process of its own, as worker processes start the program's main module anew."""
    arguments = (*SHALLOW["resnet_tiny"], "data=digits", "data.workers=1", "batch_size=8")
    done = commands.run(cache, tmp_path, *arguments, *FAST, "hydra.run.dir=out")
    assert done.returncode == 0, done.stderr
    assert "leaked" not in done.stderr
    assert "Exception ignored" not in done.stderr
    record = json.loads((tmp_path / "out" / "result.json").read_text())
    assert record["config"]["data"]["workers"] == 1


def test_the_verb_prepare_writes_a_set_once_and_says_where(cache, tmp_path):
    def prepared(*overrides):
        return commands.run(tmp_path / "cache", tmp_path, "prepare", *overrides)

    for _ in range(2):
        done = prepared("data=digits")
        assert done.returncode == 0, done.stderr
        assert "trainbench_digits" in done.stdout
        assert "train        1,500 records" in done.stdout
    assert not list(tmp_path.glob("outputs")), "nothing was measured"
    refused = prepared("data=synthetic")
    assert refused.returncode == 2
    assert "nothing to prepare" in refused.stderr
    nearest = prepared("data=tfds", "data.name=mnits")
    assert nearest.returncode == 2
    assert "data.name=mnist" in nearest.stderr
    asked_first = prepared("data=tfds", "data.name=mnist")
    assert asked_first.returncode == 2
    assert "data.download=true" in asked_first.stderr


def test_a_run_never_downloads_unless_told_to(run, monkeypatch, tmp_path):
    monkeypatch.setattr(prepare, "prepare", lambda *_, **__: pytest.fail("it prepared"))
    with pytest.raises(UserError, match="not prepared") as caught:
        run("resnet_tiny", "data=tfds", "data.name=mnist", f"data.dir={tmp_path}", *FAST)
    assert "python -m trainbench prepare data=tfds data.name=mnist" in caught.value.fix
