"""Secrets at rest: what is written is read, and whatever is unfit is refused with its file and a way out."""

import stat
from pathlib import Path

import pyrage
import pytest

from toolkit.crypto import age
from toolkit.vault import recipients
from toolkit.vault.files import LARGEST, Vault
from toolkit.vault.identity import Keyring
from toolkit.words import atomic
from toolkit.words.errors import SecretError
from toolkit.words.values import Secret

CANARY = b"c4n4ry-value"


def keyring(folder: Path, identity: Secret) -> Keyring:
    path = folder / "identity"
    path.write_bytes(identity.reveal() + b"\n")
    path.chmod(0o600)
    return Keyring({"TOOLKIT_IDENTITY": str(path)})


@pytest.fixture
def operator(tmp_path: Path) -> Secret:
    return age.new_identity()


@pytest.fixture
def own(tmp_path: Path, operator: Secret) -> Keyring:
    return keyring(tmp_path, operator)


@pytest.fixture
def vault(tmp_path: Path, operator: Secret) -> Vault:
    root = tmp_path / "repository"
    (root / "secrets").mkdir(parents=True)
    escrow = age.recipient_of(age.new_identity())
    (root / recipients.FILE).write_text(recipients.text(age.recipient_of(operator), escrow))
    return Vault(root)


def refusal(vault: Vault, own: Keyring, place: str = "prod", name: str = "db") -> SecretError:
    with pytest.raises(SecretError) as caught:
        vault.read(place, name, own)
    assert caught.value.exit_code == 11
    assert caught.value.hint
    assert CANARY.decode() not in f"{caught.value} {caught.value.hint}"
    return caught.value


@pytest.mark.parametrize("value", [b"x", b"with\nlines\n", bytes(range(256)), b"s" * LARGEST])
def test_what_is_written_is_read(vault: Vault, own: Keyring, value: bytes) -> None:
    path = vault.write("prod", "db", Secret(value))
    assert vault.read("prod", "db", own).reveal() == value
    assert path.read_bytes().startswith(b"-----BEGIN AGE ENCRYPTED FILE-----\n")
    assert value not in path.read_bytes() or len(value) == 1


def test_a_hosts_own_secret_goes_before_a_common_one(vault: Vault, own: Keyring) -> None:
    vault.write("common", "db", Secret(b"common"))
    vault.write("common", "key", Secret(b"key"))
    vault.write("prod", "db", Secret(b"own"))
    assert vault.read("prod", "db", own).reveal() == b"own"
    assert vault.read("stage", "db", own).reveal() == b"common"
    assert vault.names("prod") == {"db": "prod", "key": "common"}
    assert vault.places() == ("common", "prod")


def test_a_binary_age_file_that_another_program_made_is_read(vault: Vault, own: Keyring) -> None:
    path = vault.write("prod", "db", Secret(b"x"))
    keys = [pyrage.x25519.Recipient.from_str(text) for text in vault.recipients()]
    path.write_bytes(pyrage.encrypt(b"theirs", keys))
    assert vault.read("prod", "db", own).reveal() == b"theirs"


def test_every_recipient_opens_what_is_written(vault: Vault, tmp_path: Path) -> None:
    colleague = age.new_identity()
    with (vault.root / recipients.FILE).open("a") as listed:
        listed.write(f"# Robin\n{age.recipient_of(colleague)}\n")
    path = vault.write("prod", "db", Secret(b"x"))
    assert vault.read("prod", "db", keyring(tmp_path, colleague)).reveal() == b"x"
    assert age.sealed_for(path.read_bytes()) == 3


@pytest.mark.parametrize("name", ["", "a/b", "../x", "..", ".x", "a..b", "UPPER", "-x", "a b", "x" * 65, "x\n", "é"])
def test_a_name_that_is_no_safe_file_name_is_refused(vault: Vault, own: Keyring, name: str) -> None:
    assert refusal(vault, own, name=name).message == f"{name!r} is not the name of a secret"
    with pytest.raises(SecretError, match="is not the name of a secret"):
        vault.write("prod", name, Secret(b"x"))
    assert [path.name for path in (vault.root / "secrets").iterdir()] == ["recipients.txt"]


@pytest.mark.parametrize("place", ["", "..", "../x", "a/b", ".git"])
def test_a_place_that_is_no_host_is_refused(vault: Vault, own: Keyring, place: str) -> None:
    assert refusal(vault, own, place=place).message == f"{place!r} is not the name of a host"


def test_a_link_out_of_the_vault_is_not_followed(vault: Vault, own: Keyring, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (vault.root / "secrets" / "prod").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SecretError, match=r"secrets/prod/db\.age leads out of secrets/"):
        vault.write("prod", "db", Secret(b"x"))
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize(
    ("value", "message"),
    [(b"", "db: empty, which is no secret"), (CANARY * LARGEST, "db: over the limit of 1 MiB")],
    ids=["empty", "large"],
)
def test_an_unfit_value_is_refused_and_the_old_one_stays(
    vault: Vault, own: Keyring, value: bytes, message: str
) -> None:
    vault.write("prod", "db", Secret(b"before"))
    with pytest.raises(SecretError) as caught:
        vault.write("prod", "db", Secret(value))
    assert (caught.value.message, caught.value.exit_code) == (message, 11)
    assert vault.read("prod", "db", own).reveal() == b"before"


def test_a_missing_secret_says_where_it_was_looked_for(vault: Vault, own: Keyring) -> None:
    told = refusal(vault, own)
    assert told.message == "no secret db in secrets/prod/db.age or secrets/common/db.age"
    assert told.hint == "invoke secrets.set db --host prod"


def test_a_damaged_file_is_named(vault: Vault, own: Keyring) -> None:
    path = vault.write("prod", "db", Secret(CANARY * 50))
    whole = path.read_bytes()
    for damaged in (whole[:-80], whole[:200], b"junk", b"", whole.replace(whole[300:304], b"AAAA")):
        path.write_bytes(damaged)
        assert refusal(vault, own).message.startswith("secrets/prod/db.age: a damaged age file")


def test_an_empty_and_an_oversized_file_of_others_are_refused(vault: Vault, own: Keyring) -> None:
    path = vault.write("prod", "db", Secret(b"x"))
    path.write_bytes(age.seal(b"", vault.recipients(), armoured=True))
    assert refusal(vault, own).message == "secrets/prod/db.age: empty, which is no secret"
    path.write_bytes(age.seal(bytes(LARGEST + 1), vault.recipients(), armoured=True))
    assert refusal(vault, own).message == "secrets/prod/db.age: over the limit of 1 MiB"
    path.write_bytes(bytes(3 * LARGEST))
    assert refusal(vault, own).message == "secrets/prod/db.age is over the limit of 1 MiB"


def test_the_wrong_identity_is_told_with_who_could_open_it(vault: Vault, tmp_path: Path) -> None:
    vault.write("prod", "db", Secret(b"x"))
    told = refusal(vault, keyring(tmp_path, age.new_identity()))
    assert told.message == "secrets/prod/db.age: no identity opens this age file"
    assert "secrets/recipients.txt names them" in told.hint
    assert str(tmp_path / "identity") in told.hint


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("age1nonsense\n", "secrets/recipients.txt:1: not a recipient"),
        ("# who\n\nhunter2\n", "secrets/recipients.txt:3: not a recipient"),
        ("AGE-SECRET-KEY-1CANARY\n", "secrets/recipients.txt:1: this is a private key"),
        ("# nobody\n", "secrets/recipients.txt names nobody"),
    ],
)
def test_whoever_is_no_recipient_is_named_by_line_and_not_repeated(vault: Vault, text: str, message: str) -> None:
    (vault.root / recipients.FILE).write_text(text)
    with pytest.raises(SecretError) as caught:
        vault.write("prod", "db", Secret(b"x"))
    assert (caught.value.message, caught.value.exit_code) == (message, 11)
    assert "hunter2" not in caught.value.hint
    assert not (vault.root / "secrets" / "prod").exists()


def test_without_recipients_the_way_to_make_them_is_told(tmp_path: Path) -> None:
    with pytest.raises(SecretError) as caught:
        Vault(tmp_path).write("prod", "db", Secret(b"x"))
    assert caught.value.message == "no secrets/recipients.txt"
    assert "secrets.init" in caught.value.hint


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    atomic.replace(path, b"first", mode=0o600)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with pytest.raises(FileExistsError):
        atomic.create(path, b"second", mode=0o600)

    def no_space(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", no_space)
    with pytest.raises(OSError, match="No space left"):
        atomic.replace(path, b"second", mode=0o600)
    assert path.read_bytes() == b"first"
    assert [found.name for found in tmp_path.iterdir()] == ["file"]
