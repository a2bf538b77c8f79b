"""The four stacks that the toolkit is to carry: each is linted, backed up, drilled and recovered, and nothing is lost.

The host of an example is the one that its own tests had before, where they ran as well.
"""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.carried import A_LONG_WALK, STACKS, Carried, Held, end
from toolkit.lab import Lab

NAMES = ["oneglanse", "relay", "viraclip", "taskflow"]
# Each takes minutes.
STACK = [pytest.param(name, marks=pytest.mark.some(1, "stacks", name)) for name in NAMES]

pytestmark = [
    pytest.mark.lab,
    pytest.mark.parametrize("carried", STACK, indirect=True, scope="session"),
]


@pytest.fixture(scope="module", autouse=True)
def ended(lab: Lab) -> Iterator[None]:
    """A host of the session ends when another is asked for; nobody asks after the last one."""
    yield
    for name in NAMES:
        end(lab, name)


@contextmanager
def timed(what: str) -> Iterator[None]:
    begun = time.monotonic()
    yield
    sys.stdout.write(f"{what}: {time.monotonic() - begun:.1f} s\n")


def test_a_stack_comes_back_on_a_bare_host_with_every_row_job_and_file(carried: Carried) -> None:
    with timed("lint"):
        linted(carried)
    with timed("work"):
        carried.work()
        carried.finished()
        carried.leave_work()
    before = carried.held()
    assert before.open >= before.waiting > 0, before
    with timed("backup"):
        carried.kept.save()
    with timed("drill"):
        drilled(carried, before)
    carried.lose()
    fresh = carried.kept.replacement(f"{carried.name}-again", stocked=True)
    with timed("recover"):
        said = carried.repo.done("recover", "--host", "box", "--to", "replacement", "--json").data
    carried.kept.adopt(fresh)
    assert said["attempts"] == 1
    carried.healthy()
    with timed("what was left"):
        carried.finished()
    nothing_is_lost(carried, before, carried.held())


def linted(carried: Carried) -> None:
    found = carried.repo.done("lint", "--host", "box", "--json").data["findings"]
    assert {one["rule"] for one in found if one["severity"] != "info"} == STACKS[carried.name].warnings, found


def drilled(carried: Carried, before: Held) -> None:
    """Bring all of it back beside production, and have every count asked there, where no worker runs."""
    carried.expect(before)
    said = carried.repo.invoke("drill", "--host", "box", "--on", "box", "--beside-production", "--json")
    assert said.code == 0, said
    report = said.data
    assert (report["verdict"], report["level"]) == ("passed", 4)
    good = {(one["subject"], one["what"]) for one in report["checks"] if one["state"] == "good"}
    assert (carried.holds.queue_source, f"LLEN {carried.holds.jobs}") in good
    assert (carried.holds.source, f"{carried.name}: counts") in good


def nothing_is_lost(carried: Carried, before: Held, after: Held) -> None:
    """Every row is as it was, every job was done once, every file is whole."""
    assert after.kept == before.kept
    assert (after.open, after.waiting) == (0, 0)
    assert after.done == {name: count + before.open for name, count in before.done.items()}
    assert before.files.items() <= after.files.items()
    if carried.half:
        resumed(carried, after)


def resumed(carried: Carried, after: Held) -> None:
    """The clip that was half done went on where it was, and is the same as one that nobody ended."""
    begun = carried.begun()
    # 240 frames, a plan and a file. What was done by then was not begun again.
    assert len(begun) == 242
    assert len(carried.steps) > 3
    assert carried.steps.items() <= begun.items()
    another = json.loads(carried.repo.on_host(A_LONG_WALK))["id"]
    carried.finished()
    assert carried.held().files[f"./clip-{another}.y4m"] == after.files[f"./clip-{carried.half}.y4m"]
