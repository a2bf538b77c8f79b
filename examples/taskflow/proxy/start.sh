#!/bin/sh
# Start nginx, with a certificate of its own making where none is mounted.
set -eu
directory=/etc/nginx/tls
if [ ! -s "$directory/certificate.pem" ] || [ ! -s "$directory/key.pem" ]; then
    mkdir -p "$directory"
    # Written under another name first, so that an interrupted start leaves no half pair behind.
    (umask 077 && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
        -subj "/CN=${TLS_NAME:-taskflow}" -addext "subjectAltName=DNS:${TLS_NAME:-taskflow},DNS:localhost" \
        -keyout "$directory/key.draft" -out "$directory/certificate.draft" 2>/dev/null)
    mv "$directory/key.draft" "$directory/key.pem"
    mv "$directory/certificate.draft" "$directory/certificate.pem"
    echo "no certificate in $directory: serving a self-signed one"
fi
exec nginx -g "daemon off;"
