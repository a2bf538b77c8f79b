"""The `toolkit` command: the same verbs as `invoke`, for use outside of a repository's `tasks.py`."""

from invoke.collection import Collection
from invoke.program import Program

from toolkit import __version__
from toolkit.verbs import (
    backup,
    backup_host,
    doctor,
    drill,
    host,
    lab,
    lint,
    notify,
    recover,
    releases,
    restore,
    secrets,
    stack,
    watchdog,
)


def namespace() -> Collection:
    """Return every verb, as `tasks.py` and `toolkit` offer them."""
    verbs = Collection()
    for module in (host, stack, releases, lint, doctor, recover):
        for task in Collection.from_module(module).tasks.values():
            verbs.add_task(task)
    backups = Collection.from_module(backup)
    for task in Collection.from_module(backup_host).tasks.values():
        backups.add_task(task)
    verbs.add_collection(backups, name="backup")
    verbs.add_collection(Collection.from_module(drill), name="drill")
    verbs.add_collection(Collection.from_module(lab), name="lab")
    verbs.add_collection(Collection.from_module(restore), name="restore")
    verbs.add_collection(Collection.from_module(secrets), name="secrets")
    verbs.add_collection(Collection.from_module(watchdog), name="watchdog")
    verbs.add_collection(Collection.from_module(notify), name="notify")
    return verbs


def main() -> None:
    program = Program(
        name="toolkit", binary="toolkit", binary_names=["toolkit"], namespace=namespace(), version=__version__
    )
    program.run()
