#!/bin/sh
# Start ClickHouse as its own user, with a password for the user `default` where one is given as a file.
set -eu
chown clickhouse:clickhouse /var/lib/clickhouse /var/log/clickhouse-server
if [ -n "${CLICKHOUSE_PASSWORD_FILE:-}" ]; then
    hash=$(sha256sum <"$CLICKHOUSE_PASSWORD_FILE" | cut -d ' ' -f 1)
    users=/run/users.xml
    sed "s|<password></password>|<password_sha256_hex>$hash</password_sha256_hex>|" /etc/clickhouse-server/users.xml >"$users"
    cp "$users" /etc/clickhouse-server/users.xml
fi
exec setpriv --reuid=clickhouse --regid=clickhouse --init-groups -- \
    clickhouse-server --config-file=/etc/clickhouse-server/config.xml "$@"
