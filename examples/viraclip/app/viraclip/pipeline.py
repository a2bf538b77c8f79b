"""The pipeline: from a title to a file, in steps that are written down, so that a killed job goes on where it was.

Steps are `plan`, one `frame N` each, and `encode`. What a step made lies in the shared volume under a name of its own,
complete or not at all; which steps are done stands in Redis. Doing a step twice gives the same bytes.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from viraclip import video

RECOVER_AFTER = 20.0
"""Seconds without a finished step after which a job is another worker's."""

Clip = dict[str, object]

log = logging.getLogger("viraclip")


class Table(Protocol):
    def ping(self) -> None: ...

    def add(self, title: str, frames: int) -> Clip: ...

    def find(self, number: int) -> Clip | None: ...

    def finish(self, number: int, file: str, size: int) -> None: ...


class Jobs(Protocol):
    def ping(self) -> None: ...

    def put(self, job: str) -> None: ...

    def take(self) -> str | None: ...

    def touch(self, job: str) -> None: ...

    def finish(self, job: str) -> None: ...

    def recover(self, older_than: float) -> list[str]: ...


class Progress(Protocol):
    """Which steps of a job are done; each counts how often it was begun."""

    def begin(self, job: str, step: str) -> None: ...

    def done(self, job: str, step: str) -> None: ...

    def steps(self, job: str) -> Mapping[str, str]: ...


class Painter(Protocol):
    def paint(self, seed: int, frame: int) -> bytes: ...


@dataclass(frozen=True)
class Pipeline:
    table: Table
    jobs: Jobs
    progress: Progress
    painter: Painter
    output: Path

    def accept(self, title: str, frames: int) -> Clip:
        clip = self.table.add(title, frames)
        self.jobs.put(str(clip["id"]))
        return clip

    def one_job(self) -> int | None:
        """Take a job and bring it to its end, past the steps that are done; return its number."""
        job = self.jobs.take()
        if job is None:
            return None
        clip = self.table.find(int(job))
        if clip is not None and clip["status"] == "queued":
            self._bring_to_its_end(job, clip)
        self.jobs.finish(job)
        return int(job)

    def _bring_to_its_end(self, job: str, clip: Clip) -> None:
        folder, frames = self.output / f".clip-{job}", int(str(clip["frames"]))
        folder.mkdir(parents=True, exist_ok=True)
        self._step(job, "plan", folder / "plan.json", lambda: plan(str(clip["title"]), frames))
        seed = json.loads((folder / "plan.json").read_bytes())["seed"]
        for number in range(frames):
            step = f"frame {number}"
            self._step(job, step, folder / f"{number}.rgb", partial(self.painter.paint, seed, number))
        file = self.output / f"clip-{job}.y4m"
        self._step(job, "encode", file, lambda: _encoded(folder, frames))
        self.table.finish(int(job), file.name, file.stat().st_size)
        for path in folder.iterdir():
            path.unlink()
        folder.rmdir()
        log.info("clip %s done: %s", job, file.name)

    def _step(self, job: str, step: str, file: Path, make: Callable[[], bytes]) -> None:
        if self.progress.steps(job).get(step) == "done" and file.exists():
            return
        self.progress.begin(job, step)
        draft = file.with_name(f"{file.name}.draft")
        draft.write_bytes(make())
        draft.replace(file)
        self.progress.done(job, step)
        self.jobs.touch(job)


def _encoded(folder: Path, frames: int) -> bytes:
    return video.encode([(folder / f"{number}.rgb").read_bytes() for number in range(frames)])


def plan(title: str, frames: int) -> bytes:
    """Return what the frames are drawn from."""
    seed = int.from_bytes(hashlib.sha256(title.encode()).digest()[:4], "big")
    return json.dumps({"title": title, "frames": frames, "seed": seed}).encode()
