"""docs/drill.md: what needs no Engine is run from top to bottom; what does is run by tests/lab/test_drill.py."""

import re
import shlex
import subprocess
from pathlib import Path

from tests.unit.test_drill_verbs import Drilled, Site, drill, site
from toolkit.config.backup_files import load
from toolkit.verbs.program import namespace

assert drill, site

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/drill.md").read_text()
BLOCKS = re.findall(r"^```(sh|sh lab)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_every_command_of_the_page_does_what_it_says(site: Site, drill: Drilled, tmp_path: Path) -> None:
    report, ran = "", 0
    for kind, block in BLOCKS:
        if kind != "sh":
            continue
        if block.startswith("python3"):
            done = subprocess.run(
                ["bash", "-euc", block],
                cwd=tmp_path,
                env={"PATH": "/usr/bin:/bin", "REPORT": report},
                capture_output=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            assert b"Signature Verified Successfully" in done.stdout
            continue
        for line in block.replace('"$ESCROW"', str(tmp_path / "escrow")).replace('"$REPORT"', report).splitlines():
            program, *words = shlex.split(line.partition(" > ")[0])
            assert program == "invoke"
            drill.say(*words)
            ran += 1
            report = str(max((site.root / "backups/reports").glob("*.json")))
    assert ran == 7


def test_every_command_for_a_lab_exists_with_its_options() -> None:
    verbs = namespace()
    for kind, block in BLOCKS:
        for line in block.splitlines() if kind == "sh lab" else ():
            _, verb, *words = shlex.split(line)
            flags = {flag.replace("-", "_") for argument in verbs[verb].get_arguments() for flag in argument.names}
            wanted = [word.removeprefix("--").replace("-", "_") for word in words if word.startswith("--")]
            assert set(wanted) <= flags, (line, flags)


def test_the_backup_file_of_the_page_is_sound(tmp_path: Path) -> None:
    written = re.search(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert written
    for folder in ("hosts", "backups"):
        (tmp_path / folder).mkdir()
    (tmp_path / "hosts/prod.yml").write_text("connection: local\n")
    (tmp_path / "backups/prod.yml").write_text(f"repository: {{url: 'file:///store'}}\n{written[1]}")
    assert load(tmp_path / "backups/prod.yml").drill.on == "spare"
