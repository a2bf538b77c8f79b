#!/bin/sh
# Start Redis as its own user. A first argument that is an option or a file belongs to redis-server.
set -eu
case ${1:-} in -*|*.conf) set -- redis-server "$@" ;; esac
if [ "${1:-}" = redis-server ]; then
    if [ "$(id -u)" = 0 ]; then
        chown -R redis:redis .
        exec setpriv --reuid=redis --regid=redis --init-groups -- "$0" "$@"
    fi
    # As in the official image: in a container, networks protect, and every client is a remote one.
    case "$*" in *protected-mode*) ;; *) set -- "$@" --protected-mode no ;; esac
fi
exec "$@"
