import functools
import json
import multiprocessing
import os
import subprocess
import sys
import threading
from dataclasses import dataclass

import grain
import numpy as np
import orbax.checkpoint as ocp
import psutil
import pytest

from trainbench.data.bad_records import BadRecord, BadRecords
from trainbench.data.pipeline import (
    Batches,
    Reading,
    Records,
    Shard,
    Transform,
    choose_threads,
    choose_workers,
    in_order,
    shuffled,
)
from trainbench.errors import UserError

THREADS = Reading(workers=0, threads=2)
WORKER = Reading(workers=1, threads=1)
readings = pytest.mark.parametrize("reading", [THREADS, WORKER], ids=["threads", "worker"])


class Source:
    """Records 0 to count - 1; those in `broken` cannot be read."""

    def __init__(self, count, broken=()):
        self._count, self._broken = count, broken

    def __len__(self):
        return self._count

    def __getitem__(self, index):
        if index in self._broken:
            raise OSError("checksum differs\nand more on the next line")
        return {"number": index}


@dataclass(frozen=True)
class Noted:
    """Its number and a random one, in an array that is large enough for shared memory."""

    bad: tuple[int, ...] = ()

    def __call__(self, content, rng):
        if content["number"] in self.bad:
            raise BadRecord("no label")
        return {"number": np.int32(content["number"]), "noise": rng.random(20_000)}


def samples(path, count=20, *, seed=1, shard=None, reading=THREADS, broken=(), bad=(), limit=0):
    transform = Transform(Noted(bad), BadRecords(str(path / "bad_records"), limit))
    return shuffled(
        Records(Source(count, broken), "numbers train"), seed, shard or Shard(), transform, reading
    )


def batches(path, size=4, *, reading=THREADS, **options):
    return Batches(samples(path, reading=reading, **options).batch(size, drop_remainder=True), reading)


def take(feed, count):
    return [{name: np.array(array) for name, array in next(feed).items()} for _ in range(count)]


def numbers(taken):
    return [int(number) for batch in taken for number in batch["number"]]


def assert_same(first, second):
    assert len(first) == len(second)
    for here, there in zip(first, second, strict=True):
        for name in here:
            np.testing.assert_array_equal(here[name], there[name])


def until_error(feed, most=50):
    for _ in range(most):
        next(feed)


def closed(feed):
    """The feed's error or nothing; closed in any case."""
    try:
        until_error(feed)
    except UserError as error:
        return error
    finally:
        feed.close()
    return None


# --- order


@pytest.mark.parametrize("reading", [Reading(0, 0), Reading(0, 7), WORKER], ids=str)
def test_the_seed_fixes_order_and_random_numbers_whoever_reads(tmp_path, reading):
    feed, reference = batches(tmp_path, reading=reading), batches(tmp_path)
    assert_same(take(feed, 12), take(reference, 12))
    feed.close()
    reference.close()


def test_another_seed_gives_another_order(tmp_path):
    first, second = (numbers(take(batches(tmp_path, seed=seed), 5)) for seed in (1, 2))
    assert first != second
    assert sorted(first) == sorted(second) == list(range(20))


def test_each_epoch_has_every_record_once_in_an_order_of_its_own(tmp_path):
    taken = numbers(take(batches(tmp_path), 10))
    assert sorted(taken[:20]) == sorted(taken[20:]) == list(range(20))
    assert taken[:20] != taken[20:]


def test_random_numbers_differ_between_epochs_and_records(tmp_path):
    noise = np.concatenate([batch["noise"][:, 0] for batch in take(batches(tmp_path), 10)])
    assert len(set(noise.tolist())) == 40


@pytest.mark.parametrize("count", [1, 3, 4])
def test_shards_share_no_record_and_cover_all(tmp_path, count):
    epoch = []
    for index in range(count):
        share = len(range(index, 20, count))
        epoch += numbers(take(batches(tmp_path, 1, shard=Shard(index, count)), share))
    assert sorted(epoch) == list(range(20))


def test_a_process_without_a_record_is_an_error_and_no_hang(tmp_path):
    with pytest.raises(UserError, match="2 records for 3 processes"):
        samples(tmp_path, 2, shard=Shard(2, 3))


def test_in_order_gives_each_sound_record_once(tmp_path):
    transform = Transform(Noted(bad=(3,)), BadRecords(str(tmp_path / "bad"), limit=2))
    taken = in_order(Records(Source(6, broken=(1,)), "numbers test"), transform)
    assert [int(sample["number"]) for sample in taken] == [0, 2, 4, 5]


# --- going on from a state


@readings
def test_the_next_batch_comes_again_after_going_back_to_a_state(tmp_path, reading):
    feed = batches(tmp_path, reading=reading)
    take(feed, 7)
    state = feed.get_state()
    expected = take(feed, 6)
    fresh = batches(tmp_path, reading=reading)
    fresh.set_state(state)
    assert_same(take(fresh, 6), expected)
    feed.set_state(state)
    assert_same(take(feed, 6), expected)
    fresh.close()
    feed.close()
    assert json.loads(state)


@readings
def test_orbax_keeps_and_restores_the_state(tmp_path, reading):
    feed = batches(tmp_path, reading=reading)
    take(feed, 3)
    with ocp.CheckpointManager(tmp_path / "checkpoints") as manager:
        manager.save(3, args=ocp.args.Composite(data=grain.checkpoint.CheckpointSave(feed)))
        manager.wait_until_finished()
    expected = take(feed, 4)
    feed.close()
    fresh = batches(tmp_path, reading=reading)
    with ocp.CheckpointManager(tmp_path / "checkpoints") as manager:
        manager.restore(3, args=ocp.args.Composite(data=grain.checkpoint.CheckpointRestore(fresh)))
    assert_same(take(fresh, 4), expected)
    fresh.close()


def test_damaged_records_do_not_disturb_the_state(tmp_path):
    make = functools.partial(batches, tmp_path, broken=(2, 3), bad=(5,), limit=3)
    feed, fresh = make(), make()
    take(feed, 6)
    fresh.set_state(feed.get_state())
    assert_same(take(fresh, 6), take(feed, 6))


def test_batches_of_a_worker_stay_as_they_were(tmp_path):
    feed = batches(tmp_path, reading=WORKER)
    held = next(feed)
    before = {name: array.copy() for name, array in held.items()}
    take(feed, 8)
    assert_same([held], [before])
    feed.close()


# --- damaged records


def test_damaged_records_are_left_out_named_and_counted_once(tmp_path):
    taken = numbers(take(batches(tmp_path, broken=(4,), bad=(7, 9), limit=3), 20))
    assert set(taken) == set(range(20)) - {4, 7, 9}
    assert BadRecords(str(tmp_path / "bad_records"), 3).seen() == {
        "numbers train[4]": "OSError: checksum differs",
        "numbers train[7]": "no label",
        "numbers train[9]": "no label",
    }


@pytest.mark.parametrize("reading", [Reading(0, 0), THREADS, WORKER], ids=str)
def test_one_damaged_record_too_many_ends_the_run_as_a_user_error(tmp_path, reading):
    error = closed(batches(tmp_path, reading=reading, bad=(7, 9), limit=1))
    assert error is not None
    assert "is damaged: no label; with it 2 records are" in error.problem
    assert "data.bad_records=1" in error.allowed
    assert "a larger data.bad_records" in error.fix


def test_without_a_limit_the_first_damaged_record_ends_the_run(tmp_path):
    error = closed(batches(tmp_path, bad=(7,)))
    assert error is not None
    assert error.problem == "numbers train[7] is damaged: no label"


def test_nothing_but_damaged_records_is_an_error_and_no_hang(tmp_path):
    error = closed(batches(tmp_path, bad=tuple(range(20)), limit=1000))
    assert error is not None
    assert "every record is damaged" in error.problem


def test_few_sound_records_among_damaged_ones_are_enough(tmp_path):
    assert set(numbers(take(batches(tmp_path, bad=tuple(range(19)), limit=19), 10))) == {19}


def test_processes_that_share_the_file_share_the_count(tmp_path):
    first, second = (BadRecords(str(tmp_path / "bad"), limit=2) for _ in range(2))
    first.report("a", "why")
    second.report("b", "why")
    first.report("b", "again")
    assert first.seen() == second.seen() == {"a": "why", "b": "why"}
    with pytest.raises(UserError, match="with it 3 records are"):
        first.report("c", "why")


def test_readers_that_meet_damage_at_the_same_time_cannot_exceed_the_limit(tmp_path):
    for number in range(20):
        shared = BadRecords(str(tmp_path / f"bad{number}"), limit=3)
        together, errors = threading.Barrier(8), []

        def meet(index, shared=shared, together=together, errors=errors):
            together.wait()
            try:
                shared.report(f"record {index}", "why")
            except UserError as error:
                errors.append(error)

        readers = [threading.Thread(target=meet, args=(index,)) for index in range(8)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        assert len(errors) >= 5


def test_no_file_means_that_none_was_left_out(tmp_path):
    assert BadRecords(str(tmp_path / "none"), limit=0).seen() == {}


# --- the end


def test_a_worker_that_is_killed_is_an_error_that_says_so(tmp_path):
    feed = batches(tmp_path, reading=WORKER)
    next(feed)
    (worker,) = multiprocessing.active_children()
    os.kill(worker.pid, 9)
    with pytest.raises(UserError, match=r"exit code -9") as error:
        until_error(feed)
    assert "data.workers=0" in error.value.fix
    feed.close()


def test_closing_ends_threads(tmp_path):
    before = threading.enumerate()
    feed = batches(tmp_path)
    next(feed)
    mine = [thread for thread in threading.enumerate() if thread not in before]
    assert mine
    feed.close()
    for thread in mine:
        thread.join(timeout=10)
    assert not any(thread.is_alive() for thread in mine)


CLOSING = """
import multiprocessing, pathlib, sys
from tests.data.test_pipeline import Reading, batches, take
feed = batches(pathlib.Path(sys.argv[1]), reading=Reading(workers=2, threads=1))
take(feed, 5)
feed.close()
assert not multiprocessing.active_children()
assert "tensorflow" not in sys.modules
jax = sys.modules.get("jax")
assert jax is None or not jax._src.xla_bridge._backends
"""


def test_closing_leaves_no_process_and_no_complaint_at_exit(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", CLOSING, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


KILLED = """
import multiprocessing, os, pathlib, sys
from tests.data.test_pipeline import Reading, batches, take
feed = batches(pathlib.Path(sys.argv[1]), reading=Reading(workers=1, threads=1))
take(feed, 1)
(worker,) = multiprocessing.active_children()
print(worker.pid, flush=True)
os.kill(os.getpid(), 9)
"""


def test_workers_end_with_a_process_that_is_killed(tmp_path):
    run = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == -9
    worker = psutil.Process(int(run.stdout)) if psutil.pid_exists(int(run.stdout)) else None
    if worker is not None:
        # A test machine without a process that collects orphans keeps them as zombies.
        gone, _ = psutil.wait_procs([worker], timeout=20)
        assert gone or worker.status() == psutil.STATUS_ZOMBIE


# --- choices


def test_few_cores_get_threads_and_many_get_workers():
    assert choose_workers(2)[0] == choose_workers(7)[0] == 0
    assert choose_workers(16)[0] == 4
    assert choose_threads(2, 0)[0] == 2
    assert choose_threads(16, 4)[0] == 4
    assert choose_threads(64, 0)[0] == 16
    assert choose_threads(1, 4)[0] == 1
