#!/bin/bash
# Start PostgreSQL; make the cluster first where the data directory is empty.
set -euo pipefail

fail() { echo "error: $1" >&2; exit 1; }

# setting NAME DEFAULT: the variable, or the content of the file that NAME_FILE names; both at once is a mistake.
setting() {
    local name=$1 file_name=$1_FILE value=$2
    [ -z "${!name:-}" ] || [ -z "${!file_name:-}" ] || fail "$name and $file_name are both set"
    case ${!file_name:-} in
        "") value=${!name:-$value} ;;
        descriptor) value=$(cat <&3) ;;
        *) value=$(< "${!file_name}") ;;
    esac
    # Not exported: what came from a file shall not stand in the environment of every child.
    printf -v "$name" %s "$value"
    unset "$file_name"
}

own_and_become_postgres() {
    mkdir -p "$PGDATA" /run/postgresql
    chown -R postgres:postgres "$PGDATA" /run/postgresql
    chmod 700 "$PGDATA"
    # Opened as root, so that a secret file may belong to root alone; read after, and never through an environment.
    if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then
        exec 3<"$POSTGRES_PASSWORD_FILE"
        export POSTGRES_PASSWORD_FILE=descriptor
    fi
    exec setpriv --reuid=postgres --regid=postgres --init-groups -- "$0" "$@"
}

read_settings() {
    setting POSTGRES_PASSWORD ""
    setting POSTGRES_USER postgres
    setting POSTGRES_DB "$POSTGRES_USER"
    setting POSTGRES_INITDB_ARGS ""
}

make_cluster() {
    local trust=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
    [ -n "$POSTGRES_PASSWORD" ] || [ "$trust" = trust ] || fail "POSTGRES_PASSWORD is not set"
    # shellcheck disable=SC2086 # several arguments in one variable are its purpose
    initdb --username="$POSTGRES_USER" --encoding=UTF8 --auth-local=trust --auth-host=scram-sha-256 \
        ${POSTGRES_PASSWORD:+--pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD")} $POSTGRES_INITDB_ARGS
    echo "host all all all $trust" >> "$PGDATA/pg_hba.conf"
    echo "listen_addresses = '*'" >> "$PGDATA/postgresql.conf"
}

sql() { psql --quiet --no-psqlrc --set=ON_ERROR_STOP=1 --username="$POSTGRES_USER" "$@"; }

make_database() {
    [ "$POSTGRES_DB" != postgres ] || return 0
    sql --dbname=postgres --set=name="$POSTGRES_DB" <<< 'CREATE DATABASE :"name";'
}

run_first_start_scripts() {
    local script
    for script in /docker-entrypoint-initdb.d/*; do
        case $script in
            *.sh) echo "running $script"; if [ -x "$script" ]; then "$script"; else . "$script"; fi ;;
            *.sql) echo "running $script"; sql --dbname="$POSTGRES_DB" --file="$script" ;;
            *.sql.gz) echo "running $script"; gunzip --stdout "$script" | sql --dbname="$POSTGRES_DB" ;;
        esac
    done
}

first_start() {
    make_cluster
    # On the socket only: nobody meets a database that is half made.
    pg_ctl --wait --silent start --options="-c listen_addresses=''"
    make_database
    run_first_start_scripts
    pg_ctl --wait --silent --mode=fast stop
}

case ${1:-} in -*) set -- postgres "$@" ;; esac
if [ "${1:-}" = postgres ]; then
    if [ "$(id -u)" = 0 ]; then own_and_become_postgres "$@"; fi
    read_settings
    if [ ! -s "$PGDATA/PG_VERSION" ]; then first_start; fi
    # The password has done its work, and the server's environment is no place for it.
    unset POSTGRES_PASSWORD
fi
exec "$@"
