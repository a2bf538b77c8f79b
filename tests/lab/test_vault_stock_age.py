"""Stock age, as Debian has it, opens what the vault wrote and writes what the vault reads."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.crypto import age
from toolkit.vault import identity, recipients
from toolkit.vault.files import Vault
from toolkit.vault.identity import Keyring
from toolkit.words.values import Secret

pytestmark = pytest.mark.lab
ROOT = Path(__file__).parents[2]
PASSPHRASE = "correct horse battery"


def stock(*words: str, given: bytes = b"") -> bytes:
    assert shutil.which(words[0]), "stock age is missing: apt-get install age"
    done = subprocess.run(words, input=given, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


@pytest.fixture
def keys(tmp_path: Path) -> Keyring:
    path = tmp_path / "identity"
    path.write_bytes(stock("age-keygen"))
    path.chmod(0o600)
    return Keyring({"TOOLKIT_IDENTITY": str(path)})


@pytest.fixture
def vault(tmp_path: Path, keys: Keyring) -> Vault:
    (tmp_path / "repository" / "secrets").mkdir(parents=True)
    own, escrow = age.recipient_of(keys.identities()[0]), age.recipient_of(age.new_identity())
    (tmp_path / "repository" / recipients.FILE).write_text(recipients.text(own, escrow))
    return Vault(tmp_path / "repository")


@pytest.mark.parametrize("value", [b"x", bytes(range(256)) * 300], ids=["small", "binary"])
def test_stock_age_opens_what_the_vault_wrote(vault: Vault, keys: Keyring, value: bytes) -> None:
    path = vault.write("prod", "db", Secret(value))
    assert stock("age", "--decrypt", "--identity", str(keys.path), str(path)) == value


@pytest.mark.parametrize("armour", [("--armor",), ()], ids=["armoured", "binary"])
def test_the_vault_reads_what_stock_age_wrote(vault: Vault, keys: Keyring, armour: tuple[str, ...]) -> None:
    path = vault.write("prod", "db", Secret(b"before"))
    listed = str(vault.root / recipients.FILE)
    path.write_bytes(stock("age", "--recipients-file", listed, *armour, given=b"theirs"))
    assert vault.read("prod", "db", keys).reveal() == b"theirs"


def test_an_ssh_key_is_a_recipient_and_an_identity(vault: Vault, tmp_path: Path) -> None:
    key = tmp_path / "id_ed25519"
    stock("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
    with (vault.root / recipients.FILE).open("a") as listed:
        listed.write(key.with_suffix(".pub").read_text())
    path = vault.write("prod", "db", Secret(b"x"))
    assert vault.read("prod", "db", Keyring({"TOOLKIT_IDENTITY": str(key)})).reveal() == b"x"
    assert stock("age", "--decrypt", "--identity", str(key), str(path)) == b"x"


def test_stock_age_opens_a_protected_identity(tmp_path: Path) -> None:
    path = tmp_path / "identity"
    recipient = identity.make(path, Secret.of(PASSPHRASE))
    # age asks on the terminal alone; `script` is one, and types.
    line = f"age --decrypt {path} 2>/dev/null > {tmp_path}/clear"
    stock("script", "--quiet", "--return", "--command", line, "/dev/null", given=f"{PASSPHRASE}\n".encode())
    assert recipient in (tmp_path / "clear").read_text()


def test_the_pages_commands_for_stock_age_work(vault: Vault, keys: Keyring, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "secrets.md").read_text()
    (block,) = re.findall(r"^```sh age\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (vault.root / "hosts").mkdir()
    shutil.copy(ROOT / "tasks.py", vault.root)
    vault.write("common", "postgres_password", Secret(b"kJ3nq8Vt"))
    (tmp_path / "config" / "toolkit").mkdir(parents=True)
    shutil.copy(keys.path, tmp_path / "config" / "toolkit" / "identity")
    environ = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "EDITOR": "sed -i s/$/x/",
    }
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block], cwd=vault.root, env=environ, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.startswith(b"kJ3nq8Vt")
    assert re.fullmatch(rb"[0-9a-f]{40}x\n", vault.read("common", "api_token", keys).reveal())
