"""The worker: sends what is queued, takes stock, and takes over jobs of workers that went silent."""

import logging
import threading
import time
from collections.abc import Callable

from standin import worker
from standin.worker import Repeated

from relay.office import PostOffice

log = logging.getLogger("relay")


def one_round(office: PostOffice) -> None:
    number = office.send_one()
    if number is not None:
        log.info("message %d sent", number)


def repeated(office: PostOffice) -> list[Repeated]:
    return [Repeated(10, office.take_stock), Repeated(10, office.recover)]


def run(office: PostOffice) -> None:
    worker.run(lambda: one_round(office), repeated(office))


def in_the_background(office: PostOffice, stopped: Callable[[], bool] = lambda: False) -> threading.Thread:
    """Work beside the API, in a thread that ends with its process."""

    def endlessly() -> None:
        worker.work(
            lambda: one_round(office),
            repeated(office),
            stopped=stopped,
            pause=lambda: time.sleep(1),
            beat=lambda: None,
        )

    thread = threading.Thread(target=endlessly, daemon=True)
    thread.start()
    return thread
