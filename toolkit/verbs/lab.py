"""`invoke lab.…`: disposable hosts, a registry and S3 on this machine, for whoever has no VPS to try things on."""

import os as system
from pathlib import Path
from typing import TYPE_CHECKING

from invoke.context import Context

from toolkit.verbs.face import listener, verb
from toolkit.words.errors import ConfigError

if TYPE_CHECKING:
    from toolkit.lab import Lab


def _lab(*, quiet: bool = False) -> "Lab":
    from toolkit.config.load import find_root
    from toolkit.lab import Lab

    return Lab.of(find_root(Path.cwd()), listener(json=quiet))


@verb(
    help={
        "hosts": "how many VPSs: vps1, vps2… (host files lab, lab2…)",
        "os": "debian13 or debian12",
        "example": "the folder in examples/ whose stack the host files have; taskflow until one is named",
        "apt-repository": "also serve a signed apt repository shaped like Docker's",
    }
)
def up(_: Context, hosts: int = 1, os: str = "debian13", example: str = "", apt_repository: bool = False) -> None:
    """Start VPSs, a registry that answers as ghcr.io, and S3; writes hosts/lab.yml."""
    from toolkit.faces import render
    from toolkit.lab.lab import DEFAULT_SERVICES

    lab = _lab()
    if example and not (lab.home.root / "examples" / example / "host.yml").is_file():
        known = sorted(path.parent.name for path in (lab.home.root / "examples").glob("*/host.yml"))
        raise ConfigError(f"no example named {example}", hint=f"there are: {', '.join(known)}")
    lab.up(hosts, os, (*DEFAULT_SERVICES, "repository") if apt_repository else DEFAULT_SERVICES, example)
    render.say("the lab is up: invoke lab.status shows it, invoke lab.down removes it")


@verb(help={"images": "also remove the images it built, which labs of other checkouts use too"})
def down(_: Context, images: bool = False) -> None:
    """Remove the lab's containers, volumes, network, keys and host files, and nothing else."""
    _lab().down(images=images)


@verb(help={"name": "which host; vps1 by default"})
def reboot(_: Context, name: str = "vps1") -> None:
    """Switch a VPS off and on again, and wait until it answers."""
    _lab().reboot(name)


@verb(help={"name": "which host; vps1 by default"})
def ssh(_: Context, name: str = "vps1") -> None:
    """Open a shell on a VPS, as admin."""
    lab = _lab()
    argv = lab.ssh_command(lab.vps(name))
    system.execvp(argv[0], argv)  # noqa: S606


@verb(help={"name": "which host; vps1 by default"})
def lose(_: Context, name: str = "vps1") -> None:
    """Destroy a VPS with its disk, as a fire would. Its host file stays: `invoke recover` brings its stack back."""
    from toolkit.faces import render

    _lab().lose(name)
    render.say(f"{name} is gone, with everything on it")


@verb()
def backups(_: Context, host: str = "lab") -> None:
    """Write backups/lab.yml: a bucket of the lab's S3, keys drawn for it, and the example's own policy."""
    from toolkit.faces import render
    from toolkit.lab.backupfile import IDENTITY

    lab = _lab()
    path = lab.backup_file(host)
    identity = (lab.home.folder / IDENTITY).relative_to(lab.home.root)
    render.say(f"{path.relative_to(lab.home.root)} is written; its identity: export TOOLKIT_IDENTITY=$PWD/{identity}")


@verb(help={"example": "a folder whose images/images.yml says what to build"})
def publish(_: Context, example: str = "examples/taskflow") -> None:
    """Build an example's stand-in images and put them into the lab's registry."""
    from toolkit.lab.images import publish as put

    lab = _lab()
    put(lab, lab.home.root / example)


@verb()
def status(_: Context, json: bool = False) -> None:
    """Show the lab's services and hosts, and where they answer."""
    from toolkit.faces import data, render
    from toolkit.words.report import Table

    rows = _lab(quiet=json).status()
    if json:
        render.say(data.dumps(rows))
    elif rows:
        cells = [(row.part, row.state, row.address, row.reach, row.detail) for row in rows]
        render.table(Table(("part", "state", "address", "reach", "detail"), cells))
    else:
        render.say("the lab is down")
