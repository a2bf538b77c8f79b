"""Bars: an SVG that any viewer takes, in the right proportions, whatever is written on it."""

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from toolkit.faces import bars
from toolkit.words.errors import ConfigError

SVG = "{http://www.w3.org/2000/svg}"


def drawn(title: str, names: list[str], values: list[tuple[str, list[float]]]) -> ElementTree.Element:
    return ElementTree.fromstring(bars.draw(title, names, values, lambda amount: f"{amount:.0f} B"))


def heights(root: ElementTree.Element) -> dict[str, float]:
    rects = [rect for rect in root.iter(f"{SVG}rect") if rect.find(f"{SVG}title") is not None]
    return {str(rect.findtext(f"{SVG}title")): float(rect.get("height", "0")) for rect in rects}


def test_bars_are_as_high_as_their_amounts() -> None:
    found = heights(drawn("stored", ["ours", "theirs"], [("1", [100, 50]), ("2", [25, 0])]))
    assert list(found) == ["1: ours 100 B", "1: theirs 50 B", "2: ours 25 B", "2: theirs 0 B"]
    whole = found["1: ours 100 B"]
    assert [round(height / whole, 3) for height in found.values()] == [1, 0.5, 0.25, 0]


def test_the_axis_ends_at_the_highest_bar_and_places_are_labelled() -> None:
    texts = [text.text for text in drawn("t", ["a"], [("jan", [400]), ("feb", [1])]).iter(f"{SVG}text")]
    assert [text for text in texts if text and re.fullmatch(r"\d+ B", text)] == [
        "0 B",
        "100 B",
        "200 B",
        "300 B",
        "400 B",
    ]
    assert texts[-2:] == ["jan", "feb"]


def test_what_is_written_on_it_is_text_and_never_markup() -> None:
    root = drawn('<script>"&', ["<b>"], [("<i>", [1])])
    assert root.findtext(f"{SVG}title") == '<script>"&'
    assert root.find(f".//{SVG}script") is None


def test_nothing_to_draw_is_still_a_drawing() -> None:
    assert heights(drawn("empty", ["a"], [])) == {}


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    bars.write(str(tmp_path / "x.svg"), "t", ["a"], [("1", [1])], str)
    assert (tmp_path / "x.svg").read_text().startswith("<svg ")
    with pytest.raises(ConfigError, match="cannot be written: No such file or directory"):
        bars.write(str(tmp_path / "nowhere" / "x.svg"), "t", ["a"], [], str)
