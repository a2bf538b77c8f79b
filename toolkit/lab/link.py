"""A link that can be slow and can break: a small TCP proxy on loopback in front of a port.

The kernel of a restricted machine has no traffic shaping, so latency is made here: every piece of data is held back
for half the round trip, in each direction, without holding back what follows it.
"""

import contextlib
import socket
import threading
import time
from collections import deque
from types import TracebackType
from typing import Self

PIECE = 65536


class Link:
    """A context manager: connect to `127.0.0.1:port` while it is open.

    `round_trip` is in seconds. `cut_after` breaks every connection that has carried so many bytes in both directions.
    `connections` counts those accepted, `carried` the bytes of all.
    """

    def __init__(self, target: int, *, round_trip: float = 0.0, cut_after: int | None = None) -> None:
        self._target = target
        self._delay = round_trip / 2
        self.cut_after = cut_after
        self.connections = 0
        self.carried = 0
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Closing alone would leave the accepting thread asleep in the kernel, and the port open.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Break every open connection at once; new ones are accepted."""
        with self._lock:
            open_now, self._open = self._open, set()
        for end in open_now:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._connect, args=(near,), daemon=True).start()

    def _connect(self, near: socket.socket) -> None:
        try:
            far = socket.create_connection(("127.0.0.1", self._target), timeout=10)
        except OSError:
            near.close()
            return
        far.settimeout(None)
        for end in (near, far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._open |= {near, far}
        budget = _Budget(self.cut_after)
        for source, sink in ((near, far), (far, near)):
            threading.Thread(target=self._carry, args=(source, sink, budget), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, budget: "_Budget") -> None:
        pipe = _Pipe(sink, self._delay)
        try:
            while (piece := source.recv(PIECE)) and budget.spend(len(piece)):
                self.carried += len(piece)
                pipe.put(piece)
        except OSError:
            pass
        pipe.finish()
        if budget.spent:
            self._drop(source, sink)

    def _drop(self, *ends: socket.socket) -> None:
        with self._lock:
            self._open -= set(ends)
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class _Budget:
    """The bytes a connection may still carry, shared by its two directions."""

    def __init__(self, limit: int | None) -> None:
        self._left = limit
        self._lock = threading.Lock()

    @property
    def spent(self) -> bool:
        return self._left is not None and self._left <= 0

    def spend(self, count: int) -> bool:
        with self._lock:
            if self._left is None:
                return True
            self._left -= count
            return self._left > 0


class _Pipe:
    """Sends pieces in order, each not before its time, from a thread of its own when there is a delay."""

    def __init__(self, sink: socket.socket, delay: float) -> None:
        self._sink = sink
        self._delay = delay
        self._queue: deque[tuple[float, bytes]] = deque()
        self._news = threading.Condition()
        self._thread = threading.Thread(target=self._send, daemon=True)
        if delay:
            self._thread.start()

    def put(self, piece: bytes) -> None:
        if not self._delay:
            self._sink.sendall(piece)
            return
        with self._news:
            self._queue.append((time.monotonic() + self._delay, piece))
            self._news.notify()

    def finish(self) -> None:
        """Let what is under way arrive, then close this direction."""
        if self._delay:
            self.put(b"")
            self._thread.join()
        with contextlib.suppress(OSError):
            self._sink.shutdown(socket.SHUT_WR)

    def _send(self) -> None:
        with contextlib.suppress(OSError):
            while piece := self._next():
                self._sink.sendall(piece)

    def _next(self) -> bytes:
        with self._news:
            while not self._queue:
                self._news.wait()
            due, piece = self._queue.popleft()
        time.sleep(max(0.0, due - time.monotonic()))
        return piece
