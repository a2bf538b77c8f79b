"""The agent: takes a run, looks at the site with its browser, keeps what it saw in a file, and says that it was there.

The browser is a stand-in: it fetches one page and keeps the bytes in shared memory on the way, as a real one does.
"""

import hashlib
import logging
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Protocol

from oneglanse.product import Product

RECOVER_AFTER = 60.0
PATIENCE = 10
SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - its size is set in the Compose file

log = logging.getLogger("oneglanse")


class Looks(Protocol):
    def look(self, site: str) -> bytes: ...


@dataclass(frozen=True)
class Browser:
    """Every site is the one of this address here: the stack has no way out."""

    url: str
    memory: Path = SHARED_MEMORY

    def look(self, site: str) -> bytes:
        with (
            urllib.request.urlopen(self.url, timeout=PATIENCE) as response,  # noqa: S310 - our own setting
            NamedTemporaryFile(dir=self.memory) as kept,
        ):
            kept.write(f"<!-- {hashlib.sha256(site.encode()).hexdigest()} -->\n".encode())
            kept.write(response.read())
            kept.flush()
            return Path(kept.name).read_bytes()


def one_run(product: Product, browser: Looks, storage: Path) -> int | None:
    """Take one run and bring it to its end; return its number. Doing it twice keeps the first."""
    job = product.jobs.take()
    if job is None:
        return None
    run = product.runs.find(int(job))
    if run is not None and run["status"] == "queued":
        site, file = str(run["site"]), storage / f"run-{job}.html"
        draft = file.with_suffix(".draft")
        draft.write_bytes(browser.look(site))
        draft.replace(file)
        if product.runs.finish(int(job), file.name, file.stat().st_size):
            product.happened(site, "run", f"/{file.name}")
            log.info("run %s of %s done", job, site)
    product.jobs.finish(job)
    return int(job)
