"""The page of a drill's report in a real browser: charts are drawn, verdicts are there, nothing is fetched."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser import Browser, browser
from tests.drill_reports import FAILED, HOSTILE, INCOMPLETE, PASSED
from toolkit.drill import page

pytestmark = pytest.mark.lab

# Every drawn shape of a chart, with the size that the browser gave it.
BOXES = """[...document.querySelectorAll('#%s rect')].map(one => {
  const box = one.getBBox(); return [box.width, box.height, getComputedStyle(one).fill] })"""
TEXTS = "[...document.querySelectorAll('#%s text')].map(one => one.textContent)"
# Text that would be cut off, or lie on other text.
OUTSIDE = """[...document.querySelectorAll('svg text')].filter(one => {
  const box = one.getBBox(), view = one.ownerSVGElement.viewBox.baseVal
  return box.x < -1 || box.x + box.width > view.width + 1 || box.y + box.height > view.height + 1
}).map(one => one.textContent)"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as found:
        yield found


def shown(chromium: Browser, folder: Path, text: str) -> None:
    (folder / "report.html").write_text(text)
    chromium.requests.clear()
    chromium.open(f"file://{folder}/report.html")


def test_charts_are_drawn_and_nothing_is_fetched(chromium: Browser, tmp_path: Path) -> None:
    shown(chromium, tmp_path, page.html(PASSED, [INCOMPLETE, FAILED], "k" * 64))
    assert chromium.requests == [f"file://{tmp_path}/report.html"]
    for chart, count in (("phases", 8), ("rto", 3), ("rpo", 3), ("sizes", 2)):
        boxes = chromium.ask(BOXES % chart)
        assert len(boxes) == count, chart
        assert all(width > 1 and height > 1 for width, height, _ in boxes), (chart, boxes)
        assert "rgb(0, 0, 0)" not in {fill for *_, fill in boxes}
    widths = [width for width, *_ in chromium.ask(BOXES % "phases")]
    assert max(widths) == widths[4] == pytest.approx(400, abs=1)
    assert widths[3] / widths[4] == pytest.approx(21.0 / 33.5, rel=0.01)
    assert chromium.ask("document.querySelectorAll('line.target').length") == 2
    assert "promised 2 m" in chromium.ask(TEXTS % "rto")
    assert chromium.ask(OUTSIDE) == []


def test_verdicts_are_in_a_table_and_every_chart_has_words(chromium: Browser, tmp_path: Path) -> None:
    shown(chromium, tmp_path, page.html(FAILED, [PASSED]))
    assert chromium.ask("document.querySelector('#verdict').innerText") == "FAILED"
    first = "[...document.querySelector('#checks tbody tr').cells].map(one => one.innerText)"
    assert chromium.ask(first) == ["bad", "postgres/db", "count of public.tasks", "expected 7, found 6"]
    nameless = "[...document.querySelectorAll('svg')].filter(one => !one.querySelector('title,desc')).length"
    assert chromium.ask(nameless) == 0
    assert chromium.ask("[...document.querySelectorAll('table')].filter(one => !one.querySelector('th')).length") == 0


def test_the_page_fits_a_telephone_a_dark_room_and_paper(chromium: Browser, tmp_path: Path) -> None:
    shown(chromium, tmp_path, page.html(PASSED, [INCOMPLETE, FAILED]))
    light = chromium.ask("getComputedStyle(document.body).backgroundColor")
    chromium.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    assert chromium.ask("getComputedStyle(document.body).backgroundColor") != light
    chromium.call("Emulation.setEmulatedMedia", media="print", features=[])
    assert chromium.ask("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    chromium.call("Emulation.setEmulatedMedia", media="", features=[])
    chromium.call("Emulation.setDeviceMetricsOverride", width=360, height=700, deviceScaleFactor=1, mobile=True)
    assert chromium.ask("document.documentElement.scrollWidth") <= 361
    chromium.call("Emulation.clearDeviceMetricsOverride")


def test_a_hostile_report_runs_nothing_and_fetches_nothing(chromium: Browser, tmp_path: Path) -> None:
    shown(chromium, tmp_path, page.html(HOSTILE, [HOSTILE, HOSTILE], "k"))
    assert chromium.requests == [f"file://{tmp_path}/report.html"]
    assert chromium.ask("document.scripts.length + document.images.length + document.links.length") == 0
    assert chromium.ask("document.querySelectorAll('svg').length") == 4
