"""Updates: security fixes install themselves at night, and Docker is left alone.

unattended-upgrades that restart the engine take every container with them. What counts is read back from apt itself,
which merges all of its files.
"""

import re
from collections.abc import Iterator, Mapping

from toolkit.config.models import Updates
from toolkit.converge import Change, Fact, Facts, operation
from toolkit.host import File
from toolkit.machine import apt, files, systemd
from toolkit.words.command import command

# apt's lists add up over files unless they are cleared first; ours is read last.
PATH = "/etc/apt/apt.conf.d/99toolkit-updates"
ORIGINS = (
    "origin=Debian,codename=${distro_codename},label=Debian-Security",
    "origin=Debian,codename=${distro_codename}-security,label=Debian-Security",
    "origin=Ubuntu,archive=${distro_codename}-security,label=Ubuntu",
    "origin=UbuntuESM,archive=${distro_codename}-infra-security",
    "origin=UbuntuESMApps,archive=${distro_codename}-apps-security",
)
# Beginnings of names.
LEFT_ALONE = ("docker", "containerd")
TIMERS = ("apt-daily.timer", "apt-daily-upgrade.timer")

LISTS: dict[str, tuple[str, ...]] = {
    "Unattended-Upgrade::Allowed-Origins": (),
    "Unattended-Upgrade::Origins-Pattern": ORIGINS,
    "Unattended-Upgrade::Package-Blacklist": LEFT_ALONE,
}

Config = Mapping[str, str | tuple[str, ...]]


def wanted(spec: Updates) -> dict[str, str | tuple[str, ...]]:
    """Return apt's settings for unattended upgrades: words, and lists of words."""
    return LISTS | {
        "APT::Periodic::Enable": "1",
        "APT::Periodic::Update-Package-Lists": "1",
        "APT::Periodic::Unattended-Upgrade": "1",
        "Unattended-Upgrade::Automatic-Reboot": "true" if spec.reboot_at else "false",
        "Unattended-Upgrade::Automatic-Reboot-Time": spec.reboot_at or "now",
    }


def render(settings: Config) -> str:
    """Return apt's file for these settings."""
    return "// Written by the toolkit from the host file.\n" + "".join(
        _list(name, value) if isinstance(value, tuple) else f'{name} "{value}";\n' for name, value in settings.items()
    )


def _list(name: str, values: tuple[str, ...]) -> str:
    return f"#clear {name};\n" + "".join(f'{name}:: "{value}";\n' for value in values)


def parse_config(text: str) -> dict[str, str | tuple[str, ...]]:
    """Read `apt-config dump`: `Name "value";` for a word and `Name:: "value";` for each item of a list."""
    words: dict[str, str] = {}
    lists: dict[str, tuple[str, ...]] = {}
    for name, value in re.findall(r'^(\S+) "(.*)";$', text, re.MULTILINE):
        if name.endswith("::"):
            lists[name[:-2]] = (*lists.get(name[:-2], ()), value)
        else:
            words[name] = value
    return {**words, **lists}


CONFIG = Fact("apt's configuration", command("apt-config", "dump"), parse_config)


@operation
def configured(facts: Facts, spec: Updates) -> Iterator[Change]:
    """Ensure that apt would upgrade what is to be upgraded, by the configuration that it really has."""
    settings = wanted(spec)
    content = render(settings).encode()
    facts.need(CONFIG, files.text(PATH))
    changes, found = tuple(files.file(PATH, content)(facts)), facts.get(CONFIG)
    yield from changes
    overruled = [name for name, value in settings.items() if found.get(name, ()) != value]
    if overruled and not changes:
        # Written once more, it will not count any more than before: the run ends there and names the settings.
        yield Change(f"set {', '.join(overruled)} against a file that apt reads later", File(PATH, content))


@operation
def unattended(facts: Facts) -> Iterator[Change]:
    """Ensure that security upgrades are installed every night."""
    facts.need(apt.INSTALLED, *(systemd.state(timer) for timer in TIMERS))
    yield from apt.packages("unattended-upgrades")(facts)
    for timer in TIMERS:
        yield from systemd.service(timer)(facts)
