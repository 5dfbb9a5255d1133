"""The command-line options of a verb: argparse, with its mistakes told as ours."""

import argparse
from pathlib import Path
from typing import NoReturn

from trainbench.errors import UserError


class Parser(argparse.ArgumentParser):
    """A parser that raises, where argparse would print its own usage and end the process.

    Args:
      allowed: the options that there are.
      fix: what to type instead.
    """

    def __init__(self, *, allowed: str, fix: str) -> None:
        super().__init__(add_help=False, allow_abbrev=False)
        self.allowed = allowed
        self.fix = fix

    def error(self, message: str) -> NoReturn:
        """Nothing.

        Raises:
          UserError: always, with what argparse says of the mistake.
        """
        raise UserError(message, allowed=self.allowed, fix=self.fix)


def path(typed: str) -> Path:
    """The path that was typed.

    Raises:
      ArgumentTypeError: none was, as where a shell's variable is not set; it would mean this directory.
    """
    if not typed:
        raise argparse.ArgumentTypeError("an empty path names nothing")
    return Path(typed)
