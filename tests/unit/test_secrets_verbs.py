"""The verbs of secrets as a person and as a pipe meets them."""

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.vault.identity import Keyring
from toolkit.workflows import secrets as workflow

ROOT = Path(__file__).parents[2]
PROGRAM = "import sys; sys.argv[0] = 'toolkit'; from toolkit.verbs.program import main; main()"


class Person:
    """Somebody in a repository, with an identity and a terminal of their own."""

    def __init__(self, repository: Path, home: Path) -> None:
        self.repository, self.home = repository, home
        self.environ = {"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(ROOT), "TERM": "dumb"}

    def run(self, *words: str, given: bytes = b"") -> "subprocess.CompletedProcess[bytes]":
        # A session of its own has no terminal, whatever the tests run on.
        return subprocess.run(
            [sys.executable, "-c", PROGRAM, *words],
            cwd=self.repository,
            env=self.environ,
            input=given,
            capture_output=True,
            start_new_session=True,
            check=False,
        )

    def types(self, *words: str, answers: tuple[tuple[str, str], ...] = ()) -> tuple[int, str]:
        """Run on a terminal; type each answer when its question is there. Return the exit code and the screen."""
        child, terminal = pty.fork()
        if child == 0:
            os.chdir(self.repository)
            os.execve(sys.executable, [sys.executable, "-c", PROGRAM, *words], self.environ)
        screen = ""
        for question, answer in answers:
            screen += self._until(terminal, question)
            os.write(terminal, answer.encode() + b"\n")
        screen += self._until(terminal, None)
        os.close(terminal)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), screen

    def _until(self, terminal: int, question: str | None) -> str:
        seen = b""
        while question is None or question.encode() not in seen:
            try:
                more = os.read(terminal, 4096)
            except OSError:
                more = b""
            if not more:
                assert question is None, f"it never asked {question!r}, it said {seen!r}"
                break
            seen += more
        return seen.decode()


@pytest.fixture
def me(tmp_path: Path) -> Person:
    (tmp_path / "repository" / "hosts").mkdir(parents=True)
    (tmp_path / "repository" / "hosts" / "prod.yml").write_text("connection: local\n")
    (tmp_path / "home").mkdir()
    return Person(tmp_path / "repository", tmp_path / "home")


@pytest.fixture
def started(me: Person) -> Person:
    workflow.init(me.repository, Keyring(me.environ))
    return me


def test_an_escrow_identity_is_shown_on_a_terminal_and_only_there(me: Person) -> None:
    refused = me.run("secrets.init")
    assert refused.returncode == 11
    assert b"only on a terminal" in refused.stderr
    assert not (me.repository / "secrets").exists()
    code, screen = me.types("secrets.init")
    assert code == 0
    assert screen.count("AGE-SECRET-KEY-1") == 1
    assert me.run("secrets.init").returncode == 11


def test_a_value_from_standard_input_loses_one_line_end(started: Person) -> None:
    assert started.run("secrets.set", "db", given=b"value\n").stdout == b"sealed: secrets/common/db.age\n"
    assert started.run("secrets.show", "db", "--yes").stdout == b"value"


def test_a_value_is_typed_twice_and_never_echoed(started: Person) -> None:
    code, screen = started.types("secrets.set", "db", answers=(("db: ", "c4n4ry"), ("again: ", "c4n4ry")))
    assert (code, "c4n4ry" in screen) == (0, False)
    assert started.run("secrets.show", "db", "--yes").stdout == b"c4n4ry"
    code, screen = started.types("secrets.set", "db", answers=(("db: ", "c4n4ry"), ("again: ", "c4n4rY")))
    assert code == 11
    assert "the two entries differ" in screen


def test_a_file_is_kept_byte_for_byte(started: Person) -> None:
    content = bytes(range(256)) + b"\n"
    (started.home / "key").write_bytes(content)
    assert started.run("secrets.set", "key", "--host", "prod", "--from-file", f"{started.home}/key").returncode == 0
    assert started.run("secrets.show", "key", "--host", "prod", "--yes").stdout == content


@pytest.mark.parametrize(
    ("words", "given", "told"),
    [
        (("secrets.set", "../db"), b"c4n4ry", b"'../db' is not the name of a secret"),
        (("secrets.set", "db"), b"\n", b"db: empty, which is no secret"),
        (("secrets.set", "db"), b"c4n4ry" * 200_000, b"db: over the limit of 1 MiB"),
        (("secrets.set", "db", "--host", "nope"), b"c4n4ry", b"there is no hosts/nope.yml"),
        (("secrets.set", "db", "--from-file", "nope"), b"", b"nope cannot be read: No such file or directory"),
        (("secrets.show", "nope", "--yes"), b"", b"no secret nope in secrets/common/nope.age"),
        (("secrets.show", "nope"), b"", b"nope is not shown without asking"),
        (("secrets.generate", "db", "--alphabet", "emoji"), b"", b"there is no alphabet 'emoji'"),
        (("secrets.rotate", "nope"), b"", b"no secret nope"),
    ],
)
def test_what_cannot_be_is_told_in_a_line_and_a_hint(
    started: Person, words: tuple[str, ...], given: bytes, told: bytes
) -> None:
    result = started.run(*words, given=given)
    assert result.returncode == 11
    message, hint = result.stderr.splitlines()
    assert message.startswith(b"error: " + told)
    assert hint.startswith(b"  hint: ")
    assert b"c4n4ry" not in result.stdout + result.stderr
    assert not list(started.repository.glob("secrets/*/*.age"))


def test_showing_asks_first(started: Person) -> None:
    started.run("secrets.set", "db", given=b"c4n4ry")
    code, screen = started.types("secrets.show", "db", answers=(("[y/N] ", ""),))
    assert (code, "c4n4ry" in screen) == (11, False)
    code, screen = started.types("secrets.show", "db", answers=(("[y/N] ", "y"),))
    assert (code, "c4n4ry" in screen) == (0, True)


def test_a_protected_identity_asks_for_its_passphrase_once(me: Person) -> None:
    answers = (("identity: ", "correct horse"), ("again: ", "correct horse"))
    assert me.types("secrets.init", "--passphrase", answers=answers)[0] == 0
    for name in ("a", "b"):
        me.run("secrets.generate", name)
    code, screen = me.types("secrets.reencrypt", answers=(("passphrase of the identity: ", "correct horse"),))
    assert code == 0
    assert "2 secrets sealed" in screen
    alone = me.run("secrets.show", "a", "--yes")
    assert alone.returncode == 11
    assert b"no terminal to ask for passphrase of the identity" in alone.stderr


def test_reports_come_as_json_and_without_values(started: Person) -> None:
    started.run("secrets.set", "db", given=b"c4n4ry")
    listed = started.run("secrets.list", "--json")
    assert [entry["name"] for entry in json.loads(listed.stdout)] == ["db"]
    checked = started.run("secrets.check", "--host", "prod", "--json")
    assert json.loads(checked.stdout) == {"host": "prod", "checked": 0, "findings": []}
    sealed = started.run("secrets.reencrypt", "--json")
    assert json.loads(sealed.stdout) == {"sealed": ["secrets/common/db.age"]}
    assert b"c4n4ry" not in listed.stdout + checked.stdout + sealed.stdout


def test_a_check_with_findings_ends_with_exit_code_1(started: Person) -> None:
    (started.repository / "hosts" / "prod.yml").write_text(
        "connection: local\nregistries: [{host: ghcr.io, user: me, token: 'secret:token'}]\n"
    )
    result = started.run("secrets.check", "--host", "prod")
    assert result.returncode == 1
    assert b"no secret token" in result.stdout
    assert b"prod: 1 secret checked, 1 problem\n" in result.stdout
