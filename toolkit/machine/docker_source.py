"""Where Docker's packages come from: the official repository, a mirror of it, or another suite of the distribution.

Every source is signed. A mirror's key comes from the repository of the installation; the official key is fetched by the
host and is taken only when it has the fingerprint that is written here.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from toolkit.config.models import Docker, DockerRepository
from toolkit.converge import Change, Fact, Facts, operation
from toolkit.machine import apt, files
from toolkit.machine.os import SYSTEM, System
from toolkit.words.command import script
from toolkit.words.errors import ConfigError, HostError

OFFICIAL_URL = "https://download.docker.com/linux"
# Docker Release (CE deb), the same since 2017; https://docs.docker.com/engine/install/debian/ shows it.
OFFICIAL_FINGERPRINT = "9DC858229FC7DD38854AE2D88D81803C0EBFCD88"
KEY = "/etc/apt/keyrings/docker.asc"
SOURCES = "/etc/apt/sources.list.d/docker.sources"
DEBIAN_PACKAGES = ("docker.io", "docker-cli", "docker-compose")
DEBIAN_KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

# With these options gpg writes nothing, not even its trust database.
SHOW_KEYS = "gpg --no-options --no-keyring --trust-model always --batch --show-keys --with-colons --homedir"

FINGERPRINTS = f"""
[ -e {KEY} ] && command -v gpg >/dev/null || exit 0
{SHOW_KEYS} {KEY.rpartition("/")[0]} -- {KEY} 2>/dev/null
exit 0
"""

FETCH_KEY = f"""
home=$(mktemp --directory) || exit 1
trap 'rm -rf -- "$home"' EXIT
curl --fail --silent --show-error --location --max-time 60 --output "$home/key" -- "$1" || {{
  echo "cannot fetch $1: a mirror of it goes into machine.docker.source as url and key" >&2; exit 1; }}
found=$({SHOW_KEYS} "$home" -- "$home/key" 2>/dev/null |
  awk -F: '$1 == "pub" {{ primary = 1 }} $1 == "fpr" && primary {{ print $10; primary = 0 }}')
if [ "$found" != "$2" ]; then
  echo "the key at $1 has the fingerprint ${{found:-of no key}}, not $2: do not trust it" >&2; exit 1
fi
install -D --mode=644 -- "$home/key" {KEY}
"""

# Which mirrors apt itself uses for the release's own suite.
MIRRORS = (
    """apt-get indextargets --format '$(CODENAME) $(RELEASE) $(REPO_URI)' 'Created-By: Packages' 'Component: main'"""
)


def parse_fingerprints(text: str) -> tuple[str, ...]:
    """Read `gpg --show-keys --with-colons`: the fingerprint of each primary key, which follows its `pub` line."""
    rows = [line.split(":") for line in text.splitlines()]
    kinds = [row for row in rows if row[0] in ("pub", "sub", "fpr")]
    return tuple(row[9] for before, row in pairwise(kinds) if before[0] == "pub" and row[0] == "fpr")


def parse_mirrors(text: str) -> dict[str, str]:
    """Read `apt-get indextargets`: the first address of each release, by codename and by suite (`stable`)."""
    mirrors: dict[str, str] = {}
    for line in text.splitlines():
        codename, suite, address = line.split(" ", 2)
        mirrors.setdefault(codename, address)
        mirrors.setdefault(suite, address)
    return mirrors


OFFICIAL_KEY = Fact("fingerprint of Docker's key", script(FINGERPRINTS), parse_fingerprints)
MIRROR_OF = Fact("mirrors of apt", script(MIRRORS), parse_mirrors)


@operation
def repository(facts: Facts, spec: Docker, root: Path) -> Iterator[Change]:
    """Ensure that apt knows where Docker comes from, and which key vouches for it."""
    facts.need(SYSTEM, *_facts_for(spec))
    system = facts.get(SYSTEM)
    if isinstance(spec.source, DockerRepository):
        source = spec.source
        suite = source.suite or system.codename
        key = _key(root, source.key)
        yield from apt.repository("docker", url=source.url, suite=suite, key=key, component=source.component)(facts)
    elif spec.source == "official":
        yield from _official(facts, system)
    elif spec.suite:
        yield from _other_suite(facts, system, spec.suite)


def _facts_for(spec: Docker) -> tuple[Fact[Any], ...]:
    """Return all that a source will ask about, so that it is asked in one go."""
    if isinstance(spec.source, DockerRepository):
        return (files.text(SOURCES),)
    if spec.source == "official":
        return (OFFICIAL_KEY, files.text(SOURCES), apt.INSTALLED)
    pins = [files.text(f"/etc/apt/preferences.d/{name}.pref") for name in ("docker-others", "docker")]
    return (MIRROR_OF, files.text(SOURCES), *pins) if spec.suite else ()


def _key(root: Path, key: str) -> str | bytes:
    if key.lstrip().startswith("-----BEGIN"):
        return key
    try:
        return (root / key).read_bytes()
    except OSError as error:
        raise ConfigError(
            f"cannot read machine.docker.source.key: {error}", hint="name a file of this repository"
        ) from error


def _official(facts: Facts, system: System) -> Iterator[Change]:
    url = f"{OFFICIAL_URL}/{system.name}"
    if facts.get(OFFICIAL_KEY) != (OFFICIAL_FINGERPRINT,):
        yield from apt.packages("ca-certificates", "curl", "gnupg")(facts)
        fetch = script(FETCH_KEY, f"{url}/gpg", OFFICIAL_FINGERPRINT)
        yield Change(f"fetch Docker's key and compare its fingerprint with {OFFICIAL_FINGERPRINT}", fetch)
    yield from files.file(SOURCES, _source(url, system.codename, "stable", KEY))(facts)


def _other_suite(facts: Facts, system: System, suite: str) -> Iterator[Change]:
    """Take Docker's three packages from another suite of the same mirror, and nothing else that can be avoided."""
    mirror = facts.get(MIRROR_OF).get(system.codename)
    if mirror is None:
        raise HostError(
            f"{facts.host.name}: apt has no mirror of {system.codename} main to take {suite} from",
            hint="put one into /etc/apt/sources.list, or set machine.docker.source: official",
        )
    yield from files.file(SOURCES, _source(mirror, suite, "main", DEBIAN_KEYRING))(facts)
    # Below 100: nothing that is installed is ever replaced from there, only what is missing may come from it.
    yield from apt.pin("docker-others", "*", f"release n={suite}", 50)(facts)
    yield from apt.pin("docker", " ".join(DEBIAN_PACKAGES), f"release n={suite}", 990)(facts)


def _source(url: str, suite: str, component: str, key: str) -> str:
    return f"Types: deb\nURIs: {url}\nSuites: {suite}\nComponents: {component}\nSigned-By: {key}\n"
