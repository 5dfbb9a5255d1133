"""`python -m trainbench`."""

import contextlib
import errno
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
        try:
            stream.flush()
        except BrokenPipeError:
            continue
        except OSError as error:
            code = code or _cannot_print(error)
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
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        return _cannot_print(error)


def _cannot_print(error: OSError) -> int:
    """What is written into files says so itself: this was standard output, on a disk that is full."""
    with contextlib.suppress(OSError):
        print(f"trainbench: the output cannot be written: {error.strerror}", file=sys.stderr)
    return ExitCode.USER_ERROR


if __name__ == "__main__":
    main()
