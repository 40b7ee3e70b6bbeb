#!/bin/sh
# Have a certificate in $TLS (certificate.pem, key.pem), of one of three kinds:
#
#   own    TLS_CERT and TLS_KEY name files (the certificate with its chain first)
#   ACME   ACME=1: from an authority, for the names of TLS_NAMES; ACME_CONTACT is an address for
#          its mails, ACME_DIRECTORY another authority than dehydrated's
#   local  else: signed by a CA of this front, made at the first start, $TLS/ca.pem
#
#   certificate.sh           before the start; for ACME a local one, until the authority has answered
#   certificate.sh --renew   while nginx runs: what is due
set -eu
umask 077

say() { echo "front: $*" >&2; }

# put CERTIFICATE KEY: in their place, if they fit each other.
put() {
    if ! given=$(openssl x509 -noout -pubkey -in "$1" 2>/dev/null); then
        say "$1: expected a certificate (PEM)"
        return 1
    fi
    if [ "$given" != "$(openssl pkey -pubout -in "$2" 2>/dev/null)" ]; then
        say "$2: expected the private key (PEM, without a password) of $1"
        return 1
    fi
    if cmp -s "$1" "$TLS/certificate.pem" && cmp -s "$2" "$TLS/key.pem"; then
        return 0
    fi
    cat "$2" >"$TLS/key.new"
    cat "$1" >"$TLS/certificate.new"
    mv "$TLS/key.new" "$TLS/key.pem"
    mv "$TLS/certificate.new" "$TLS/certificate.pem"
    say "certificate: $(openssl x509 -noout -subject -enddate -in "$1" | paste -sd ' ')"
}

names() {
    for name in $TLS_NAMES; do
        case $name in
            *[!0-9.]*) echo "DNS:$name" ;;
            *) echo "IP:$name" ;;
        esac
    done | paste -sd ,
}

make_ca() {
    [ ! -s "$TLS/ca.pem" ] || return 0
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -days 3650 -sha256 \
        -subj "/CN=vo-service local CA $(hostname)" -keyout "$TLS/ca.key" -out "$TLS/ca.new" \
        -addext "basicConstraints=critical,CA:true,pathlen:0" \
        -addext "keyUsage=critical,keyCertSign,cRLSign" 2>/dev/null
    # Browsers and clients are given this one; its key never leaves this volume.
    chmod 644 "$TLS/ca.new"
    mv "$TLS/ca.new" "$TLS/ca.pem"
    say "local CA made: $TLS/ca.pem"
}

make_local() {
    make_ca
    wanted="$(names)"
    # 30 days before its end, or when the names have changed.
    if [ "$(cat "$TLS/local.names" 2>/dev/null)" = "$wanted" ] &&
        openssl x509 -noout -checkend 2592000 -in "$TLS/local.pem" >/dev/null 2>&1; then
        return 0
    fi
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc -subj "/CN=${TLS_NAMES%% *}" \
        -keyout "$TLS/local.key" -out "$TLS/local.csr" 2>/dev/null
    printf '%s\n' "subjectAltName=$wanted" "basicConstraints=CA:false" \
        "extendedKeyUsage=serverAuth" >"$TLS/local.ext"
    openssl x509 -req -in "$TLS/local.csr" -CA "$TLS/ca.pem" -CAkey "$TLS/ca.key" -days 365 \
        -set_serial "0x$(openssl rand -hex 16)" -extfile "$TLS/local.ext" -out "$TLS/local.new" \
        2>/dev/null
    mv "$TLS/local.new" "$TLS/local.pem"
    echo "$wanted" >"$TLS/local.names"
    rm -f "$TLS/local.csr" "$TLS/local.ext"
}

# Only those who may answer under a name get it signed: nginx shows the authority what it asks for.
acme() {
    place=$TLS/../acme
    mkdir -p "$place"
    {
        echo "BASEDIR=$place"
        echo "WELLKNOWN=$RUN/acme"
        echo "KEY_ALGO=prime256v1"
        echo "CONTACT_EMAIL=${ACME_CONTACT:-}"
        [ -z "${ACME_DIRECTORY:-}" ] || echo "CA=$ACME_DIRECTORY"
    } >"$place/config"
    umask 022 # nginx's own children read what is to be shown
    dehydrated --config "$place/config" --register --accept-terms >/dev/null &&
        dehydrated --config "$place/config" --cron --alias archive --domain "$TLS_NAMES" >&2 ||
        return 1
    umask 077
    put "$place/certs/archive/fullchain.pem" "$place/certs/archive/privkey.pem"
}

if [ -n "${TLS_CERT:-}" ]; then
    put "$TLS_CERT" "${TLS_KEY:?TLS_CERT is set: expected TLS_KEY too}"
elif [ -n "${ACME:-}" ]; then
    if [ "${1:-}" = --renew ]; then
        acme
    elif [ ! -s "$TLS/certificate.pem" ]; then
        make_local
        put "$TLS/local.pem" "$TLS/local.key"
    fi
else
    make_local
    put "$TLS/local.pem" "$TLS/local.key"
fi
