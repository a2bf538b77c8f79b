"""How the tests that need the lab are shared out: each file is in one group, and what is named exists."""

import importlib.util
import json
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
FILES = [f"tests/lab/{path.name}" for path in sorted((ROOT / "tests/lab").glob("test_*.py"))]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lab_tests", ROOT / "scripts/lab_tests.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_test_is_in_one_group_with_those_that_share_its_host(script: ModuleType) -> None:
    tests = [f"{path}::test_{kind}" for path in FILES for kind in ("one", "Two::test_three")]
    made = script.groups([*tests, "tests/unit/test_plan.py::test_long"])
    assert sorted(test for group in made for test in group.tests) == sorted(
        [*tests, "tests/unit/test_plan.py::test_long"]
    )
    by_name = {group.name: {test.partition("::")[0] for test in group.tests} for group in made}
    assert len(by_name) == len(made)
    users = {
        path for path in FILES if any(word in (ROOT / path).read_text() for word in ("trials: Trial", "whole: Trial"))
    }
    assert users
    assert by_name["trials"] >= users
    assert by_name["stacks"] == {path for path in FILES if "carried: Carried" in (ROOT / path).read_text()}
    assert by_name["unit"] == {"tests/unit/test_plan.py"}


def test_what_takes_longest_is_begun_with(script: ModuleType) -> None:
    names = [group.name for group in script.groups(f"{path}::test_one" for path in FILES)]
    assert tuple(names[: len(script.SLOWEST)]) == script.SLOWEST


def test_every_pattern_has_files(script: ModuleType) -> None:
    for patterns in script.TOGETHER.values():
        for one in patterns:
            stems = [path.stem for path in ROOT.glob("tests/*/test_*.py")]
            assert one == "tests/unit/*" or any(fnmatch(stem, one) for stem in stems), one


@pytest.mark.parametrize(("named", "again"), [({"b": True}, ["b"]), ({}, ["a", "b"]), (None, ["a", "b"])])
def test_what_failed_is_known_by_its_id_and_all_where_none_is_named(
    script: ModuleType, tmp_path: Path, named: dict[str, bool] | None, again: list[str]
) -> None:
    pytest_of_its_own = tmp_path / ".venv/bin/pytest"
    pytest_of_its_own.parent.mkdir(parents=True)
    told = tmp_path / script.FAILED
    told.parent.mkdir(parents=True)
    # What an earlier group left is not this one's.
    told.write_text('{"a": true}')
    write = "" if named is None else f"echo '{json.dumps(named)}' >{script.FAILED}; "
    pytest_of_its_own.write_text(f"#!/bin/sh\n{write}exit 1\n")
    pytest_of_its_own.chmod(0o755)
    runner = script.Runner("1", tmp_path)
    assert runner.run(["a", "b"]) == 1
    assert runner.failed == again


@pytest.mark.parametrize("code", [0, 1])
def test_what_failed_and_why_can_be_said_last_of_all(script: ModuleType, tmp_path: Path, code: int) -> None:
    runner = script.Runner("1", tmp_path, failed=["a", "b"])
    pytest_of_its_own = tmp_path / ".venv/bin/pytest"
    pytest_of_its_own.parent.mkdir(parents=True)
    (tmp_path / script.FAILED).parent.mkdir(parents=True)
    why = f"echo '==== FAILURES ===='; echo 'E assert 1 == 2'; echo '{{\"b\": true}}' >{script.FAILED}; " * code
    pytest_of_its_own.write_text(f"#!/bin/sh\necho collected; {why}exit {code}\n")
    pytest_of_its_own.chmod(0o755)
    ending = script._once_more(runner)
    assert ending.code == code
    lines = ending.text.splitlines()
    assert [line.strip() for line in lines[1:3]] == ["a", "b"]
    again = ["  alone 1 of them failed again:", "==== FAILURES ====", "E assert 1 == 2"]
    assert lines[3:] == (again if code else ["  alone they passed"])
