"""A stand-in for ComfyUI: a neighbour that runs long before it is ready, and would take the whole machine.

With `DEMO_FAULTS=true` it can be made to hang or to leak, to show what heals it.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from standin.web import Request, Response, Routes, Unfit, answer, health

from viraclip import video

LOADING = 3.0
"""Seconds from running to ready: the real one loads gigabytes first."""

LEAK = 8 * 1024 * 1024


class Loading(Exception):
    """Running, and not ready."""


@dataclass
class Model:
    """What draws: loaded once, then asked by one caller at a time."""

    now: Callable[[], float] = time.monotonic
    since: float = field(init=False)
    lock: threading.Lock = field(default_factory=threading.Lock)
    leaked: list[bytearray] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.since = self.now()

    def ready(self) -> None:
        if self.now() - self.since < LOADING:
            raise Loading
        # A hung model holds the lock: health says so, where a look at the process would not.
        if not self.lock.acquire(timeout=2):
            raise Loading
        self.lock.release()

    def paint(self, seed: int, frame: int) -> bytes:
        self.ready()
        with self.lock:
            return video.paint(seed, frame)

    def hang(self) -> None:
        self.lock.acquire()

    def leak(self) -> int:
        """Take a little more memory, touched, so that it is really taken; return how much there is."""
        self.leaked.append(bytearray(b"x" * LEAK))
        return len(self.leaked) * LEAK


def routes(model: Model, *, faults: bool = False) -> Routes:
    usual = {
        ("GET", "/health"): lambda _: health({"model": model.ready}),
        ("POST", "/paint"): lambda request: paint(model, request),
    }
    if not faults:
        return usual
    return usual | {
        ("POST", "/demo/hang"): lambda _: answer({"hung": model.hang() is None}),
        ("POST", "/demo/leak"): lambda _: answer({"leaked": model.leak()}),
    }


def paint(model: Model, request: Request) -> Response:
    asked = request.json()
    numbers = [asked.get(name) for name in ("seed", "frame")]
    if not all(isinstance(number, int) and 0 <= number < 2**32 for number in numbers):
        raise Unfit("seed and frame are numbers")
    seed, frame = numbers
    assert isinstance(seed, int)
    assert isinstance(frame, int)
    return Response(200, model.paint(seed, frame), "application/octet-stream")
