"""How long it takes to find out that nothing is to be done, and to make a server of a bare machine.

`python -m benchmarks.converge` prints the tables of benchmarks/README.md that are about converging, measured here and
now on a disposable host of the lab. Everything it makes is removed at the end; `--keep` leaves the host there.
"""

import argparse
import platform
import shlex
from collections.abc import Iterator, Mapping
from functools import partial
from importlib.metadata import version

from benchmarks import measure
from benchmarks.contenders import INVOKE, VERSIONS, Contender, Contenders
from benchmarks.ground import ROOT, Ground
from benchmarks.measure import Sample
from toolkit.lab import Link

ROUND_TRIP = 0.040
LINK = 100
COLUMNS = ("", "wall", "ratio", "CPU here", "most memory", "logins")

# The recommended extras are left out by both sides.
BARE_INSTALL = (
    "apt-get update -qq && DEBIAN_FRONTEND=noninteractive "
    "apt-get install --yes -qq --no-install-recommends {packages} >/dev/null"
)


def main() -> None:
    options = _options()
    ground = Ground()
    try:
        _print(_about())
        if not options.first_only:
            for part in no_change(ground, options.rounds):
                _print(part)
            _print(cold_start(options.rounds))
        if options.first:
            for slow in (False, True):
                _print(first_provision(ground, options.first, slow=slow))
    finally:
        if not options.keep:
            ground.remove()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contender; the median counts")
    parser.add_argument("--first", type=int, default=3, help="bare machines for each side of the first provision")
    parser.add_argument("--first-only", action="store_true", help="measure first provisions and nothing else")
    parser.add_argument("--keep", action="store_true", help="leave the host in the lab")
    return parser.parse_args()


def _print(part: str) -> None:
    # At once: the whole takes a quarter of an hour.
    print(part, end="\n\n", flush=True)


def _about() -> str:
    ours = ", ".join(f"{name} {version(name)}" for name in ("fabric", "paramiko", "pydantic"))
    return f"{measure.machine()}; Python {platform.python_version()}, {ours}; peers {', '.join(VERSIONS)}"


def no_change(ground: Ground, rounds: int) -> Iterator[str]:
    """Measure a whole provision and deploy that finds nothing to do, close by and over a slow link."""
    if not (ROOT / "hosts" / "lab-bench.yml").exists():
        ground.fresh()
    measure.run((INVOKE, "deploy", "--host", "lab-bench", "--provision"), cwd=ROOT)
    ground.fetch_written()
    contenders, port = Contenders(ground), ground.vps.port
    contenders.converge_peers("lab-bench", port)
    close_by = contenders.all("lab-bench", port)
    yield "### No change, loopback"
    yield _compared(ground, close_by, rounds)
    yield "\n".join(f"- {name}: `{one.shown}`" for name, one in close_by.items())
    with Link(port, round_trip=ROUND_TRIP) as link:
        ground.describe("lab-bench-far", link.port)
        yield f"### No change, {ROUND_TRIP * 1000:.0f} ms round trip"
        yield _compared(ground, contenders.all("lab-bench-far", link.port), max(1, rounds - 2))


def _compared(ground: Ground, contenders: Mapping[str, Contender], rounds: int) -> str:
    logins = {name: _logins(ground, contender) for name, contender in contenders.items()}
    return _table(measure.in_turns(contenders, rounds), logins)


def _logins(ground: Ground, contender: Contender) -> int:
    """Return how often a contender logs in, by sshd's own log. The run also warms every cache."""
    before = ground.logins()
    contender()
    return ground.logins() - before - 1


def _table(samples: Mapping[str, Sample], logins: Mapping[str, int]) -> str:
    ours = next(iter(samples.values()))
    rows = [
        (
            name,
            f"{one.wall:.2f} s",
            f"{one.wall / ours.wall:.1f}×",
            f"{one.cpu:.2f} s",
            f"{one.resident / 2**20:.0f} MiB",
            str(logins[name]),
        )
        for name, one in samples.items()
    ]
    return measure.table(COLUMNS, rows)


def cold_start(rounds: int) -> str:
    """Measure the verbs that people wait for most often."""
    verbs = {
        "invoke --list": (INVOKE, "--list"),
        "invoke status --host lab-bench": (INVOKE, "status", "--host", "lab-bench"),
    }
    samples = measure.in_turns({name: partial(measure.run, argv, cwd=ROOT) for name, argv in verbs.items()}, rounds)
    rows = [
        (f"`{name}`", f"{one.wall:.2f} s", f"{one.cpu:.2f} s", f"{one.resident / 2**20:.0f} MiB")
        for name, one in samples.items()
    ]
    return "### Cold start\n\n" + measure.table(("", "wall", "CPU here", "most memory"), rows)


def first_provision(ground: Ground, machines: int, *, slow: bool) -> str:
    """Measure a bare machine's first provision against apt installing the same packages on another bare machine.

    `slow` has apt fetch no faster than many a server can; otherwise the mirror is as near as it gets.
    """
    _bare_machine(ground, slow)
    before = ground.packages()
    ours, bare = [], []
    for _ in range(machines):
        _bare_machine(ground, slow)
        ours.append(measure.run((INVOKE, "provision", "--host", "lab-bench"), cwd=ROOT))
        packages = ground.packages() - before
        _bare_machine(ground, slow)
        bare.append(_bare_install(ground, packages))
    title = f"packages at {LINK} Mbit/s" if slow else "packages from this machine"
    return _first_table(title, measure.median(ours), measure.median(bare), len(packages))


def _bare_machine(ground: Ground, slow: bool) -> None:
    ground.fresh()
    if slow:
        ground.ssh(f"echo 'Acquire::http::Dl-Limit \"{LINK * 1000 // 8}\";' >/etc/apt/apt.conf.d/90-bench")


def _bare_install(ground: Ground, packages: set[str]) -> Sample:
    install = BARE_INSTALL.format(packages=" ".join(sorted(packages)))
    return measure.run(ground.lab.ssh_command(ground.vps, "sudo", "sh", "-c", shlex.quote(install)), cwd=ROOT)


def _first_table(title: str, ours: Sample, bare: Sample, count: int) -> str:
    rows = [
        (name, f"{one.wall:.1f} s", f"{one.wall / bare.wall:.2f}×")
        for name, one in (("`invoke provision`", ours), (f"`apt-get install` of the same {count} packages", bare))
    ]
    return f"### First provision of a bare machine, {title}\n\n" + measure.table(("", "wall", "ratio"), rows)


if __name__ == "__main__":
    main()
