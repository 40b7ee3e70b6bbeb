#!/bin/sh
# Run nginx in the foreground, and reload it when certificate or addresses change.
#
#   HTTPS_PORT, HTTP_PORT  8443, 8080; the second sends on to the first
#   BASE_URL               public address, as the archive's VO_BASE_URL
#   UPSTREAM               host:port of the archive; every address of the host is used
#   REPORTS                host:port to which deliveries are told (VO_ACCEL_REPORTS)
#   PUBLIC                 the tree of links, at the path at which the archive has it
# and those of certificate.sh.
set -eu
umask 027

CONF=$(cd "$(dirname "$0")" && pwd)
export CONF RUN="${RUN:-/tmp/front}" TLS="${TLS:-/var/lib/front/tls}"
mkdir -p "$RUN/acme" "$TLS"

say() { echo "front: $*" >&2; }

# The archive's addresses now. nginx itself asks for them only once.
servers() {
    for address in $(getent ahostsv4 "${UPSTREAM%:*}" | awk '{print $1}' | sort -u); do
        echo "server $address:${UPSTREAM##*:};"
    done
}

# The configuration with its @WORDS@ filled in.
fill() {
    words=$(env | sed -nE 's/^(RUN|CONF|TLS|HTTP_PORT|HTTPS_PORT|BASE_URL|PUBLIC)=(.*)$/s|@\1@|\2|g/p')
    address=$(getent ahostsv4 "${REPORTS%:*}" | awk '{print $1; exit}')
    for file in nginx.conf archive.conf; do
        sed -e "$words" -e "s|@REPORTS@|$address:${REPORTS##*:}|" \
            -e "s|$CONF/archive.conf|$RUN/archive.conf|" "$CONF/$file" >"$RUN/$file"
    done
}

# What a reload follows: one line of all that may change.
state() {
    cksum "$RUN/servers.conf" "$TLS/certificate.pem" "$TLS/key.pem" 2>/dev/null | cksum
}

given() {
    cksum "${TLS_CERT:-/dev/null}" "${TLS_KEY:-/dev/null}" 2>/dev/null
}

until servers >"$RUN/servers.conf" && [ -s "$RUN/servers.conf" ]; do
    say "waits for an address of ${UPSTREAM%:*}"
    sleep 1
done
"$CONF/certificate.sh"
fill
nginx -q -t -c "$RUN/nginx.conf"
nginx -c "$RUN/nginx.conf" -g 'daemon off;' &
nginx=$!
# QUIT: downloads under way go on to their end; the container engine sets the limit.
trap 'kill -QUIT $nginx' TERM INT QUIT
say "ready: $BASE_URL/"

before=$(state) own=$(given) seconds=0
while kill -0 $nginx 2>/dev/null; do
    sleep 5 & wait $! || true
    seconds=$((seconds + 5))
    # Certificates are looked at soon after the start (ACME needs the open port), then hourly; own
    # ones as soon as their files change.
    if [ $((seconds % 3600)) -eq 5 ] || [ "$(given)" != "$own" ]; then
        own=$(given)
        "$CONF/certificate.sh" --renew || say "no new certificate; the one there is stays"
    fi
    servers >"$RUN/servers.new"
    if [ -s "$RUN/servers.new" ]; then
        mv "$RUN/servers.new" "$RUN/servers.conf"
    fi
    now=$(state)
    if [ "$now" != "$before" ]; then
        before=$now
        fill
        if nginx -q -t -c "$RUN/nginx.conf"; then
            say "reloads"
            kill -HUP $nginx 2>/dev/null || true # it may have ended meanwhile
        fi
    fi
done
wait $nginx
