"""Cuts: the same for the same bytes, however they are read, and the same for ever for a seed."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.repository_setup import noise
from toolkit.repository.chunking import LARGEST, SMALLEST, Cutter

GOLDEN = json.loads((Path(__file__).parents[1] / "vectors" / "chunking.json").read_text())


@pytest.mark.parametrize("vector", GOLDEN, ids=lambda vector: f"seed {vector['seed']}")
def test_the_cuts_are_those_of_the_golden_vectors(vector: dict) -> None:
    content = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(vector["blocks"]))
    assert [len(chunk) for chunk in Cutter(vector["seed"]).whole(content)] == vector["sizes"]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**63 - 1), st.lists(st.integers(1, 3_000_000), max_size=6), st.integers(0, 2**32))
def test_cuts_do_not_depend_on_how_a_stream_is_read(seed: int, sizes: list[int], content: int) -> None:
    whole = noise(sum(sizes), content)
    cutter, fed, position = Cutter(seed), [], 0
    for size in sizes:
        fed += [bytes(chunk) for chunk in cutter.feed(whole[position : position + size])]
        position += size
    fed += [bytes(chunk) for chunk in cutter.finish()]
    assert fed == [bytes(chunk) for chunk in Cutter(seed).whole(whole)]
    assert b"".join(fed) == whole
    assert all(SMALLEST <= len(chunk) <= LARGEST for chunk in fed[:-1])


def test_another_seed_cuts_elsewhere() -> None:
    content = noise(8_000_000, 3)
    assert [len(one) for one in Cutter(1).whole(content)] != [len(one) for one in Cutter(2).whole(content)]


def test_an_insertion_moves_few_cuts() -> None:
    before = noise(20_000_000, 4)
    after = before[:9_000_000] + b"inserted" + before[9_000_000:]
    one = {bytes(chunk) for chunk in Cutter(7).whole(before)}
    two = {bytes(chunk) for chunk in Cutter(7).whole(after)}
    assert len(two - one) <= 3


def test_a_cutter_is_ready_for_the_next_stream() -> None:
    cutter = Cutter(5)
    for _ in range(2):
        chunks = [*cutter.feed(b"abc"), *cutter.finish()]
        assert [bytes(chunk) for chunk in chunks] == [b"abc"]
