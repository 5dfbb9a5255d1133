"""The report as one HTML page that needs nothing but itself.

The page may run its own two scripts, named by their hashes, and nothing else: the policy in its head forbids
every request. Vega's expressions are interpreted (its `ast` option), so that no code is made from text.
Strings from results come in through Jinja2's escaping, or as JSON in which no character can end the element.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from importlib import resources
from typing import Any

from trainbench import __version__
from trainbench.report import series
from trainbench.report.page import (
    blocks,
    compiling,
    environment,
    feeding,
    forecasts,
    loss,
    memory,
    notices,
    overview,
    published,
    roofline,
    scaling,
    throughput,
    tracing,
)
from trainbench.report.page.content import Plot, Section
from trainbench.results.collect import Collection

_TEMPLATES = "templates"
# What could end a script element or a line of JavaScript.
_ESCAPES = {ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&\u2028\u2029"}
_EXPORTS = "window.vegaEmbed = vegaEmbed;"


def sections(collection: Collection) -> tuple[Section, ...]:
    """The sections that have something to show; there is at least one result."""
    found = series.runs(collection.loaded)
    by_batch = series.series(found)
    made = (
        overview.summary(found, by_batch, collection),
        throughput.section(by_batch, found),
        overview.table(found),
        forecasts.section(found),
        blocks.section(found),
        published.section(found),
        roofline.section(found),
        tracing.section(found),
        memory.section(by_batch, found),
        compiling.section(found),
        feeding.section(found),
        loss.section(found),
        scaling.section(found),
        environment.section(found),
        notices.troubles(found),
        notices.warnings(found),
        notices.skipped(collection.skipped),
    )
    return tuple(one for one in made if one is not None)


def page(found: Iterable[Section], now: datetime | None = None) -> str:
    """The sections as a whole HTML page; `now` is the time that it says it was made at."""
    import jinja2
    from markupsafe import Markup

    found = tuple(found)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    style, script = _text("page.css"), _text("page.js")
    bundle = _bundle() if any(one.plots for one in found) else ""
    return environment.from_string(_text("page.html.j2")).render(
        sections=found,
        policy=_policy(style, [bundle, script]),
        made=f"{now or datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        version=__version__,
        plots=Markup(_json({plot.name: plot.chart.to_dict() for plot in plots(found)})),
        style=Markup(style),
        bundle=Markup(bundle),
        script=Markup(script),
    )


def plots(found: Iterable[Section]) -> Iterator[Plot]:
    """The plots of all sections."""
    for one in found:
        yield from one.plots


def _text(name: str) -> str:
    return resources.files(__package__).joinpath(_TEMPLATES, name).read_text(encoding="utf-8")


def _bundle() -> str:
    """Vega-Embed with Vega, Vega-Lite and the expression interpreter, as one script; it takes 2 to 3 s."""
    import vl_convert

    text: str = vl_convert.javascript_bundle(_EXPORTS)
    # A browser normalises line ends before it hashes, and `</script` would end the element.
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("</script", "<\\/script")


def _policy(style: str, scripts: Iterable[str]) -> str:
    hashes = " ".join(_hash(script) for script in scripts if script)
    rules = {
        "default-src": "'none'",
        "script-src": hashes,
        "style-src": _hash(style),
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _json(content: Any) -> str:
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.translate(_ESCAPES)
