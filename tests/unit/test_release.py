"""A release: what it writes about itself can be read again, and nothing else can."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest
import yaml

from toolkit.stack import manifest as manifests
from toolkit.stack.manifest import FORMAT, Assertion, Manifest, Probe, Reader, Terms, parse_manifest, pinned
from toolkit.stack.project import Mount, Project
from toolkit.stack.release import Resolved, content, inputs, marks, override, staged
from toolkit.stack.service import Check, Grant, Limits, Service
from toolkit.words.errors import HostError

API = "ghcr.io/acme/api:1"
DIGEST, OTHER = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"

MANIFEST = Manifest(
    id="20260102T030405Z-0123456789ab",
    created="2026-01-02T03:04:05Z",
    inputs="ab" * 32,
    services={
        "api": Service(
            API, replicas=2, configs=("site",), secrets=(Grant("token", uid="1000", mode="0440"),), user="1000:1000"
        ),
        "migrate": Service(API, one_shot=True, needs={"db": "service_healthy"}),
        "db": Service(
            "postgres:17@" + OTHER,
            volumes=("data",),
            ports=("127.0.0.1:5432/tcp",),
            networks=("back",),
            check=Check(("CMD", "pg_isready"), interval=3.0, retries=12),
            limits=Limits(memory=512, cpus=0.5),
            grace=60.0,
        ),
    },
    digests={API: DIGEST},
    terms=Terms(
        files=("0-compose.yaml",),
        profiles=("all",),
        exclusive=("db",),
        probes=(Probe("http://127.0.0.1/", 204),),
        assertions=(Assertion("db", ("true",), equals=""), Assertion("api", variable="MODE", contains="x")),
        readers={"token": Reader("1000", "", "0440")},
        env_files={".env": "_env", "a.env": "_env.1"},
    ),
    secrets={"_env": "f" * 16, "token": "0123456789abcdef"},
    marks={name: {"toolkit.service": name} for name in ("api", "db", "migrate")},
    content={"/opt/shop/releases/x/0-compose.yaml": "ab" * 32},
    who="ann@laptop",
    commit="1234abc+",
)

CONF, SITE = Path("/repository/app.conf"), Path("/repository/site")


def a_project(conf: bytes = b"port = 1", site: bytes = b"<h1>", compose: bytes = b"services: {}\n") -> Project:
    return Project(
        name="shop",
        files={"0-compose.yaml": compose},
        mounts=(
            Mount(CONF, "api", {"type": "bind", "target": "/etc/app.conf", "read_only": True}),
            Mount(SITE, "site", {}, "configs"),
        ),
        env_files={"a.env": b"A=1\n"},
        shipped={CONF: (("", conf, 0o644),), SITE: (("index.html", site, 0o644), ("run", b"#!", 0o755))},
    )


SERVICES = {"api": Service(API, configs=("site",)), "db": Service("postgres:17"), "job": Service("x@" + OTHER)}
DIGESTS = {API: DIGEST, "postgres:17": OTHER}


KEY = b"k" * 32


def resolved(services: dict[str, Service], folder: str = "/draft", **bodies: dict[str, object]) -> Resolved:
    return Resolved({name: bodies.get(name, {"image": one.image}) for name, one in services.items()}, services, folder)


def made(project: Project, services: dict[str, Service] = SERVICES, secrets: dict[str, str] | None = None) -> Manifest:
    tags = {"token": "0123456789abcdef"} if secrets is None else secrets
    marked = marks(project, resolved(services), DIGESTS, tags, KEY)
    return replace(MANIFEST, services=services, digests=DIGESTS, secrets=tags, marks=marked)


def overridden(project: Project) -> dict[str, dict[str, dict[str, object]]]:
    return as_compose_reads_it(override(project, made(project)))


def as_compose_reads_it(text: bytes) -> dict[str, dict[str, dict[str, object]]]:
    """Read the override, each replaced mapping as the pair of Compose's tag and what it holds."""

    class Loader(yaml.SafeLoader):
        pass

    Loader.add_constructor("!override", lambda loader, node: ("instead", loader.construct_mapping(node)))
    Loader.add_constructor("!reset", lambda loader, node: "nothing")
    written: dict[str, dict[str, dict[str, object]]] = yaml.load(text, Loader=Loader)
    for body in written["services"].values():
        # Paths of a laptop, which would differ with every release.
        assert (body.pop("build"), body.pop("develop")) == ("nothing", "nothing")
    return written


def test_a_manifest_reads_back_as_it_was_written() -> None:
    assert parse_manifest(MANIFEST.dumps().decode()) == MANIFEST


def test_a_manifest_reads_back_from_one_line() -> None:
    assert parse_manifest(MANIFEST.dumps().decode().replace("\n", "")) == MANIFEST


def test_a_manifest_is_the_same_bytes_every_time() -> None:
    shuffled = replace(MANIFEST, services=dict(reversed(list(MANIFEST.services.items()))))
    assert shuffled.dumps() == MANIFEST.dumps()


@pytest.mark.parametrize("text", ["", "\n", "  \n"])
def test_no_manifest_is_no_release(text: str) -> None:
    assert parse_manifest(text) is None


def test_another_format_is_refused_by_its_name() -> None:
    later = MANIFEST.dumps().decode().replace(FORMAT, "toolkit release 2")
    with pytest.raises(HostError, match="has the format 'toolkit release 2'"):
        parse_manifest(later)


def without(key: str) -> str:
    return json.dumps({name: value for name, value in json.loads(MANIFEST.dumps()).items() if name != key})


@pytest.mark.parametrize(
    "text",
    [
        MANIFEST.dumps().decode()[:-20],
        "{}",
        "[]",
        "null",
        '"text"',
        without("format"),
        without("services"),
        without("digests"),
        json.dumps({"format": FORMAT, "services": []}),
        json.dumps({"format": FORMAT, "services": {"api": "x"}}),
        json.dumps({"format": FORMAT, "services": {"api": {"image": "x"}}}),
        json.dumps(json.loads(MANIFEST.dumps()) | {"surprise": 1}),
    ],
)
def test_a_damaged_manifest_is_an_error_that_says_where_to_look(text: str) -> None:
    with pytest.raises(HostError, match="manifest is damaged") as caught:
        parse_manifest(text)
    assert "release.json" in caught.value.hint


@pytest.mark.parametrize(
    ("image", "result"),
    [(API, f"{API}@{DIGEST}"), (f"api@{OTHER}", f"api@{OTHER}"), (f"api:1@{OTHER}", f"api:1@{OTHER}")],
)
def test_an_image_is_pinned_once(image: str, result: str) -> None:
    assert pinned(image, DIGESTS) == result


def test_an_image_that_was_not_resolved_is_never_deployed() -> None:
    with pytest.raises(KeyError):
        override(a_project(), replace(made(a_project()), services={"api": Service("other:1")}))


def test_the_override_pins_every_image() -> None:
    written = overridden(a_project())
    assert {name: body["image"] for name, body in written["services"].items()} == {
        "api": f"{API}@{DIGEST}", "db": f"postgres:17@{OTHER}", "job": f"x@{OTHER}",
    }  # fmt: skip


def test_the_override_mounts_files_by_their_content_and_keeps_the_options() -> None:
    project = a_project()
    services = overridden(project)["services"]
    assert services["api"]["volumes"] == [
        {
            "type": "bind",
            "target": "/etc/app.conf",
            "read_only": True,
            "source": project.directory_of(project.mounts[0]),
        }
    ]
    assert "volumes" not in services["db"]


def test_the_override_moves_configs_to_their_content() -> None:
    project = a_project()
    assert overridden(project)["configs"] == {"site": ("instead", {"file": project.directory_of(project.mounts[1])})}


def test_the_override_takes_secrets_from_memory_whatever_the_files_say_of_them() -> None:
    assert overridden(a_project())["secrets"] == {
        "token": ("instead", {"file": "/run/secrets/shop/token-0123456789abcdef"})
    }


def label(project: Project, service: str, name: str = "toolkit.files", **given: object) -> object:
    return made(project, **given).marks[service].get(name)  # type: ignore[arg-type]


def test_a_changed_secret_changes_the_label_of_those_who_use_it_and_of_nobody_else() -> None:
    services = {"api": Service(API, secrets=(Grant("token"),)), "db": Service("postgres:17")}
    before, after = (made(a_project(), services, {"token": tag * 16}).marks for tag in "ab")
    assert before["api"] != after["api"]
    assert before["db"] == after["db"]
    assert "toolkit.secrets" not in before["db"]


def test_a_changed_file_changes_the_label_of_those_who_have_it_and_of_nobody_else() -> None:
    before, config, mount = a_project(), a_project(site=b"<h2>"), a_project(conf=b"port = 2")
    assert len({label(one, "api") for one in (before, config, mount)}) == 3
    assert label(before, "db") is label(config, "db") is None


def test_a_changed_definition_changes_its_label_and_where_the_release_lies_does_not() -> None:
    services = {"api": Service(API)}

    def mark(folder: str, **body: object) -> object:
        words = {"image": API, "volumes": [{"type": "bind", "source": f"{folder}/a.conf"}], **body}
        return marks(a_project(), resolved(services, folder, api=words), DIGESTS, {}, KEY)["api"]["toolkit.service"]

    assert mark("/draft-1") == mark("/draft-2", build={"context": "."}, depends_on={"db": {}}, scale=3)
    assert mark("/draft-1", deploy={"replicas": 1}) == mark("/draft-1", deploy={"replicas": 2})
    assert mark("/draft-1") != mark("/draft-1", environment={"A": "1"})
    assert mark("/draft-1") != mark("/draft-1", deploy={"resources": {"limits": {"memory": "1"}}})


def test_labels_confirm_no_guess_of_a_value() -> None:
    services, words = {"api": Service(API)}, {"environment": {"PASSWORD": "hunter2"}}
    one, other = (marks(a_project(), resolved(services, api=words), DIGESTS, {}, key) for key in (b"a", b"b"))
    assert one["api"]["toolkit.service"] != other["api"]["toolkit.service"]


def test_another_image_behind_the_same_name_is_another_definition() -> None:
    services = {"api": Service(API)}
    one, other = (
        marks(a_project(), resolved(services), {API: digest}, {}, KEY)["api"]["toolkit.service"]
        for digest in (DIGEST, OTHER)
    )
    assert one != other


def test_the_override_says_nothing_that_there_is_nothing_to_say_about() -> None:
    bare = replace(a_project(), mounts=(), shipped={})
    manifest = made(bare, {"db": Service("postgres:17")}, {})
    assert as_compose_reads_it(override(bare, manifest)) == {
        "services": {"db": {"image": pinned("postgres:17", DIGESTS), "labels": manifest.marks["db"]}}
    }


def test_env_files_are_delivered_and_are_no_secrets_of_compose() -> None:
    manifest = made(a_project(), {"db": Service("postgres:17")}, {"_env": "a" * 16, "_env.1": "b" * 16})
    assert "secrets" not in as_compose_reads_it(override(a_project(), manifest))
    assert manifests.is_internal("_env.1")
    assert not manifests.is_internal("token")


def test_a_changed_mount_changes_the_override_of_that_service_alone() -> None:
    before, after = (overridden(a_project(conf=conf))["services"] for conf in (b"port = 1", b"port = 2"))
    assert {name for name in before if before[name] != after[name]} == {"api"}


def test_the_hash_of_the_inputs_changes_with_whatever_is_shipped() -> None:
    base = a_project()
    others = [
        a_project(conf=b"port = 2"),
        a_project(site=b"<h2>"),
        a_project(compose=b"services: {a: }\n"),
        replace(base, env_files={"a.env": b"A=2\n"}),
        replace(base, env_files={"b.env": b"A=1\n"}),
        replace(base, env_files={}),
        replace(base, files={"1-compose.yaml": b"services: {}\n"}),
    ]
    assert len({inputs(one) for one in [base, *others]}) == len(others) + 1
    assert inputs(base) == inputs(a_project())


def test_the_hash_of_the_inputs_keeps_further_parts_apart() -> None:
    project = a_project()
    parts = [(), (b"",), (b"ab",), (b"a", b"b"), (b"", b"ab"), (b"b", b"a")]
    assert len({inputs(project, *each) for each in parts}) == len(parts)


def test_what_is_staged_lands_below_the_release_or_below_the_shared_files() -> None:
    found = {file.path: file for file in staged(a_project(), "/opt/shop/releases/.draft")}
    assert found["/opt/shop/releases/.draft/0-compose.yaml"].mode == 0o640
    assert not any("env" in path for path in found)
    assert sorted(PurePosixPath(path).name for path in found if path.startswith("/opt/shop/files/")) == [
        "app.conf", "index.html", "run",
    ]  # fmt: skip
    assert len(found) == 4


def test_every_file_of_a_release_is_known_by_its_hash() -> None:
    known = content(a_project(), "/opt/shop/releases/x", b"override")
    staged_there = {file.path for file in staged(a_project(), "/opt/shop/releases/x")}
    assert set(known) == staged_there | {"/opt/shop/releases/x/override.yaml"}
    assert known["/opt/shop/releases/x/0-compose.yaml"] == hashlib.sha256(b"services: {}\n").hexdigest()


def test_the_override_has_a_name_that_no_shipped_compose_file_can_take() -> None:
    assert not manifests.OVERRIDE[0].isdigit()
