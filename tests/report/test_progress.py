import io
import sys
import threading
from itertools import count

import pytest

from trainbench.report.progress import ProgressLine, block_text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """Seconds that pass only when a test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(autouse=True)
def _known_terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "80")


def refreshers() -> list[threading.Thread]:
    """Living threads of rich, after those that were told to end had the time to."""
    found = [thread for thread in threading.enumerate() if type(thread).__module__.startswith("rich")]
    for thread in found:
        if thread.done.is_set():
            thread.join(timeout=5)
    return [thread for thread in found if thread.is_alive()]


def test_off_a_terminal_each_phase_is_one_plain_line_with_the_elapsed_time():
    stream, clock = io.StringIO(), Clock()
    with ProgressLine(stream, clock) as progress:
        progress.phase("tracing")
        clock.now_s += 3.2
        progress.phase("compiling (no estimate; first compile of this program)")
    assert stream.getvalue().splitlines() == [
        "[0 s] tracing",
        "[3 s] compiling (no estimate; first compile of this program)",
    ]


def test_off_a_terminal_blocks_are_reported_at_most_once_in_ten_seconds():
    stream, clock = io.StringIO(), Clock()
    with ProgressLine(stream, clock) as progress:
        progress.phase("measuring", timed=True)
        for block in range(1, 26):
            clock.now_s += 1.0
            progress.update(block_text(block, 25, 812.0, "image"))
    assert stream.getvalue().splitlines() == [
        "[0 s] measuring",
        "[10 s] measuring block 10/25 · 812 images/s",
        "[20 s] measuring block 20/25 · 812 images/s",
    ]


def test_forced_colour_puts_no_cursor_codes_into_a_log(monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    stream = io.StringIO()
    with ProgressLine(stream) as progress:
        progress.phase("warm-up [x]", timed=True)
        progress.update("more")
    assert stream.getvalue() == "[0 s] warm-up [x]\n"


def test_dumb_terminal_gets_plain_lines(monkeypatch):
    monkeypatch.setenv("TERM", "dumb")
    stream = Terminal()
    with ProgressLine(stream) as progress:
        progress.phase("tracing")
    assert stream.getvalue() == "[0 s] tracing\n"


def test_on_a_terminal_a_phase_that_is_not_timed_is_refreshed_in_the_background():
    with ProgressLine(Terminal()) as progress:
        progress.phase("compiling")
        assert len(refreshers()) == 1
    assert refreshers() == []


def test_on_a_terminal_no_thread_runs_while_something_is_timed():
    with ProgressLine(Terminal()) as progress:
        progress.phase("compiling")
        progress.phase("measuring", timed=True)
        progress.update("measuring block 1/3")
        assert refreshers() == []
        progress.phase("writing")
        assert len(refreshers()) == 1
    assert refreshers() == []


def test_on_a_terminal_a_timed_phase_writes_in_update_only():
    stream, clock = Terminal(), Clock()
    with ProgressLine(stream, clock) as progress:
        progress.phase("measuring", timed=True)
        before = stream.tell()
        clock.now_s += 60
        assert stream.tell() == before
        progress.update("measuring block 3/30 · 812 images/s")
        assert "[60 s] measuring block 3/30 · 812 images/s" in stream.getvalue()[before:]


def test_line_is_cleared_and_the_cursor_shown_again_after_an_error():
    stream = Terminal()

    def fail() -> None:
        with ProgressLine(stream) as progress:
            progress.phase("compiling")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert stream.getvalue().rfind("\x1b[?25h") > stream.getvalue().rfind("\x1b[?25l")
    assert refreshers() == []


def test_a_line_longer_than_the_terminal_is_cut_not_wrapped():
    stream = Terminal()
    with ProgressLine(stream) as progress:
        progress.phase("x" * 200, timed=True)
        assert "x" * 70 in stream.getvalue()
        assert "x" * 80 not in stream.getvalue()
        assert "…" in stream.getvalue()


def test_standard_output_is_left_alone(capsys):
    stdout = sys.stdout
    with ProgressLine(Terminal()) as progress:
        progress.phase("compiling")
        assert sys.stdout is stdout
        print("a result")
    assert capsys.readouterr().out == "a result\n"


def test_progress_goes_to_stderr_by_default(capsys):
    with ProgressLine() as progress:
        progress.phase("tracing")
    captured = capsys.readouterr()
    assert captured.err == "[0 s] tracing\n"
    assert captured.out == ""


def test_updates_do_not_restart_the_elapsed_time():
    ticks = count(0.0, 1.0)
    stream = io.StringIO()
    with ProgressLine(stream, lambda: next(ticks)) as progress:
        progress.phase("a")
        progress.phase("b")
    seconds = [int(text.split()[0].removeprefix("[")) for text in stream.getvalue().splitlines()]
    assert seconds == sorted(seconds)
    assert seconds[1] > seconds[0] > 0
