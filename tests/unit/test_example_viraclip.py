"""Viraclip's pipeline over stores in memory and a folder: steps, resuming, files."""

import json
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "viraclip"
sys.path += [str(EXAMPLE / "app"), str(EXAMPLE.parent / "images" / "python")]

from standin.web import Request, respond  # noqa: E402
from viraclip import backend, comfyui, video  # noqa: E402
from viraclip.pipeline import Clip, Pipeline  # noqa: E402


@dataclass
class Table:
    clips: list[Clip] = field(default_factory=list)

    def ping(self) -> None: ...

    def add(self, title: str, frames: int) -> Clip:
        self.clips.append({"id": len(self.clips) + 1, "title": title, "frames": frames, "status": "queued"})
        return self.clips[-1]

    def find(self, number: int) -> Clip | None:
        return next((one for one in self.clips if one["id"] == number), None)

    def finish(self, number: int, file: str, size: int) -> None:
        self.clips[number - 1] |= {"status": "done", "file": file, "size": size}


@dataclass
class Jobs:
    waiting: list[str] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    touched: int = 0

    def ping(self) -> None: ...

    def put(self, job: str) -> None:
        self.waiting.append(job)

    def take(self) -> str | None:
        if not self.waiting:
            return None
        self.taken.append(self.waiting.pop(0))
        return self.taken[-1]

    def touch(self, job: str) -> None:
        self.touched += 1

    def finish(self, job: str) -> None:
        self.taken.remove(job)

    def recover(self, older_than: float) -> list[str]:
        self.waiting, lost, self.taken = [*self.waiting, *self.taken], self.taken, []
        return lost


@dataclass
class Progress:
    states: dict[tuple[str, str], str] = field(default_factory=dict)
    begun: Counter[str] = field(default_factory=Counter)

    def begin(self, job: str, step: str) -> None:
        self.begun[step] += 1

    def done(self, job: str, step: str) -> None:
        self.states[job, step] = "done"

    def steps(self, job: str) -> Mapping[str, str]:
        return {step: state for (owner, step), state in self.states.items() if owner == job}


@dataclass
class Painter:
    """Draws until it is killed, at a frame of the test's choosing."""

    killed_at: int = -1

    def paint(self, seed: int, frame: int) -> bytes:
        if frame == self.killed_at:
            self.killed_at = -1
            raise KeyboardInterrupt
        return video.paint(seed, frame)


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    return Pipeline(Table(), Jobs(), Progress(), Painter(), tmp_path)


def ask(pipeline: Pipeline, method: str, path: str, sent: object = None) -> tuple[int, bytes]:
    response = respond(backend.routes(pipeline), Request(method, path, body=json.dumps(sent).encode()))
    return response.status, response.body


def test_a_clip_becomes_a_file_that_can_be_fetched(pipeline: Pipeline) -> None:
    assert ask(pipeline, "POST", "/clips", {"title": "a walk", "frames": 5})[0] == 201
    assert pipeline.one_job() == 1
    clip = json.loads(ask(pipeline, "GET", "/clips/1")[1])
    assert (clip["status"], clip["steps_done"]) == ("done", 7)
    status, file = ask(pipeline, "GET", f"/files/{clip['file']}")
    assert (status, len(file), video.frames_in(file)) == (200, clip["size"], 5)
    # What steps left lying is gone, and only the file is there.
    assert [path.name for path in pipeline.output.iterdir()] == ["clip-1.y4m"]


def test_a_killed_job_goes_on_where_it_was_and_gives_the_same_file(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.accept("a walk", 6)
    pipeline.painter.killed_at = 3  # type: ignore[attr-defined]
    with pytest.raises(KeyboardInterrupt):
        pipeline.one_job()
    assert pipeline.one_job() is None
    assert pipeline.jobs.recover(0) == ["1"]
    assert pipeline.one_job() == 1
    begun = pipeline.progress.begun  # type: ignore[attr-defined]
    assert [step for step, count in begun.items() if count > 1] == ["frame 3"]
    again = Pipeline(Table(), Jobs(), Progress(), Painter(), tmp_path / "again")
    again.accept("a walk", 6)
    again.one_job()
    assert (tmp_path / "again/clip-1.y4m").read_bytes() == (tmp_path / "clip-1.y4m").read_bytes()


def test_a_step_whose_file_is_gone_is_done_again(pipeline: Pipeline) -> None:
    pipeline.accept("a walk", 2)
    for step in ("plan", "frame 0", "frame 1"):
        pipeline.progress.done("1", step)
    assert pipeline.one_job() == 1
    assert ask(pipeline, "GET", "/files/clip-1.y4m")[0] == 200


def test_a_clip_that_is_done_or_gone_is_not_made_again(pipeline: Pipeline) -> None:
    pipeline.accept("a walk", 1)
    pipeline.one_job()
    pipeline.jobs.put("1")
    pipeline.jobs.put("9")
    touched = pipeline.jobs.touched  # type: ignore[attr-defined]
    assert [pipeline.one_job(), pipeline.one_job(), pipeline.one_job()] == [1, 9, None]
    assert pipeline.jobs.touched == touched  # type: ignore[attr-defined]
    assert pipeline.jobs.taken == []  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "sent",
    [{}, {"title": "a", "frames": 0}, {"title": "a", "frames": 241}, {"title": "a", "frames": True}, {"frames": 3}],
)
def test_what_is_no_clip_is_refused(pipeline: Pipeline, sent: object) -> None:
    assert ask(pipeline, "POST", "/clips", sent)[0] == 400


@pytest.mark.parametrize("name", ["..", "clip-1.y4m.draft", ".clip-1", "clip-x.y4m", "clip-1.y4m"])
def test_nothing_but_finished_clips_can_be_fetched(pipeline: Pipeline, name: str) -> None:
    assert ask(pipeline, "GET", f"/files/{name}")[0] == 404


def test_frames_differ_and_colours_are_within_bounds() -> None:
    assert video.paint(7, 0) != video.paint(7, 1)
    assert video.paint(7, 0) == video.paint(7, 0)
    white, black = (video.planes(bytes([level]) * 3 * 64 * 36) for level in (255, 0))
    assert (white[0], white[-1], black[0], black[-1]) == (255, 128, 0, 128)
    with pytest.raises(ValueError, match="no complete file"):
        video.frames_in(video.encode([video.paint(1, 1)])[:-1])


def test_the_neighbour_runs_before_it_is_ready() -> None:
    clock = iter([0.0, 1.0, comfyui.LOADING + 1])
    model = comfyui.Model(now=lambda: next(clock))
    routes = comfyui.routes(model)
    assert [respond(routes, Request("GET", "/health")).status for _ in range(2)] == [503, 200]
    assert respond(routes, Request("POST", "/demo/hang")).status == 404


def test_the_neighbour_draws_and_refuses_what_it_cannot(pipeline: Pipeline) -> None:
    model = comfyui.Model(now=lambda: 0.0)
    model.since = -comfyui.LOADING
    routes = comfyui.routes(model)
    good = respond(routes, Request("POST", "/paint", body=b'{"seed": 7, "frame": 1}'))
    assert (good.status, good.body) == (200, video.paint(7, 1))
    assert respond(routes, Request("POST", "/paint", body=b'{"seed": "x", "frame": 1}')).status == 400


def test_a_hung_model_is_not_healthy_and_a_leak_grows() -> None:
    model = comfyui.Model(now=lambda: 0.0)
    model.since = -comfyui.LOADING
    routes = comfyui.routes(model, faults=True)
    assert [json.loads(respond(routes, Request("POST", "/demo/leak")).body)["leaked"] for _ in range(2)] == [
        comfyui.LEAK,
        2 * comfyui.LEAK,
    ]
    respond(routes, Request("POST", "/demo/hang"))
    assert respond(routes, Request("GET", "/health")).status == 503
