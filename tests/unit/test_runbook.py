"""The runbook: real names, times of the last measurement, and no command that does not exist."""

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from invoke.collection import Collection
from invoke.parser import Parser

from tests.repository_setup import RECIPIENTS
from toolkit.config.backup_duty import SourceOf
from toolkit.config.load import load
from toolkit.vault.identity import Keyring
from toolkit.verbs.program import namespace
from toolkit.workflows import runbook
from toolkit.workflows.backups import Backups

ROOT = Path(__file__).parents[2]
DOCS = ("restore.md", "recover.md")
HOST = """
connection: {address: prod.example.com, user: admin}
registries: [{host: ghcr.io, user: acme, token: "env:GHCR_TOKEN"}]
stack: {name: shop, directory: shop}
"""


@pytest.fixture
def backups(tmp_path: Path) -> Backups:
    for folder in ("hosts", "backups/reports", "shop"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "shop/compose.yaml").write_text("services: {}\n")
    (tmp_path / "hosts/prod.yml").write_text(HOST)
    described = {
        "repository": {
            "url": "s3://acme/site?endpoint=https://s3.example.com",
            "operator": {"access_key": "env:ACCESS", "secret_key": "command:pass show backup"},
            "host": {"access_key": "env:HOST_ACCESS", "secret_key": "env:HOST_SECRET"},
        },
        "recipients": list(RECIPIENTS),
    }
    (tmp_path / "backups/prod.yml").write_text(json.dumps(described))
    return Backups.of(load(tmp_path / "hosts/prod.yml"), Keyring({}))


def report(backups: Backups, name: str, content: object) -> None:
    (backups.file.root / "backups/reports" / name).write_text(json.dumps(content))


def drilled(host: str, when: str, **phases: float) -> dict[str, object]:
    found = [{"name": name, "seconds": seconds, "recovers": name != "audit"} for name, seconds in phases.items()]
    return {"format": "toolkit drill 1", "key": "…", "report": {"host": host, "started": when, "phases": found}}


def test_a_page_names_where_everything_is_and_needs_nothing_to_be_there(backups: Backups) -> None:
    page = runbook.page(backups)
    for wanted in ("`env:ACCESS`", "`command:pass show backup`", "`ghcr.io`", *RECIPIENTS, "backups/prod.head"):
        assert wanted in page
    assert "rclone copy s3:acme/site copy" in page
    assert "invoke recover --host prod --to replacement" in page
    assert "Nobody has measured it yet" in page
    assert "{" not in re.sub(r"\$\{[^}]*\}", "", page)


def test_times_are_those_of_the_newest_drill_or_recovery_of_this_host(backups: Backups) -> None:
    recovery = {
        "format": "toolkit recovery 1",
        "host": "prod",
        "began": "2026-11-02",
        "seconds": {"data": 90.0},
        "report": "its own path",
    }
    report(backups, "prod-recovery-2.json", recovery)
    assert "It took 1 m 30 s in a recovery on 2026-11-02" in runbook.page(backups)
    report(backups, "prod-1.json", drilled("prod", "2026-11-03", restore=120.0, audit=500.0))
    page = runbook.page(backups)
    assert "It took 2 m in a drill on 2026-11-03 (`backups/reports/prod-1.json`)" in page
    assert "| restore | 2 m |" in page


def test_a_report_that_is_none_or_anothers_is_passed_over(backups: Backups) -> None:
    report(backups, "prod-1.json", drilled("staging", "2027-01-01", restore=1.0))
    for number, content in enumerate(([], {}, {"format": "toolkit drill 1", "report": 3}, {"format": "other 1"}), 2):
        report(backups, f"prod-{number}.json", content)
    (backups.file.root / "backups/reports/prod-9.json").write_text("{")
    assert "Nobody has measured it yet" in runbook.page(backups)


def test_a_phase_of_a_report_cannot_steer_the_page(backups: Backups) -> None:
    report(backups, "prod-1.json", drilled("prod", "2026-11-03", **{"a | b\n# c\x1b[2J": 1.0}))
    assert "| a / b\\n# c\\x1b[2J | 1.0 s |" in runbook.page(backups)


def test_where_a_log_is_shipped_the_page_says_how_to_be_back_at_a_moment(backups: Backups) -> None:
    assert "--at" not in runbook.page(backups)
    source = SourceOf(kind="postgres", service="db", wal=True)
    shipping = replace(backups, file=replace(backups.file, sources=(source,)))
    page = runbook.page(shipping)
    assert 'invoke restore --host prod --at "2026-11-28 03:00" --plan' in page
    assert "The log of `postgres/db` is shipped" in page
    documented = commands((ROOT / "docs/restore.md").read_text())
    assert [line for line in commands(page) if "--at" in line and line not in documented] == []
    several = (source, source.model_copy(update={"service": "other"}))
    assert '--at "2026-11-28 03:00" --source postgres/db --yes' in runbook.page(
        replace(backups, file=replace(backups.file, sources=several))
    )


def commands(text: str) -> list[str]:
    """Every `invoke …` line of a page's blocks, and those that it speaks of between backticks."""
    blocks = re.findall(r"^```sh[a-z ]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [line for line in (*lines, *re.findall(r"`(invoke [^`]*)`", text)) if line.startswith("invoke ")]


@pytest.mark.parametrize("page", [*DOCS, "runbook"])
def test_every_command_of_a_page_exists_with_its_options(page: str, backups: Backups) -> None:
    text = runbook.page(backups) if page == "runbook" else (ROOT / "docs" / page).read_text()
    collection: Collection = namespace()
    found = commands(text)
    assert len(found) > 4
    for line in found:
        parsed = Parser(contexts=collection.to_contexts()).parse_argv(shlex.split(line)[1:])
        assert [context.name for context in parsed], line


def test_the_pages_of_restores_and_recoveries_hold_every_command_of_the_runbook(backups: Backups) -> None:
    known = {line for page in DOCS for line in commands((ROOT / "docs" / page).read_text())}
    blocks = re.findall(r"^```sh[a-z ]*\n(.*?)^```", runbook.page(backups), re.MULTILINE | re.DOTALL)
    lines = {line for block in blocks for line in block.splitlines() if line.startswith("invoke ")}
    assert lines - known == set()
