"""Moves: what a release does to each service is decided from what runs, and every reason has its words."""

from dataclasses import replace

import pytest

from toolkit.stack.containers import Container
from toolkit.stack.manifest import Manifest, Terms
from toolkit.stack.moves import levels, plan, why_not_roll
from toolkit.stack.record import Record
from toolkit.stack.service import Check, Service

CHECK = Check(("CMD", "true"))
WEB = Service("web:1", replicas=2, check=CHECK)
MARKS = {"toolkit.service": "a", "toolkit.files": "f", "toolkit.secrets": "s"}


def manifest(**services: Service) -> Manifest:
    digests = {one.image: "sha256:0" for one in services.values()}
    return Manifest("id", "now", "", services, digests, marks=dict.fromkeys(services, MARKS))


def box(service: str = "web", number: int = 1, **changes: object) -> Container:
    image = f"{service}:1@sha256:0"
    made = Container(
        f"{service}{number}", f"s-{service}-{number}", service, image, "running", "healthy", 0, False, 0, 60
    )
    return replace(made, marks=MARKS, fingerprint="x", **changes)  # type: ignore[arg-type]


def move(service: Service, *found: Container, one_shots: bool = True, **given: object) -> tuple[str, str]:
    made = plan(manifest(web=service), found, Record(**given), one_shots=one_shots)  # type: ignore[arg-type]
    return next((one.kind, one.why) for one in made if one.service == "web")


def test_what_runs_as_it_should_is_kept() -> None:
    assert move(WEB, box(number=1), box(number=2)) == ("keep", "unchanged")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"image": "web:2@sha256:0"}, "another image"),
        ({"marks": MARKS | {"toolkit.secrets": "t"}}, "a changed secret"),
        ({"marks": MARKS | {"toolkit.files": "g"}}, "a changed file"),
        ({"marks": MARKS | {"toolkit.service": "b"}}, "a changed definition"),
        ({"marks": {}}, "a changed secret"),
    ],
)
def test_a_change_is_rolled_where_that_is_possible_and_has_its_reason(changes: dict[str, object], why: str) -> None:
    assert move(WEB, box(number=1), replace(box(number=2), **changes)) == ("roll", why)  # type: ignore[arg-type]
    fixed = replace(WEB, fixed_name="web")
    assert move(fixed, box(number=1), replace(box(number=2), **changes)) == ("recreate", why)  # type: ignore[arg-type]


def test_an_edited_container_is_made_anew_and_an_unknown_one_is_not_suspected() -> None:
    assert move(WEB, box(number=1), box(number=2), fingerprints={"web1": "y"}) == ("roll", "changed by hand")
    assert move(WEB, box(number=1), box(number=2), fingerprints={"other": "y"}) == ("keep", "unchanged")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ((), ("start", "not running")),
        ((box(),), ("start", "1 of 2 containers")),
        ((box(number=1), box(number=2), box(number=3)), ("start", "3 of 2 containers")),
        ((box(number=1), box(number=2, status="exited")), ("start", "is exited")),
        ((box(number=1), box(number=2, health="unhealthy")), ("restart", "it is unhealthy")),
    ],
)
def test_what_does_not_run_is_started(found: tuple[Container, ...], expected: tuple[str, str]) -> None:
    assert move(WEB, *found) == expected


def test_data_in_a_volume_without_a_name_is_left_to_compose() -> None:
    changed = replace(box(), image="web:2", anonymous=True)
    assert move(WEB, changed, box(number=2))[0] == "recreate"


@pytest.mark.parametrize(
    ("service", "terms", "why"),
    [
        (WEB, Terms(files=()), ""),
        (WEB, Terms(files=(), exclusive=("web",)), "it is exclusive"),
        (replace(WEB, volumes=("data",)), Terms(files=()), "it keeps data"),
        (replace(WEB, fixed_name="web"), Terms(files=()), "its container name is fixed"),
        (replace(WEB, ports=("0.0.0.0:80/tcp",)), Terms(files=()), "it publishes a port of the host"),
        (replace(WEB, joins=("db",)), Terms(files=()), "it lives in another service's namespace"),
        (replace(WEB, check=None), Terms(files=()), "it has no health check"),
        (replace(WEB, check=Check(("NONE",))), Terms(files=()), "it has no health check"),
    ],
)
def test_what_forbids_rolling_is_named(service: Service, terms: Terms, why: str) -> None:
    assert why_not_roll(replace(manifest(web=service), terms=terms), "web") == why


def test_whoever_lends_its_namespace_does_not_roll() -> None:
    assert why_not_roll(manifest(web=WEB, side=Service("x:1", joins=("web",))), "web") != ""


def test_one_shots_run_with_each_deploy_and_not_on_the_way_back() -> None:
    job = Service("web:1", one_shot=True)
    assert move(job, box(status="exited"))[0] == "run"
    assert move(job, box(status="exited"), one_shots=False) == ("keep", "did its work")
    assert move(job, replace(box(), marks={}), one_shots=False)[0] == "remove"
    assert move(job, one_shots=False)[0] == "keep"


def test_services_that_hang_on_a_changed_one_go_with_it() -> None:
    base = Service("db:1", volumes=("data",), check=CHECK)
    side, after = Service("side:1", joins=("db",)), Service("after:1", follows=("db",))
    found = [replace(box("db"), marks={}), box("side"), box("after")]
    made = plan(manifest(db=base, side=side, after=after), found, Record())
    assert {one.service: (one.kind, one.why) for one in made} == {
        "db": ("recreate", "a changed secret"),
        "side": ("recreate", "lives in the namespace of db"),
        "after": ("restart", "follows db"),
    }


def test_what_no_release_has_is_removed_and_so_is_what_is_scaled_to_nothing() -> None:
    made = plan(manifest(web=replace(WEB, replicas=0)), [box(), box("stray")], Record())
    assert {one.service: one.kind for one in made} == {"web": "remove", "stray": "remove"}


def test_levels_follow_what_services_wait_for() -> None:
    services = {
        "db": Service("x"),
        "api": Service("x", needs={"db": "service_healthy"}),
        "web": Service("x", needs={"api": "service_started"}),
        "side": Service("x", joins=("web",)),
    }
    assert levels(services, services) == [["db"], ["api"], ["web"], ["side"]]
    # Only those that are touched wait for each other.
    assert levels(services, {"web", "db"}) == [["db", "web"]]
    assert levels(services, set()) == []


def test_a_circle_does_not_hang() -> None:
    services = {"a": Service("x", needs={"b": "x"}), "b": Service("x", needs={"a": "x"})}
    assert levels(services, services) == [["a", "b"]]
