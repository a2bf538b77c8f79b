"""Charts of a report as inline SVG: drawn here, coloured by the page's own style sheet, readable without colours.

Every chart has a title and a description for whoever hears the page, and its numbers stand in a table beside it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _LEFT, _RIGHT, _ROW = 720, 230, 90, 30
_ACROSS, _HEIGHT, _TOP, _FLOOR, _AXIS = 470, 250, 28, 210, 62
_SPACE = 1.15

Unit = Callable[[float], str]


@dataclass(frozen=True)
class Bar:
    """One bar; `kind` is a class of the style sheet."""

    label: str
    amount: float
    kind: str = "main"


def rows(name: str, title: str, bars: Sequence[Bar], unit: Unit) -> str:
    """Draw bars that lie, one below the other: phases, sizes."""
    most, height = max((bar.amount for bar in bars), default=0.0) or 1.0, _ROW * max(len(bars), 1) + 12
    told = "; ".join(f"{bar.label} {unit(bar.amount)}" for bar in bars)
    drawn = [_head(name, title, told, height)]
    for place, bar in enumerate(bars):
        y, width = 6 + place * _ROW, max((_WIDTH - _LEFT - _RIGHT) * bar.amount / most, 1.5)
        drawn.append(_text(_LEFT - 8, y + 19, _short(bar.label), "end"))
        drawn.append(_rectangle(_LEFT, y + 4, width, _ROW - 9, bar.kind, f"{bar.label}: {unit(bar.amount)}"))
        drawn.append(_text(_LEFT + width + 6, y + 19, unit(bar.amount)))
    return "".join([*drawn, "</svg>"])


def columns(name: str, title: str, bars: Sequence[Bar], unit: Unit, target: float | None = None) -> str:
    """Draw bars that stand, from the oldest to the newest, with a line at what was promised."""
    most = max([bar.amount for bar in bars] + ([target] if target is not None else []), default=0.0) * _SPACE or 1.0
    told = "; ".join(f"{bar.label} {unit(bar.amount)}" for bar in bars)
    told += f"; promised {unit(target)}" if target is not None else ""
    drawn = [_head(name, title, told, _HEIGHT, _ACROSS)]
    for share in (0.0, 0.5, 1.0):
        y = _height(most * share, most)
        drawn.append(f'<line class="grid" x1="{_AXIS}" x2="{_ACROSS - 8}" y1="{y:.1f}" y2="{y:.1f}"/>')
        drawn.append(_text(_AXIS - 8, y + 4, unit(most * share), "end"))
    step = (_ACROSS - 8 - _AXIS) / max(len(bars), 1)
    width = min(step * 0.6, 70.0)
    for place, bar in enumerate(bars):
        middle, y = _AXIS + step * (place + 0.5), _height(bar.amount, most)
        drawn.append(
            _rectangle(middle - width / 2, y, width, max(_FLOOR - y, 1.5), bar.kind, f"{bar.label}: {unit(bar.amount)}")
        )
        drawn.append(_text(middle, _FLOOR + 18, bar.label, "middle"))
    if target is not None:
        y = _height(target, most)
        drawn.append(f'<line class="target" x1="{_AXIS}" x2="{_ACROSS - 8}" y1="{y:.1f}" y2="{y:.1f}"/>')
        drawn.append(_text(_ACROSS - 10, y - 6, f"promised {unit(target)}", "end"))
    return "".join([*drawn, "</svg>"])


def _head(name: str, title: str, told: str, height: float, width: float = _WIDTH) -> str:
    about = f"<title>{escape(title)}</title><desc>{escape(told)}</desc>"
    return f'<svg id="{name}" role="img" aria-label="{escape(title)}" viewBox="0 0 {width} {height}">{about}'


def _rectangle(x: float, y: float, width: float, height: float, kind: str, told: str) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"'
    return f'<rect class="{kind}" {place} rx="2"><title>{escape(told)}</title></rect>'


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _height(amount: float, most: float) -> float:
    return _FLOOR - (_FLOOR - _TOP) * amount / most


def _short(label: str) -> str:
    return label if len(label) <= 30 else f"{label[:29]}…"
