"""docs/doctor.md is written from the rules, and `invoke doctor` tells what it finds."""

import copy
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from invoke.context import Context
from invoke.exceptions import Exit

from tests.unit.test_doctor_rules import Patient
from toolkit.stack.doctor import page
from toolkit.stack.doctor.rules import RULES
from toolkit.verbs import doctor as verbs
from toolkit.verbs.doctor import doctor
from toolkit.words.errors import ConfigError
from toolkit.workflows.doctor import visit
from toolkit.workflows.doctor.visit import Visit

PAGE = Path("docs/doctor.md")


def test_the_page_has_a_row_for_each_rule_as_the_rule_says_it() -> None:
    assert PAGE.read_text().endswith(f"{page.MARK}\n{page.table()}"), "run python -m toolkit.stack.doctor.page"


def test_texts_of_rules_are_sentences_and_symptoms_words() -> None:
    for rule in RULES:
        assert rule.cause.endswith("."), rule.id
        assert rule.fix.endswith("."), rule.id
        assert rule.symptoms, rule.id
        assert 0 <= rule.weight <= 100, rule.id
        assert "|" not in rule.cause + rule.fix, rule.id


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> Patient:
    made = Patient()

    class Connected:
        def __enter__(self) -> Any:
            return SimpleNamespace(name="box"), None

        def __exit__(self, *_: object) -> None: ...

    monkeypatch.setattr(verbs, "connected", lambda _: Connected())
    monkeypatch.setattr(visit, "visit", lambda *_, **__: Visit(copy.deepcopy(made.evidence)))
    return made


def told(capsys: pytest.CaptureFixture[str], **words: Any) -> tuple[int, str]:
    code = 0
    try:
        doctor(Context(), host="box", **words)
    except Exit as end:
        code = end.code
    return code, capsys.readouterr().out


def test_a_healthy_host_ends_with_0(patient: Patient, capsys: pytest.CaptureFixture[str]) -> None:
    assert told(capsys) == (0, "box: nothing found\n")


def test_what_is_found_is_told_with_evidence_and_a_way_out(
    patient: Patient, capsys: pytest.CaptureFixture[str]
) -> None:
    patient.stops("worker", 3)
    code, out = told(capsys, symptom="purple elephants")
    assert code == 1
    first, *_ = out.split("\n\n")
    assert first.splitlines()[0] == "1. error  worker, which takes jobs, does not work: they pile up  (worker-down)"
    assert "     exited with code 3" in first
    assert first.endswith("   → invoke deploy --host box")
    assert "nothing that was found is known to look like 'purple elephants'" in out
    assert out.endswith("box: 1 thing found, most likely first\n")


def test_notes_are_told_and_count_for_nothing(patient: Patient, capsys: pytest.CaptureFixture[str]) -> None:
    patient.put("reboot", {"required": True, "packages": []})
    code, out = told(capsys)
    assert code == 0
    assert "1. info  an update waits for a reboot" in out


def test_what_cannot_be_told_is_told_so(patient: Patient, capsys: pytest.CaptureFixture[str]) -> None:
    patient.fails("clock", "no answer within 4 s")
    assert told(capsys) == (
        0,
        "cannot tell whether the clock is kept: no answer within 4 s\nbox: nothing found in what could be looked at\n",
    )


def test_what_a_host_says_does_not_steer_the_terminal(patient: Patient, capsys: pytest.CaptureFixture[str]) -> None:
    patient.is_unhealthy("web", "\x1b]0;mine\x07")
    assert "\x1b" not in told(capsys)[1]


def test_json_has_all_of_it(patient: Patient, capsys: pytest.CaptureFixture[str]) -> None:
    patient.stops("worker")
    code, out = told(capsys, json=True)
    found = json.loads(out)
    assert code == 1
    assert found["host"] == "box"
    assert set(found["findings"][0]) == {"rule", "severity", "service", "cause", "seen", "fix"}


def test_a_bundle_that_cannot_be_written_is_an_error(
    patient: Patient, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert told(capsys, bundle=str(tmp_path / "nowhere/x.tar.gz"))[0] == ConfigError.exit_code
    code, out = told(capsys, bundle=str(tmp_path / "x.tar.gz"))
    assert (code, out) == (0, f"box: nothing found\nwritten for others: {tmp_path}/x.tar.gz\n")
