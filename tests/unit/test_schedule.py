"""Schedules: every form that people know, as one value that cron and systemd both can carry out."""

import pytest

from toolkit.config.schedule import Schedule
from toolkit.words.errors import ConfigError
from toolkit.words.values import Duration

HOUR, DAY = 3600, 86400
FORMS = [
    ("hourly", "*-*-* *:0:00", "0 * * * *", HOUR),
    ("daily", "*-*-* 0:0:00", "0 0 * * *", DAY),
    ("weekly", "Mon *-*-* 0:0:00", "0 0 * * 1", 7 * DAY),
    ("monthly", "*-*-1 0:0:00", "0 0 1 * *", 31 * DAY),
    ("every 6h", "*-*-* 0,6,12,18:0:00", "0 0,6,12,18 * * *", 6 * HOUR),
    ("every 15m", "*-*-* *:0,15,30,45:00", "0,15,30,45 * * * *", 900),
    ("every 1d", "*-*-* 0:0:00", "0 0 * * *", DAY),
    ("30 2 * * *", "*-*-* 2:30:00", "30 2 * * *", DAY),
    ("*/20 8-10 * * *", "*-*-* 8,9,10:0,20,40:00", "0,20,40 8,9,10 * * *", 21 * HOUR + 1200),
    ("0 3 * * 1-5", "Mon,Tue,Wed,Thu,Fri *-*-* 3:0:00", "0 3 * * 1,2,3,4,5", 3 * DAY),
    ("0 3 * * 0,7", "Sun *-*-* 3:0:00", "0 3 * * 0", 7 * DAY),
    ("0 3 * jan,jul mon", "Mon *-1,7-* 3:0:00", "0 3 * 1,7 1", None),
    ("02:30", "*-*-* 2:30:00", "30 2 * * *", DAY),
    ("Mon..Fri 02:30", "Mon,Tue,Wed,Thu,Fri *-*-* 2:30:00", "30 2 * * 1,2,3,4,5", 3 * DAY),
    ("Sat,Sunday 4:00:00", "Sat,Sun *-*-* 4:0:00", "0 4 * * 0,6", 6 * DAY),
    ("*-*-01 03:00", "*-*-1 3:0:00", "0 3 1 * *", 31 * DAY),
    ("*-*-* 00/6:15", "*-*-* 0,6,12,18:15:00", "15 0,6,12,18 * * *", 6 * HOUR),
    ("*-02-29", "*-2-29 0:0:00", "0 0 29 2 *", 1461 * DAY),
]


@pytest.mark.parametrize(("text", "calendar", "cron", "gap"), FORMS, ids=[form[0] for form in FORMS])
def test_every_form_is_one_value(text: str, calendar: str, cron: str, gap: int | None) -> None:
    found = Schedule.parse(text)
    assert (found.calendar, found.cron, str(found)) == (calendar, cron, text)
    assert gap is None or found.gap == Duration(gap)
    # What is written out is read back as the same.
    for spelled in (found.calendar, found.cron):
        again = Schedule.parse(spelled)
        assert (again.calendar, again.cron, again.gap) == (calendar, cron, found.gap)


def test_a_mapping_says_the_same_as_words() -> None:
    assert Schedule.parse({"every": "6h"}) == Schedule.parse("every 6h")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no schedule"),
        (None, "no schedule"),
        ({"evry": "6h"}, "no schedule"),
        ("dayly", "is no number"),
        ("at noon", "none of the known forms"),
        ("every 7h", "without a rest"),
        ("every 0m", "without a rest"),
        ("every day", "not a duration"),
        ("60 2 * * *", "not within 0 to 59"),
        ("5-1 2 * * *", "not within 0 to 59"),
        ("*/0 2 * * *", "not within"),
        ("0 0 31 2 *", "never comes"),
        ("0 0 1 * 1", "for either of the two"),
        ("2026-01-01 02:30", "years and seconds"),
        ("02:30:15", "years and seconds"),
        ("25:00", "not within 0 to 23"),
        ("Mon..Fry 02:30", "is no number"),
        ("$(reboot) 1 * 1 1", "is no number"),
        ("02:30\nExecStart=/bin/sh", "none of the known forms"),
    ],
)
def test_what_is_none_is_refused_with_the_way_out(text: object, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        Schedule.parse(text)  # type: ignore[arg-type]
    assert "write daily" in caught.value.hint
