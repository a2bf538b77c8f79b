"""Many files in one archive: built here, laid out on the host by one script."""

import io
import secrets
import shlex
import tarfile
from collections.abc import Sequence
from pathlib import PurePosixPath

from toolkit.host.protocol import File
from toolkit.words.command import Command, script
from toolkit.words.errors import HostError
from toolkit.words.values import Secret

DRAFT = ".toolkit-draft"

# Every file arrives under a draft name and takes its own by rename, so no reader meets half of it. That name is of one
# archive alone: two runs may write the same file at once, and neither takes away what the other is about to rename.
# Drafts of a run that failed are removed; those of one that was killed go a day later, by their inodes' time, since
# an archive sets the other. A folder in a file's place is a fault, not something to write into. Perl is essential on
# Debian and Ubuntu, and renames any number of files in one process.
LAY_OUT = """
draft=$1; shift
clean() { perl -e '$draft = shift; unlink "$_$draft" for @ARGV' -- "$draft" "$@"; }
perl -e 'for $file (@ARGV) { die "$file is a directory\\n" if -d $file && !-l $file;
  -C $_ > 1 and unlink for glob "\\Q$file\\E.toolkit-draft-*" }' -- "$@" || exit
tar --extract --preserve-permissions --same-owner --no-overwrite-dir --directory / --file - || {
  code=$?; clean "$@"; exit "$code"; }
perl -e '$draft = shift; for (@ARGV) { rename "$_$draft", $_ or die "cannot write $_: $!\\n" }' -- "$draft" "$@" || {
  code=$?; clean "$@"; exit "$code"; }
"""


def pack(files: Sequence[File], draft: str) -> bytes:
    """Return a tar archive of the files under their draft names, which end in `draft`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for file in files:
            member = tarfile.TarInfo(_relative(file.path) + draft)
            member.size, member.mode = len(file.body), file.mode
            member.uname, member.gname = file.owner, file.group
            archive.addfile(member, io.BytesIO(file.body))
    return buffer.getvalue()


def send(files: Sequence[File]) -> Command:
    """Return the command that writes these files, content on its standard input."""
    folders = shlex.join(sorted({str(PurePosixPath(file.path).parent) for file in files}))
    draft = f"{DRAFT}-{secrets.token_hex(4)}"
    paths = (file.path for file in files)
    return script(f"mkdir -p -- {folders} || exit\n{LAY_OUT}", draft, *paths, stdin=Secret(pack(files, draft)))


def _relative(path: str) -> str:
    pure = PurePosixPath(path)
    if not pure.is_absolute() or ".." in pure.parts:
        raise HostError(f"{path} is not an absolute path", hint="name files from the root, without '..'")
    return str(pure.relative_to("/"))
