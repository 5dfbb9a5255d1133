"""The line that says what a run is doing: on stderr, moving on a terminal, one line a phase elsewhere.

A benchmark must not be disturbed by its own display. While something is timed no thread runs here, and only
`update`, which the measuring loop calls between blocks, writes anything.
"""

import contextlib
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from trainbench.report.numbers import number, units

_REFRESH_PER_S = 4  # often enough to look alive; each refresh takes the interpreter lock from tracing
_PLAIN_INTERVAL_S = 10.0  # a log should show life, not grow with the number of blocks


def block_text(done: int, total: int, samples_per_s: float, sample_unit: str) -> str:
    """What the measuring loop shows after `done` of `total` blocks.

    >>> block_text(3, 30, 812.3, "image")
    'measuring block 3/30 · 812 images/s'
    """
    return f"measuring block {done}/{total} · {number(samples_per_s)} {units(sample_unit)}/s"


class ProgressLine:
    """Context manager around a run.

        with ProgressLine() as progress:
            progress.phase("compiling (no estimate; first compile of this program)")
            compile_it()
            progress.phase("measuring", timed=True)
            for block in blocks:
                time_it(block)
                progress.update(block_text(...))

    Args:
      stream: where to write; stderr by default. Give `io.StringIO()` to processes that are not to be heard.
      clock: seconds, increasing.
    """

    def __init__(self, stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._clock = clock
        self._started_s = clock()
        self._printed_s = self._started_s
        self._text = ""
        self._live: Live | None = None
        # The stream itself is asked: with FORCE_COLOR set, rich would move the cursor in a pipe or a log.
        self._console = Console(file=self._stream, force_terminal=True) if self._stream.isatty() else None
        if self._console is not None and self._console.is_dumb_terminal:
            self._console = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    @property
    def text(self) -> str:
        """What is going on, as last said."""
        return self._text

    def phase(self, text: str, *, timed: bool = False) -> None:
        """None; says what begins now. `timed` stops the background refresh until the next phase."""
        self._stop()
        self._text = text
        if self._console is None:
            self._print()
            return
        self._live = Live(
            get_renderable=self._line,
            console=self._console,
            auto_refresh=not timed,
            refresh_per_second=_REFRESH_PER_S,
            transient=True,
            redirect_stdout=False,  # results go to stdout, progress to stderr: they must not be mixed
        )
        self._live.start(refresh=True)

    def update(self, text: str) -> None:
        """None; new words for the phase. To be called between timed blocks only: it writes at once.

        Off the terminal it writes at most one line in 10 s.
        """
        self._text = text
        if self._live is not None:
            self._live.refresh()
        elif self._console is None and self._clock() - self._printed_s >= _PLAIN_INTERVAL_S:
            self._print()

    def _line(self) -> Text:
        elapsed_s = self._clock() - self._started_s
        return Text(f"[{elapsed_s:.0f} s] {self._text}", no_wrap=True, overflow="ellipsis")

    def _print(self) -> None:
        # A reader that has gone away must not end a measurement.
        with contextlib.suppress(BrokenPipeError):
            self._stream.write(f"{self._line().plain}\n")
            self._stream.flush()
        self._printed_s = self._clock()

    def _stop(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None
