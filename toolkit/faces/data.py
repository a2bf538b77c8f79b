"""Results as JSON: what `--json` prints."""

import dataclasses
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePath

from toolkit.words.values import Secret


def dumps(value: object) -> str:
    """Return a result as JSON text. Secrets are masked; sizes are bytes and durations seconds."""
    return _whole(json.dumps(plain(value), indent=2, ensure_ascii=False))


def stream(values: Iterable[object]) -> Iterator[str]:
    """Yield a JSON list piece by piece, for results that are too long to hold."""
    mark = "["
    for value in values:
        yield f"{mark}\n  {_whole(json.dumps(plain(value), ensure_ascii=False))}"
        mark = ","
    yield "[]" if mark == "[" else "\n]"


def _whole(text: str) -> str:
    # A byte of a name that is no UTF-8 is half a character, which no encoding can print: it stays an escape.
    return re.sub("[\ud800-\udfff]", lambda half: f"\\u{ord(half[0]):04x}", text)


def plain(value: object) -> object:
    """Return a value made of what JSON knows: dataclasses become objects, paths text, sequences lists."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, Secret | PurePath):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(entry) for key, entry in value.items()}
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if callable(value):
        return getattr(value, "__name__", type(value).__name__)
    if isinstance(value, Iterable):
        return [plain(entry) for entry in value]
    return str(value)
