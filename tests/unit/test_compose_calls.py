"""Docker Compose: how it is called, what it is given, and how its answers are read."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from toolkit.stack.compose import Invocation, render_env, unset_variables
from toolkit.stack.service import Service, parse_model
from toolkit.words.errors import HostError
from toolkit.words.values import Secret

CASES = Path(__file__).parents[1] / "cases" / "stack"
MODEL = (CASES / "config-2.26.json").read_text()

CALL = Invocation("taskflow", "/opt/taskflow/releases/1", ("0-compose.yaml", "override.json"), ("with-worker",))

# Each line was read back by Compose 2.26, from `--env-file` and from `env_file`, as exactly the value before it.
LINES = {
    "plain": "V='plain'",
    "": "V=''",
    "a b #c": "V='a b #c'",
    "$HOME ${V} $$": "V='$HOME ${V} $$'",
    "back\\slash\\n": "V='back\\slash\\n'",
    "{'a': \"b\"}": 'V="{\'a\': \\"b\\"}"',
    "it's $5": 'V="it\'s \\$5"',
    "it's \\n": 'V="it\'s \\\\n"',
    "one\ntwo\r\n": 'V="one\\ntwo\\r\\n"',
    "'\\$x": 'V="\'\\\\\\$x"',
    "`id`$(id)": "V='`id`$(id)'",
    "\t": "V='\t'",
    "ends\\": 'V="ends\\\\"',
    "\\": 'V="\\\\"',
    "ends\\\\": 'V="ends\\\\\\\\"',
    "é€": "V='é€'",
}


@pytest.mark.parametrize(("value", "line"), LINES.items())
def test_a_value_is_quoted_the_way_compose_reads_it(value: str, line: str) -> None:
    assert render_env({"V": Secret.of(value)}).reveal().decode() == line + "\n"


def as_compose_reads(text: str) -> dict[str, str]:
    """Read an env file by the rules of Compose 2.26's dotenv reader, as far as quoted values go."""
    found = {}
    while text:
        name, quote, rest = re.fullmatch(r"(\w+)=(['\"])(.*)", text, re.DOTALL).groups()  # type: ignore[union-attr]
        # A quote ends the value unless a backslash escapes it, in single quotes too.
        inside, rest = re.fullmatch(rf"((?:\\.|[^\\{quote}])*){quote}\n(.*)", rest, re.DOTALL).groups()  # type: ignore[union-attr]
        found[name] = inside.replace("\\'", "'") if quote == "'" else _unescaped(inside)
        text = rest
    return found


def _unescaped(inside: str) -> str:
    assert not re.search(r"(?<!\\)(?:\\\\)*\$", inside), "a dollar that Compose would expand"
    plain = {"n": "\n", "r": "\r"}
    return re.sub(r"\\(.)", lambda match: plain.get(match[1], match[1]), inside, flags=re.DOTALL)


@example({"A": "x\\", "B": "y"})
@given(
    st.dictionaries(
        st.from_regex(r"[A-Z]{1,3}", fullmatch=True),
        st.text(st.sampled_from("ab'\"\\$ {}#\n\r\t=")) | st.text(st.characters(blacklist_categories=["Cs"])),
        max_size=4,
    )
)
def test_any_values_come_back_as_they_were(values: dict[str, str]) -> None:
    rendered = render_env({name: Secret.of(value) for name, value in values.items()})
    assert as_compose_reads(rendered.reveal().decode()) == values


def test_an_env_file_is_a_secret_and_does_not_depend_on_the_order() -> None:
    one = render_env({"B": Secret.of("hunter2"), "A": Secret.of("1")})
    assert one == render_env({"A": Secret.of("1"), "B": Secret.of("hunter2")})
    assert "hunter2" not in repr(one)


def test_compose_is_called_with_an_empty_environment_and_the_releases_own_files() -> None:
    words = CALL("up", "--detach").argv
    assert words[:2] == ("env", "--ignore-environment")
    assert words[words.index("docker") :] == (
        *("docker", "compose", "--progress", "plain", "--project-name", "taskflow"),
        *("--project-directory", "/opt/taskflow/releases/1", "--env-file", "/run/toolkit/taskflow/env"),
        *("--file", "/opt/taskflow/releases/1/0-compose.yaml", "--file", "/opt/taskflow/releases/1/override.json"),
        *("--profile", "with-worker", "up", "--detach"),
    )


def test_nothing_but_path_home_and_the_credential_store_is_in_composes_environment() -> None:
    words = CALL("ps").argv
    before = words[2 : words.index("docker")]
    assert [word.partition("=")[0] for word in before] == ["PATH", "HOME", "DOCKER_CONFIG"]


def test_an_invocation_may_read_its_variables_from_a_draft() -> None:
    drafted = CALL.with_env("/run/draft")
    assert drafted("config").argv[drafted("config").argv.index("--env-file") + 1] == "/run/draft"
    assert CALL.env_file == "/run/toolkit/taskflow/env"


WARNING = (
    'time="2026-11-22T21:12:24Z" level=warning msg="The \\"{}\\" variable is not set. Defaulting to a blank string."'
)


@pytest.mark.parametrize(
    ("complaint", "unset"),
    [
        ("", []),
        (WARNING.format("POSTGRES_PASSWORD"), ["POSTGRES_PASSWORD"]),
        ("\n".join(WARNING.format(name) for name in ("B", "A_1", "B", "_c")), ["A_1", "B", "_c"]),
        ('The "PLAIN" variable is not set. Defaulting to a blank string.', ["PLAIN"]),
        ('level=warning msg="network x: The attribute is obsolete"', []),
    ],
    ids=["silence", "one", "several, once each", "without escapes", "another warning"],
)
def test_variables_without_a_value_are_found_in_composes_warnings(complaint: str, unset: list[str]) -> None:
    assert unset_variables(complaint) == unset


@pytest.fixture(scope="module")
def model() -> dict[str, Service]:
    return parse_model(MODEL)


def test_every_service_of_the_example_is_read(model: dict[str, Service]) -> None:
    assert sorted(model) == ["api", "cache", "db", "migrate", "proxy", "quiet", "seed", "worker"]
    assert model["db"].image == "postgres:17"


def test_one_shots_are_those_that_somebody_awaits_or_that_are_never_restarted(model: dict[str, Service]) -> None:
    assert {name for name, service in model.items() if service.one_shot} == {"migrate", "seed"}


def test_replicas_are_counted_none_included(model: dict[str, Service]) -> None:
    assert {name: one.replicas for name, one in model.items() if one.replicas != 1} == {"worker": 2, "quiet": 0}


def test_a_service_is_read_with_the_configs_and_secrets_it_uses(model: dict[str, Service]) -> None:
    assert model["migrate"].configs == ("banner",)
    assert [grant.name for grant in model["migrate"].secrets] == ["token"]
    assert model["api"].configs == ()
    assert model["api"].secrets == ()


def a_model(**service: object) -> str:
    return json.dumps({"services": {"a": {"image": "x", **service}}})


@pytest.mark.parametrize(
    ("body", "replicas"),
    [({}, 1), ({"scale": 3}, 3), ({"deploy": {"replicas": 2}}, 2), ({"deploy": None}, 1), ({"scale": 0}, 0)],
)
def test_replicas_come_from_scale_or_from_deploy(body: dict[str, object], replicas: int) -> None:
    assert parse_model(a_model(**body))["a"].replicas == replicas


@pytest.mark.parametrize("text", ["", "null", "[]", '{"name": "x"}', '{"services": null}', "services:\n  a: {}"])
def test_an_answer_without_services_is_an_error_of_the_host(text: str) -> None:
    with pytest.raises(HostError, match="gave no services"):
        parse_model(text)


def test_a_service_that_would_have_to_be_built_is_refused_by_name() -> None:
    with pytest.raises(HostError, match="service a has no image") as caught:
        parse_model(a_model(image="", build={"context": "."}))
    assert "image:" in caught.value.hint
