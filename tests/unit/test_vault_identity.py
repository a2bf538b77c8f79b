"""The operator's identity: where it is looked for, who may read it, and how it is asked for."""

import stat
from pathlib import Path

import pytest

from toolkit.crypto import age, passphrase
from toolkit.vault import identity, terminal
from toolkit.vault.identity import Keyring
from toolkit.words.errors import SecretError
from toolkit.words.values import Secret


def refusal(keys: Keyring) -> SecretError:
    with pytest.raises(SecretError) as caught:
        keys.identities()
    assert caught.value.exit_code == 11
    return caught.value


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"TOOLKIT_IDENTITY": "/keys/me", "XDG_CONFIG_HOME": "/x"}, "/keys/me"),
        ({"XDG_CONFIG_HOME": "/x", "HOME": "/home/me"}, "/x/toolkit/identity"),
        ({"XDG_CONFIG_HOME": "relative", "HOME": "/home/me"}, "/home/me/.config/toolkit/identity"),
        ({"HOME": "/home/me"}, "/home/me/.config/toolkit/identity"),
    ],
)
def test_it_is_looked_for_where_the_environment_says(environ: dict[str, str], expected: str) -> None:
    assert identity.where(environ) == Path(expected)


def test_a_missing_one_says_where_it_was_looked_for(tmp_path: Path) -> None:
    told = refusal(Keyring({"XDG_CONFIG_HOME": str(tmp_path)}))
    assert told.message == f"no identity at {tmp_path}/toolkit/identity"
    assert "$TOOLKIT_IDENTITY" in told.hint
    assert "secrets.init" in told.hint


def test_a_new_one_is_for_its_owner_alone_and_never_overwrites(tmp_path: Path) -> None:
    path = tmp_path / "toolkit" / "identity"
    recipient = identity.make(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    (found,) = Keyring({"TOOLKIT_IDENTITY": str(path)}).identities()
    assert age.recipient_of(found) == recipient
    with pytest.raises(SecretError, match="already"):
        identity.make(path)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_one_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "identity"
    identity.make(path)
    path.chmod(mode)
    told = refusal(Keyring({"TOOLKIT_IDENTITY": str(path)}))
    assert told.message == f"others may read the identity {path}"
    assert told.hint == f"chmod 600 {path}"


def test_a_passphrase_is_asked_once_a_run(tmp_path: Path) -> None:
    path, asked = tmp_path / "identity", []
    recipient = identity.make(path, Secret(b"correct horse"))
    assert b"AGE-SECRET-KEY" not in path.read_bytes()

    def ask(prompt: str) -> Secret:
        asked.append(prompt)
        return Secret(b"correct horse")

    keys = Keyring({"TOOLKIT_IDENTITY": str(path)}, ask)
    assert age.recipient_of(keys.identities()[0]) == recipient
    keys.identities()
    assert asked == ["passphrase of the identity"]


def test_a_wrong_passphrase_is_told_and_not_repeated(tmp_path: Path) -> None:
    path = tmp_path / "identity"
    path.write_bytes(passphrase.seal(Secret(b"x"), Secret(b"right")))
    path.chmod(0o600)
    told = refusal(Keyring({"TOOLKIT_IDENTITY": str(path)}, lambda _prompt: Secret(b"c4n4ry")))
    assert told.message == f"{path}: the passphrase does not open this age file"
    assert "c4n4ry" not in f"{told} {told.hint}"


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"# nothing\n", "no identity in the identity file"), (b"c4n4ry\n", "not an identity")],
)
def test_a_file_that_holds_no_identity_is_named_and_not_repeated(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "identity"
    path.write_bytes(content)
    path.chmod(0o600)
    told = refusal(Keyring({"TOOLKIT_IDENTITY": str(path)}))
    assert told.message == f"{path}: {message}"
    assert "c4n4ry" not in told.hint


def test_two_entries_that_differ_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    typed = iter([Secret(b"one"), Secret(b"two")])
    monkeypatch.setattr(terminal, "hidden", lambda _prompt: next(typed))
    with pytest.raises(SecretError, match="the two entries differ"):
        terminal.hidden_twice("db")
