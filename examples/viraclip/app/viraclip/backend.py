"""The API: clips to make, how far they are, and the files when they are done."""

import re
from http import HTTPStatus

from standin.web import Request, Response, Routes, Unfit, answer, health

from viraclip.pipeline import Clip, Pipeline

MOST_FRAMES = 240


def routes(pipeline: Pipeline) -> Routes:
    # Without its neighbour the backend still answers: making clips waits, and health of that is the worker's.
    checks = {"database": pipeline.table.ping, "queue": pipeline.jobs.ping}
    return {
        ("GET", "/health"): lambda _: health(checks),
        ("POST", "/clips"): lambda request: accept(pipeline, request),
        ("GET", "/clips/*"): lambda request: find(pipeline, request),
        ("GET", "/files/*"): lambda request: file(pipeline, request),
    }


def accept(pipeline: Pipeline, request: Request) -> Response:
    frames = request.json().get("frames", 12)
    if not isinstance(frames, int) or isinstance(frames, bool) or not 1 <= frames <= MOST_FRAMES:
        raise Unfit(f"frames is a number from 1 to {MOST_FRAMES}")
    return answer(pipeline.accept(request.text("title"), frames), HTTPStatus.CREATED)


def find(pipeline: Pipeline, request: Request) -> Response:
    known = request.last.isascii() and request.last.isdigit()
    clip = pipeline.table.find(int(request.last)) if known else None
    if clip is None:
        return answer({"error": "no such clip"}, HTTPStatus.NOT_FOUND)
    return answer(clip | {"steps_done": _done(pipeline, clip)})


def _done(pipeline: Pipeline, clip: Clip) -> int:
    return sum(state == "done" for state in pipeline.progress.steps(str(clip["id"])).values())


def file(pipeline: Pipeline, request: Request) -> Response:
    """Return a finished clip. Its name has one shape, so nothing else in the volume can be asked for."""
    path = pipeline.output / request.last
    if not re.fullmatch(r"clip-[0-9]{1,18}\.y4m", request.last) or not path.is_file():
        return answer({"error": "no such file"}, HTTPStatus.NOT_FOUND)
    return Response(HTTPStatus.OK, path.read_bytes(), "video/x-yuv4mpeg")
