#!/bin/sh
# Start ClickHouse as its own user, with CLICKHOUSE_PASSWORD_FILE or CLICKHOUSE_PASSWORD for the user `default`; run the
# scripts of the first start where there is no data yet.
set -eu
data=/var/lib/clickhouse
done=$data/.first-start-done

# Only its hash stays in the container; clients read the password from standard input or a header.
set_password() {
    hash=$(printf %s "$1" | sha256sum | cut -d ' ' -f 1)
    cat >/etc/clickhouse-server/users.d/password.xml <<XML
<yandex><users><default>
    <password remove="1"/><password_sha256_hex>$hash</password_sha256_hex>
</default></users></yandex>
XML
}

as_clickhouse="setpriv --reuid=clickhouse --regid=clickhouse --init-groups --"

client() { clickhouse-client --host 127.0.0.1 --port 9001 --multiquery "$@"; }

run_first_start_scripts() {
    # Without the password, on other ports and on loopback alone: nobody meets a database that is half made.
    # A program and no function of the shell: $! is then the server itself, whose end is waited for below.
    $as_clickhouse clickhouse-server --config-file=/etc/clickhouse-server/config.xml \
        -- --listen_host=127.0.0.1 --http_port=8124 --tcp_port=9001 &
    server=$!
    until client --query "SELECT 1" >/dev/null 2>&1; do
        kill -0 "$server" 2>/dev/null || { echo "error: ClickHouse does not start" >&2; exit 1; }
        sleep 0.2
    done
    client --query "CREATE DATABASE IF NOT EXISTS ${CLICKHOUSE_DB:-default}"
    for script in /docker-entrypoint-initdb.d/*; do
        case $script in
            *.sql) echo "running $script"; client --database "${CLICKHOUSE_DB:-default}" <"$script" ;;
            *.sh) echo "running $script"; sh "$script" ;;
        esac
    done
    kill "$server"
    wait "$server" || true
}

if [ "${1:-}" = clickhouse-server ]; then
    chown clickhouse:clickhouse "$data" /var/log/clickhouse-server
    if [ ! -e "$done" ]; then
        rm -f /etc/clickhouse-server/users.d/password.xml
        run_first_start_scripts
        $as_clickhouse touch "$done"
    fi
    password=${CLICKHOUSE_PASSWORD:-}
    [ -z "${CLICKHOUSE_PASSWORD_FILE:-}" ] || password=$(cat "$CLICKHOUSE_PASSWORD_FILE")
    [ -z "$password" ] || set_password "$password"
    unset CLICKHOUSE_PASSWORD
    set -- $as_clickhouse clickhouse-server --config-file=/etc/clickhouse-server/config.xml
fi
exec "$@"
