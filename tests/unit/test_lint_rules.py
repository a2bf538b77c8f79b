"""Every rule finds its bad case, leaves its good one alone, repeats no secret and survives whatever JSON can hold."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import lint_cases
from toolkit.config.models import Machine, Stack, Suppression
from toolkit.stack.lint import RULES, SEVERITIES, judge, model, page
from toolkit.stack.lint.environment import looks_secret
from toolkit.stack.lint.model import Capacity, Deployed, Model
from toolkit.words.errors import ConfigError
from toolkit.words.values import Size

PAGE = Path(__file__).parents[2] / "docs" / "lint.md"
IDS = [rule.id for rule in RULES]


def found(rule: str, kind: str) -> str:
    path = lint_cases.FOLDER / rule / f"{kind}.yaml"
    told = [one.found for one in lint_cases.findings(path) if one.rule.id == rule]
    return "".join(f"{one.service}: {one.message}\n" for one in told)


@pytest.mark.parametrize("rule", IDS)
def test_a_rule_finds_what_is_wrong_in_its_bad_case_and_nothing_in_the_good_one(rule: str) -> None:
    # All of it: a rule that finds one thing of three would pass for one that works.
    assert found(rule, "bad") == (lint_cases.FOLDER / rule / "bad.txt").read_text()
    assert found(rule, "good") == ""


@pytest.mark.parametrize("path", lint_cases.files(), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_what_the_cases_hold_as_secrets_stands_in_no_message(path: Path) -> None:
    assert "hunter" not in str([(one.found, one.reason) for one in lint_cases.findings(path)])


def test_every_rule_has_a_case_and_every_case_a_rule() -> None:
    assert sorted(IDS) == sorted(path.name for path in lint_cases.FOLDER.iterdir())
    assert len(set(IDS)) == len(IDS)


def test_every_rule_explains_itself_in_sentences() -> None:
    for rule in RULES:
        assert re.fullmatch(r"[a-z][a-z-]+[a-z]", rule.id)
        assert rule.severity in SEVERITIES
        assert rule.reason.endswith(".")
        assert rule.fix.endswith(".")


def test_the_page_has_what_the_rules_say() -> None:
    assert page.sections() in PAGE.read_text(), "run python -m toolkit.stack.lint.page"
    for rule in RULES:
        assert f"\n## {rule.id}\n" in PAGE.read_text()


WHY = {
    ("DATABASE_PASSWORD", "hunter2"): "by its name",
    ("apiKey", "hunter2"): "by its name",
    ("API_KEY", "10203"): "by its name",
    ("REDISCLI_AUTH", "hunter2"): "by its name",
    ("SMTP_AUTH", "true"): "",
    ("TOKEN_FILE", "/run/secrets/token"): "",
    ("PASSWORD", "/run/secrets/password"): "",
    ("TOKEN", "https://login.example.com/token"): "",
    ("DSN", "mysql://root:hunter2@db/app"): "a URL with a password in it",
    ("DSN", "mysql://root@db/app"): "",
    ("HOME_PAGE", "https://example.com:8443/@user"): "",
    ("SALT", "9f86d081884c7d659a2feaa0c55ad015"): "its value looks drawn at random",
    ("IMAGE_DIGEST", "9f86d081884c7d659a2feaa0c55ad015"): "",
    ("ZEROES", "00000000000000000000000000000000"): "",
    ("WORDS", "ThisIsAnOrdinarySentence1WithoutSpaces"): "",
    ("PATHS", "/usr/local/Lib/python3/Site/Packages/Aa1"): "",
}  # fmt: skip


@pytest.mark.parametrize(("name", "value"), WHY, ids=lambda text: text[:20])
def test_what_looks_like_a_secret_and_what_does_not(name: str, value: str) -> None:
    assert looks_secret(name, value) == WHY[name, value]


def lint(services: dict[str, Any], *suppressions: Suppression, **more: Any) -> list[tuple[str, str, str]]:
    read = model.read({"services": services, **more})
    return [(one.rule.id, one.found.service, one.reason) for one in judge(read, RULES, suppressions)]


def test_a_suppression_covers_its_rule_and_service_and_gives_its_reason() -> None:
    services = {"a": {"image": "x"}, "b": {"image": "x"}}
    accepted = Suppression(rule="unpinned-image", service="a", reason="a demo")
    told = lint(services, accepted)
    assert ("unpinned-image", "a", "a demo") in told
    assert ("unpinned-image", "b", "") in told
    assert "stale-suppression" not in {rule for rule, _, _ in told}


def test_a_suppression_without_a_service_covers_all_and_two_may_fit_the_same() -> None:
    both = (
        Suppression(rule="unpinned-image", reason="all"),
        Suppression(rule="unpinned-image", service="a", reason="a"),
    )
    told = lint({"a": {"image": "x"}, "b": {"image": "x"}}, *both)
    assert {reason for rule, _, reason in told if rule == "unpinned-image"} == {"all"}
    assert "stale-suppression" not in {rule for rule, _, _ in told}


def test_a_stale_suppression_cannot_be_suppressed() -> None:
    told = lint({"a": {"image": "x:1"}}, Suppression(rule="stale-suppression", reason="no"))
    assert ("stale-suppression", "", "") in told


def test_a_service_that_waits_for_a_worker_is_no_queue_user() -> None:
    worker = {"image": "acme/worker:1", "depends_on": {"store": {"condition": "service_healthy"}}}
    redis = {"image": "redis:7"}
    assert ("queue-that-forgets", "store", "") in lint({"store": redis, "worker": worker})
    assert ("queue-that-forgets", "store", "") not in lint({"store": redis, "api": worker})


def test_a_stack_without_services_is_a_fault() -> None:
    with pytest.raises(ConfigError, match="no services"):
        model.read({"services": {}})


KEYS = sorted(
    {
        *(
            "image",
            "build",
            "command",
            "entrypoint",
            "environment",
            "volumes",
            "ports",
            "networks",
            "depends_on",
            "restart",
        ),
        *("deploy", "healthcheck", "logging", "secrets", "configs", "user", "privileged", "cap_add", "container_name"),
        *("mem_limit", "cpus", "cpu_quota", "cpu_period", "scale", "read_only", "pid", "network_mode", "x-new", "gpus"),
        *("resources", "limits", "memory", "replicas", "test", "disable", "driver", "options", "condition", "source"),
        *("target", "type", "published", "host_ip", "protocol", "restart_policy", "volume"),
    }
)
TEXTS = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["redis:7", "postgres", "queue", "always", "no", "/var/run/docker.sock", "0", "CMD", "--requirepass"]
    ),
)
PLAIN = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), TEXTS)
ANYTHING = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | TEXTS, inner, max_size=6),
    max_leaves=25,
)
SERVICES = st.dictionaries(
    TEXTS, st.dictionaries(st.sampled_from(KEYS), ANYTHING, max_size=10) | ANYTHING, min_size=1, max_size=3
)


def surrounded(read: Model) -> Model:
    stack = Stack(name="s", directory="s", scale={"redis": 2}, variables={"A": "secret:a"})
    deployed = Deployed({}, frozenset({"data"}))
    described = model.of_host(read, stack, Machine(), frozenset())
    return Model(**{**vars(described), "capacity": Capacity(Size(1), 1.0), "deployed": deployed})


@given(services=SERVICES, volumes=ANYTHING)
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_no_body_of_a_service_makes_a_rule_fail(services: dict[str, Any], volumes: Any) -> None:
    read = model.read({"services": services, "volumes": volumes}, {"services": volumes})
    for one in judge(surrounded(read), RULES, ()):
        assert one.found.message
        assert one.found.service in {"", *map(str, services)}


def test_keys_of_a_newer_specification_change_nothing() -> None:
    path = lint_cases.FOLDER / "no-limits" / "good.json"
    recorded = json.loads(path.read_text())["resolved"]
    before = judge(model.read(recorded), RULES, ())
    recorded["models"] = {"llm": {"model": "ai/x"}}
    for body in recorded["services"].values():
        body |= {
            "provider": {"type": "x", "options": [1]},
            "models": ["llm"],
            "use_api_socket": True,
            "post_start": [{}],
        }
    assert judge(model.read(recorded), RULES, ()) == before
