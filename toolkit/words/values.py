"""Values with a unit or a duty: sizes, durations and secrets.

`Size` is bytes and `Duration` is seconds; both parse what a person writes and print what a person reads.
"""

import re
from dataclasses import dataclass
from typing import Self

from toolkit.words.errors import ConfigError

_DECIMAL = {
    "": 1,
    "B": 1,
    "K": 10**3,
    "KB": 10**3,
    "M": 10**6,
    "MB": 10**6,
    "G": 10**9,
    "GB": 10**9,
    "T": 10**12,
    "TB": 10**12,
}
_BINARY = {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40}
_SIZES = _DECIMAL | _BINARY
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


class Size(int):
    """A number of bytes."""

    @classmethod
    def parse(cls, text: str | int) -> Self:
        """Read `512MiB`, `2GB` or a plain number of bytes. Raises ConfigError."""
        match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", str(text).strip())
        if not match or match[2].upper() not in _SIZES:
            raise ConfigError(f"{text!r} is not a size", hint="write a number with a unit, such as 512MiB or 2GB")
        return cls(float(match[1]) * _SIZES[match[2].upper()])

    def __str__(self) -> str:
        amount, units = float(self), ["B", "KiB", "MiB", "GiB", "TiB"]
        while abs(amount) >= 1024 and len(units) > 1:
            amount, units = amount / 1024, units[1:]
        return f"{amount:.0f} {units[0]}" if amount == int(amount) else f"{amount:.1f} {units[0]}"


class Duration(float):
    """A number of seconds."""

    @classmethod
    def parse(cls, text: str | float) -> Self:
        """Read `90`, `90s`, `16m`, `2h30m`, `30d`, or what `str` gives. Raises ConfigError."""
        written = "".join(str(text).split())
        if re.fullmatch(r"\d+(\.\d+)?", written):
            return cls(float(written))
        parts = re.findall(r"(\d+(?:\.\d+)?)([smhdw])", written)
        if not parts or "".join(number + unit for number, unit in parts) != written:
            raise ConfigError(f"{text!r} is not a duration", hint="write a number with a unit, such as 30s, 16m or 2h")
        return cls(sum(float(number) * _SECONDS[unit] for number, unit in parts))

    def __str__(self) -> str:
        if self < 60:
            return f"{float(self):.1f} s" if self < 10 else f"{float(self):.0f} s"
        whole = int(self)
        pairs = (
            (whole // 86400, "d"),
            (whole % 86400 // 3600, "h"),
            (whole % 3600 // 60, "m"),
            (whole % 60, "s"),
        )
        return " ".join(f"{count} {unit}" for count, unit in pairs if count)


@dataclass(frozen=True, repr=False)
class Secret:
    """Bytes that must never be shown: it prints as a mask and travels by stdin or an owner-only file."""

    _value: bytes

    @classmethod
    def of(cls, text: str) -> Self:
        return cls(text.encode())

    def reveal(self) -> bytes:
        """Return the plaintext; every call site is a place to review."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    __str__ = __repr__
