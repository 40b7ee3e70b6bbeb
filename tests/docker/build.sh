#!/usr/bin/env bash
# Build the images of docker/ without a container engine and without a registry.
#
#   tests/docker/build.sh [app|postgres|front]...     (all three)
#
# buildah builds the Dockerfiles as they are, over a base image made with debootstrap that is
# given the name of the FROM lines. Package mirror, proxies, certificates and pip's configuration
# are this machine's and stay out of the images. Needs root, buildah and debootstrap.
# Results: localhost/vo-service, localhost/vo-postgres, localhost/vo-front in buildah's store.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
source "$root/tests/bare_tree.sh"
export BUILDAH_ISOLATION=chroot
debian=docker.io/library/debian:bookworm-slim

say() { printf -- '--- images: %s\n' "$*" >&2; }

# debian:bookworm-slim as its makers make it, nearly: a minimal system without documents.
make_base() {
    if buildah inspect --type image "$debian" >/dev/null 2>&1; then
        return
    fi
    say "base image"
    local tree
    tree=$(mktemp -d /var/tmp/vo-base.XXXXXX)
    make_bare_tree "$tree" slim ca-certificates
    connect "$tree"
    rm -rf "$tree"/usr/share/{doc,info,locale,man}/* "$tree"/var/cache/apt/*.bin \
        "$tree"/var/lib/apt/lists/* "$tree"/var/cache/apt/archives/*.deb
    local container
    container=$(buildah from scratch)
    buildah add --quiet "$container" "$tree" / >/dev/null
    buildah config --cmd bash "$container"
    buildah commit --quiet --rm "$container" "$debian" >/dev/null
    rm -rf --one-file-system "$tree"
}

# build NAME TAG: pip's configuration goes in as a secret, directories of wheels as mounts.
build() {
    local name=$1 tag=$2 began=$SECONDS pip line key place wheels=()
    mapfile -t environment < <(host_environment)
    pip=$(mktemp)
    {
        echo "[global]"
        for line in "${environment[@]}"; do
            [[ $line == PIP_* ]] || continue
            key=${line%%=*} key=${key#PIP_} key=${key,,}
            printf '%s = %s\n' "${key//_/-}" "${line#*=}"
        done | sort -u -t= -k1,1
    } >"$pip"
    for place in $(host_wheels "${environment[@]}"); do
        wheels+=(--volume "$place:$place:ro")
    done
    buildah bud --quiet --layers --pull=never --format docker --secret "id=pip,src=$pip" \
        "${wheels[@]}" --tag "localhost/$tag" --file "$root/docker/$name/Dockerfile" "$root"
    rm -f "$pip"
    say "$tag: $(size "$tag") MB, in $((SECONDS - began)) s"
}

size() {
    buildah images --json "localhost/$1" | python3 -c '
import json, re, sys
number, unit = re.match(r"([0-9.]+) ?(\w+)", json.load(sys.stdin)[0]["size"]).groups()
print(round(float(number) * {"KB": 1e-3, "MB": 1, "GB": 1000}[unit]))'
}

((EUID == 0)) || { say "needs root"; exit 1; }
make_base
(($#)) || set -- app postgres front
for name; do
    case $name in
        app) build app vo-service ;;
        postgres | front) build "$name" "vo-$name" ;;
        *) sed -n '2,10s/^# \?//p' "${BASH_SOURCE[0]}"; exit 2 ;;
    esac
done
