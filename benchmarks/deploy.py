"""What a deploy costs: one that finds nothing to do, and one that brings a new image of one service up.

    python -m benchmarks.deploy [--rounds 5] [--keep]

The change is measured against the bare `docker compose pull` and `up --wait` of the same change, of the same stack
beside ours on the same host, over OpenSSH. Whoever's turn it is finds the image gone and has to fetch it. In that time
the toolkit does what the bare commands do not: it asks the registry for digests, watches over the services for a while
once they are healthy (`gate.steady`), and keeps a way back. So it runs with the default of that, and with 0.1 s.
"""

import argparse
from collections.abc import Callable
from functools import partial

import yaml

from benchmarks import measure
from benchmarks.contenders import INVOKE
from benchmarks.ground import ROOT, STACK, Ground
from benchmarks.measure import Sample
from toolkit.lab import Link

ROUND_TRIP = 0.040
DEPLOY = (INVOKE, "deploy", "--host", "lab-bench")
BARE = """
cd /opt/bare
docker compose pull --quiet web
docker compose up --detach --wait --quiet-pull
"""
# Images that nothing runs from are forgotten before each turn, so that whoever's turn it is has to fetch its own.
DROP = """
for image in $(docker image ls --quiet --no-trunc nginx | sort -u); do
  docker ps --all --quiet --filter "ancestor=$image" | grep -q . || docker image rm --force "$image" >/dev/null
done
"""


def main() -> None:
    options = _options()
    ground = Ground()
    try:
        print(measure.machine(), end="\n\n", flush=True)
        _bring_up(ground)
        print(no_change(ground, options.rounds), end="\n\n", flush=True)
        print(one_service(ground, options.rounds), end="\n\n", flush=True)
    finally:
        if not options.keep:
            ground.remove()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contender; the median counts")
    parser.add_argument("--keep", action="store_true", help="leave the host in the lab")
    return parser.parse_args()


def _bring_up(ground: Ground) -> None:
    if not (ROOT / "hosts/lab-bench.yml").exists():
        ground.fresh()
    _want("1")
    measure.run((*DEPLOY, "--provision"), cwd=ROOT)
    compose = (STACK / "compose.yaml").read_text()
    conf = (STACK / "web/default.conf").read_text()
    ground.ssh(f"mkdir -p /opt/bare/web\ncat >/opt/bare/compose.yaml <<'END'\n{compose}\nEND\n")
    ground.ssh(f"cat >/opt/bare/web/default.conf <<'END'\n{conf}\nEND\necho WEB=1 >/opt/bare/.env\n{BARE}")


def _want(version: str, **gate: str) -> None:
    """Let the host file ask for a version of one service, which is replaced in place as Compose does it."""
    for path in (ROOT / "hosts").glob("lab-bench*.yml"):
        content = yaml.safe_load(path.read_text())
        content["stack"] |= {"variables": {"WEB": version}, "exclusive": ["web"], "gate": gate}
        path.write_text(yaml.safe_dump(content))


def no_change(ground: Ground, rounds: int) -> str:
    """Measure a deploy that finds nothing to do, close by and over a slow link."""
    with Link(ground.vps.port, round_trip=ROUND_TRIP) as link:
        ground.describe("lab-bench-far", link.port)
        _want("1")
        far = (*DEPLOY[:-1], "lab-bench-far")
        contenders = {
            "loopback": partial(_nothing, DEPLOY),
            f"{ROUND_TRIP * 1000:.0f} ms round trip": partial(_nothing, far),
        }
        samples = measure.in_turns(contenders, rounds)
    rows = [
        (name, f"{one.wall:.2f} s", f"{one.cpu:.2f} s", f"{one.resident / 2**20:.0f} MiB")
        for name, one in samples.items()
    ]
    return "### A deploy with nothing to do\n\n" + measure.table(("", "wall", "CPU here", "most memory"), rows)


def _nothing(argv: tuple[str, ...]) -> Sample:
    sample = measure.run(argv, cwd=ROOT)
    if "nothing to do" not in sample.output:
        raise SystemExit(f"something was done:\n{sample.output[-4000:]}")
    return sample


def one_service(ground: Ground, rounds: int) -> str:
    """Measure a new image of one service, from one version to the other and back."""
    bare, ours = _Turn(ground, _bare), _Turn(ground, _ours)
    turns = {
        "bare `docker compose pull`, `up --wait`": bare,
        "`invoke deploy`, `gate.steady: 0.1s`": partial(ours, steady="0.1s"),
        "`invoke deploy`": ours,
    }
    samples = measure.in_turns(turns, 2 * ((rounds + 1) // 2))
    floor = next(iter(samples.values()))
    rows = [
        (
            name,
            f"{one.wall:.1f} s",
            f"{one.wall / floor.wall:.2f}×",
            f"{one.cpu:.2f} s",
            f"{one.resident / 2**20:.0f} MiB",
        )
        for name, one in samples.items()
    ]
    return "### A new image of one service\n\n" + measure.table(("", "wall", "ratio", "CPU here", "most memory"), rows)


class _Turn:
    """One stack, which goes to the other version each time."""

    def __init__(self, ground: Ground, change: Callable[..., Callable[[], Sample]]) -> None:
        self._ground = ground
        self._change = change
        self._version = 1

    def __call__(self, **gate: str) -> Sample:
        self._version = 3 - self._version
        start = self._change(self._ground, str(self._version), **gate)
        self._ground.ssh(DROP)
        return start()


def _bare(ground: Ground, version: str) -> Callable[[], Sample]:
    ground.ssh(f"echo WEB={version} >/opt/bare/.env")
    return partial(measure.run, ground.lab.ssh_command(ground.vps, "sudo", "sh", "-ec", f"'{BARE}'"), cwd=ROOT)


def _ours(_ground: Ground, version: str, **gate: str) -> Callable[[], Sample]:
    _want(version, **gate)
    return partial(measure.run, DEPLOY, cwd=ROOT)


if __name__ == "__main__":
    main()
