#!/bin/sh
# Make the cluster, if there is none yet, and run it in the foreground.
#
# Two logins are made, with passwords that nobody ever sees:
#   operator  superuser: makes roles, extension and schema, loads in bulk (init, ingest, shard)
#   serve     may act as the roles of the archive, but not as its owner (serve, worker)
# Their addresses are written to /run/secrets/<login>/database_url, a volume each, which the
# containers get that need it (VO_DATABASE_URL_FILE). Written anew they also serve for a change of
# passwords: remove both files and start again, then the others.
set -eu
umask 077

host=${POSTGRES_HOST:-postgres}

sql() { psql --quiet --no-psqlrc --set ON_ERROR_STOP=1 --host=/tmp "$@"; }

make_cluster() {
    rm -rf "$PGDATA.new"
    initdb --pgdata="$PGDATA.new" --username=vo_admin --encoding=UTF8 --locale=C.UTF-8 \
        --data-checksums --auth-local=peer --auth-host=scram-sha-256 --no-instructions >/dev/null
    echo "include = '/etc/vo-postgres/postgresql.conf'" >>"$PGDATA.new/postgresql.conf"
    echo "inside postgres vo_admin" >>"$PGDATA.new/pg_ident.conf"
    mv "$PGDATA.new" "$PGDATA"
}

# login NAME ATTRIBUTES: with a fresh password, if its file is not there.
login() {
    file=/run/secrets/$1/database_url
    [ ! -s "$file" ] || return 0
    password=$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')
    # From standard input: arguments of a program can be read by others.
    sql --username=vo_admin --dbname=postgres <<SQL
SELECT 'CREATE ROLE "$1"' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '$1') \gexec
ALTER ROLE "$1" LOGIN $2 PASSWORD '$password';
SQL
    # Other containers run as other users; only those that get the volume can read it.
    umask 022
    echo "postgresql://$1:$password@$host/vo" >"$file.new"
    mv "$file.new" "$file"
    umask 077
}

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    make_cluster
fi
if [ ! -s /run/secrets/operator/database_url ] || [ ! -s /run/secrets/serve/database_url ] ||
    [ ! -e "$PGDATA/vo-prepared" ]; then
    # No network yet: nobody connects before all is prepared.
    pg_ctl --pgdata="$PGDATA" --silent --wait --options="-c listen_addresses=''" start >&2
    login operator SUPERUSER
    login serve NOSUPERUSER
    sql --username=vo_admin --dbname=postgres <<'SQL'
SELECT 'CREATE DATABASE vo' WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'vo') \gexec
REVOKE CONNECT ON DATABASE vo, postgres, template1 FROM PUBLIC;
GRANT CONNECT ON DATABASE vo TO serve;
SQL
    pg_ctl --pgdata="$PGDATA" --silent --wait --mode=fast stop >/dev/null
    touch "$PGDATA/vo-prepared"
fi
exec postgres -D "$PGDATA" "$@"
