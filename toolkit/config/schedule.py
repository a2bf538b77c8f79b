"""Schedules: when backups are made, in whichever form people know, as one value.

`hourly`, `daily`, `weekly`, `monthly`; `every 6h`; a cron line's five fields, `30 2 * * 1-5`; and of systemd's calendar
events (systemd.time(7)) those without a year, a second or a time zone: `Mon..Fri 02:30`, `*-*-01 03:00`. Times are the
host's own. What cron and systemd can both say is all there is, so either can carry it out.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import pairwise
from typing import Self

from toolkit.words.errors import ConfigError
from toolkit.words.values import Duration

WORDS = {"hourly": "0 * * * *", "daily": "0 0 * * *", "weekly": "0 0 * * 1", "monthly": "0 0 1 * *"}
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_HINT = "write daily, every 6h, five fields of cron such as 30 2 * * *, or a calendar event such as Mon..Fri 02:30"
_CALENDAR = re.compile(r"(?:(?P<days>[A-Za-z][A-Za-z,.]*)\s*)?(?:(?P<date>\S*-\S*)\s*)?(?P<time>\S+:\S+)?")
# Long enough for a 29th of February to come.
_YEARS = 9


@dataclass(frozen=True)
class Schedule:
    """The minutes, hours, days, months and weekdays (0 is Monday) at which it is time; all of them must fit."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: tuple[int, ...]
    months: tuple[int, ...]
    weekdays: tuple[int, ...]
    text: str

    @classmethod
    def parse(cls, text: "str | Mapping[str, object] | Schedule") -> Self:
        """Read any of the forms. Raises ConfigError."""
        if isinstance(text, Mapping) and set(text) == {"every"}:
            text = f"every {text['every']}"
        if not isinstance(text, str) or not text.strip():
            raise ConfigError("no schedule", hint=_HINT)
        written = " ".join(text.split())
        try:
            found = cls(*_fields(written), written)
        except (ValueError, ConfigError) as error:
            raise ConfigError(f"{written[:40]!r} is no schedule: {error}", hint=_HINT) from error
        if not found._days():
            raise ConfigError(f"{written[:40]!r} is no schedule: such a day never comes", hint=_HINT)
        return found

    @property
    def calendar(self) -> str:
        """The same as a calendar event of systemd."""
        days = "" if len(self.weekdays) == 7 else ",".join(_DAYS[day] for day in self.weekdays) + " "
        date_ = f"*-{_spelled(self.months, 1, 12)}-{_spelled(self.days, 1, 31)}"
        return f"{days}{date_} {_spelled(self.hours, 0, 23)}:{_spelled(self.minutes, 0, 59)}:00"

    @property
    def cron(self) -> str:
        """The same as five fields of cron."""
        weekdays = sorted((day + 1) % 7 for day in self.weekdays)
        fields = ((self.minutes, 0, 59), (self.hours, 0, 23), (self.days, 1, 31), (self.months, 1, 12))
        return " ".join([*(_spelled(*field) for field in fields), _spelled(weekdays, 0, 6)])

    @property
    def gap(self) -> Duration:
        """The longest time between two runs, were each begun on time."""
        times = sorted(hour * 60 + minute for hour in self.hours for minute in self.minutes)
        within = max((after - before for before, after in pairwise(times)), default=0)
        nights = max((after - before for before, after in pairwise(self._days())), default=366)
        return Duration(60 * max(within, nights * 1440 + times[0] - times[-1]))

    def _days(self) -> list[int]:
        """The days of some years that fit, as numbers."""
        first = date(2024, 1, 1)
        every = (first + timedelta(days=number) for number in range(_YEARS * 366))
        return [
            day.toordinal()
            for day in every
            if day.day in self.days and day.month in self.months and day.weekday() in self.weekdays
        ]

    def __str__(self) -> str:
        return self.text


Fields = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...], tuple[int, ...]]


def _fields(text: str) -> Fields:
    lower = text.lower()
    if lower in WORDS:
        return _cron(WORDS[lower])
    if match := re.fullmatch(r"every:? (.+)", lower):
        return _every(Duration.parse(match[1]))
    if len(text.split()) == 5:
        return _cron(text)
    match = _CALENDAR.fullmatch(text)
    if match is None or not any(match.groups()):
        raise ValueError("it has none of the known forms")
    return _calendar(match["days"], match["date"], match["time"])


def _every(span: Duration) -> Fields:
    minutes, rest = divmod(int(span), 60)
    all_days = (tuple(range(1, 32)), tuple(range(1, 13)), tuple(range(7)))
    if not rest and minutes and minutes < 60 and 60 % minutes == 0:
        return tuple(range(0, 60, minutes)), tuple(range(24)), *all_days
    if not rest and minutes and minutes % 60 == 0 and 24 % (minutes // 60) == 0:
        return (0,), tuple(range(0, 24, minutes // 60)), *all_days
    raise ValueError("a span must go into an hour or a day without a rest: 15m, 30m, 1h, 6h, 12h, 1d")


def _cron(text: str) -> Fields:
    minute, hour, day, month, weekday = text.split()
    if day[0] != "*" and weekday[0] != "*":
        raise ValueError("cron takes a day of the month and a weekday for either of the two; give one")
    weekdays = _values(weekday, 0, 7, {name.lower(): number % 7 for number, name in enumerate(_DAYS, 1)})
    return (
        _values(minute, 0, 59),
        _values(hour, 0, 23),
        _values(day, 1, 31),
        _values(month, 1, 12, {name: number for number, name in enumerate(_MONTHS, 1)}),
        tuple(sorted({(number - 1) % 7 for number in weekdays})),
    )


def _calendar(days: str | None, date_: str | None, time: str | None) -> Fields:
    year, month, day = _date(date_ or "*-*-*")
    hour, minute, second = [*(time or "0:0:0").split(":"), "0"][:3]
    if year != "*" or (second.strip("0") and time):
        raise ValueError("years and seconds are not for backups")
    names = {name.lower(): number for number, name in enumerate(_DAYS)}
    short = re.sub(r"([A-Za-z]{3})[A-Za-z]*", r"\1", days or "Mon..Sun")
    return (
        _values(minute, 0, 59),
        _values(hour, 0, 23),
        _values(day, 1, 31),
        _values(month, 1, 12),
        _values(short, 0, 6, names),
    )


def _date(text: str) -> tuple[str, str, str]:
    parts = text.split("-")
    if len(parts) not in (2, 3):
        raise ValueError("a date has a year, a month and a day: *-*-01")
    year, month, day = parts if len(parts) == 3 else ("*", *parts)
    return year, month, day


def _values(text: str, low: int, high: int, names: Mapping[str, int] | None = None) -> tuple[int, ...]:
    """Read one field: numbers, names, ranges with `-` or `..`, steps with `/`, and lists of these."""
    found: set[int] = set()
    for part in text.replace("..", "-").lower().split(","):
        span, _, step = part.partition("/")
        first, dash, last = span.partition("-")
        begin = low if span == "*" else _number(first, names)
        end = high if span == "*" or (step and not dash) else _number(last if dash else first, names)
        if not low <= begin <= end <= high or (step and not 1 <= _number(step) <= high):
            raise ValueError(f"{part[:20]} is not within {low} to {high}")
        found |= set(range(begin, end + 1, int(step or 1)))
    return tuple(sorted(found))


def _number(text: str, names: Mapping[str, int] | None = None) -> int:
    if names and text in names:
        return names[text]
    if not re.fullmatch(r"[0-9]{1,3}", text):
        raise ValueError(f"{text[:20]} is no number")
    return int(text)


def _spelled(values: Iterable[int], low: int, high: int) -> str:
    listed = list(values)
    return "*" if listed == list(range(low, high + 1)) else ",".join(map(str, listed))
