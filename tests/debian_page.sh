#!/usr/bin/env bash
# Walk through docs/install-debian.md in a bare tree of Debian: every command as it stands there.
#
#   tests/debian_page.sh [--keep]
#
# Step 1 (packages) has this machine's network, the rest one of its own. There is no systemd in the
# tree: a program of its name has `systemd-analyze verify` look at the units and starts them as they
# say (user, environment, credentials, command; none of their fences). What the page leaves to the
# reader is given: this repository, a certificate, and a collection `ours` with one frame.
# Needs root and debootstrap.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$root/tests/bare_tree.sh"

say() { printf -- '--- install-debian: %s\n' "$*" >&2; }

if [[ -z ${VO_PAGE_TREE-} ]]; then
    ((EUID == 0)) || { say "needs root"; exit 1; }
    VO_PAGE_TREE=$(mktemp -d /var/tmp/vo-page.XXXXXX)
    export VO_PAGE_TREE
    chmod 755 "$VO_PAGE_TREE"
    [[ ${1-} == --keep ]] || trap 'rm -rf --one-file-system "$VO_PAGE_TREE"' EXIT
    unshare --mount --pid --fork --kill-child --mount-proc "${BASH_SOURCE[0]}" "$@"
    exit
fi
tree=$VO_PAGE_TREE

# The blocks of commands under the headings that begin with "## $1".
blocks() {
    awk -v head="## $1" '/^## /{ours = index($0, head) == 1} /^```/{inside = /sh$/; next}
        ours && inside' "$root/docs/install-debian.md" |
        sed 's|<this repository>|/mnt/repository|'
}

inside() {
    chroot "$tree" /usr/bin/env -i HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "${environment[@]}" \
        bash -euo pipefail "$@" </dev/null
}

mount --make-rprivate /
make_bare_tree "$tree" slim ca-certificates
chmod 755 "$tree" # others than root live here
connect "$tree"
mapfile -t environment < <(host_environment)
mount -t proc proc "$tree/proc"
mount --bind /dev "$tree/dev"
mount -t tmpfs -o mode=1777 shm "$tree/dev/shm"
mkdir -p "$tree/mnt/repository"
mount --bind -o ro "$root" "$tree/mnt/repository"
for place in $(host_wheels "${environment[@]}"); do
    mkdir -p "$tree$place"
    mount --bind -o ro "$place" "$tree$place"
done
printf 'APT::Get::Assume-Yes "true";\nAPT::Install-Recommends "false";\n' \
    >"$tree/etc/apt/apt.conf.d/98page"
printf '#!/bin/sh\nexit 101\n' >"$tree/usr/sbin/policy-rc.d" # packages start nothing
chmod 755 "$tree/usr/sbin/policy-rc.d"
install -m 755 "$root/tests/no_systemd.py" "$tree/usr/local/sbin/systemctl"

say "1. packages, user, program"
# What the page takes for granted, and what looks at units; the repository is not ours alone.
inside -c 'apt-get -qq update
apt-get -qq install systemd procps python3 >/dev/null 2>&1
git() { command git -c safe.directory="*" "$@"; }
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0="*"
'"$(blocks 1)" >"$tree/var/log/page-1" 2>&1 || { tail -n 30 "$tree/var/log/page-1"; exit 1; }

# Uncommitted changes are to be looked at too.
cp -r "$root/docker" "$tree/opt/vo-service/"

mkdir -p "$tree/etc/letsencrypt/live/archive.example.org" "$tree/srv/fits/ours"
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=archive.example.org \
    -addext subjectAltName=DNS:archive.example.org 2>/dev/null \
    -out "$tree/etc/letsencrypt/live/archive.example.org/fullchain.pem" \
    -keyout "$tree/etc/letsencrypt/live/archive.example.org/privkey.pem"
sed "s/^name: .*/name: ours/" "$root/tests/ingest/generic.yaml" >"$tree/srv/ours.yaml"
inside -c '/opt/vo-service/.venv/bin/python - <<END
import numpy
from astropy.io import fits
cards = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0,
         "CRPIX1": 16.5, "CRPIX2": 16.5, "CDELT1": -0.001, "CDELT2": 0.001,
         "CUNIT1": "deg", "CUNIT2": "deg", "OBJECT": "M 1", "DATE-OBS": "2020-01-02T03:04:05",
         "EXPTIME": 10.0, "INSTRUME": "CAM", "FILTER": "V", "OBS-ID": "1", "DATA-TYP": "OBJECT"}
hdu = fits.PrimaryHDU(numpy.zeros((32, 32), "f4"))
hdu.header.update(cards)
hdu.writeto("/srv/fits/ours/frame.fits")
END'

cat >"$tree/root/page" <<END

pg_ctlcluster 15 main start
echo "127.0.0.1 archive.example.org" >>/etc/hosts
# --- 2
$(blocks 2)
# --- 3
$(blocks 3)
install -o vo -g vo -m 644 /srv/ours.yaml /var/lib/vo-service/collections/ours.yaml
# --- 4
$(blocks 4)
# --- 5
$(blocks 5)
ask() { curl -sS --fail --cacert /etc/letsencrypt/live/archive.example.org/fullchain.pem "\$@"; }
ask https://archive.example.org/tap/sync -d LANG=ADQL -d RESPONSEFORMAT=csv \\
    --data-urlencode 'QUERY=SELECT access_url FROM ivoa.obscore' | tee /tmp/found
ask -r 0-8 -D /tmp/head "\$(tail -n 1 /tmp/found | tr -d '\\r"')"; echo
grep -i '^server\|^HTTP\|content-range' /tmp/head
cd /opt/vo-service
systemctl restart vo-service-migrate vo-service-serve vo-service-worker
ask https://archive.example.org/tap/availability | grep -o 'available>[a-z]*'
END
say "2. to 5., in a network of its own"
export -f inside
tree=$tree unshare --net bash -c "$(declare -p environment tree); ip link set lo up; $(declare -f inside); inside -x /root/page" \
    >"$tree/var/log/page" 2>&1 || { tail -n 40 "$tree/var/log/page"; say FAILED; exit 1; }
grep -v '^+ \(local\|echo\)' "$tree/var/log/page"
say "every command of the page has run"
