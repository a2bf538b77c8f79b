"""Bars as an SVG file: for pages and tickets. It is drawn here, so that no plotting library is needed."""

from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

from toolkit.words.errors import ConfigError

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 960, 360, 90, 60, 30
_COLOURS = ("#1f6feb", "#b0b8c1", "#d29922")
_LINES = 4

Bars = Sequence[tuple[str, Sequence[float]]]
"""For each place on the axis, its label and one amount per series."""


def write(file: str, title: str, names: Sequence[str], bars: Bars, unit: Callable[[float], str]) -> None:
    """Draw into a file. Raises ConfigError where it cannot be written."""
    try:
        Path(file).write_text(draw(title, names, bars, unit), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {error.strerror}", hint="name another file") from error


def draw(title: str, names: Sequence[str], bars: Bars, unit: Callable[[float], str]) -> str:
    """Return the drawing; `unit` spells an amount for the axis and for who points at a bar."""
    most = max((amount for _, amounts in bars for amount in amounts), default=0) or 1
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'font-family="system-ui, sans-serif" font-size="12">\n<title>{escape(title)}</title>\n'
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>\n{_text(_LEFT, 20, title, size=15)}'
    )
    return head + _legend(names) + _axis(most, unit) + _columns(names, bars, most, unit) + "</svg>\n"


def _legend(names: Sequence[str]) -> str:
    found, x = "", _LEFT
    for name, colour in zip(names, _COLOURS, strict=False):
        found += f'<rect x="{x}" y="32" width="12" height="12" fill="{colour}"/>\n{_text(x + 18, 43, name)}'
        x += 40 + 7 * len(name)
    return found


def _axis(most: float, unit: Callable[[float], str]) -> str:
    found = ""
    for number in range(_LINES + 1):
        y = _y(most * number / _LINES, most)
        found += f'<line x1="{_LEFT}" x2="{_WIDTH - 10}" y1="{y:.1f}" y2="{y:.1f}" stroke="#d0d7de"/>\n'
        found += _text(_LEFT - 8, y + 4, unit(most * number / _LINES), anchor="end")
    return found


def _columns(names: Sequence[str], bars: Bars, most: float, unit: Callable[[float], str]) -> str:
    found, step = "", (_WIDTH - 10 - _LEFT) / max(len(bars), 1)
    width = step * 0.8 / max(len(names), 1)
    for place, (label, amounts) in enumerate(bars):
        for series, (name, amount) in enumerate(zip(names, amounts, strict=True)):
            x, y = _LEFT + step * (place + 0.1) + width * series, _y(amount, most)
            found += (
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{_HEIGHT - _BOTTOM - y:.1f}" '
                f'fill="{_COLOURS[series]}"><title>{escape(f"{label}: {name} {unit(amount)}")}</title></rect>\n'
            )
        found += _text(_LEFT + step * (place + 0.5), _HEIGHT - _BOTTOM + 16, label, anchor="middle")
    return found


def _y(amount: float, most: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * amount / most


def _text(x: float, y: float, text: str, *, anchor: str = "start", size: int = 12) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"'
    return f'<text {place} fill="#1f2328">{escape(text)}</text>\n'
