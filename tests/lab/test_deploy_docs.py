"""docs/deploy.md, run from top to bottom on a host that runs the trial stack."""

import re
import shlex
import shutil

import pytest

from tests.steps import ROOT
from tests.trial import Trial

pytestmark = pytest.mark.lab

PAGE = (ROOT / "docs/deploy.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [shlex.split(line, comments=True) for block in BLOCKS for line in block.splitlines() if line]


@pytest.mark.some(1, "pages whose commands are run")
def test_every_command_of_the_page_does_what_it_says(whole: Trial) -> None:
    release = whole.runs_whole()
    # A second release that passed, so that there is one to go back to.
    assert whole.deploy(release + 1).code == 0
    whole.want(release + 2)
    shutil.copy(whole.repo.root / "hosts/box.yml", whole.repo.root / "hosts/prod.yml")
    assert len(COMMANDS) > 10
    for program, *words in COMMANDS:
        assert program == "invoke"
        said = whole.repo.invoke(*words)
        expected = 2 if words[0] == "plan" else 0
        assert said.code == expected, (words, said)
        if words[0] == "run":
            assert said.out.strip() == str(release + 2)
    assert whole.repo.containers() == {}
    assert whole.deploy(release + 2).code == 0
    assert whole.runs_whole() == release + 2


def test_every_exit_code_of_the_page_is_explained() -> None:
    codes = set(re.findall(r"^\| (\d+) \|", (ROOT / "docs/exit-codes.md").read_text(), re.MULTILINE))
    named = re.findall(r"(\d+)", PAGE.split("## Exit codes", 1)[1])
    assert set(named) <= codes
