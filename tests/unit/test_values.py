"""Values with a unit or a duty: what a person writes, what a person reads, and what nobody may read."""

import copy
import dataclasses
import pickle
import traceback
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.words.command import Result, command, script
from toolkit.words.errors import ConfigError
from toolkit.words.values import Duration, Secret, Size

SIZES = {
    "0": 0,
    "512": 512,
    "512 B": 512,
    "10k": 10_000,
    "10KB": 10_000,
    "10KiB": 10_240,
    "500MB": 500_000_000,
    "1.5MiB": 1_572_864,
    "2GB": 2_000_000_000,
    "2 GiB": 2_147_483_648,
    " 1tib ": 1_099_511_627_776,
}

PRINTED_SIZES = {
    0: "0 B",
    1023: "1023 B",
    1024: "1 KiB",
    1536: "1.5 KiB",
    500_000_000: "476.8 MiB",
    2**30: "1 GiB",
    2**40: "1 TiB",
    5000 * 2**40: "5000 TiB",
}

DURATIONS = {
    "0": 0,
    "90": 90,
    "90s": 90,
    "0.5s": 0.5,
    "16m": 960,
    "2h30m": 9000,
    "1d": 86_400,
    "30d": 2_592_000,
    " 1w ": 604_800,
    "1.5h": 5400,
}

PRINTED_DURATIONS = {
    0: "0.0 s",
    0.25: "0.2 s",
    9.9: "9.9 s",
    30: "30 s",
    60: "1 m",
    90: "1 m 30 s",
    3600: "1 h",
    9000: "2 h 30 m",
    86_400: "1 d",
    2_592_000: "30 d",
}


@pytest.mark.parametrize(("written", "meant"), SIZES.items())
def test_a_size_is_read_as_it_is_written(written: str, meant: int) -> None:
    assert Size.parse(written) == meant


@pytest.mark.parametrize(("count", "printed"), PRINTED_SIZES.items())
def test_a_size_prints_with_the_largest_fitting_unit(count: int, printed: str) -> None:
    assert (str(Size(count)), f"{Size(count)}") == (printed, printed)


@pytest.mark.parametrize("written", ["", "GB", "-1", "1,5GB", "1 GB 2", "1XB", "0x10", "1e3", "ten", "1.GB"])
def test_what_is_no_size_is_refused_with_the_text_and_an_example(written: str) -> None:
    with pytest.raises(ConfigError, match="is not a size") as caught:
        Size.parse(written)
    assert repr(written) in caught.value.message
    assert "512MiB" in caught.value.hint


@given(st.integers(0, 2**53))
def test_a_plain_number_of_bytes_is_read_exactly(count: int) -> None:
    assert Size.parse(count) == Size.parse(str(count)) == count


@given(st.integers(0, 10**6), st.sampled_from(["", "KB", "MB", "GB", "KiB", "MiB", "GiB"]))
def test_a_printed_size_reads_back_to_within_its_last_digit(count: int, unit: str) -> None:
    size = Size.parse(f"{count}{unit}")
    again = Size.parse(str(size))
    assert abs(again - size) <= size * 0.05


@given(st.decimals(0, 9999, places=2), st.sampled_from([("KB", 10**3), ("MB", 10**6), ("GB", 10**9)]))
def test_fractions_of_a_size_lose_at_most_a_byte(number: Decimal, unit: tuple[str, int]) -> None:
    assert abs(Size.parse(f"{number}{unit[0]}") - int(number * unit[1])) <= 1


def test_a_size_counts_like_a_number() -> None:
    assert Size.parse("1KiB") + 1 == 1025


@pytest.mark.parametrize(("written", "meant"), DURATIONS.items())
def test_a_duration_is_read_as_it_is_written(written: str, meant: float) -> None:
    assert Duration.parse(written) == meant


@pytest.mark.parametrize(("seconds", "printed"), PRINTED_DURATIONS.items())
def test_a_duration_prints_as_a_person_says_it(seconds: float, printed: str) -> None:
    assert (str(Duration(seconds)), f"{Duration(seconds)}") == (printed, printed)


@pytest.mark.parametrize("written", ["", "m", "-1s", "5 minutes", "1h 30", "90x", "1:30", "1,5h", "h1"])
def test_what_is_no_duration_is_refused_with_the_text_and_an_example(written: str) -> None:
    with pytest.raises(ConfigError, match="is not a duration") as caught:
        Duration.parse(written)
    assert repr(written) in caught.value.message
    assert "16m" in caught.value.hint


@given(st.integers(0, 400), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_the_parts_of_a_duration_add_up(days: int, hours: int, minutes: int, seconds: int) -> None:
    written = f"{days}d{hours}h{minutes}m{seconds}s"
    assert float(Duration.parse(written)) == ((days * 24 + hours) * 60 + minutes) * 60 + seconds


@given(st.integers(10, 10**7))
def test_a_printed_duration_reads_back_without_its_spaces(seconds: int) -> None:
    assert float(Duration.parse(str(Duration(seconds)).replace(" ", ""))) == seconds


CANARY = "canary-4711"


@dataclasses.dataclass(frozen=True)
class Login:
    user: str
    password: Secret


def test_a_secret_gives_its_value_only_when_asked() -> None:
    assert Secret.of("pä").reveal() == "pä".encode()
    assert Secret.of("a") == Secret(b"a") != Secret(b"b")


@pytest.mark.parametrize(
    "shown",
    [
        repr,
        str,
        "{}".format,
        "{!r}".format,
        lambda secret: f"{secret}",
        lambda secret: "%s %r" % (secret, secret),  # noqa: UP031 - this way is tested too
        lambda secret: repr([secret, {"a": (secret,)}]),
        lambda secret: repr(Login("admin", secret)),
        lambda secret: repr(command("docker", "login", stdin=secret)),
        lambda secret: str(script("cat", stdin=secret)),
        lambda secret: repr(Result(command("cat", stdin=secret), 0)),
        lambda secret: str(ValueError("refused", secret)),
    ],
)
def test_a_secret_never_prints(shown: object) -> None:
    text = shown(Secret.of(CANARY))  # type: ignore[operator]
    assert CANARY not in text
    assert CANARY.encode().hex() not in text


def test_a_secret_does_not_show_in_a_traceback_with_its_locals() -> None:
    def fail(password: Secret) -> None:
        raise ConfigError(f"cannot use {password}")

    try:
        fail(Secret.of(CANARY))
    except ConfigError as error:
        told = traceback.TracebackException.from_exception(error, capture_locals=True)
    assert CANARY not in "".join(told.format())


def test_a_secret_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        Secret.of("a")._value = b"b"  # type: ignore[misc]


def test_a_copied_secret_is_still_a_secret() -> None:
    secret = Secret.of(CANARY)
    for other in (copy.deepcopy(secret), pickle.loads(pickle.dumps(secret))):
        assert other == secret
        assert CANARY not in repr(other)


@given(st.integers(min_value=10, max_value=10**7))
def test_a_duration_reads_back_what_it_prints(seconds: int) -> None:
    assert Duration.parse(str(Duration(seconds))) == seconds
