"""The agent that goes ahead: it saves time where it gets there, and costs nothing where it does not."""

from threading import Event

import pytest

from toolkit.converge.fake import FakeFacts
from toolkit.host.fake import FakeHost
from toolkit.machine import agent
from toolkit.machine.os import SYSTEM
from toolkit.words.command import Command, Result
from toolkit.words.errors import HostError
from toolkit.workflows.ahead import Ahead

SYSTEM_TEXT = "debian\n13\ntrixie\nx86_64\nnone\n/usr/bin/python3.13\n"


class Build:
    name = "b" * 24
    archive = b"the whole of it"


class Unbuilt(Build):
    @property
    def archive(self) -> bytes:  # type: ignore[override]
        raise HostError("cannot fetch the agent's packages")


def going(host: FakeHost, *, system: str = SYSTEM_TEXT, installed: str = "\n", build: object = None) -> agent.Release:
    facts = FakeFacts(host)
    facts.tell(SYSTEM, system)
    facts.tell(agent.INSTALLED, installed)
    made = build or Build()
    ahead = Ahead(host, lambda *_: made)  # type: ignore[arg-type,return-value]
    ahead.begin(facts)
    return ahead.build("3.13", "amd64")


def test_what_has_arrived_is_not_sent_again() -> None:
    host = FakeHost()
    host.answer("sh")
    release = going(host)
    assert (release.name, release.archive) == (Build.name, b"")
    [sent] = host.ran
    assert sent == agent.unpack(Build.name, "3.13")


def test_the_archive_is_asked_for_when_it_has_arrived_and_not_before() -> None:
    host, slow = FakeHost(), Event()

    def unpack(command: Command) -> Result:
        assert slow.wait(30)
        return Result(command, 0, b"", b"")

    host.programs["sh"] = unpack
    release = going(host)
    slow.set()
    assert release.archive == b""


@pytest.mark.parametrize("code", [1, -1, 127])
def test_what_did_not_get_there_is_sent_whole_the_ordinary_way(code: int) -> None:
    host = FakeHost()
    host.answer("sh", code=code, stderr="disk full")
    assert going(host).archive == Build.archive


def test_a_build_that_cannot_be_had_says_so_when_it_is_needed() -> None:
    host = FakeHost()
    host.answer("sh")
    release = going(host, build=Unbuilt())
    with pytest.raises(HostError, match="cannot fetch"):
        _ = release.archive


@pytest.mark.parametrize(
    ("system", "installed"),
    [
        (SYSTEM_TEXT, f"releases/{Build.name}\n{Build.name}\n"),
        (SYSTEM_TEXT, f"\n{Build.name}\n"),
        (SYSTEM_TEXT.replace("/usr/bin/python3.13\n", ""), "\n"),
    ],
)
def test_nothing_goes_ahead_to_a_host_that_has_it_or_could_not_unpack_it(system: str, installed: str) -> None:
    host = FakeHost()
    assert going(host, system=system, installed=installed).archive == Build.archive
    assert host.ran == []
