"""Evidence: what was gathered on a host in one round trip, and what its host file wants, as the rules read it.

It came from a machine that may be broken or hostile. A section that is missing, late or of another kind reads as empty,
and no rule runs what it finds.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from toolkit.stack import containers, record
from toolkit.stack.containers import Container, Verdict
from toolkit.stack.doctor.gather.containers import kind_of_image
from toolkit.stack.manifest import Manifest, parse_manifest
from toolkit.stack.record import Record
from toolkit.words.errors import HostError

Body = Mapping[str, Any]
Kind = TypeVar("Kind")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What the control side knows: the host file's wishes, and when it asked.

    `skew` is how far the host's clock is ahead, in seconds, beyond what the way there and back explains. `agent` is
    the release that provisioning would install, empty where nobody can tell.
    """

    host: str
    stack: str = ""
    agent: str = ""
    open: tuple[str, ...] = ()
    firewall: bool = True
    time: bool = True
    backups: bool = False
    drills: float = 0.0
    """Seconds between two drills, as the backup file wants them; 0 where there is none."""

    skew: float = 0.0


@dataclass(frozen=True)
class Evidence:
    """`sections` are as `gather` answers them: a name, and `{"value": …}` or `{"fault": …}`."""

    wanted: Wanted
    sections: Mapping[str, Body]
    now: float = 0.0

    @property
    def host(self) -> str:
        return self.wanted.host

    def get(self, name: str, default: Kind) -> Kind:
        """Return a section's value; the default where there is none of its type."""
        found = self.sections.get(name, {}).get("value")
        return found if isinstance(found, type(default)) else default

    def body(self, name: str) -> dict[str, Any]:
        """Return a section that is an object; an empty one where there is none."""
        return self.get(name, {})

    def rows(self, name: str) -> list[Any]:
        """Return a section that is a list; an empty one where there is none."""
        return self.get(name, [])

    def fault(self, name: str) -> str:
        """Return why a section has no value; empty where it has one, or nobody asked."""
        return str(self.sections.get(name, {}).get("fault", ""))

    def each(self, first: str) -> Iterator[tuple[list[str], Body]]:
        """Yield the sections that begin with a word and have an object as value, with the other words of the name."""
        for name, section in sorted(self.sections.items()):
            word, *rest = name.split()
            if word == first and rest and isinstance(section.get("value"), Mapping):
                yield rest, section["value"]

    @property
    def docker(self) -> bool:
        """Whether Docker answered."""
        return "value" in self.sections.get("docker", {})

    @cached_property
    def manifest(self) -> Manifest | None:
        try:
            return parse_manifest(self.get("manifest", ""))
        except HostError:
            return None

    @cached_property
    def record(self) -> Record:
        return record.parse(self.get("record", ""))

    @cached_property
    def containers(self) -> Sequence[Container]:
        text = self.get("inspected", "")
        return containers.parse(text) if text.strip() else ()

    @cached_property
    def verdicts(self) -> Mapping[str, Verdict]:
        """Return how each service of the current release is; empty where Docker or the release says nothing."""
        if not self.docker or self.manifest is None or self.fault("inspected"):
            return {}
        wanted = self.manifest.services
        judged = containers.judge(wanted, self.containers, finished=self.record.finished)
        return {one.service: one for one in judged}

    @cached_property
    def described(self) -> Sequence[Body]:
        """Return what else was told of each container."""
        return [one for one in self.rows("described") if isinstance(one, Mapping)]

    def of(self, service: str) -> Sequence[Body]:
        return [one for one in self.described if one["service"] == service]

    @property
    def services(self) -> list[str]:
        """Return every service that should run or does, one-shots left out."""
        named = self.manifest.services if self.manifest else {}
        found = {name for name, one in named.items() if not one.one_shot}
        return sorted(found | {str(one["service"]) for one in self.described if one["service"] not in named})

    def kind(self, service: str) -> str:
        """Return which kind of store a service is, or nothing; a removed one is known by its image."""
        for one in self.of(service):
            if one["kind"]:
                return str(one["kind"])
        known = self.manifest.services.get(service) if self.manifest else None
        return kind_of_image(known.image) if known else ""

    def is_up(self, service: str) -> bool:
        """Whether nothing is wrong with a service, as far as Docker knows."""
        verdict = self.verdicts.get(service)
        return verdict.good if verdict else any(one.service == service for one in self.containers)

    def why_down(self, service: str) -> str:
        verdict = self.verdicts.get(service)
        return verdict.reason if verdict else ""

    def log(self, service: str) -> list[str]:
        """Return the last lines that a service wrote, of each of its containers."""
        told = [self.body(f"log {one['name']}") for one in self.of(service)]
        return [str(line) for one in told for line in one.get("last", ())]

    @cached_property
    def calm(self) -> bool:
        """Whether everything is well now, so that what was written a few minutes ago is past."""
        ill = any(int(one.get("status", 0)) >= 500 for words, one in self.each("http") if words[-1] == "/health")
        return bool(self.verdicts) and all(one.good for one in self.verdicts.values()) and not ill

    def phrases(self, phrase: str) -> Iterator[tuple[str, str]]:
        """Yield (service, line) wherever a service wrote something of this kind lately."""
        for one in self.described:
            for word in self.body(f"log {one['name']}").get("words", ()):
                if word["phrase"] == phrase:
                    yield one["service"], word["line"]


@dataclass(frozen=True)
class Link:
    """A variable of a service that points somewhere: never with a password."""

    service: str
    variable: str
    scheme: str
    host: str
    port: int
    database: str
    user: str
    networks: frozenset[str] = field(default=frozenset(), compare=False)
    given: frozenset[str] = field(default=frozenset(), compare=False)
    """Names that its definition gives addresses to by hand."""

    @property
    def target(self) -> str:
        """The address as people write it."""
        port = f":{self.port}" if self.port else ""
        return f"{self.host}{port}" + (f"/{self.database}" if self.database else "")


def links(evidence: Evidence) -> list[Link]:
    """Return where services point to, each once."""
    found: dict[Link, None] = {}
    for one in evidence.described:
        for link in one["links"]:
            parts = {key: link[key] for key in ("variable", "scheme", "host", "port", "database", "user")}
            networks, given = frozenset(one["networks"]), frozenset(one.get("hosts", ()))
            found.setdefault(Link(service=one["service"], networks=networks, given=given, **parts))
    return list(found)
