"""Verbs: each explains itself, starts quickly, and fails with one line, a hint and its exit code."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from invoke.collection import Collection
from invoke.program import Program
from invoke.tasks import Task

from toolkit.verbs import face
from toolkit.verbs.program import namespace
from toolkit.words.errors import ConfigError, DeployFailed, Error

ROOT = Path(__file__).parents[2]
HEAVY = {"fabric", "paramiko", "pydantic", "boto3", "rich", "pyrage", "cryptography", "blake3"}


def verbs(collection: Collection, prefix: str = "") -> Iterator[tuple[str, Task[Any]]]:
    for name, task in collection.tasks.items():
        yield prefix + name, task
    for name, below in collection.collections.items():
        yield from verbs(below, f"{prefix}{name}.")


VERBS = dict(verbs(namespace()))


@pytest.mark.parametrize("name", VERBS)
def test_every_verb_says_what_it_does(name: str) -> None:
    said = (VERBS[name].__doc__ or "").strip()
    assert said[:1].isupper()
    assert said.endswith((".", "`"))


@pytest.mark.parametrize("name", VERBS)
def test_every_option_of_every_verb_says_what_it_is_for(name: str) -> None:
    silent = [argument.name for argument in VERBS[name].get_arguments() if not argument.help]
    assert silent == []


def test_help_is_there_however_often_it_is_asked_for() -> None:
    first, second = ([argument.help for argument in VERBS["deploy"].get_arguments()] for _ in range(2))
    assert first == second
    assert all(first)


def test_the_verbs_are_there() -> None:
    assert {"hosts", "plan", "provision", "ssh", "deploy", "status", "logs", "exec"} <= VERBS.keys()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "hosts").mkdir()
    (tmp_path / "hosts" / "web.yml").write_text("connection: local\n")
    (tmp_path / "hosts" / "db.yml").write_text("connection: {address: 203.0.113.9}\n")
    (tmp_path / "deep").mkdir()
    monkeypatch.chdir(tmp_path / "deep")
    return tmp_path


def call(*words: str) -> int:
    """Run a command line; return its exit code."""
    try:
        Program(name="toolkit", binary="toolkit", namespace=namespace()).run(["toolkit", *words])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def test_hosts_are_listed_from_anywhere_in_the_repository(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("hosts") == 0
    assert capsys.readouterr().out.splitlines() == [
        "host  address      stack",
        "db    203.0.113.9  -",
        "web   local        -",
    ]


def test_hosts_are_listed_as_json(repository: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("hosts", "--json") == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed[1] == {"name": "web", "address": "local", "stack": "-"}


FAILING = {
    "an unknown host": (("status", "--host", "wbe"), 10, "there is no hosts/wbe.yml", "did you mean web? there"),
    "no host": (("plan",), 10, "no host named", "add --host NAME; in hosts/ there are: db, web"),
    "not the name of a host": (("plan", "--host", "../x"), 10, "'../x' is not the name of a host", "without .yml"),
    "a host without a stack": (("deploy", "--host", "web"), 10, "hosts/web.yml has no stack", "hosts/example.yml"),
    "exec without a command": (("exec", "--service", "db", "--host", "web"), 10, "no command given", "-- psql"),
}  # fmt: skip


@pytest.mark.parametrize(("words", "code", "message", "hint"), FAILING.values(), ids=FAILING)
def test_an_error_is_one_line_a_hint_and_its_exit_code(
    repository: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, message: str, hint: str
) -> None:
    assert call(*words) == code
    told = capsys.readouterr()
    first, second = told.err.splitlines()
    assert first == f"error: {message}"
    assert second.startswith("  hint: ")
    assert hint in second
    assert told.out == ""


def test_outside_of_a_repository_a_verb_says_where_to_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("hosts") == 10
    assert "hint: go to the repository of your installation" in capsys.readouterr().err


def told(failure: BaseException) -> int:
    @face.verb()
    def failing(_context: object) -> None:
        """Fail."""
        raise failure

    try:
        Program(name="x", binary="x", namespace=Collection(failing)).run(["x", "failing"])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


@pytest.mark.parametrize("kind", [Error, ConfigError, DeployFailed])
def test_an_error_ends_with_its_own_exit_code(kind: type[Error], capsys: pytest.CaptureFixture[str]) -> None:
    assert told(kind("it broke", hint="mend it")) == kind.exit_code
    assert capsys.readouterr().err == "error: it broke\n  hint: mend it\n"


def test_ctrl_c_is_no_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert told(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err.startswith("error: interrupted\n  hint: run the same again")


def test_a_fault_of_ours_is_not_dressed_up_as_one_of_the_person() -> None:
    with pytest.raises(ZeroDivisionError):
        told(ZeroDivisionError())


@pytest.mark.parametrize(("returned", "code"), [(None, 0), (0, 0), (2, 2)])
def test_what_a_verb_returns_is_its_exit_code(returned: int | None, code: int) -> None:
    @face.verb()
    def outcome(_context: object) -> int | None:
        """End somehow."""
        return returned

    try:
        Program(name="x", binary="x", namespace=Collection(outcome)).run(["x", "outcome"])
        ended = 0
    except SystemExit as left:
        ended = int(left.code or 0)
    assert ended == code


def test_words_after_two_dashes_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["invoke", "exec", "--service", "db", "--", "psql", "--host", "x", "--", "y"])
    assert face.remainder() == ["psql", "--host", "x", "--", "y"]
    monkeypatch.setattr("sys.argv", ["invoke", "exec"])
    assert face.remainder() == []


def run(cwd: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *words], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


def test_a_traceback_is_shown_with_debug_alone(repository: Path) -> None:
    quiet, loud = (run(repository, "-c", MAIN, *flags, "plan", "--host", "nobody") for flags in ((), ("--debug",)))
    assert "Traceback" not in quiet.stderr
    assert (quiet.returncode, quiet.stdout) == (10, "")
    assert "Traceback" in loud.stderr
    assert "ConfigError: there is no hosts/nobody.yml" in loud.stderr
    assert loud.returncode == 1


MAIN = "from toolkit.verbs.program import main; main()"

LIST = """
import sys
from invoke.main import program
theirs = set(sys.modules)
program.run(["invoke", "--list"], exit=False)
print("IMPORTED", *(sys.modules.keys() - theirs))
"""


def test_listing_the_verbs_imports_nothing_heavy() -> None:
    done = run(ROOT, "-c", LIST)
    listed, _, imported = done.stdout.partition("IMPORTED")
    assert "deploy" in listed
    assert "toolkit.verbs.host" in imported.split()
    # Invoke brings PyYAML along; whether we do shows in its only home.
    assert (HEAVY | {"toolkit.config.load"}) & set(imported.split()) == set()


def test_the_toolkit_command_lists_the_verbs_outside_of_a_repository(tmp_path: Path) -> None:
    done = run(tmp_path, "-c", MAIN, "--list")
    assert done.returncode == 0
    assert {"deploy", "provision", "status", "lab.up"} <= set(done.stdout.split())
