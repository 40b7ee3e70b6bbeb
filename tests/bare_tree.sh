# shellcheck shell=bash
# A bare tree of this machine's distribution release, for tests that want a system on which
# nothing was prepared; sourced by tests/fresh_machine.sh, debian_page.sh and docker/build.sh.
#
#   make_bare_tree TREE NAME PACKAGE...   debootstrap into TREE; kept as NAME for the next time
#   connect TREE                          package mirrors, proxies, certificates of this machine
#   host_environment                      variables of proxies and pip, a line each
#   host_wheels LINE...                   directories of wheels that such variables name
#
# Needs root and debootstrap. Trees are kept in /var/cache/vo-service (remove them there for new
# ones).

source /etc/os-release
suite=$VERSION_CODENAME

# This machine's package sources, one line "URI release component..." each.
host_sources() {
    # shellcheck disable=SC2016 # apt's variables, not the shell's
    apt-get indextargets --format '$(REPO_URI) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' |
        grep -E " $suite(-[a-z]+)? " | sort -u
}

make_bare_tree() {
    local tree=$1 cache=/var/cache/vo-service/$2-$suite.tar mirror IFS=,
    shift 2
    if [[ -f $cache ]]; then
        tar -xf "$cache" -C "$tree"
        return
    fi
    mirror=$(host_sources | awk -v suite="$suite" '$2 == suite {print $1; exit}')
    debootstrap --variant=minbase --include="$*" \
        "$suite" "$tree" "${mirror:?no package source for $suite}" >/dev/null
    mkdir -p "${cache%/*}"
    tar --one-file-system -cf "$cache.part" -C "$tree" .
    mv "$cache.part" "$cache"
}

# The way to the package mirrors, as this machine goes it.
connect() {
    local tree=$1
    cp /etc/resolv.conf /etc/hosts "$tree/etc/"
    rm -f "$tree"/etc/apt/sources.list.d/*
    host_sources | sed 's/^/deb /' >"$tree/etc/apt/sources.list"
    apt-config dump | grep '^Acquire::' >"$tree/etc/apt/apt.conf.d/99host" || true
    cp -a /etc/apt/auth.conf.d "$tree/etc/apt/" 2>/dev/null || true
    cp -a /usr/local/share/ca-certificates "$tree/usr/local/share/"
    cp /etc/ssl/certs/ca-certificates.crt "$tree/etc/ssl/certs/"
}

# Variables of pip and proxies; pip's own configuration files become such variables as well.
host_environment() {
    env | grep -iE '^(https?|no|all|ftp)_proxy=' || true
    python3 -m pip config list 2>/dev/null |
        sed -nE "s/^(global|:env:)\.([a-z-]+)='(.*)'$/\2=\3/p" |
        while IFS='=' read -r name value; do
            name=${name//-/_}
            printf 'PIP_%s=%s\n' "${name^^}" "$value"
        done
}

host_wheels() {
    local place
    for place in $(printf '%s\n' "$@" | grep '^PIP_' | grep -oE '(file://)?/[^ =]+'); do
        # An index ("simple") points to files beside itself.
        [[ $place != file://* ]] || place=$(dirname "${place#file://}")
        [[ ! -d $place ]] || printf '%s\n' "$place"
    done | sort -u
}
