"""The error tree: what its drawing says is what the classes do."""

import inspect
import re

import pytest

from toolkit.words import errors
from toolkit.words.errors import Error

TREE = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, Error)]
DRAWN = {name: int(code) for name, code in re.findall(r"(\w+) +(\d+)   ", errors.__doc__ or "")}


def test_every_error_is_drawn_with_its_exit_code() -> None:
    assert {kind.__name__: kind.exit_code for kind in TREE} == DRAWN


def test_no_two_errors_share_an_exit_code() -> None:
    codes = [kind.exit_code for kind in TREE]
    assert sorted(set(codes)) == sorted(codes)


@pytest.mark.parametrize("kind", [kind for kind in TREE if kind is not Error])
def test_a_named_error_never_looks_like_an_outcome_or_a_signal(kind: type[Error]) -> None:
    assert 3 < kind.exit_code < 126


@pytest.mark.parametrize("kind", TREE)
def test_an_error_says_what_is_wrong_and_what_to_do(kind: type[Error]) -> None:
    failure = kind("no disk", hint="add one")
    assert (str(failure), failure.message, failure.hint) == ("no disk", "no disk", "add one")


def test_an_error_may_have_no_way_out() -> None:
    assert Error("odd").hint == ""


def test_the_drawing_shows_who_descends_from_whom() -> None:
    lines = [line for line in (errors.__doc__ or "").splitlines() if re.search(r"\w+ +\d+   ", line)]
    above: list[str] = []
    for line in lines:
        name = re.search(r"\w+", line)
        assert name is not None
        depth = name.start() // 3
        above[depth:] = [name[0]]
        if depth:
            assert getattr(errors, name[0]).__base__.__name__ == above[depth - 1]
