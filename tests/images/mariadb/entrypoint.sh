#!/bin/bash
# Start MariaDB; make its system tables and a password for root first where the data directory is empty.
set -euo pipefail

data=/var/lib/mysql

first_start() {
    local password
    # As an SQL literal; bash's own quoting of it would not survive a backslash.
    password=$(sed "s/\\\\/\\\\\\\\/g; s/'/''/g" "$MARIADB_ROOT_PASSWORD_FILE")
    mariadb-install-db --user=mysql --datadir="$data" --skip-test-db --auth-root-authentication-method=normal >/dev/null
    # As in the official image, root needs its password on the socket too. The statement goes in by standard input.
    printf "FLUSH PRIVILEGES;\nALTER USER 'root'@'localhost' IDENTIFIED BY '%s';\n" "$password" |
        mariadbd --user=mysql --datadir="$data" --bootstrap --skip-networking
}

if [ "${1:-}" = mariadbd ]; then
    chown mysql:mysql "$data" /run/mysqld
    [ -d "$data/mysql" ] || first_start
    set -- "$@" --user=mysql --datadir="$data" --skip-name-resolve --bind-address=0.0.0.0
fi
exec "$@"
