"""What it costs to deliver fifty secrets, and to start the agent.

    python -m benchmarks.secrets [--rounds 5]

A delivery is a process of its own: it reads the host file, logs in, and speaks with the agent, which checks every
secret, writes it to memory and seals a copy for the next boot. Each turn delivers fifty values that the host has not
seen. The bare floor is OpenSSH's client with `tar`, which writes the same fifty files and does none of the rest.
"""

import argparse
import secrets
import sys
import tarfile
import tempfile
from functools import partial
from io import BytesIO
from pathlib import Path

from benchmarks import measure
from benchmarks.contenders import INVOKE
from benchmarks.ground import ROOT, Ground
from benchmarks.measure import Sample
from toolkit.lab import Link

COUNT, BYTES, ROUND_TRIP = 50, 64, 0.040
DELIVER = f"""
import secrets, sys
from pathlib import Path
from toolkit.config import load
from toolkit.host.connect import connect
from toolkit.vault.delivery import Delivery, Entry
from toolkit.crypto.tags import tag
from toolkit.words.command import command
from toolkit.words.values import Secret
from toolkit.workflows import agent
host = connect(load.load(Path("hosts") / f"{{sys.argv[1]}}.yml"))
key = host.run(command("cat", "/var/lib/toolkit/key")).stdout
values = [Secret(secrets.token_bytes({BYTES})) for _ in range({COUNT})]
entries = [Entry(f"s{{n}}", tag(key, f"s{{n}}", values[n].reveal()), 0o400, 0, 0, {BYTES}) for n in range({COUNT})]
receipt = agent.put(host, Delivery("bench-secrets", "r", tuple(entries)), values)
assert len(receipt["written"]) == {COUNT}, receipt
host.close()
"""
START = "for n in 1 2 3 4 5 6 7 8 9 10; do /opt/toolkit/current/bin/agent version >/dev/null; done"
CLEAN = "rm -rf /run/secrets/bench-secrets /var/lib/toolkit/secrets/bench-secrets /run/bench-bare"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contender; the median counts")
    rounds = parser.parse_args().rounds
    ground = Ground()
    try:
        ground.fresh()
        measure.run((INVOKE, "provision", "--host", "lab-bench"), cwd=ROOT)
        # As a first deploy does: tags are made with the host's own key.
        ground.ssh("umask 077; head -c 32 /dev/urandom | sha256sum | cut -c -64 | tr -d '\\n' >/var/lib/toolkit/key")
        print(measure.machine(), end="\n\n")
        print(delivered(ground, rounds), end="\n\n")
        print(started(ground, rounds))
    finally:
        ground.remove()


def delivered(ground: Ground, rounds: int) -> str:
    """Measure deliveries close by and over a slow link."""
    with Link(ground.vps.port, round_trip=ROUND_TRIP) as link, tempfile.TemporaryDirectory() as folder:
        ground.describe("lab-bench-far", link.port)
        archive = Path(folder) / "secrets.tar"
        archive.write_bytes(_archive())
        far = f"{ROUND_TRIP * 1000:.0f} ms"
        samples = measure.in_turns(
            {
                "loopback": partial(_deliver, "lab-bench"),
                "loopback, bare `tar` over `ssh`": partial(_bare, ground, ground.vps.port, archive),
                far: partial(_deliver, "lab-bench-far"),
                f"{far}, bare `tar` over `ssh`": partial(_bare, ground, link.port, archive),
            },
            rounds,
        )
    rows = [(name, f"{one.wall:.2f} s", f"{one.resident / 2**20:.0f} MiB") for name, one in samples.items()]
    return f"### {COUNT} secrets\n\n" + measure.table(("", "wall", "most memory"), rows)


def _deliver(host: str) -> Sample:
    return measure.run((sys.executable, "-c", DELIVER, host), cwd=ROOT)


def _archive() -> bytes:
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for number in range(COUNT):
            member = tarfile.TarInfo(f"s{number}")
            member.size, member.mode = BYTES, 0o400
            archive.addfile(member, BytesIO(secrets.token_bytes(BYTES)))
    return buffer.getvalue()


def _bare(ground: Ground, port: int, archive: Path) -> Sample:
    options = ("-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR")
    ssh = ("ssh", "-p", str(port), "-i", str(ground.vps.identity), "-o", "IdentitiesOnly=yes", *options)
    unpack = "sudo sh -c 'mkdir -p /run/bench-bare && tar --extract --directory /run/bench-bare --file -'"
    line = ["sh", "-c", 'given=$1; shift; exec "$@" <"$given"', "sh", str(archive)]
    return measure.run((*line, *ssh, f"{ground.vps.user}@127.0.0.1", unpack), cwd=ROOT)


def started(ground: Ground, rounds: int) -> str:
    """Measure ten starts of the agent on the host, less what the connection alone costs."""
    argv = ground.lab.ssh_command(ground.vps, "sudo", "sh", "-c")
    turns = {
        "ten": partial(measure.run, (*argv, f"'{START}'"), cwd=ROOT),
        "none": partial(measure.run, (*argv, "true"), cwd=ROOT),
    }
    samples = measure.in_turns(turns, rounds)
    ground.ssh(CLEAN)
    return f"The agent starts and ends in {(samples['ten'].wall - samples['none'].wall) / 10:.3f} s."


if __name__ == "__main__":
    main()
