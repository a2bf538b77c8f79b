"""The backup file of a lab host is one that the toolkit reads, and goes with the lab, alone."""

from pathlib import Path

from toolkit.config import backup_files
from toolkit.lab import backupfile
from toolkit.lab.home import Home
from toolkit.lab.services import S3
from toolkit.words.values import Secret


def test_a_lab_host_is_backed_up_by_an_ordinary_file_and_what_others_wrote_stays(tmp_path: Path) -> None:
    for folder in ("hosts", "backups/reports"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "hosts/lab.yml").write_text("connection: local\n")
    users = (("operator-key", Secret(b"operator-canary")), ("host-key", Secret(b"host-canary")))
    s3 = S3("http://127.0.0.1:1", "http://10.0.0.3:8080", "", b"", *users)
    path = backupfile.write(Home(tmp_path), s3, "lab")
    found = backup_files.load(path)
    assert found.repository.url == "s3://lab-lab/backups?endpoint=http://10.0.0.3:8080"
    assert len(set(found.recipients)) == 2
    assert "canary" not in path.read_text()
    others = [tmp_path / "backups" / name for name in ("labour.yml", "labour.head", "reports/labour-1.json")]
    for other in others:
        other.write_text("somebody's own")
    for name in ("lab.head", "lab.recovery.json", "reports/lab-1.json"):
        (tmp_path / "backups" / name).touch()
    backupfile.remove(Home(tmp_path))
    left = {path for path in (tmp_path / "backups").rglob("*") if path.is_file()}
    assert left == set(others)
