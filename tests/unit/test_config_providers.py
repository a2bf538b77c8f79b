import subprocess
import sys
import time
import traceback
from pathlib import Path

import pytest

from toolkit.config.providers import is_provider, resolve
from toolkit.words.errors import SecretError
from toolkit.words.values import Secret

ROOT = Path(__file__).parents[2]
PATH = {"PATH": "/usr/local/bin:/usr/bin:/bin"}


def test_a_variable_gives_its_value(tmp_path: Path) -> None:
    assert resolve("env:TOKEN", root=tmp_path, environ={"TOKEN": "s3 cret"}).reveal() == b"s3 cret"


def test_a_program_gives_what_it_prints_without_its_line_end(tmp_path: Path) -> None:
    assert resolve("command:printf 'two words\\n\\n'", root=tmp_path, environ=PATH).reveal() == b"two words\n"


def test_a_program_runs_in_the_repository(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("here")
    assert resolve("command:cat token", root=tmp_path, environ=PATH).reveal() == b"here"


def test_no_shell_reads_the_line(tmp_path: Path) -> None:
    printed = resolve("command:echo $HOME; touch owned `id`", root=tmp_path, environ=PATH).reveal()
    assert printed == b"$HOME; touch owned `id`"
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize(
    ("provider", "message"),
    [
        ("env:TOKEN", "env:TOKEN is not set"),
        ("env:EMPTY", "env:EMPTY gives an empty value"),
        ("env:A B", "env: takes the name of one variable"),
        ("command:", "command: takes a program"),
        ("command:cat 'open", "command: has an open quotation"),
        ("command:true", "command:true gives an empty value"),
        ("command:false", "command:false failed with exit code 1"),
        ("command:no-such-program -x", "command:no-such-program -x cannot be run: No such file or directory"),
    ],
)
def test_a_provider_that_gives_nothing_is_named(tmp_path: Path, provider: str, message: str) -> None:
    with pytest.raises(SecretError) as caught:
        resolve(provider, root=tmp_path, environ=PATH | {"EMPTY": ""})
    assert caught.value.message == message
    assert caught.value.hint
    assert caught.value.exit_code == 11


def test_a_value_that_is_no_provider_is_refused_and_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(SecretError) as caught:
        resolve("hunter2", root=tmp_path, environ={})
    assert "hunter2" not in f"{caught.value} {caught.value.hint}"


def test_a_program_that_hangs_is_given_up_even_when_its_children_hold_the_pipe(tmp_path: Path) -> None:
    (tmp_path / "hang.py").write_text("import os, time; print('canary', flush=True); os.fork(); time.sleep(8)")
    begun = time.monotonic()
    with pytest.raises(SecretError, match=r"did not end within 0\.5 s") as caught:
        resolve(f"command:{sys.executable} hang.py", root=tmp_path, environ=PATH, within=0.5)
    assert time.monotonic() - begun < 5
    assert "canary" not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__context__ is None


def test_a_program_cannot_eat_the_input_of_a_deploy() -> None:
    program = (
        "import os, sys; from pathlib import Path; from toolkit.config.providers import resolve;"
        "resolve('command:head -c 5', root=Path(), environ=os.environ)"
    )
    told = subprocess.run([sys.executable, "-c", program], cwd=ROOT, input=b"typed", capture_output=True, check=False)
    assert b"gives an empty value" in told.stderr


def test_what_a_failing_program_printed_is_not_repeated(tmp_path: Path) -> None:
    with pytest.raises(SecretError) as caught:
        resolve("command:sh -c 'echo ca\"\"nary; exit 3'", root=tmp_path, environ=PATH)
    assert "exit code 3" in caught.value.message
    assert "canary" not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(("text", "expected"), [("env:A", True), ("command:op", True), ("info", False), ("", False)])
def test_providers_are_told_from_values(text: str, expected: bool) -> None:
    assert is_provider(text) is expected


def test_a_kept_secret_comes_from_the_vault_that_is_given(tmp_path: Path) -> None:
    kept = {"db.password": Secret(b"kept")}
    found = resolve("secret:db.password", root=tmp_path, environ={}, vault=kept.__getitem__)
    assert found.reveal() == b"kept"


def test_a_kept_secret_is_refused_where_no_vault_is_open(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="secret:db: the vault is not open here"):
        resolve("secret:db", root=tmp_path, environ={})


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".x", "a..b", "a.", "UPPER", "-x", "a b", "x" * 65, "x\n"])
def test_a_kept_secret_has_a_name_that_is_safe_as_a_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(SecretError, match="secret: takes a name of lower-case letters"):
        resolve(f"secret:{name}", root=tmp_path, environ={}, vault=lambda _name: Secret(b"x"))
