"""The report and the page of claims in headless Chromium: `make test-browser`.

Set TRAINBENCH_SCREENSHOTS to a directory to keep the pictures and look at them.
"""

import os
import shutil
from pathlib import Path

import pytest

from tests.report import many
from tests.results import examples
from trainbench.report.page import document
from trainbench.results.collect import Skipped
from trainbench.verbs import claims

pytestmark = pytest.mark.browser

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
SKIPPED = Skipped(Path("broken/<b>.json"), "is damaged or not a result: Expecting value")
DRAWN = "document.documentElement.dataset.drawn === 'true'"


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install -e '.[browser]'")
    if CHROMIUM is None:
        pytest.skip("no Chromium on the PATH: apt-get install chromium, or another package manager's")
    with playwright.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """The page of a mixture of results."""
    return page(many.mixture(), tmp_path_factory.mktemp("report") / "report.html", (SKIPPED,))


@pytest.fixture
def pictures(tmp_path):
    chosen = os.environ.get("TRAINBENCH_SCREENSHOTS")
    return Path(chosen) if chosen else tmp_path


def page(results, path, skipped=()):
    path.write_text(document.page(document.sections(many.collection(results, skipped))))
    return path


class Opened:
    """A page of a file without a network, and what it complained about."""

    def __init__(self, browser, path, width=1200, scheme="light", drawn=DRAWN):
        self.context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme, offline=True
        )
        self.page = self.context.new_page()
        self.told, self.asked = [], []
        self.page.on("console", lambda message: self.told.append(message.text))
        self.page.on("pageerror", lambda error: self.told.append(str(error)))
        self.page.on("dialog", lambda dialog: (self.told.append("a dialog"), dialog.dismiss()))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())
        self.page.wait_for_function(drawn, timeout=120_000)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()

    def fits(self):
        return self.page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    def column(self, number):
        cells = self.page.locator(f"table.sortable tbody tr:visible td:nth-child({number})")
        return cells.all_inner_texts()


@pytest.mark.parametrize(
    ("name", "width", "scheme"),
    [("light", 1200, "light"), ("dark", 1200, "dark"), ("phone", 375, "light"), ("tablet", 768, "dark")],
)
def test_plots_are_drawn_without_complaint_and_nothing_overflows(
    browser, report, pictures, name, width, scheme
):
    with Opened(browser, report, width, scheme) as opened:
        assert opened.told == []
        assert opened.asked == [report.as_uri()]
        places = opened.page.locator("[data-plot]")
        assert places.count() > 10
        marks = (
            "all => all.map(one => one.querySelectorAll('svg .role-mark path, svg .role-mark line').length)"
        )
        assert min(places.evaluate_all(marks)) > 0
        assert opened.fits()
        opened.page.screenshot(path=pictures / f"report-{name}.png", full_page=True)


def test_a_heading_sorts_both_ways_and_what_is_unknown_stays_last(browser, report):
    with Opened(browser, report) as opened:
        heading = opened.page.locator("th:has(button:text-is('rate'))")
        button = heading.get_by_role("button")
        button.focus()
        opened.page.keyboard.press("Enter")
        assert heading.get_attribute("aria-sort") == "descending"
        down = opened.column(4)
        assert down[0] == "17,214 images/s"
        button.click()
        assert heading.get_attribute("aria-sort") == "ascending"
        up = opened.column(4)
        assert up[0] == "93.4 sequences/s"
        assert down[-1] == up[-1] == "-"
        assert opened.page.locator('th[aria-sort="none"]').count() > 5


def test_the_filter_shows_rows_with_all_words(browser, report):
    with Opened(browser, report) as opened:
        opened.page.get_by_role("searchbox").fill("FP32 ok")
        assert len(opened.column(1)) == 6
        assert opened.page.locator("output").inner_text() == "6 of 26 rows"


def test_the_theme_button_turns_light_into_dark_and_back(browser, report):
    def background(opened):
        return opened.page.evaluate("getComputedStyle(document.body).backgroundColor")

    with Opened(browser, report) as opened:
        light = background(opened)
        button = opened.page.locator("#theme")
        button.click()
        assert background(opened) != light
        assert button.inner_text() == "Light"
        button.click()
        assert background(opened) == light
        assert button.inner_text() == "Dark"


def test_print_shows_the_whole_table_on_white(browser, report, pictures):
    with Opened(browser, report, scheme="dark") as opened:
        opened.page.emulate_media(media="print")
        opened.page.set_viewport_size({"width": 1032, "height": 700})  # A4 landscape within its margins
        colour = opened.page.evaluate("getComputedStyle(document.body).color")
        assert colour == "rgb(29, 31, 35)"
        cut = "all => all.filter(one => one.scrollWidth > one.clientWidth + 1).length"
        assert opened.page.locator(".scroll").evaluate_all(cut) == 0
        assert opened.fits()
        opened.page.screenshot(path=pictures / "report-print.png", full_page=True)
        opened.page.pdf(path=pictures / "report.pdf", prefer_css_page_size=True)


def test_forecasts_and_what_was_not_steady_are_drawn_without_a_warning(browser, tmp_path):
    results = [*many.two_models(), many.changed(examples.not_steady(), id="unsteady")]
    with Opened(browser, page(results, tmp_path / "report.html")) as opened:
        assert opened.told == []


def test_no_column_of_the_table_is_cut_at_1280_pixels_and_no_caption_on_a_phone(browser, report):
    cut = "all => all.filter(one => one.scrollWidth > one.clientWidth + 1).length"
    with Opened(browser, report, 1280) as opened:
        assert opened.page.locator("#results .scroll").evaluate_all(cut) == 0
    with Opened(browser, report, 375) as opened:
        captions = opened.page.locator("p.caption")
        assert captions.count() > 5
        assert captions.evaluate_all(cut) == 0
        inside = "all => all.every(one => one.getBoundingClientRect().right <= innerWidth)"
        assert captions.evaluate_all(inside)


def test_hostile_results_run_nothing(browser, tmp_path):
    path = page([many.hostile(), examples.ok_gpu()], tmp_path / "report.html")
    with Opened(browser, path, 375) as opened:
        assert opened.told == []
        assert opened.asked == [path.as_uri()]
        assert opened.page.locator("img").count() == 0
        assert opened.fits()


def test_a_tooltip_says_what_a_point_is(browser, report):
    with Opened(browser, report) as opened:
        points = "[data-plot=throughput-images] .mark-symbol.role-mark path:not([fill=transparent])"
        opened.page.locator(points).first.hover()
        tooltip = opened.page.locator("#vg-tooltip-element.visible")
        tooltip.wait_for()
        assert "batch per device" in tooltip.inner_text()


@pytest.mark.parametrize(("width", "scheme"), [(1200, "dark"), (375, "light")])
def test_the_page_of_claims_opens_without_complaint(browser, tmp_path, pictures, width, scheme):
    path = tmp_path / "claims.html"
    claims.show(["--html", str(path)])
    with Opened(browser, path, width, scheme, drawn="true") as opened:
        assert opened.told == []
        assert opened.asked == [path.as_uri()]
        assert opened.fits()
        opened.page.screenshot(path=pictures / f"claims-{width}.png", full_page=True)
