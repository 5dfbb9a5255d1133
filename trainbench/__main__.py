"""`python -m trainbench`."""

import contextlib
import io
import os
import sys

from trainbench.errors import ExitCode

# What a shell reports of a program that SIGPIPE ended: 128 + 13.
PIPE_CLOSED = 141


def main() -> None:
    """Run the command line and end the process with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A terminal that knows ASCII only gets "?" for what it cannot show, not a traceback.
            stream.reconfigure(errors="replace")
    code = _exit_code()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(BrokenPipeError):
            stream.flush()
    # Not sys.exit: after an interrupt a native compilation may still run in a thread that cannot be stopped.
    os._exit(code)


def _exit_code() -> int:
    try:
        # Imported here, so that Ctrl-C during the imports, which take seconds, ends as quietly as later.
        from trainbench.cli import main as command_line

        return command_line()
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        return PIPE_CLOSED


if __name__ == "__main__":
    main()
