"""Reports of drills: their verdicts, their one spelling, their signatures, and pages that nothing can get out of."""

import base64
import json
import re
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.drill_reports import ATTACK, FAILED, HOSTILE, INCOMPLETE, PASSED
from toolkit.crypto.signing import SigningKey
from toolkit.drill import markdown, page, signed
from toolkit.drill.report import Check, Loss, Phase, Targets, canonical, parse, promised
from toolkit.words.errors import ConfigError, RepositoryError

KEY = SigningKey.generate()


def test_the_verdict_is_the_worst_that_was_seen() -> None:
    assert (PASSED.verdict, FAILED.verdict, INCOMPLETE.verdict) == ("passed", "failed", "incomplete")
    unsure = replace(PASSED, checks=(*PASSED.checks, Check("redis/q", "counts", "unknown", "not counted")))
    assert unsure.verdict == "incomplete"
    assert replace(unsure, checks=(*unsure.checks, Check("x", "y", "bad"))).verdict == "failed"


def test_a_drill_that_checked_nothing_has_not_passed() -> None:
    assert replace(PASSED, checks=()).verdict == "failed"


def test_rto_is_what_a_recovery_would_do_and_no_more() -> None:
    assert PASSED.rto == pytest.approx(0.8 + 1.4 + 21.0 + 33.5 + 12.9)
    assert replace(PASSED, level=1).rto is None


def test_promises_are_compared_with_what_was_measured() -> None:
    targets = Targets(rto=60.0, rpo=3600.0)
    rto, rpo = promised(targets, 69.6, Loss(3600.0, "then"))
    assert (rto.state, rpo.state) == ("bad", "good")
    assert rto.evidence == "69.6 s, promised 60 s"
    assert promised(targets, None, None) == []


@pytest.mark.parametrize("report", [PASSED, FAILED, HOSTILE], ids=["passed", "failed", "hostile"])
def test_a_signed_report_comes_back_the_same(report: Any) -> None:
    found = signed.open_signed(signed.sign(report, KEY))
    assert found.report == report
    assert found.key == KEY.verify_key


def test_a_report_has_one_spelling() -> None:
    whole = replace(PASSED, phases=(Phase("load", 5),))
    assert canonical(parse(json.loads(canonical(whole)))) == canonical(replace(whole, phases=(Phase("load", 5.0),)))
    assert signed.open_signed(signed.sign(whole, KEY)).report.phases[0].seconds == 5.0


def test_whatever_is_changed_breaks_the_signature() -> None:
    content = signed.sign(FAILED, KEY)
    for before, after in ((b"found 6", b"found 7"), (b'"bad"', b'"good"'), (b"ada@laptop", b"eve@laptop")):
        assert before in content
        with pytest.raises(RepositoryError, match="not what was signed"):
            signed.open_signed(content.replace(before, after))
    other = json.loads(content) | {"key": str(SigningKey.generate().verify_key)}
    with pytest.raises(RepositoryError, match="not what was signed"):
        signed.open_signed(json.dumps(other).encode())


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b"[1]", b'{"key":"zz","signature":"","report":{}}', b"\xff", b"[" * 100_000, b"0" * (17 << 20)],
    ids=["empty", "object", "list", "key", "bytes", "deep", "long"],
)
def test_what_is_no_report_is_refused(content: bytes) -> None:
    with pytest.raises(RepositoryError):
        signed.open_signed(content)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("level", 5),
        ("level", True),
        ("started", "yesterday"),
        ("phases", [{"name": "x", "seconds": -1, "recovers": True}]),
        ("phases", [{"name": "x", "seconds": 1e400, "recovers": True}]),
        ("checks", [{"subject": "x", "what": "y", "state": "fine", "evidence": ""}]),
        ("format", "toolkit drill 2"),
        ("surprise", 1),
    ],
)
def test_values_out_of_range_are_refused(key: str, value: object) -> None:
    with pytest.raises(RepositoryError):
        parse(json.loads(canonical(PASSED)) | {key: value})


def test_openssl_alone_can_check_a_signature(tmp_path: Path) -> None:
    """As docs/drill.md says."""
    data = json.loads(signed.sign(PASSED, KEY))
    (tmp_path / "signed").write_bytes(
        b"toolkit/drill 1\n"
        + json.dumps(data["report"], sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    )
    (tmp_path / "signature").write_bytes(base64.b64decode(data["signature"]))
    # RFC 8410: the fixed beginning of an Ed25519 public key.
    (tmp_path / "key").write_bytes(bytes.fromhex("302a300506032b6570032100" + data["key"]))
    words = ["openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", "key", "-rawin"]
    done = subprocess.run(
        [*words, "-in", "signed", "-sigfile", "signature"], cwd=tmp_path, capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (tmp_path / "signed").write_bytes((tmp_path / "signed").read_bytes().replace(b"prod", b"prud"))
    done = subprocess.run(
        [*words, "-in", "signed", "-sigfile", "signature"], cwd=tmp_path, capture_output=True, check=False
    )
    assert done.returncode != 0


def test_keys_are_introduced_once_and_faults_are_told(tmp_path: Path) -> None:
    path = tmp_path / "drill.keys"
    assert signed.believed(path) == {}
    assert signed.introduce(path, KEY.verify_key, "ada@laptop")
    assert not signed.introduce(path, KEY.verify_key, "ada@laptop")
    assert signed.believed(path) == {str(KEY.verify_key): "ada@laptop"}
    path.write_text(path.read_text() + "nonsense eve\n")
    with pytest.raises(ConfigError, match=r"drill\.keys, line 3"):
        signed.believed(path)


class Page(HTMLParser):
    """What a browser would make of a page, as far as it could fetch or run something."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def test_nothing_of_a_hostile_report_becomes_markup() -> None:
    calm, hostile = Page(page.html(PASSED)), Page(page.html(HOSTILE, [HOSTILE], "k"))
    assert hostile.tags <= calm.tags | {"br"}
    assert not {"script", "img", "iframe", "link", "a", "object", "form"} & hostile.tags
    assert not {name for name in hostile.attributes if name.startswith("on")} | {"src", "href"} & hostile.attributes
    assert ATTACK in hostile.text
    assert "\x1b" not in page.html(HOSTILE)
    assert "\u202e" not in page.html(HOSTILE)


def test_markdown_has_neither_links_nor_html_of_a_hostile_report() -> None:
    text = markdown.text(HOSTILE)
    assert not re.search(r"(?<!\\)<", text)
    assert not re.search(r"(?<!\\)\]\(", text)
    assert "https://" not in text
    rows = [line for line in text.splitlines() if "cell" in line]
    assert [len(re.findall(r"(?<!\\)\|", row)) for row in rows] == [5]


def test_the_page_says_what_an_auditor_asks() -> None:
    text = Page(page.html(FAILED, [INCOMPLETE, PASSED], str(KEY.verify_key))).text
    for wanted in ("FAILED", "expected 7, found 6", FAILED.snapshot, FAILED.digest, "age1escrow", str(KEY.verify_key)):
        assert wanted in text
    assert "promised: 2 m" in text


def test_the_markdown_begins_with_what_is_wrong() -> None:
    text = markdown.text(FAILED)
    assert text.startswith("# Restore drill of prod: FAILED\n")
    assert text.index("| BAD | postgres/db") < text.index("| good | store")
    assert "3 good, 1 bad" not in text
    assert "Checks: 4 good, 1 bad, 0 unknown" in text
