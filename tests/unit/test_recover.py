"""The reader for the day when the toolkit is gone: one file, Python's own library, `age` and `zstd`.

It runs in a virtual environment that has none of this project's packages, with the commands that the machine has.
"""

import ast
import atexit
import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from functools import cache
from pathlib import Path

import pytest

from tests.repository_setup import OPERATOR, Host, look, rich_tree
from tests.repository_vectors import VECTORS, Vector
from tests.unit.test_crypto_signing import VECTORS as PUBLISHED
from toolkit.crypto import age
from toolkit.crypto.ids import chunk_id
from toolkit.crypto.signing import VerifyKey
from toolkit.repository import Pin, Repository, compression, recover, restore
from toolkit.repository.verify import verify
from toolkit.store import open_store
from toolkit.words.values import Secret

PROGRAM = Path(recover.__file__)


@cache
def bare_python() -> str:
    """The interpreter of a virtual environment with nothing in it, not even an installer."""
    home = Path(tempfile.mkdtemp(prefix="recover-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    venv.create(home, with_pip=False)
    return str(home / "bin" / "python")


def run(*words: str | Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    # -I: no environment, no user packages, no current directory. Of the machine it has the path to `age` and `zstd`.
    command = [bare_python(), "-I", str(PROGRAM), *map(str, words)]
    given = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}
    return subprocess.run(command, capture_output=True, text=True, env=given, check=check)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> tuple[Host, Path, Path]:
    """A host, its tree, and a copy of its bucket, with the operator's key beside it."""
    base = tmp_path_factory.mktemp("recover")
    (base / "tree").mkdir()
    (base / "bucket").mkdir()
    rich_tree(base / "tree")
    host = Host(base / "state", open_store(f"file://{base}/bucket"))
    host.backup(base / "tree")
    (base / "key").write_bytes(OPERATOR.reveal() + b"\n")
    return host, base / "tree", base


def words(kept: tuple[Host, Path, Path]) -> list[str | Path]:
    host, _, base = kept
    return ["-i", base / "key", "--signing-key", str(host.pin().signing_key), base / "bucket"]


def test_it_is_one_short_file_that_needs_nothing() -> None:
    text = PROGRAM.read_text()
    assert len(text.splitlines()) < 250
    modules = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            modules |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(str(node.module).partition(".")[0])
    assert modules <= sys.stdlib_module_names


def test_its_environment_has_none_of_the_toolkit_and_none_of_its_packages() -> None:
    for name in ("toolkit", "pyrage", "blake3", "backports.zstd", "cryptography"):
        asked = subprocess.run([bare_python(), "-I", "-c", f"import {name}"], capture_output=True, check=False, cwd="/")
        assert b"ModuleNotFoundError" in asked.stderr, name


def test_it_brings_back_what_the_engine_wrote(kept: tuple[Host, Path, Path], tmp_path: Path) -> None:
    done = run(*words(kept), "restore", "latest", tmp_path / "out")
    assert "warning" not in done.stderr
    assert look(tmp_path / "out" / "data") == look(kept[1])


def test_it_lists_the_snapshots(kept: tuple[Host, Path, Path]) -> None:
    (name,) = kept[0].repository().snapshots()
    assert run(*words(kept), "list").stdout.split() == [str(name), "prod", "epoch", name.epoch]


def test_it_restores_one_path(kept: tuple[Host, Path, Path], tmp_path: Path) -> None:
    run(*words(kept), "restore", "latest", tmp_path / "out", "--below", "data/sub/deeper")
    restored = tmp_path / "out/data/sub/deeper"
    assert (restored / "large").read_bytes() == (kept[1] / "sub/deeper/large").read_bytes()
    assert [path.name for path in (tmp_path / "out/data").iterdir()] == ["sub"]


def test_it_refuses_a_snapshot_that_another_key_signed(kept: tuple[Host, Path, Path], tmp_path: Path) -> None:
    _host, _, base = kept
    other = str(Host(tmp_path / "other").origin.signing_key().verify_key)
    done = run(
        "-i", base / "key", "--signing-key", other, base / "bucket", "restore", "latest", tmp_path / "out", check=False
    )
    assert done.returncode == 1
    assert "was not signed with this key" in done.stderr
    assert not (tmp_path / "out").exists()


def test_it_warns_where_nobody_vouches_for_the_writer(kept: tuple[Host, Path, Path], tmp_path: Path) -> None:
    _, _, base = kept
    done = run("-i", base / "key", base / "bucket", "restore", "latest", tmp_path / "out")
    assert "warning: no --signing-key was given" in done.stderr


def test_it_refuses_a_damaged_pack(kept: tuple[Host, Path, Path], tmp_path: Path) -> None:
    subprocess.run(["cp", "-a", str(kept[2]), str(tmp_path / "copy")], check=True)
    pack = next((tmp_path / "copy" / "bucket").rglob("packs/*.age"))
    body = bytearray(pack.read_bytes())
    body[-1] ^= 1
    pack.write_bytes(body)
    asked = [*words(kept)[:-1], tmp_path / "copy" / "bucket", "restore", "latest", tmp_path / "out"]
    done = run(*asked, check=False)
    assert done.returncode == 1
    assert f"pack {pack.stem} is damaged" in done.stderr


def test_the_first_vector_is_never_deleted() -> None:
    assert [str(vector) for vector in VECTORS][:1] == ["repository-1"]


@pytest.mark.parametrize("vector", VECTORS, ids=str)
def test_the_engine_reads_every_version_that_was_ever_written(vector: Vector, tmp_path: Path) -> None:
    identities = age.identities_in(Secret(vector.identity.read_bytes()))
    store = open_store(f"file://{vector.bucket}")
    repository = Repository(store, "prod", identities, Pin(VerifyKey.parse(vector.signing_key)))
    assert verify(repository).sound
    for name in repository.snapshots():
        restore(repository.open(name), tmp_path / str(name))
        assert vector.seen(tmp_path / str(name)) == vector.expected[str(name)]


@pytest.mark.parametrize("vector", VECTORS, ids=str)
def test_it_reads_every_version_that_was_ever_written(vector: Vector, tmp_path: Path) -> None:
    for name, expected in vector.expected.items():
        asked = ["-i", vector.identity, "--signing-key", vector.signing_key, vector.bucket, "restore", name]
        run(*asked, tmp_path / name)
        assert vector.seen(tmp_path / name) == expected


def test_its_signatures_are_ed25519() -> None:
    for _, public, message, signature in PUBLISHED:
        key, text, signed = bytes.fromhex(public), bytes.fromhex(message), bytes.fromhex(signature)
        assert recover.signed(key, text, signed)
        for spoiled in (signed[:-1], signed + b"\0", bytes(64), signed[:5] + b"\0" + signed[6:]):
            assert not recover.signed(key, text, spoiled)
        assert not recover.signed(key, text + b"x", signed)
        # The same signature with the group's order added to its second half must not pass for another one.
        shifted = signed[:32] + (int.from_bytes(signed[32:], "little") + recover.L).to_bytes(32, "little")
        assert not recover.signed(key, text, shifted)


def test_the_format_page_shows_what_is_written(kept: tuple[Host, Path, Path]) -> None:
    """The two commands of the format page's first lines work, and give what the page says."""
    _host, _, base = kept
    (snapshot,) = (base / "bucket").rglob("snapshots/*.age")
    shell = 'age -d -i "$1" "$2" | zstd -d'
    shown = subprocess.run(["sh", "-c", shell, "sh", str(base / "key"), str(snapshot)], capture_output=True, check=True)
    magic, header, signature = shown.stdout.splitlines()
    assert magic == b"toolkit/snapshot 1"
    assert json.loads(header)["host"] == "prod"
    assert len(signature) == 88
    for pack in (base / "bucket").rglob("packs/*.age"):
        subprocess.run(["sh", "-c", shell, "sh", str(base / "key"), str(pack)], capture_output=True, check=True)


def test_the_examples_of_the_format_page_are_exact(tmp_path: Path) -> None:
    page = (PROGRAM.parent / "FORMAT.md").read_text()
    frame = compression.compress(b"hello\n")
    assert f"{frame.hex(' ')} | {compression.padding(len(frame)).hex(' ')}\n" in page
    assert chunk_id(bytes(32), b"hello\n").hex() in page
    (vector,) = [vector for vector in VECTORS if str(vector) == "repository-1"]
    newest = max(vector.bucket.rglob("snapshots/*.age"))
    opened = age.unseal(newest.read_bytes(), age.identities_in(Secret(vector.identity.read_bytes())))
    assert f"```\n{compression.expand(opened, 1 << 20).decode()}```\n" in page
