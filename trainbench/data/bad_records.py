"""Damaged records: named, counted, left out up to a limit.

What one process or thread leaves out is known to all of them, since each appends a line to the same file: the
readers may be processes that share nothing else.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from trainbench.errors import UserError


class BadRecord(Exception):
    """One record cannot be used; the text says why."""


@dataclass(frozen=True)
class BadRecords:
    """The record of what was left out; `path` is a file in the run's own temporary directory.

    `where` is the directory of the data set.

    Picklable: worker processes get a copy that writes to the same file.
    """

    path: str
    limit: int
    where: str = ""

    def report(self, name: str, why: str) -> None:
        """Note that the record `name` is left out; a record that comes by again counts once.

        Raises:
          UserError: more than `limit` records are damaged.
        """
        if name not in self.seen():
            # One short line in append mode is written whole, whatever other processes do.
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps([name, why]) + "\n")
        # Read back after writing, so that of readers at the same time the last one sees all the others.
        count = len(self.seen())
        if count > self.limit:
            raise UserError(
                f"{name} is damaged: {why}" + (f"; with it {count} records are" if self.limit else ""),
                allowed=f"data.bad_records={self.limit} damaged records",
                fix=f"delete {self.where or 'the data set'} and prepare it again; or leave out more, with a "
                f"larger data.bad_records",
            )

    def seen(self) -> dict[str, str]:
        """Why each record was left out, by name."""
        path = Path(self.path)
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        return dict(json.loads(line) for line in lines)
