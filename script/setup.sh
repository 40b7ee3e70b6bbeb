# shellcheck shell=bash
# Set-up shared by script/demo and script/test; sourced by them, of no use alone.
#
#   need_packages [NAME...]   PostgreSQL, pgSphere, Python (and NAMEs) from the distribution
#   need_venv EXTRA           .venv in this checkout with vo-service and the extra ("": none)
#
# Both look first and do nothing where everything is there already.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
me="script/$(basename "$0")"
venv="$root/.venv"

say() { printf '%s: %s\n' "$me" "$*" >&2; }
die() { say "$@"; exit 1; }

# --- the distribution's packages ---------------------------------------------------------

# Whether a PostgreSQL of at least 15 is installed, and pgSphere for it.
installed_postgresql() {
    local dir version
    for dir in /usr/lib/postgresql/*/; do
        version=$(basename "$dir")
        [[ $version =~ ^[0-9]+$ ]] || continue # e.g. no directory at all: "*"
        ((version >= 15)) || continue
        [[ -x $dir/bin/initdb ]] || continue
        [[ -e /usr/share/postgresql/$version/extension/pg_sphere.control ]] && return
    done
    return 1
}

# The first Python of at least 3.11 on the search path that can make virtual environments.
find_python() {
    local name
    for name in python3 python3.11 python3.12 python3.13 python3.14; do
        command -v "$name" >/dev/null || continue
        if "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
            >/dev/null 2>&1; then
            command -v "$name"
            return
        fi
    done
    return 1
}

# Run a command as root: as it is, or through sudo, which may ask only where somebody reads.
as_root() {
    if ((EUID == 0)); then
        "$@"
    elif [[ -t 0 ]]; then
        sudo "$@"
    else
        sudo -n "$@"
    fi
}

# apt-get, asking nothing, and heard only when it fails. Another apt may be at work (a new
# machine updates itself): wait for its lock.
apt_get() {
    local output
    output=$(as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -q -o DPkg::Lock::Timeout=600 "$@" 2>&1) ||
        { printf '%s\n' "$output" >&2; return 1; }
}

# The distribution's newest postgresql-<version>-pgsphere, which brings PostgreSQL along.
pgsphere_package() {
    apt-cache search --names-only '^postgresql-[0-9]+-pgsphere$' 2>/dev/null |
        awk '{print $1}' | sort -t- -k2,2n | awk -F- '$2 >= 15' | tail -n 1
}

# pgSphere before 1.4 (Debian 12) defines two operators, `@` between a position and a MOC, in a
# way that PostgreSQL refuses since 15.20 ("commutator operator @> is already the commutator of
# operator <@"), so that CREATE EXTENSION fails. Upstream dropped them, nobody used them
# (github.com/postgrespro/pgsphere, issue 85); so do we, in the package's installation script.
mend_pgsphere() {
    local file
    for file in /usr/share/postgresql/*/extension/pg_sphere--*.sql; do
        grep -qzP '\nCREATE OPERATOR @ \(\n[^;]*= smoc,' "$file" 2>/dev/null || continue
        as_root sed -i '/^CREATE OPERATOR @ ($/{:more;N;/\n);$/!bmore;/= smoc,/d}' "$file" ||
            say "$file could not be mended: PostgreSQL 15.20 and later will refuse pgSphere"
    done
}

need_packages() {
    install_missing "$@"
    mend_pgsphere
}

install_missing() {
    local missing=() name
    installed_postgresql || missing+=("postgresql-<version>-pgsphere")
    find_python >/dev/null || missing+=(python3 python3-venv)
    for name; do
        dpkg-query -W -f '${db:Status-Status}' "$name" 2>/dev/null | grep -qx installed ||
            missing+=("$name")
    done
    ((${#missing[@]})) || return 0

    local please="install these packages first: ${missing[*]}"
    command -v apt-get >/dev/null || die "this is neither Debian nor Ubuntu; $please"
    if ((EUID != 0)); then
        command -v sudo >/dev/null || die "not root and without sudo; $please"
        as_root true || die "sudo gave no permission; $please"
    fi
    say "installing ${missing[*]}"
    apt_get update || die "apt-get update failed; $please"
    if [[ ${missing[0]} == postgresql-* ]]; then
        missing[0]=$(pgsphere_package)
        [[ -n ${missing[0]} ]] ||
            die "no package of pgSphere for PostgreSQL 15 or later is offered here" \
                "(Debian 12 and Ubuntu 24.04 have one; on Ubuntu it is in 'universe')"
        install_postgresql "${missing[0]}"
    fi
    apt_get install --yes --no-install-recommends "${missing[@]}" || die "apt-get failed; $please"
    installed_postgresql || die "PostgreSQL 15 or later with pgSphere is still missing"
    find_python >/dev/null || die "Python 3.11 or later with venv is needed;" \
        "found: $(python3 --version 2>&1). Install python3.12 and python3.12-venv, or newer."
}

# vo-service runs a PostgreSQL of its own. Where none was installed before, the package shall
# not make and start another one: the note that says so goes again when the package is there.
install_postgresql() {
    local note=/etc/postgresql-common/createcluster.d/vo-service.conf failed=0
    if [[ -d /etc/postgresql-common ]]; then
        return # PostgreSQL is here already: its owner has decided about clusters
    fi
    as_root mkdir -p "${note%/*}"
    echo "create_main_cluster = false" | as_root tee "$note" >/dev/null
    apt_get install --yes --no-install-recommends "$1" || failed=1
    as_root rm -f "$note"
    ((!failed)) || die "apt-get failed; install this package first: $1"
}

# --- the virtual environment --------------------------------------------------------------

need_venv() {
    local extra="$1" python state
    state=$(sha256sum <"$root/pyproject.toml")
    if [[ $(cat "$venv/.installed$extra" 2>/dev/null) == "$state" ]] &&
        "$venv/bin/python" -I -c 'import vo_service' 2>/dev/null; then
        return
    fi
    if ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
        python=$(find_python) || die "Python 3.11 or later with venv is needed"
        say "making $venv with $python"
        "$python" -m venv --clear "$venv" || die "cannot make $venv"
    fi
    say "installing vo-service and the libraries it needs into $venv"
    rm -f "$venv"/.installed*
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
        --editable "$root${extra:+[$extra]}" || die "pip could not install vo-service"
    # Written last: whatever stops us before, the next run begins again here.
    echo "$state" >"$venv/.installed"
    [[ -z $extra ]] || echo "$state" >"$venv/.installed$extra"
}
