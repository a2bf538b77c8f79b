"""The benchmarks' own arithmetic: what is measured, who takes turns, and which figure counts."""

import sys
from pathlib import Path

import pytest

from benchmarks import measure
from benchmarks.contenders import PEERS, Contender
from benchmarks.ground import STACK, WRITTEN
from benchmarks.measure import Sample
from toolkit.config import compose
from toolkit.lab.images import read


def sample(wall: float, output: str = "") -> Sample:
    return Sample(wall, wall / 2, int(wall) * 2**20, output)


def test_a_process_is_measured_with_its_children(tmp_path: Path) -> None:
    work = "x = bytearray(64 << 20); sum(range(3_000_000))"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {work!r}])"
    found = measure.run((sys.executable, "-c", parent), cwd=tmp_path)
    assert found.resident > 64 << 20
    assert found.cpu > 0.02


def test_a_contender_that_fails_ends_the_benchmark_with_its_words(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"(?s)exit code 3.*no such host"):
        measure.run(("sh", "-c", "echo no such host; exit 3"), cwd=tmp_path)


def test_contenders_take_turns_and_their_medians_count() -> None:
    turns: list[str] = []

    def contender(name: str, *walls: float):
        left = list(walls)
        return lambda: turns.append(name) or sample(left.pop(0))

    medians = measure.in_turns({"a": contender("a", 9, 1, 2), "b": contender("b", 3, 5, 4)}, rounds=3)
    assert turns == ["a", "b"] * 3
    assert (medians["a"].wall, medians["b"].wall) == (2, 4)


def test_a_contender_that_changed_something_does_not_count() -> None:
    busy = Contender("ansible-playbook", lambda: sample(1, "changed=2 unreachable=0"), r"changed=0\s+unreachable=0")
    with pytest.raises(SystemExit, match="changed=2"):
        busy()


def test_the_peers_want_every_file_that_the_toolkit_wrote() -> None:
    for peer in ("playbook.yml", "deploy.py"):
        text = (PEERS / peer).read_text()
        assert [path for path in WRITTEN if path not in text] == [], peer


def test_the_stack_has_two_services_and_an_image_for_each() -> None:
    services = compose.read(STACK / "compose.yaml")["services"]
    stand_ins = {picture.path.removeprefix("library/") for picture in read(STACK)}
    versions = ("1", "2")
    wanted = {body["image"].replace("${WEB:-1}", version) for body in services.values() for version in versions}
    assert wanted == stand_ins
    assert len(services) == 2


def test_a_table_is_markdown() -> None:
    assert measure.table(("", "wall"), [("a", "1 s")]) == "|  | wall |\n| --- | --- |\n| a | 1 s |"
