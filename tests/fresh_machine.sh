#!/usr/bin/env bash
# Proof that the two commands of the README work on a new machine.
#
#   tests/fresh_machine.sh [demo|test] [--user] [--keep]
#
# Makes a bare tree of this machine's distribution release (debootstrap, git and sudo, nothing
# else), clones the committed HEAD of this checkout into it and runs script/demo or script/test
# there, as root or as an ordinary user with sudo. `demo` waits until it is ready, asks the
# archive from outside and from inside, presses Ctrl-C, looks that nothing is left running, and
# does it all again with what the first run left.
#
# Needs root and debootstrap. Package mirror, proxies, certificates and pip's configuration are
# this machine's. Everything runs in its own mount and process namespace, so nothing survives
# the script; the tree itself goes too, but for --keep. The bare tree is kept in
# /var/cache/vo-service for the next time (remove it there for a new one).
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$root/tests/bare_tree.sh"

what=demo user=root keep=""
for word; do
    case $word in
        demo | test) what=$word ;;
        --user) user=astronomer ;;
        --keep) keep=1 ;;
        *) sed -n '2,16s/^# \?//p' "${BASH_SOURCE[0]}"; exit 2 ;;
    esac
done

say() { printf -- '--- fresh machine: %s\n' "$*" >&2; }
die() { say "FAILED: $*"; exit 1; }

# --- outside: a tree to work in, and namespaces that end with this script -----------------

if [[ -z ${VO_FRESH_TREE-} ]]; then
    ((EUID == 0)) || die "needs root"
    command -v debootstrap >/dev/null || die "needs debootstrap (apt-get install debootstrap)"
    VO_FRESH_TREE=$(mktemp -d /var/tmp/vo-fresh.XXXXXX)
    export VO_FRESH_TREE
    chmod 755 "$VO_FRESH_TREE"
    if [[ $keep ]]; then
        say "the tree stays in $VO_FRESH_TREE"
    else
        trap 'rm -rf --one-file-system "$VO_FRESH_TREE"' EXIT
    fi
    unshare --mount --pid --fork --kill-child --mount-proc "${BASH_SOURCE[0]}" "$@"
    exit
fi
tree=$VO_FRESH_TREE

# --- the tree ------------------------------------------------------------------------------

mount_all() {
    mount -t proc proc "$tree/proc"
    mount --rbind --make-rslave /sys "$tree/sys"
    mount --bind /dev "$tree/dev"
    mount -t tmpfs -o mode=1777 shm "$tree/dev/shm"
    mount -t devpts -o newinstance,ptmxmode=0666 devpts "$tree/dev/pts"
    # Directories of wheels that pip is told of are lent, read-only.
    local place
    for place in $(host_wheels "${environment[@]}"); do
        mkdir -p "$tree$place"
        mountpoint -q "$tree$place" || mount --bind -o ro "$place" "$tree$place"
    done
}

make_checkout() {
    if [[ $user != root ]]; then
        chroot "$tree" useradd --create-home --shell /bin/bash "$user"
        echo "$user ALL=(ALL) NOPASSWD: ALL" >"$tree/etc/sudoers.d/$user"
    fi
    git -c safe.directory='*' clone --quiet "$root" "$tree$checkout"
    mkdir "$tree$archive"
    chroot "$tree" chown -R "$user:" "$checkout" "$archive"
}

# Replace this shell by a command of the checkout: no terminal, nothing in the environment but
# what a login has, Ctrl-C not ignored, and a process group of its own.
become() {
    # shellcheck disable=SC2016 # for the inner shell
    exec setsid env --default-signal=INT \
        chroot --userspec="$user:" "$tree" /usr/bin/env -i \
        HOME="$home" USER="$user" LANG=C.UTF-8 \
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "${environment[@]}" \
        bash -c 'cd "$0" && exec "$@"' "$checkout" "$@" </dev/null
}

# Run such a command to its end; waiting can be interrupted.
run() {
    (become "$@") &
    wait $!
}

# --- the demonstration -----------------------------------------------------------------------

start_demo() {
    local limit_s=$1 began=$SECONDS
    : >"$log"
    (become env VO_HOME="$archive" VO_PORT="$port" script/demo) >"$log" 2>&1 &
    demo=$!
    until grep -q '^ready' "$log"; do
        kill -0 "$demo" 2>/dev/null || { tail -n 40 "$log"; die "script/demo ended"; }
        ((SECONDS - began < limit_s)) || { tail -n 40 "$log"; die "not ready in $limit_s s"; }
        sleep 0.5
    done
    say "ready after $((SECONDS - began)) s"
}

# Processes of the demonstration; there are no others than ours in this namespace.
left_running() {
    # shellcheck disable=SC2009 # pgrep fails on names that are not there
    ps -eo pid=,comm= | grep -E ' (postgres|python|vo-service)' || true
}

stop_demo() {
    local signal=$1 tries=0
    kill "-$signal" -- "-$demo"
    while kill -0 "$demo" 2>/dev/null; do
        ((tries++ < 300)) || die "still running 30 s after SIG$signal"
        sleep 0.1
    done
    local status=0
    wait "$demo" || status=$?
    [[ -z $(left_running) ]] || die "left running after SIG$signal: $(left_running)"
    ! curl -s -o /dev/null "http://127.0.0.1:$port/" || die "port $port still answers"
    say "SIG$signal: server and cluster are gone (status $status)"
    ((status == 0 || status == 130 || status == 143)) || die "status $status"
}

ask_from_outside() {
    local answer
    answer=$(curl -sS --fail-with-body "http://127.0.0.1:$port/tap/sync" --data-urlencode \
        LANG=ADQL --data-urlencode 'QUERY=SELECT COUNT(*) AS n FROM ivoa.obscore') ||
        die "no answer: $answer"
    grep -q 'value="OK"' <<<"$answer" || die "not an answer: $answer"
}

ask_from_inside() {
    run .venv/bin/python -c '
import sys, pyvo
from astropy.io import fits
from astropy.utils.data import download_file
found = pyvo.dal.TAPService(sys.argv[1]).search(
    "SELECT s_ra, s_dec, s_fov, access_url FROM ivoa.obscore"
    " WHERE s_ra BETWEEN 149 AND 150 AND s_dec BETWEEN 69 AND 70")
print(found.to_table()[:3])
with fits.open(download_file(found[0]["access_url"], cache=False), checksum=True) as hdus:
    hdus.verify("exception")
    hdus.info()
' "http://localhost:$port/tap" || die "PyVO could not search and download"
}

# --- go --------------------------------------------------------------------------------------

home=/root port=18173
[[ $user == root ]] || home=/home/$user
checkout=$home/vo-service
archive=/srv/archive # where PostgreSQL, which is not root, may go too
log=$tree/var/tmp/demo.log

trap 'exit 130' INT TERM # we are process 1 here, which no signal ends by itself
mount --make-rprivate /
make_bare_tree "$tree" bare ca-certificates git sudo
connect "$tree"
mapfile -t environment < <(host_environment)
mount_all
make_checkout
say "$what as $user, commit $(git -c safe.directory='*' -C "$root" rev-parse --short HEAD)"

if [[ $what == test ]]; then
    run script/test
    say "script/test passed"
    exit
fi

start_demo 900
cat "$log"
ask_from_outside
ask_from_inside
stop_demo INT
start_demo 60
ask_from_outside
stop_demo TERM
say "script/demo passed"
