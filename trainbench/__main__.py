"""`python -m trainbench`."""

import os
import sys

from trainbench.cli import main as command_line


def main() -> None:
    """Run the command line and end the process with its exit code."""
    code = command_line()
    sys.stdout.flush()
    sys.stderr.flush()
    # Not sys.exit: after an interrupt a native compilation may still run in a thread that cannot be stopped.
    os._exit(code)


if __name__ == "__main__":
    main()
