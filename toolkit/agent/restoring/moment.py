"""Moments: a database that is restored as it was at a time between two backups, from a base and the shipped log."""

from collections.abc import Callable, Sequence
from dataclasses import fields
from datetime import datetime

from toolkit.repository.read import Repository
from toolkit.sources.discover import Found
from toolkit.sources.docker import Inspected, service_of
from toolkit.sources.postgres import Postgres
from toolkit.sources.postgres_moment import PostgresAt
from toolkit.sources.refill import Layout, Part, served
from toolkit.sources.stored import Followed
from toolkit.sources.wal_choose import Chosen, choose
from toolkit.sources.wal_recover import Reached
from toolkit.stack.restoring import Wish
from toolkit.words.errors import HostError
from toolkit.words.report import Listener


def chosen(repository: Repository, wish: Wish) -> Chosen:
    """Choose as the control side did before it asked. Raises RepositoryError, HostError."""
    try:
        (source,), to = wish.sources, datetime.fromisoformat(wish.at)
        if to.tzinfo is None:
            raise ValueError(wish.at)
    except ValueError as error:
        hint = "provision with the toolkit that restores"
        raise HostError("a request for a moment that makes no sense", hint=hint) from error
    return choose(repository, source, to)


def placed(
    found: Chosen,
    containers: Sequence[Inspected],
    known: Sequence[Found],
    listener: Listener,
    reached: Callable[[Reached], None],
) -> Layout:
    """Find the place of the database, and say how it is filled. Raises HostError where it has none here."""
    name = found.source
    corrected = next((one for one in known if one.source.name == name), None)
    service = name.partition("/")[2]
    by_id = {str(one["Id"]): one for one in containers}
    if corrected and (container := by_id.get(corrected.place.container)):
        service = service_of(container)
    serving = next((one for one in containers if service_of(one) == service), None)
    part = served(name, "postgres", service, serving, corrected)
    if not isinstance(part, Part) or not isinstance(part.source, Postgres):
        raise HostError(f"{name} has no place here: {part}", hint="deploy its stack first")
    settings = {one.name: getattr(part.source, one.name) for one in fields(Postgres)}
    source = PostgresAt(
        **settings,
        base=Followed(found.stored(found.base), listener),
        log=[Followed(found.stored(link), listener) for link in found.log],
        to=found.to,
        beyond=found.beyond,
        reached=reached,
    )
    return Layout((Part(source, part.place, part.service, part.volumes),))
