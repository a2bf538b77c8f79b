"""Levels 3 and 4: the release made a sandbox, its data loaded and proven there, and the stack brought up on it."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace

from toolkit.drill import ask, files, stage
from toolkit.drill.box import Box, Project, Unfit, need_compose
from toolkit.drill.captured import FILES, RELEASE, SECRETS, Captured, seconds
from toolkit.drill.fence import Fence
from toolkit.drill.rehearsal import Drill
from toolkit.drill.report import Check, Phase
from toolkit.drill.sandbox import LABEL, NETWORK
from toolkit.drill.serving import serve
from toolkit.drill.wish import Query
from toolkit.repository.read import Snapshot
from toolkit.sources.discover import Found
from toolkit.sources.docker import Inspected
from toolkit.sources.protocol import Place, Source
from toolkit.sources.refill import Layout, Part, Refill, Refilled, layout, sources_in
from toolkit.sources.volume import Directory, Volume
from toolkit.stack.redact import Redactor, known
from toolkit.words.errors import Error, HostError

_PULL_WITHIN = 3600.0

Places = dict[str, tuple[Source, Place]]


def rehearse(drill: Drill, snapshot: Snapshot) -> None:
    """Bring a stack back in a sandbox, as far as the level says, and take everything away again."""
    captured = Captured.of(snapshot)
    captured.need_stack()
    need_compose()
    _refuse_production(drill, captured)
    box, fetched = Box.drawn(drill.docker, drill.root), list[str]()
    with ExitStack() as whole:
        # Images go last, when nothing is made of them any more.
        whole.callback(_forget, drill, fetched)
        opened = whole.enter_context(ExitStack())
        opened.enter_context(box.opened())
        try:
            _inside(drill, snapshot, captured, box, fetched)
        finally:
            with drill.phase("take the sandbox away", recovers=False):
                opened.close()
    _left(drill, box)


def _refuse_production(drill: Drill, captured: Captured) -> None:
    if not drill.wish.beside and drill.docker.containers(captured.stack):
        raise Unfit(
            f"{captured.stack} runs on this machine",
            hint="drill elsewhere with --on HOST or --on lab, or here with small shares: --beside-production",
        )


def _inside(drill: Drill, snapshot: Snapshot, captured: Captured, box: Box, fetched: list[str]) -> None:
    secrets = box.memory / "secrets"
    with drill.phase("bring back the release"):
        made = stage.make(snapshot, captured, box, drill.wish, drill.listener)
    drill.clean = Redactor(list(known(drill.root, str(secrets.relative_to(drill.root / "run/secrets"))))).text
    drill.add(list(stage.told(made.sandbox)))
    services = made.sandbox.model["services"]
    with drill.phase("fetch images"), drill.login() as login:
        _pull(drill, sorted({str(body["image"]) for body in services.values()}), login, fetched)
    aliases = [name for body in services.values() for name in body["networks"][NETWORK]["aliases"]]
    with Fence(drill.docker, box.name, aliases) as fence:
        project = Project(box, made.sandbox.model, captured.stack)
        with drill.phase("make the containers"):
            containers = project.create(services)
        places = _fill(drill, snapshot, project, containers)
        _query(drill, captured, places)
        if drill.wish.level == 4:
            serve(drill, made, project)
        drill.add(fence.checks())
    _other_files(drill, snapshot, box)


def _pull(drill: Drill, images: Sequence[str], login: str, fetched: list[str]) -> None:
    config = ("--config", login) if login else ()
    for number, image in enumerate(images, 1):
        drill.listener.progress(number, len(images), image)
        if drill.docker.ask("image", "inspect", image).ok:
            continue
        fetched.append(image)
        done = drill.docker.ask(*config, "pull", "--quiet", image, timeout=_PULL_WITHIN)
        if not done.ok:
            raise HostError(f"the image {image} cannot be had any more:\n{done.complaint}")
    drill.check("images", "there by their digests", "good", f"{len(images)} images, {len(fetched)} of them fetched")


def _forget(drill: Drill, images: Iterable[str]) -> None:
    """Images that only the drill fetched go again; one that somebody uses by now stays."""
    for image in images:
        with suppress(HostError):
            drill.docker.ask("image", "rm", image)


def _fill(drill: Drill, snapshot: Snapshot, project: Project, containers: Sequence[Inspected]) -> Places:
    """Load and prove every source; return where each is now. Raises what stops a load."""
    found = layout(snapshot, containers, found=_paths(snapshot, project.box))
    parts = [*found.parts, *_homeless(drill, snapshot, found, project.box)]
    names = {part.name for part in parts}
    drill.add([Check(name, "its place", "unknown", why) for name, why in found.unplaced if name not in names])
    places: Places = {}
    refill = Refill(drill.docker, snapshot, project, listener=drill.listener, clock=drill.clock)
    for part in parts:
        begun = drill.clock.now()
        done = next(iter(refill.run([part])))
        drill.phases.append(Phase(f"load {part.name}", _rest(drill, begun, done), recovers=True))
        drill.phases.append(Phase(f"prove {part.name}", round(done.probe_seconds, 3), recovers=False))
        drill.add([Check(done.source, one.what, one.state, one.evidence) for one in done.probe.verdicts])
        places[part.name] = (part.source, _now(part, project))
    return places


def _rest(drill: Drill, begun: float, done: Refilled) -> float:
    """What a load took with the start of its server, which a recovery waits for as well."""
    return round(max(0.0, drill.clock.now() - begun - done.probe_seconds), 3)


def _now(part: Part, project: Project) -> Place:
    if not part.service:
        return part.place
    return replace(part.place, container=project.start(part.service))


def _paths(snapshot: Snapshot, box: Box) -> list[Found]:
    """Directories of the host come back below the box, never where they were."""
    found = []
    for name, kind in sources_in(snapshot.manifest.sources).items():
        if kind == "path":
            folder = box.disk / "paths" / name.replace("/", "-")
            folder.mkdir(parents=True)
            found.append(
                Found(Directory(name=name), Place(path=str(folder)), "a path comes back below the drill's folder")
            )
    return found


def _homeless(drill: Drill, snapshot: Snapshot, found: Layout, box: Box) -> list[Part]:
    """Volumes that only services use which are off here: each gets a volume of the sandbox all the same."""
    kinds = sources_in(snapshot.manifest.sources)
    parts = []
    for name, _ in found.unplaced:
        if kinds[name] == "volume":
            volume = f"{box.name}_{name.partition('/')[2]}"
            drill.docker.run("volume", "create", "--label", f"{LABEL}={box.name}", volume)
            parts.append(Part(Volume(name=name), Place(volume=volume, replace=True), volumes=(volume,)))
    return parts


def _query(drill: Drill, captured: Captured, places: Mapping[str, tuple[Source, Place]]) -> None:
    with drill.phase("ask the queries", recovers=False):
        for query in drill.wish.queries:
            drill.add([ask.check(drill.docker, places, query, captured.moment)])
        if drill.wish.canary:
            _canary(drill, drill.wish.canary, places)


def _canary(drill: Drill, query: Query, places: Mapping[str, tuple[Source, Place]]) -> None:
    try:
        answer = ask.ask(drill.docker, places, query)
    except Error as error:
        drill.check(query.source, "canary", "bad", error.message)
        return
    moment = seconds(answer)
    if moment is None:
        drill.check(query.source, "canary", "bad", "its answer is no time")
        return
    drill.lost_since(moment, "canary")
    drill.check(query.source, "canary", "good", "the newest row that came back tells the RPO")


def _other_files(drill: Drill, snapshot: Snapshot, box: Box) -> None:
    """What is neither a source nor the stack's own: plain directories of the host."""
    sources = tuple(sources_in(snapshot.manifest.sources))
    known = (*sources, RELEASE, FILES, SECRETS)
    names = [info.name for info in snapshot.manifest.sources]
    others = [name for name in names if not any(name == one or name.startswith(f"{one}/") for one in known)]
    for number, name in enumerate(others):
        target = box.disk / f"files-{number}"
        with drill.phase(f"restore {name}"):
            done = files.bring_back(snapshot, target, name, drill.listener)
        drill.add([files.compare(snapshot, target, name, done)])


def _left(drill: Drill, box: Box) -> None:
    """Say that nothing is left; what is, is a fault of the drill and told as one."""
    left = [str(folder) for folder in (box.memory, box.disk) if folder.exists()]
    for kind, words in (("container", ("ps", "--all")), ("volume", ("volume", "ls")), ("network", ("network", "ls"))):
        found = drill.docker.ask(*words, "--quiet", "--filter", f"label={LABEL}={box.name}").text.split()
        left += [f"{kind} {one}" for one in found]
    evidence = "no container, volume, network, file or secret of it is left"
    drill.check("sandbox", "taken away", "bad" if left else "good", ", ".join(left) or evidence)
