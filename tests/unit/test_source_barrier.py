"""The barrier: in order, with what fails beside what does not, and with facts that grow until everything is read."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.repository_setup import Host
from toolkit.repository import Stream
from toolkit.sources.barrier import ORDER, barrier
from toolkit.sources.corrections import MAKERS
from toolkit.sources.discover import Found
from toolkit.sources.docker import Docker
from toolkit.sources.pause import Pause
from toolkit.sources.protocol import Capture, Facts, Into, Place, Probe, Stored, Verdict, compare, uncounted
from toolkit.sources.streams import text
from toolkit.sources.volume import Directory
from toolkit.words.errors import ConfigError, HostError


@dataclass(frozen=True)
class Fake:
    """A source that says when it is entered and left."""

    name: str
    log: list[str]
    fail: str = ""
    moment: float | None = 1000.0
    skipped: str = ""
    loads_into: ClassVar[Into] = "container"

    @property
    def kind(self) -> str:
        return self.name.partition("/")[0]

    @contextmanager
    def capture(self, docker: Docker, place: Place) -> Iterator[Capture]:
        if self.fail == "enter":
            raise HostError("it is down")
        self.log.append(f"hold {self.name}")
        stream = Stream(f"{self.name}/dump", lambda: text("content"), self.kind, lambda: {"counts": {}})
        yield Capture(() if self.skipped else [stream], self.moment, self.skipped)
        self.log.append(f"let go {self.name}")
        if self.fail == "leave":
            raise HostError("a session ended badly")

    def load(self, docker: Docker, stored: Stored, place: Place) -> None: ...

    def probe(self, docker: Docker, place: Place, facts: Mapping[str, Facts]) -> Probe:
        return Probe(self.name)


@dataclass
class Containers(Docker):
    """An Engine that knows these services, all running."""

    services: tuple[str, ...] = ()
    found: list[dict[str, Any]] = field(default_factory=list)

    def containers(self, project: str) -> list[Any]:
        labels = [{"com.docker.compose.service": name} for name in self.services]
        return [
            {"Id": f"id-{name}", "Name": name, "Config": {"Labels": label}, "State": {"Status": "running"}}
            for name, label in zip(self.services, labels, strict=True)
        ]


def found(*sources: Any) -> list[Found]:
    return [Found(source, Place(container=f"id-{source.name.partition('/')[2]}"), "") for source in sources]


def test_what_points_is_held_before_what_it_points_at_and_all_are_let_go_in_the_end(tmp_path: Path) -> None:
    log: list[str] = []
    sources = [Fake(f"{kind}/{label}", log) for kind in reversed(ORDER) for label in ("b", "a")]
    with barrier(Docker(), "shop", found(*sources), notes=tmp_path) as held:
        assert log == [f"hold {kind}/{label}" for kind in ORDER for label in ("a", "b")]
        assert len(held.inputs) == len(sources)
    assert log[len(sources) :] == [line.replace("hold", "let go") for line in reversed(log[: len(sources)])]


def test_every_kind_has_a_place_in_the_order() -> None:
    assert set(ORDER) == set(MAKERS)


def test_a_source_that_fails_leaves_the_others_and_makes_the_snapshot_incomplete(tmp_path: Path) -> None:
    log: list[str] = []
    sources = [Fake("redis/a", log), Fake("postgres/b", log, fail="enter"), Fake("mysql/c", log, fail="leave")]
    host = Host(tmp_path / "state")
    with barrier(Docker(), "shop", found(*sources), notes=tmp_path) as held:
        report = host.backup(*held.inputs, facts={"barrier": held.facts})
    assert report.unread == (("postgres/b", "it is down"),)
    names = [info.name for info in host.repository().newest().manifest.sources if info.bytes]
    assert names == ["mysql/c/dump", "redis/a/dump"]
    # What was read is whole, though letting go went wrong.
    assert held.facts["untidy"] == {"mysql/c": "a session ended badly"}


def test_the_skew_is_that_of_the_moments_and_grows_with_what_is_live(tmp_path: Path) -> None:
    log: list[str] = []
    (tmp_path / "files").mkdir()
    (tmp_path / "files/one").write_text("x")
    sources = [
        Fake("redis/a", log, moment=1000.0),
        Fake("postgres/b", log, moment=1002.5),
        Fake("redis/c", log, skipped="a cache"),
    ]
    live = Found(Directory(name="path/files"), Place(path=str(tmp_path / "files")), "")
    host = Host(tmp_path / "state")
    with barrier(Docker(), "shop", [*found(*sources), live], notes=tmp_path / "notes") as held:
        assert held.facts["skew_seconds"] == 2.5
        assert held.facts["moments"]["redis/a"] == "1970-01-01T00:16:40.000Z"
        host.backup(*held.inputs, facts={"barrier": held.facts})
    facts = host.repository().newest().manifest.facts["barrier"]
    assert facts["skipped"] == {"redis/c": "a cache"}
    assert "path/files (end)" in facts["moments"]
    assert facts["skew_seconds"] > 1000000


def test_a_source_cannot_be_paused_nor_a_service_that_is_not_there(tmp_path: Path) -> None:
    docker = Containers(services=("db", "worker"))
    sources = found(Fake("postgres/db", []))
    for pause, message in (
        (Pause(services=("db",)), "db is a source and cannot be paused"),
        (Pause(services=("workers",)), "there is no service workers to pause"),
    ):
        with pytest.raises(ConfigError, match=message), barrier(docker, "shop", sources, pause=pause, notes=tmp_path):
            pass


def test_counts_are_compared_one_by_one() -> None:
    assert [*compare({"a": 1, "b": [2, 4]}, {"a": 1, "b": 3})] == [
        Verdict("counts", "good", "2 counts, 4 in total, as in the manifest")
    ]
    verdicts = [*compare({"a": 1, "b": [2, 4], "c": 1}, {"a": 2, "b": 5, "d": 1})]
    assert [(each.what, each.state, each.evidence) for each in verdicts] == [
        ("count of a", "bad", "expected 1, found 2"),
        ("count of b", "bad", "expected 2 to 4, found 5"),
        ("count of c", "bad", "expected 1, found nothing"),
        ("count of d", "bad", "expected nothing, found 1"),
    ]
    assert [each.state for each in compare({}, {})] == ["good"]
    assert [each.state for each in uncounted({})] == ["unknown"]
    assert not Probe("x").good
    assert not Probe("x", (Verdict("a", "good", ""), Verdict("b", "unknown", ""))).good
