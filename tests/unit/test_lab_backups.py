"""The backup file of a lab host: one that the toolkit reads, with the example's own policy, that goes with the lab."""

import shutil
from pathlib import Path

import pytest

from toolkit.config import backup_files
from toolkit.config.backups import BackupFile
from toolkit.lab import backupfile
from toolkit.lab.home import Home
from toolkit.lab.services import S3
from toolkit.words.values import Secret

EXAMPLES = Path(__file__).parents[2] / "examples"
USERS = (("operator-key", Secret(b"operator-canary")), ("host-key", Secret(b"host-canary")))
STORE = S3("http://127.0.0.1:1", "http://10.0.0.3:8080", "", b"", *USERS)


def written(root: Path, example: str) -> BackupFile:
    """Write the file as `lab.backups` does, in a repository that has this example, and read it."""
    shutil.copytree(EXAMPLES / example, root / "examples" / example)
    for folder in ("hosts", "backups/reports"):
        (root / folder).mkdir(parents=True)
    (root / "hosts/lab.yml").write_text("connection: local\n")
    return backup_files.load(backupfile.write(Home(root), STORE, "lab", example))


def test_a_lab_host_is_backed_up_by_an_ordinary_file_and_what_others_wrote_stays(tmp_path: Path) -> None:
    found = written(tmp_path, "taskflow")
    assert found.repository.url == "s3://lab-lab/backups?endpoint=http://10.0.0.3:8080"
    assert len(set(found.recipients)) == 2
    assert "canary" not in (tmp_path / "backups/lab.yml").read_text()
    others = [tmp_path / "backups" / name for name in ("labour.yml", "labour.head", "reports/labour-1.json")]
    for other in others:
        other.write_text("somebody's own")
    for name in ("lab.head", "lab.recovery.json", "reports/lab-1.json"):
        (tmp_path / "backups" / name).touch()
    backupfile.remove(Home(tmp_path))
    left = {path for path in (tmp_path / "backups").rglob("*") if path.is_file()}
    assert left == set(others)


@pytest.mark.parametrize("example", ["oneglanse", "relay", "taskflow", "viraclip"])
def test_it_has_the_policy_of_the_example(example: str, tmp_path: Path) -> None:
    found = written(tmp_path, example)
    assert found.schedule
    assert found.targets.rpo
    assert found.targets.rto
    assert found.drill.level == 4
    assert [query for query in found.drill.queries if query.at_least == 1]
    assert found.drill.probes
    # A lab of another example has another one: nothing of this is the toolkit's own default.
    assert (EXAMPLES / example / "backup.yml").read_text() in (tmp_path / "backups/lab.yml").read_text()


def test_an_example_without_a_policy_is_backed_up_by_the_defaults(tmp_path: Path) -> None:
    (tmp_path / "hosts").mkdir()
    (tmp_path / "hosts/lab.yml").write_text("connection: local\n")
    found = backup_files.load(backupfile.write(Home(tmp_path), STORE, "lab", "nothing"))
    assert found.drill.queries == ()
