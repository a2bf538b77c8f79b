"""What is paused inside of a guest goes on before the guest is removed; what is paused elsewhere stays so."""

from pathlib import Path
from typing import Any

import pytest

from toolkit.lab import frozen
from toolkit.lab.engine import Engine


class OneGuest(Engine):
    """An Engine whose guest has the process 10."""

    def inspect(self, kind: str, name: str) -> Any:
        return {"State": {"Pid": 10}} if name == "guest" else None


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """The guest's service manager 10 has a shim 11, and that a paused 12; 20 is paused and nobody's."""
    for pid, parent in ((1, 0), (10, 1), (11, 10), (12, 11), (20, 1)):
        (tmp_path / f"proc/{pid}").mkdir(parents=True)
        (tmp_path / f"proc/{pid}/status").write_text(f"Name:\tx\nPPid:\t{parent}\n")
    for name, state, members in (("docker/a", "FROZEN", "12"), ("docker/b", "FREEZING", "20"), ("c", "THAWED", "10")):
        folder = tmp_path / "freezer" / name
        folder.mkdir(parents=True)
        (folder / "freezer.state").write_text(f"{state}\n")
        (folder / "cgroup.procs").write_text(f"{members}\n")
    return tmp_path


def states(machine: Path) -> dict[str, str]:
    found = machine.rglob("freezer.state")
    return {path.parent.name: path.read_text().strip() for path in found}


def thaw(machine: Path, *names: str) -> dict[str, str]:
    frozen.thaw(OneGuest(), *names, freezer=machine / "freezer", processes=machine / "proc")
    return states(machine)


def test_what_a_guest_has_paused_goes_on_and_nothing_else(machine: Path) -> None:
    assert thaw(machine, "guest", "gone") == {"a": "THAWED", "b": "FREEZING", "c": "THAWED"}


def test_nothing_goes_on_for_a_container_that_is_not_there(machine: Path) -> None:
    assert thaw(machine, "gone") == {"a": "FROZEN", "b": "FREEZING", "c": "THAWED"}


def test_a_process_that_has_just_gone_stands_in_no_way(machine: Path) -> None:
    (machine / "proc/20/status").unlink()
    assert thaw(machine, "guest")["a"] == "THAWED"


def test_version_2_needs_nothing(machine: Path) -> None:
    frozen.thaw(OneGuest(), "guest", freezer=machine / "nowhere", processes=machine / "proc")
    assert states(machine)["a"] == "FROZEN"
