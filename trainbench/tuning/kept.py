"""What a session leaves behind, beside its trials: the tables and the best configuration."""

from pathlib import Path

from trainbench.results import store
from trainbench.tuning import tuned, words
from trainbench.tuning.session import Asked, Found
from trainbench.tuning.trials import Runner

TABLE, TABLE_CSV = "levers.md", "levers.csv"


def write(
    found: Found, asked: Asked, runner: Runner, directory: Path, markdown: Path | None, command: str
) -> None:
    """None; the tables and the best configuration are in `directory`, the table in `markdown` too.

    Raises:
      UserError: one of them cannot be written.
    """
    page = words.markdown(found, command).encode()
    store.write_whole(directory / TABLE, page)
    store.write_whole(directory / TABLE_CSV, words.as_csv(found).encode())
    best = runner.overrides(found.best.point if found.best else ())
    # How the trials were measured is no part of what is reused.
    added = set(asked.base) - set(asked.overrides)
    comments = (
        [command, *words.machine(default.result), *words.summary(found)]
        if (default := found.trials[0].loaded)
        else [command]
    )
    tuned.write(directory, [override for override in best if override not in added], comments)
    if markdown:
        store.write_asked_for(markdown, page)
