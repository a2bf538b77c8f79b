"""Slow families of tests run in part, chosen by a seed that is printed; with TOOLKIT_FULL all of them run.

A family is what one function is parametrised with, or all tests that are marked with its name; tests with the same
member are chosen together. Who names a test gets it.

    @pytest.mark.some(2)
    @pytest.mark.some(5, "faults of a deploy")
    @pytest.mark.some(2, "stacks", "relay")
"""

import os
import random
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import pytest

FULL = bool(os.environ.get("TOOLKIT_FULL"))
SEED = int(os.environ.get("TOOLKIT_SEED", time.time()))


@dataclass(frozen=True)
class Family:
    """Tests of which `count` members run."""

    name: str
    count: int


def chosen(families: Mapping[Family, Collection[str]], seed: int) -> set[tuple[Family, str]]:
    """Return which members run."""
    return {
        (family, member)
        for family, members in families.items()
        for member in random.Random(f"{family.name} {seed}").sample(sorted(members), min(family.count, len(members)))
    }


def leave_out(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take what is not chosen out of what was collected."""
    if FULL or config.getoption("keyword") or any("::" in str(argument) for argument in config.args):
        return
    places = {item: place for item in items if (place := _place(item))}
    families: dict[Family, set[str]] = {}
    for family, member in places.values():
        families.setdefault(family, set()).add(member)
    run = chosen(families, SEED)
    dropped = [item for item, place in places.items() if place not in run]
    if dropped:
        config.hook.pytest_deselected(items=dropped)
        items[:] = [item for item in items if item not in dropped]


def _place(item: pytest.Item) -> tuple[Family, str] | None:
    mark = item.get_closest_marker("some")
    if mark is None:
        return None
    count, name, member = (*mark.args, *(None, None))[:3]
    return Family(name or item.nodeid.partition("[")[0], count), member or item.nodeid
