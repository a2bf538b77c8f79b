"""The backup file of a lab host: a bucket of the lab's S3, and keys drawn for it.

What a person writes by hand for a real host, above the policy that an example has as `backup.yml`: when, what, and what
a drill has to find. The keys lie in the lab's own folder, and go with the lab.
"""

import json
from pathlib import Path

from toolkit.crypto import age
from toolkit.lab.home import EXAMPLE, Home, replace
from toolkit.lab.services import S3

IDENTITY, ESCROW = "backup-identity", "backup-escrow"

_MARK = "# Written by lab.backups for a lab host."
_HEAD = """# yaml-language-server: $schema=../docs/backup.schema.json
{mark} lab.down removes its bucket, and the keys that open it.
repository:
  url: s3://lab-{host}/backups?endpoint={endpoint}
  operator:
    access_key: "command:cat {lab}/backup-operator-access"
    secret_key: "command:cat {lab}/backup-operator-secret"
    name: arn:aws:iam:::user/operator
  host:
    access_key: "command:cat {lab}/backup-host-access"
    secret_key: "command:cat {lab}/backup-host-secret"
    name: arn:aws:iam:::user/host
recipients: {recipients}
lock: false
"""


def path_of(root: Path, host: str) -> Path:
    """Return the backup file of a host."""
    return root / "backups" / f"{host}.yml"


def remove(home: Home) -> None:
    """Remove the backup files that a lab wrote, with the pins and reports of their hosts, and nobody else's."""
    folder = home.root / "backups"
    for path in folder.glob("lab*.yml"):
        if _MARK in path.read_text():
            for one in (path, *folder.glob(f"{path.stem}.*"), *(folder / "reports").glob(f"{path.stem}-*")):
                one.unlink(missing_ok=True)


def text(home: Home, s3: S3, host: str, example: str = EXAMPLE) -> str:
    """Return the backup file of a host, with the policy of an example, and keep what its providers read."""
    drawn = [home.secret(name, lambda: age.new_identity().reveal().decode()) for name in (IDENTITY, ESCROW)]
    recipients = json.dumps([age.recipient_of(identity) for identity in drawn])
    for who, (access, secret) in (("operator", s3.operator), ("host", s3.host)):
        home.keep(f"backup-{who}-access", access)
        home.keep(f"backup-{who}-secret", secret.reveal().decode())
    head = _HEAD.format(mark=_MARK, host=host, endpoint=s3.inside, lab=home.folder.name, recipients=recipients)
    policy = home.root / "examples" / example / "backup.yml"
    return head + (f"\n{policy.read_text()}" if policy.is_file() else "")


def write(home: Home, s3: S3, host: str, example: str = EXAMPLE) -> Path:
    """Write the backup file of a host; return it."""
    path = path_of(home.root, host)
    path.parent.mkdir(exist_ok=True)
    replace(path, text(home, s3, host, example).encode(), mode=0o644)
    return path
