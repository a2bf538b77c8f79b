"""The systemctl that a package meets while apt is at work: Docker is started without waiting, all else as ever."""

import os
import re
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest


@pytest.fixture
def beside(tmp_path: Path) -> Path:
    """The program of apt.sh, with one that only repeats its words in the place of the real one."""
    text = (files("toolkit.machine") / "apt.sh").read_text()
    [program] = re.findall(r"<<'END'[^\n]*\n(.*?)^END$", text, re.MULTILINE | re.DOTALL)
    real, made = tmp_path / "real", tmp_path / "systemctl"
    real.write_text("#!/bin/sh\nprintf '%s\\n' \"$@\"\n")
    made.write_text(program.replace("/usr/bin/systemctl", str(real)))
    for one in (real, made):
        one.chmod(0o755)
    return made


def said(program: Path, *words: str) -> list[str]:
    return subprocess.run([program, *words], capture_output=True, text=True, check=True).stdout.splitlines()


def test_one_that_is_not_whole_may_not_be_run(tmp_path: Path) -> None:
    text = (files("toolkit.machine") / "apt.sh").read_text()
    [laying] = re.findall(r"^lay_beside\(\) \{\n.*?^\}$", text, re.MULTILINE | re.DOTALL)
    full = f"beside={tmp_path}/apt\n{laying}\ncat() {{ echo '#!/bin/sh'; return 1; }}\nlay_beside"
    subprocess.run(["sh", "-c", full], check=False)
    assert not os.access(tmp_path / "apt/systemctl", os.X_OK)
    subprocess.run(["sh", "-c", full.replace("cat() {", "other() {")], check=True)
    assert os.access(tmp_path / "apt/systemctl", os.X_OK)


@pytest.mark.parametrize("units", [("docker.service", "docker.socket"), ("containerd.service",)])
def test_docker_comes_up_while_apt_goes_on(beside: Path, units: tuple[str, ...]) -> None:
    words = ["--quiet", "--system", "start", *units]
    assert said(beside, *words) == ["--no-block", *words]


@pytest.mark.parametrize(
    "words",
    [
        ["--quiet", "--system", "start", "cron.service"],
        ["restart", "docker.service"],
        ["is-enabled", "--", "docker.service"],
        ["daemon-reload"],
        ["enable", "a unit  with blanks.service"],
    ],
)
def test_nothing_else_is_changed(beside: Path, words: list[str]) -> None:
    assert said(beside, *words) == words
