"""A bundle: what others need to help, in one archive.

Every text in it was cleaned on the host, which knows its secrets.
"""

import gzip
import io
import json
import re
import tarfile
from collections.abc import Mapping
from pathlib import Path

from toolkit import __version__
from toolkit.faces import data
from toolkit.stack.doctor.diagnosis import Diagnosis, diagnose
from toolkit.words import atomic
from toolkit.words.errors import ConfigError
from toolkit.workflows.doctor.visit import Visit

README = """\
What `invoke doctor --bundle` saw of a host, for somebody who is asked for help.

diagnosis.json   likely causes, most likely first
evidence.json    what they were found in
logs/            last lines of each container
journal/         last lines of units
release/         the current release: its Compose files and manifest
deploys/         journals of the last deploys
*.txt            what programs of the host say

Secrets of the stack and of the agent, values of env files and what looks like a credential stand as [name], however
they were encoded. Look through it all the same before you give it to anybody.
"""


def write(path: Path, visit: Visit) -> None:
    """Write the archive, readable for its owner alone. Raises ConfigError where it cannot be written."""
    content = packed(texts(visit))
    try:
        atomic.replace(path, content, mode=0o600)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}", hint="name another file") from error


def texts(visit: Visit) -> dict[str, str]:
    """Return what goes into the archive, by name. The diagnosis is made anew, of what was cleaned."""
    evidence = visit.redacted or visit.evidence
    diagnosis: Diagnosis = diagnose(evidence)
    seen = {"now": evidence.now, "wanted": data.plain(evidence.wanted), "sections": evidence.sections}
    return {
        "README.txt": README,
        "version.txt": f"server-toolkit {__version__}\n",
        "diagnosis.json": data.dumps(diagnosis) + "\n",
        "evidence.json": json.dumps(seen, indent=1, ensure_ascii=False) + "\n",
        **visit.files,
    }


def packed(files: Mapping[str, str]) -> bytes:
    """Return a compressed tar archive. Names came from the host: they stay inside of the archive's own folder."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, text in sorted(files.items()):
            body = text.encode(errors="replace")
            member = tarfile.TarInfo(f"doctor/{_tame(name)}")
            member.size, member.mode = len(body), 0o600
            archive.addfile(member, io.BytesIO(body))
    return gzip.compress(buffer.getvalue(), mtime=0)


def _tame(name: str) -> str:
    parts = (re.sub(r"[^A-Za-z0-9._ -]", "_", part) for part in name.split("/"))
    return "/".join(part for part in parts if part.strip(". "))
