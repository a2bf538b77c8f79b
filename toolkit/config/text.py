"""Reading one file of the repository: from its bytes to plain values with lines, or to one ConfigError."""

import difflib
from pathlib import Path

from toolkit.config.document import LARGEST_TEXT, Node, parse
from toolkit.config.faults import Fault, Faulty, as_error
from toolkit.words.errors import ConfigError


def read(path: Path, page: str) -> tuple[Node, list[Fault]]:
    """Return the document and the faults that do not keep it from being read. Raises ConfigError.

    `page` is the page of the documentation that lists every key of such a file.
    """
    file = name_of(path)
    text = _text(path, file)
    try:
        return parse(text)
    except Faulty as error:
        raise as_error(file, [error.fault], page) from error.__cause__


def name_of(path: Path) -> str:
    """Return a file as people call it: `hosts/prod.yml`."""
    return f"{path.parent.name}/{path.name}"


def _text(path: Path, file: str) -> str:
    try:
        with path.open("rb") as stream:
            # One byte more than allowed is enough to know; the rest of a huge file is never read.
            return stream.read(LARGEST_TEXT + 1).decode()
    except FileNotFoundError as error:
        raise ConfigError(f"there is no {file}", hint=_what_is_there(path)) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is not UTF-8 text", hint="save it as plain UTF-8") from error
    except (OSError, ValueError) as error:
        raise ConfigError(f"{file} cannot be read: {error}", hint="it must be a readable file") from error


def _what_is_there(path: Path) -> str:
    there = sorted(other.stem for other in path.parent.glob("*.yml"))
    if not there:
        folder = path.parent.name
        return f"nothing is in {path.parent}; {folder}/example.yml of the toolkit shows such a file"
    close = difflib.get_close_matches(path.stem, there, n=1)
    return (f"did you mean {close[0]}? " if close else "") + f"there are: {', '.join(there)}"
