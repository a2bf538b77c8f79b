"""docs/secrets.md, run from top to bottom in a new repository, with two people."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from invoke.collection import Collection

from toolkit.config.models import Stack
from toolkit.crypto import age
from toolkit.verbs.program import namespace
from toolkit.words.values import Secret

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "secrets.md").read_text()
BLOCKS = re.findall(r"^```(sh[a-z ]*)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
RUN_HERE = {"sh", "sh colleague"}
RUN_ELSEWHERE = {"sh host", "sh age"}
COMPOSE = """
services:
  db: {image: db, secrets: [postgres_password, tls_key]}
  api: {image: api, secrets: [session_key, smtp_password]}
"""


class Desk:
    """A person's environment: an identity of their own, and `invoke` on the path."""

    def __init__(self, repository: Path, home: Path) -> None:
        self.repository, self.config = repository, home / "config"
        self.environ = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(home),
            "PYTHONPATH": str(ROOT),
            "XDG_CONFIG_HOME": str(self.config),
            "EDITOR": "sed -i s/$/x/",
            **{f"GIT_{role}_{key}": "me@example.org" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")},
        }

    def run(self, block: str) -> str:
        # `script` gives it a terminal, which the escrow identity asks for.
        done = subprocess.run(
            ["script", "--quiet", "--return", "--command", f"bash -euo pipefail -c '{quoted(block)}'", "/dev/null"],
            cwd=self.repository,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}"
        return done.stdout


def quoted(block: str) -> str:
    return block.replace("'", "'\\''")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    for folder in ("hosts", "shop"):
        (root / folder).mkdir(parents=True)
    shutil.copy(ROOT / "tasks.py", root)
    (root / "hosts" / "prod.yml").write_text("connection: local\nstack: {name: shop, directory: shop}\n")
    (root / "shop" / "compose.yaml").write_text(COMPOSE)
    (root / "tls.key").write_bytes(b"\x00key")
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    return root


def test_every_command_of_the_page_does_what_it_says(repository: Path, tmp_path: Path) -> None:
    me, robin = Desk(repository, tmp_path / "me"), Desk(repository, tmp_path / "robin")
    for kind, block in BLOCKS:
        if kind not in RUN_HERE:
            continue
        desk = robin if kind == "sh colleague" else me
        said = desk.run(block)
        if escrow := re.search(r"AGE-SECRET-KEY-1\w+", said):
            me.environ |= {"ESCROW": str(secret_file(tmp_path, escrow[0]))}
            me.environ |= {"LOST": age.recipient_of(own(me))}
        if kind == "sh colleague" or "identity.lost" in block:
            me.environ["RECIPIENT"] = age.recipient_of(own(desk))
    listed = (repository / "secrets" / "recipients.txt").read_text()
    assert age.recipient_of(own(me)) in listed
    assert me.environ["LOST"] not in listed
    assert not Path(me.environ["ESCROW"]).exists()
    log = subprocess.run(["git", "-C", str(repository), "log", "--format=%s"], capture_output=True, check=True)
    assert log.stdout.decode().splitlines()[::-1] == [
        "Keep our secrets",
        "Rotate the database password",
        "Let Robin open our secrets",
    ]


def secret_file(folder: Path, text: str) -> Path:
    path = folder / "escrow"
    path.write_text(text)
    path.chmod(0o600)
    return path


def own(desk: Desk) -> Secret:
    lines = (desk.config / "toolkit" / "identity").read_bytes().splitlines()
    return Secret(next(line for line in lines if line.startswith(b"AGE-SECRET-KEY-1")))


def test_every_block_says_where_it_runs() -> None:
    assert {kind for kind, _ in BLOCKS} == RUN_HERE | RUN_ELSEWHERE


def test_the_host_file_of_the_page_is_sound() -> None:
    (text,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    stack = Stack.model_validate({"name": "shop", "directory": "shop", **yaml.safe_load(text)["stack"]})
    assert set(stack.secrets) == {"database_url", "postgres_password", "licence"}


def test_every_verb_of_secrets_is_on_the_page() -> None:
    collection: Collection = namespace().collections["secrets"]
    assert {f"secrets.{name}" for name in collection.tasks} == set(re.findall(r"secrets\.[a-z]+(?<!txt)\b", PAGE))
