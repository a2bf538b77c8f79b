"""Logins: who speaks to a database, and how its password gets from where it lies to the client that needs it.

A password is read inside the container, from the file or variable that the container has anyway, and handed to the
client through a file in the container's memory (`/dev/shm`, owner only, gone when the client ends) or through a pipe.
So it crosses no command line, no environment and no disk, here or there.
"""

import re
from dataclasses import dataclass
from typing import Literal

from toolkit.words.errors import ConfigError

How = Literal["postgres", "mysql", "redis", "clickhouse"]

# $1 is the user, $2 where the password lies. What `$(…)` strips, line ends after the last character, is no password's.
_READ = """
user=$1; place=$2; shift 2
case $place in
    file:*) secret=$(cat -- "${{place#file:}}") || {{ echo "cannot read ${{place#file:}}" >&2; exit 77; }} ;;
    env:*) eval "secret=\\${{${{place#env:}}-}}" ;;
esac
[ -n "$secret" ] || {{ echo "no password at $place" >&2; exit 77; }}
secret=$(printf '%s\\n' "$secret" | sed '{escape}')
"""
_FILE = """
umask 077
login=/dev/shm/.toolkit-login-$$
trap 'rm -f -- "$login"' EXIT
trap 'exit 143' TERM INT HUP
printf '{form}' {values} >"$login" || exit 77
unset secret
"""
_ESCAPES = {
    "postgres": r"s/[\\:]/\\&/g",
    "mysql": r's/[\\"]/\\&/g',
    "redis": r's/[\\"]/\\&/g',
    "clickhouse": r"s/&/\&amp;/g; s/</\&lt;/g; s/>/\&gt;/g",
}
_FORMS = {
    # https://www.postgresql.org/docs/current/libpq-pgpass.html
    "postgres": (r"*:*:*:*:%s\n", '"$secret"'),
    # https://mariadb.com/kb/en/configuring-mariadb-with-option-files/
    "mysql": (r'[client]\nuser="%s"\npassword="%s"\n', '"$user" "$secret"'),
    "clickhouse": (r"<config><user>%s</user><password>%s</password></config>\n", '"$user" "$secret"'),
}
_USE = {
    "postgres": 'export PGPASSFILE="$login"\n',
    # The client insists that this option comes first.
    "mysql": 'program=$1; shift; set -- "$program" "--defaults-extra-file=$login" "$@"\n',
    "clickhouse": 'set -- "$@" "--config-file=$login"\n',
}
# Spoken as the first command, before those on standard input.
_REDIS = """{ printf 'AUTH %s "%s"\\n' "$user" "$secret"; unset secret; cat; } | """


@dataclass(frozen=True)
class Login:
    """A user, and the place of its password: `file:/path` or `env:NAME`, both inside the container."""

    how: How
    user: str
    place: str

    def __post_init__(self) -> None:
        kind, _, rest = self.place.partition(":")
        if kind == "file" and rest.startswith("/"):
            return
        if kind == "env" and re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", rest):
            return
        raise ConfigError(
            f"{self.place!r} is no place for a password", hint="write file:/path or env:NAME, as seen in the container"
        )

    def prelude(self) -> tuple[str, tuple[str, ...]]:
        """The shell that readies the client, and the words it takes before the program's own."""
        text = _READ.format(escape=_ESCAPES[self.how])
        if self.how == "redis":
            return text + _REDIS, (self.user, self.place)
        form, values = _FORMS[self.how]
        return text + _FILE.format(form=form, values=values) + _USE[self.how], (self.user, self.place)
