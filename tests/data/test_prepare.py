import errno
import functools
import http.server
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import tensorflow_datasets as tfds

from tests.data import small_sets
from tests.data.refusing import refused
from tests.needs import without_tensorflow
from trainbench.data import downloads, embedded, prepare, prepared
from trainbench.errors import UserError

ROOT = Path(__file__).parents[2]
PREPARE = (
    "import sys; from pathlib import Path; from tests.data import small_sets\n"
    "from trainbench.data.prepare import prepare\n"
    "print(prepare('small_photos', Path(sys.argv[1]), download=False).fingerprint())"
)


def start(directory, script=PREPARE, **environment):
    """The script in a process of its own, which prepares the small photographs."""
    return subprocess.Popen(
        [sys.executable, "-c", script, str(directory)],
        cwd=ROOT,
        env={**os.environ, **{name: str(value) for name, value in environment.items()}},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition, process):
    end = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


def leftovers(directory):
    return [path.name for path in (directory / "small_photos").glob("incomplete.*")]


@pytest.fixture
def no_sockets(monkeypatch):
    def connect(*arguments, **options):
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket, "create_connection", connect)
    monkeypatch.setattr(socket, "getaddrinfo", connect)


def test_what_is_prepared_can_be_opened(tmp_path, no_sockets):
    written = prepare.prepare("small_photos", tmp_path, download=False)
    assert prepared.open_set("small_photos", tmp_path).fingerprint() == written.fingerprint()
    assert len(written.records("train")) == 64


def test_preparing_again_writes_nothing(tmp_path):
    prepare.prepare("small_photos", tmp_path, download=False)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    prepare.prepare("small_photos", tmp_path, download=True)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before


def test_announcements_do_not_reach_stdout(tmp_path, capsys):
    prepare.prepare("small_photos", tmp_path, download=False)
    output = capsys.readouterr()
    assert output.out == ""
    assert "preparing small_photos in" in output.err


def test_two_configurations_lie_side_by_side(tmp_path):
    prepare.prepare("small_texts", tmp_path, download=False)
    prepare.prepare("small_texts/loud:1.0.0", tmp_path, download=False)
    for name, full in (("small_texts", "plain"), ("small_texts/loud", "loud")):
        assert prepared.open_set(name, tmp_path).builder.info.config_name == full


def test_a_version_that_does_not_exist_is_refused(tmp_path):
    error = refused(
        "cannot be loaded at version 9.9.9", prepare.prepare, "mnist:9.9.9", tmp_path, download=False
    )
    assert error.allowed.startswith("versions ")


def test_stock_sets_download_only_when_they_may(tmp_path, no_sockets):
    error = refused("downloads up to", prepare.prepare, "mnist", tmp_path, download=False)
    assert "storage.googleapis.com" in error.problem
    assert error.fix.endswith("data.download=true")
    assert prepared.locate("mnist", tmp_path) is None


def test_without_network_it_says_so_at_once(tmp_path, monkeypatch):
    def unknown(*arguments, **options):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "create_connection", unknown)
    monkeypatch.setattr("urllib.request.getproxies", dict)
    error = refused("Name or service not known", prepare.prepare, "mnist", tmp_path, download=True)
    assert "data=digits" in error.fix
    assert prepared.locate("mnist", tmp_path) is None


def test_a_host_that_never_answers_is_given_up(monkeypatch):
    end = threading.Event()

    def silent(*arguments, **options):
        end.wait()
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", silent)
    monkeypatch.setattr("urllib.request.getproxies", dict)
    monkeypatch.setattr(downloads, "ANSWER_S", 0.05)
    try:
        assert "does not answer" in downloads.unreachable("https://example.org/file")
    finally:
        end.set()


def test_behind_a_proxy_only_the_download_can_tell(monkeypatch, no_sockets):
    monkeypatch.setattr("urllib.request.getproxies", lambda: {"https": "http://proxy:3128"})
    assert downloads.unreachable("https://example.org/file") is None


@pytest.fixture
def server(tmp_path, monkeypatch):
    """The address of a server on this machine that has one file."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "words.txt").write_text("words")
    monkeypatch.setattr("urllib.request.getproxies", dict)
    monkeypatch.setenv("NO_PROXY", "*")
    handler = functools.partial(Quiet, directory=tmp_path / "served")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_downloads_come_through_when_they_may(tmp_path, server, monkeypatch):
    monkeypatch.setattr(small_sets.SmallDownloaded, "url", f"{server}/words.txt")
    refused("downloads an unknown amount", prepare.prepare, "small_downloaded", tmp_path, download=False)
    assert len(prepare.prepare("small_downloaded", tmp_path, download=True).records("train")) == 10


def test_a_download_that_fails_is_no_traceback(tmp_path, server, monkeypatch):
    monkeypatch.setattr(small_sets.SmallDownloaded, "url", f"{server}/gone.txt")
    refused("cannot be downloaded", prepare.prepare, "small_downloaded", tmp_path, download=True)
    assert prepared.locate("small_downloaded", tmp_path) is None


@without_tensorflow
def test_what_needs_tensorflow_names_the_extra(tmp_path):
    error = refused("needs TensorFlow", prepare.prepare, "small_arrays", tmp_path, download=False)
    assert error.fix.endswith("-m pip install tensorflow-cpu")
    refused(
        "needs TensorFlow", prepare.prepare, "small_photos", tmp_path, download=False, file_format="tfrecord"
    )
    assert prepared.locate("small_photos", tmp_path) is None


@pytest.mark.skipif(importlib.util.find_spec("apache_beam") is not None, reason="Apache Beam is installed")
@pytest.mark.parametrize("name", ["small_beam", "wikipedia/20230601.en"])
def test_what_needs_beam_names_it(tmp_path, name):
    assert "apache-beam" in refused("needs Apache Beam", prepare.prepare, name, tmp_path, download=False).fix


def test_files_that_the_user_must_bring_are_named(tmp_path):
    error = refused("data.manual_dir is not given", prepare.prepare, "small_manual", tmp_path, download=False)
    assert error.allowed == "manual_dir should contain words.txt, from its author."
    (tmp_path / "brought").mkdir()
    (tmp_path / "brought" / "other.txt").write_text("")
    brought = str(tmp_path / "brought")
    refused(
        f"{brought} lacks them", prepare.prepare, "small_manual", tmp_path, download=False, manual_dir=brought
    )
    (tmp_path / "brought" / "words.txt").write_text("words")
    assert prepare.prepare("small_manual", tmp_path, download=False, manual_dir=brought).records("train")


def test_another_format_than_what_lies_there_is_refused(tmp_path):
    prepare.prepare("small_photos", tmp_path, download=False)
    error = refused(
        "is prepared as array_record",
        prepare.prepare,
        "small_photos",
        tmp_path,
        download=False,
        file_format="tfrecord",
    )
    assert error.fix.startswith("data.loader=grain; or ")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_says_what_is_free_and_leaves_nothing(tmp_path, monkeypatch, number):
    def full(self, *arguments, **options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tfds.core.writer.Writer, "write", full)
    error = refused(
        "is full, or a quota is used up", prepare.prepare, "small_photos", tmp_path, download=False
    )
    assert "are free" in error.problem
    assert leftovers(tmp_path) == []
    monkeypatch.undo()
    assert len(prepare.prepare("small_photos", tmp_path, download=False).records("train")) == 64


def test_a_limit_that_the_writer_itself_meets_is_the_same(tmp_path):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
    process = start(tmp_path, limit + PREPARE)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "trainbench.errors.UserError: the disk of" in errors
    assert "File too large" in errors
    assert leftovers(tmp_path) == []
    assert prepared.locate("small_photos", tmp_path) is None


def test_a_directory_that_cannot_be_written_is_the_users_to_mend(tmp_path):
    (tmp_path / "file").write_text("in the way")
    refused("cannot be written", prepare.prepare, "digits", tmp_path / "file" / "below", download=False)


@pytest.mark.parametrize(
    "bug", [ZeroDivisionError("a bug"), FileNotFoundError(2, "its own file", "/elsewhere")]
)
def test_what_a_broken_builder_raises_is_not_hidden(tmp_path, monkeypatch, bug):
    def broken(self):
        raise bug
        yield

    monkeypatch.setattr(small_sets.SmallTexts, "_generate_examples", broken)
    with pytest.raises(type(bug)):
        prepare.prepare("small_texts", tmp_path, download=False)


def test_an_embedded_sets_own_complaint_comes_through(tmp_path, monkeypatch):
    class NeedsMore(small_sets.SmallTexts, skip_registration=True):
        def _generate_examples(self):
            raise UserError("a package is missing", allowed="it", fix="pip install it")
            yield

    monkeypatch.setattr(NeedsMore, "BUILDER_CONFIGS", [])
    monkeypatch.setitem(embedded.BUILDERS, "more", "unused")
    monkeypatch.setattr(embedded, "builder_class", lambda name: NeedsMore)
    assert refused("a package is missing", prepared.open_set, "more", tmp_path).fix == "pip install it"


def test_a_killed_process_leaves_nothing_that_is_trusted_and_the_next_one_recovers(tmp_path):
    notes = tmp_path / "notes"
    process = start(tmp_path, SMALL_SETS_NOTES=notes, SMALL_SETS_RELEASE=tmp_path / "never")
    wait_for(notes.exists, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert len(leftovers(tmp_path)) == 1
    assert prepared.locate("small_photos", tmp_path) is None
    assert len(prepare.prepare("small_photos", tmp_path, download=False).records("train")) == 64
    assert leftovers(tmp_path) == []


def test_two_processes_at_once_write_it_once(tmp_path):
    notes, release = tmp_path / "notes", tmp_path / "release"
    environment = {"SMALL_SETS_NOTES": notes, "SMALL_SETS_RELEASE": release}
    first = start(tmp_path, **environment)
    wait_for(notes.exists, first)
    second = start(tmp_path, **environment)
    waiting = second.stderr.readline()
    assert "waiting for another process that prepares small_photos" in waiting
    release.touch()
    fingerprints = [process.communicate(timeout=60)[0] for process in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0]
    assert fingerprints[0] == fingerprints[1] != ""
    assert notes.read_text() == "began\n" * 2  # one for each split
