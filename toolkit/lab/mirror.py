"""Where this machine gets its Debian packages, read from apt's own sources in either of their two formats."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

SUITES = {"debian12": "bookworm", "debian13": "trixie"}


@dataclass(frozen=True)
class Mirror:
    """The addresses of the archive and, where the machine has one, of its security updates."""

    archive: str
    security: str = ""

    def sources(self, suite: str) -> str:
        """Return a sources.list for this suite, as a server of that release has it."""
        lines = [f"deb {self.archive} {suite} main"]
        if self.security:
            lines.append(f"deb {self.archive} {suite}-updates main")
            lines.append(f"deb {self.security} {suite}-security main")
        return "\n".join(lines) + "\n"


def parse(texts: Iterable[str]) -> Mirror | None:
    """Return the Debian mirror that these sources files name; None where they name none."""
    entries = [entry for text in texts for entry in (_deb822(text) if "URIs:" in text else _one_line(text))]
    security = next((uri for uri, suites in entries if any(suite.endswith("-security") for suite in suites)), "")
    for uri, suites in entries:
        if any(suite in SUITES.values() or suite in {"stable", "oldstable", "sid"} for suite in suites):
            return Mirror(uri, security)
    return None


def local(folder: Path = Path("/etc/apt")) -> Mirror | None:
    """Return the Debian mirror of this machine; None where it is not a Debian."""
    files = [folder / "sources.list", *sorted(folder.glob("sources.list.d/*.sources"))]
    files += sorted(folder.glob("sources.list.d/*.list"))
    return parse(path.read_text() for path in files if path.is_file())


def _one_line(text: str) -> Iterable[tuple[str, list[str]]]:
    for line in text.splitlines():
        match = re.match(r"deb\s+(?:\[[^]]*\]\s+)?(\S+)\s+(\S+)\s", line.strip() + " ")
        if match:
            yield match[1], [match[2]]


def _deb822(text: str) -> Iterable[tuple[str, list[str]]]:
    uncommented = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    for stanza in re.split(r"\n\s*\n", uncommented):
        fields = dict(re.findall(r"^(\S+):[ \t]*(.*(?:\n[ \t]+.*)*)", stanza, re.MULTILINE))
        off = fields.get("Enabled", "yes").strip().lower() in {"no", "false"}
        if "deb" in fields.get("Types", "").split() and not off:
            yield from ((uri, fields.get("Suites", "").split()) for uri in fields.get("URIs", "").split())
