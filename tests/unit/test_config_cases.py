"""Every file in tests/cases/config is refused with the message and the hint in the text beside it."""

import shutil
from pathlib import Path

import pytest

from toolkit.config.load import load
from toolkit.words.errors import ConfigError

CASES = sorted((Path(__file__).parents[1] / "cases" / "config").glob("*.yml"))


@pytest.fixture
def hosts(tmp_path: Path) -> Path:
    """A small repository: a stack, a key, and a link that leads out."""
    for folder in ("hosts", "shop", "keys"):
        (tmp_path / folder).mkdir()
    (tmp_path / "shop" / "compose.yaml").write_text("services: {}\n")
    (tmp_path / "shop" / "link.yaml").symlink_to("/etc/hosts")
    (tmp_path / "keys" / "docker.asc").write_text("-----BEGIN PGP PUBLIC KEY BLOCK-----\n")
    return tmp_path / "hosts"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_a_faulty_file_is_refused_with_every_fault_in_it(case: Path, hosts: Path) -> None:
    shutil.copy(case, hosts / "web.yml")
    with pytest.raises(ConfigError) as caught:
        load(hosts / "web.yml")
    assert f"{caught.value.message}\nhint: {caught.value.hint}\n" == case.with_suffix(".txt").read_text()
    assert caught.value.exit_code == 10


def test_no_message_repeats_a_secret_that_stands_in_the_wrong_place(hosts: Path) -> None:
    case = next(case for case in CASES if case.stem == "literal-secrets")
    shutil.copy(case, hosts / "web.yml")
    with pytest.raises(ConfigError) as caught:
        load(hosts / "web.yml")
    told = f"{caught.value} {caught.value.hint}"
    assert not [secret for secret in ("hunter2", "ghp_", "12345678", "31.4") if secret in told]
