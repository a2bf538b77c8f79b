"""The guard: nothing that could lock us out happens outside of it."""

import pytest

from toolkit.converge import Change, Check, apply
from toolkit.converge.engine import perform
from toolkit.converge.fake import FakeFacts
from toolkit.host.fake import FakeHost
from toolkit.machine import guard
from toolkit.words.command import Command, Result, command, script
from toolkit.words.errors import HostError, Unreachable
from toolkit.words.report import Silent

CHANGE = Change("close the door", command("close"))
BACK = command("open-again")


def refuse(host) -> None:
    raise Unreachable("the login was refused", hint="check the key")


def steps(facts: FakeFacts, *changes: Change, prove=refuse) -> list[Change]:
    return list(guard.guarded("door", changes, revert=BACK, prove=prove)(facts))


def test_changes_stand_between_arming_and_the_proof() -> None:
    arm, change, proof, disarm = steps(FakeFacts(), CHANGE)
    assert arm.action.argv[-1:] == BACK.argv
    assert change is CHANGE
    assert isinstance(proof.action, Check)
    assert disarm.summary.startswith("disarm")


def test_without_changes_nothing_is_armed() -> None:
    facts = FakeFacts()
    facts.tell(guard.ARMED, "")
    assert steps(facts) == []


def test_a_guard_left_armed_by_a_run_that_was_cut_is_proven_now() -> None:
    facts = FakeFacts()
    facts.tell(guard.ARMED, "door\n")
    proof, disarm = steps(facts)
    assert isinstance(proof.action, Check)
    assert disarm.summary.startswith("disarm")


def test_the_environment_of_the_way_back_travels_with_it() -> None:
    back = command("open-again", env={"WHICH": "front"})
    arm, *_ = guard.guarded("door", [CHANGE], revert=back, prove=refuse)(FakeFacts())
    assert arm.action.argv[-3:] == ("env", "WHICH=front", "open-again")


def test_a_failed_proof_goes_back_at_once_while_the_connection_carries() -> None:
    host = FakeHost()
    host.answer("sh")
    proof = steps(FakeFacts(host), CHANGE)[2]
    with pytest.raises(HostError, match="door would lock you out, and was taken back: the login was refused") as caught:
        perform(host, proof, Silent())
    assert "check the key" in caught.value.hint
    assert host.ran == [script(guard.REVERT, "door")]


def test_a_failed_proof_leaves_it_to_the_host_when_the_connection_is_dead() -> None:
    host = FakeHost(cut=True)
    proof = guard.guarded("door", [CHANGE], revert=BACK, prove=refuse, within=30)(FakeFacts(host))
    with pytest.raises(HostError, match="the host takes it back by itself within 30 s"):
        perform(host, list(proof)[2], Silent())


def test_the_guard_is_not_disarmed_after_a_failed_proof() -> None:
    ran: list[Command] = []

    def record(command: Command) -> Result:
        ran.append(command)
        return Result(command, 0)

    host = FakeHost(programs={"sh": record, "close": record})
    with pytest.raises(HostError):
        apply(FakeFacts(host), [guard.guarded("door", [CHANGE], revert=BACK, prove=refuse)], Silent())
    assert script(guard.DISARM, "door") not in ran
