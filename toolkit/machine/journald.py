"""journald: a journal that survives a reboot and never takes more than its share of the disk."""

from collections.abc import Iterator, Mapping

from toolkit.converge import Change, Fact, Facts, operation
from toolkit.machine import files, systemd
from toolkit.words.command import command
from toolkit.words.values import Size

SERVICE = "systemd-journald.service"
PATH = "/etc/systemd/journald.conf.d/99-toolkit.conf"


def parse_config(text: str) -> dict[str, str]:
    """Read all of journald's files in the order it reads them: the last word counts."""
    lines = (line.strip() for line in text.splitlines())
    return dict(line.partition("=")[::2] for line in lines if "=" in line and line[0] not in "#;")


CONFIG = Fact(
    "journald's configuration", command("systemd-analyze", "cat-config", "systemd/journald.conf"), parse_config
)


@operation
def capped(facts: Facts, size: Size) -> Iterator[Change]:
    """Ensure a journal on disk of at most this size, by what journald has really read."""
    wanted = {"Storage": "persistent", "SystemMaxUse": str(int(size))}
    content = "[Journal]\n" + "".join(f"{key}={value}\n" for key, value in wanted.items())
    facts.need(CONFIG, files.text(PATH), systemd.stale(SERVICE, PATH))
    changes, found = tuple(files.file(PATH, content)(facts)), facts.get(CONFIG)
    yield from changes
    if changes or _overruled(found, wanted) or facts.get(systemd.stale(SERVICE, PATH)):
        yield Change(f"let journald keep at most {size}", systemd.restart(SERVICE))


def _overruled(found: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    return any(found.get(key) != value for key, value in wanted.items())
