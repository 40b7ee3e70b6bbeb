"""Shards as the centre knows them: foreign servers, who maps to whom there, what lies where.

Views are read with the rights of their owner, so ``vo_owner`` maps to a role of the node that may
only read; ``vo_writer``, which ingests and releases, to one that also writes rows. Nobody else has
a mapping, and nobody but an administrator sees the passwords. Source: PostgreSQL, "postgres_fdw".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from vo_service.db.nodes import Logins, connect_node, definition_of
from vo_service.db.roles import Role
from vo_service.errors import ConfigError
from vo_service.model.shard import Part

__all__ = [
    "Shard",
    "ShardStore",
    "clear_misfits",
    "enlist",
    "renew_nodes",
    "strike_off",
]

Connection = psycopg.Connection[Any]

#: What a login is, or what only a client of the operator's has.
_NOT_OF_SERVER = {"user", "password", "passfile", "sslpassword", "options", "application_name"}

#: A node that is gone is noticed in seconds; pgSphere's operators run there; rows come in blocks.
_OPTIONS = {
    "connect_timeout": "2",
    "tcp_user_timeout": "10000",
    "keepalives_idle": "10",
    "keepalives_interval": "3",
    "keepalives_count": "3",
    "extensions": "pg_sphere",
    "async_capable": "true",
    "fetch_size": "2000",
    "batch_size": "1000",
}


_LOCK_S = 3


@dataclass(frozen=True, slots=True)
class Shard:
    """A shard: its name, and how an operator logs in there."""

    name: str
    url: str

    @property
    def address(self) -> str:
        """Where it is, without anything secret."""
        given = conninfo_to_dict(self.url)
        host, port = given.get("host") or given.get("hostaddr", ""), given.get("port", "5432")
        return f"{host}:{port}/{given.get('dbname', '')}"


class ShardStore:
    """Statements about shards, on a connection of the owner."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def lock(self) -> bool:
        """Keep others from moving anything until the session ends; False if somebody is."""
        try:
            # A session that has just ended may still be on its way out.
            with self.connection.transaction():
                self.connection.execute(f"SET LOCAL lock_timeout = '{_LOCK_S}s'".encode())
                self.connection.execute("SELECT pg_advisory_lock(hashtext('vo-service shards'))")
        except psycopg.errors.LockNotAvailable:
            return False
        return True

    def identity(self) -> tuple[str, str]:
        """Who this archive is to its nodes, and the version of its schema."""
        row = self.connection.execute(
            "SELECT id::text, (SELECT version_num FROM archive.alembic_version) FROM archive.centre"
        ).fetchone()
        assert row is not None  # noqa: S101 - made with the table
        return row[0], row[1]

    def shards(self) -> list[Shard]:
        """All shards, by name."""
        rows = self.connection.execute("SELECT name, url FROM archive.shard ORDER BY name")
        return [Shard(name, url) for name, url in rows]

    def parts(self) -> list[Part]:
        """All tables of observations with bounds, in order."""
        rows = self.connection.execute(
            "SELECT low, high, partition, shard, collection, within FROM archive.shard_part "
            "WHERE low IS NOT NULL"
        )
        return sorted(Part(*row) for row in rows)

    def add(self, shard: Shard) -> None:
        """Write a shard down, with what tells whether it answers."""
        self.connection.execute(
            "INSERT INTO archive.shard (name, url, version) VALUES (%s, %s, %s) "
            "ON CONFLICT (name) DO UPDATE SET url = EXCLUDED.url, version = EXCLUDED.version",
            (shard.name, shard.url, self.identity()[1]),
        )
        table, view = f"node_{shard.name}", f"pulse_{shard.name}"
        for statement in (
            sql.SQL(
                "CREATE FOREIGN TABLE IF NOT EXISTS {table} (answer integer NOT NULL) "
                "SERVER {server} OPTIONS (schema_name 'archive', table_name 'pulse')"
            ),
            sql.SQL("CREATE OR REPLACE VIEW {view} AS SELECT answer FROM {table}"),
            sql.SQL("GRANT SELECT ON {view} TO vo_door, vo_writer"),
        ):
            self.connection.execute(
                statement.format(
                    table=sql.Identifier("archive", table),
                    view=sql.Identifier("archive", view),
                    server=sql.Identifier(_server(shard.name)),
                )
            )

    def remove(self, name: str) -> None:
        """Forget a shard, of which no partition is left."""
        for kind, relation in (("VIEW", f"pulse_{name}"), ("FOREIGN TABLE", f"node_{name}")):
            self.connection.execute(
                sql.SQL("DROP {} IF EXISTS {}").format(
                    sql.SQL(kind), sql.Identifier("archive", relation)
                )
            )
        self.connection.execute("DELETE FROM archive.shard WHERE name = %s", (name,))

    def estimated_rows(self) -> dict[str, int]:
        """Rows of each table of observations as PostgreSQL last saw them."""
        rows = self.connection.execute(
            "SELECT c.relname::text, greatest(c.reltuples, 0)::bigint "
            "FROM pg_partition_tree('archive.observation') JOIN pg_class c ON c.oid = relid "
            "WHERE isleaf"
        ).fetchall()
        return dict(rows)

    def size(self, partition: str) -> int:
        """Bytes of a partition that is here, with its indexes."""
        row = self.connection.execute(
            "SELECT pg_total_relation_size(%s::regclass)", (f"archive.{partition}",)
        ).fetchone()
        return int(row[0]) if row else 0

    def share(self, partition: str, collections: Sequence[str]) -> float:
        """How much of the rows of a partition that is here is of some collections, 0 to 1."""
        row = self.connection.execute(
            sql.SQL(
                "SELECT coalesce(avg((obs_collection = ANY(%s))::integer), 0)::float8 FROM ONLY {}"
            ).format(sql.Identifier("archive", partition)),
            (list(collections),),
        ).fetchone()
        return float(row[0]) if row else 0.0

    def collections(self, wanted: Sequence[str]) -> list[str]:
        """What observations have, or will have, as ``obs_collection``.

        These are the names of the collections, but for those whose files map it to something
        else; then also the most common values, and those of *wanted* that any row has.
        """
        rows = self.connection.execute(
            "SELECT name, coalesce(definition -> 'obscore' ? 'obs_collection', false) "
            "FROM archive.collection"
        ).fetchall()
        found = {name for name, is_mapped in rows if not is_mapped}
        if any(is_mapped for _, is_mapped in rows):
            common = self.connection.execute(
                "SELECT unnest(most_common_vals::text::text[]) FROM pg_stats WHERE inherited "
                "AND (schemaname, tablename, attname) = "
                "('archive', 'observation', 'obs_collection')"
            )
            found |= {name for (name,) in common}
            rare = self.connection.execute(
                "SELECT name FROM unnest(%s::text[]) AS name WHERE EXISTS "
                "(SELECT FROM archive.observation WHERE obs_collection = name)",
                (sorted(set(wanted) - found),),
            )
            found |= {name for (name,) in rare}
        return sorted(found)

    def misfits(self, parts: list[Part]) -> dict[str, tuple[int, int]]:
        """For each of the partitions: rows that no open product has, and rows too many of one.

        Only where they are not 0. Nobody's rows come from a commit that broke off between a node
        and the centre.
        """
        found = {}
        for part in parts:
            row = self.connection.execute(
                sql.SQL(
                    "SELECT count(*) FILTER (WHERE p.product_id IS NULL), "
                    "count(*) - count(DISTINCT o.product_id) "
                    "FROM {} o LEFT JOIN archive.product p "
                    "ON p.product_id = o.product_id AND p.current AND NOT p.closed"
                ).format(sql.Identifier("archive", part.partition))
            ).fetchone()
            if row is not None and any(row):
                found[part.partition] = (row[0], row[1])
        return found

    def rowless(self) -> tuple[int, list[str]]:
        """How many open products have no row, and the places of some of them."""
        rows = self.connection.execute(
            "SELECT p.collection || '/' || p.path, count(*) OVER () FROM archive.product p "
            "WHERE p.current AND NOT p.closed AND NOT EXISTS "
            "(SELECT FROM archive.observation o WHERE o.product_id = p.product_id) "
            "ORDER BY 1 LIMIT 10"
        ).fetchall()
        return (rows[0][1] if rows else 0), [place for place, _ in rows]


def renew_nodes(centre: Connection) -> None:
    """Bring the tables of all nodes to the version that the centre's transaction has come to.

    Nothing is asked of nodes that are there already. Run by `vo_service.db.schema`.

    Raises
    ------
    VOError
        A node cannot be reached, or does not fit: the centre must not be upgraded without it.
    """
    store = ShardStore(centre)
    version = store.identity()[1]
    rows = centre.execute(
        "SELECT name, url FROM archive.shard WHERE version <> %s ORDER BY name", (version,)
    ).fetchall()
    for name, url in rows:
        with connect_node(name, url) as node:
            node.renew(definition_of(centre), version)
        centre.execute("UPDATE archive.shard SET version = %s WHERE name = %s", (version, name))


def clear_misfits(writer: Connection, part: Part, others: Sequence[str]) -> int:
    """Delete rows of a part that no open product has; how many. Run as the writer.

    *others* are the collections that have a table of their own beside it.
    """
    return writer.execute(
        "DELETE FROM archive.observation o WHERE s_ra >= %(low)s AND s_ra < %(high)s "
        "AND (obs_collection = %(collection)s::text "
        "OR %(collection)s::text IS NULL AND obs_collection <> ALL(%(others)s::text[])) "
        "AND NOT EXISTS (SELECT FROM archive.product p "
        "WHERE p.product_id = o.product_id AND p.current AND NOT p.closed)",
        {
            "low": part.low, "high": part.high,
            "collection": part.collection, "others": list(others),
        },
    ).rowcount  # fmt: skip


def enlist(admin: Connection, shard: Shard, logins: Logins) -> None:
    """Make the foreign server of a shard, and say who is who there; as an administrator.

    Raises
    ------
    ConfigError
        If the login may not; the message holds what an administrator must run.
    """
    with admin.transaction():
        for statement in _server_statements(admin, shard):
            _run(admin, statement)
        for role, (user, password) in (
            (Role.OWNER, logins.reader),
            (Role.WRITER, logins.writer),
        ):
            names = {"role": sql.Identifier(role), "server": sql.Identifier(_server(shard.name))}
            _run(admin, sql.SQL("DROP USER MAPPING IF EXISTS FOR {role} SERVER {server}").format(
                **names))  # fmt: skip
            _run(
                admin,
                sql.SQL(
                    "CREATE USER MAPPING FOR {role} SERVER {server} OPTIONS (user {user}, "
                    "password {password})"
                ).format(**names, user=user, password=password),
            )


def strike_off(admin: Connection, name: str) -> None:
    """Drop the foreign server of a shard and all mappings to it."""
    admin.execute(sql.SQL("DROP SERVER IF EXISTS {} CASCADE").format(sql.Identifier(_server(name))))


def _server(name: str) -> str:
    return f"vo_{name}"


def _server_statements(admin: Connection, shard: Shard) -> Iterator[sql.Composed]:
    server = sql.Identifier(_server(shard.name))
    given = {k: v for k, v in conninfo_to_dict(shard.url).items() if k not in _NOT_OF_SERVER}
    wanted = {**_OPTIONS, **given}
    row = admin.execute(
        "SELECT coalesce(srvoptions, '{}') FROM pg_foreign_server WHERE srvname = %s",
        (_server(shard.name),),
    ).fetchone()
    if row is None:
        yield sql.SQL("CREATE EXTENSION IF NOT EXISTS postgres_fdw").format()
        yield sql.SQL("CREATE SERVER {} FOREIGN DATA WRAPPER postgres_fdw").format(server)
    present = {text.partition("=")[0] for text in (row[0] if row else ())}
    options = [
        sql.SQL("{} {} {}").format(
            sql.SQL("SET" if key in present else "ADD"), sql.Identifier(key), str(value)
        )
        for key, value in wanted.items()
    ] + [sql.SQL("DROP {}").format(sql.Identifier(key)) for key in present - set(wanted)]
    yield sql.SQL("ALTER SERVER {} OPTIONS ({})").format(server, sql.SQL(", ").join(options))
    # The owner of the tables makes foreign ones; nobody else need know of the server.
    yield sql.SQL("GRANT USAGE ON FOREIGN SERVER {} TO {}").format(
        server, sql.Identifier(Role.OWNER)
    )


def _run(admin: Connection, statement: sql.Composed) -> None:
    try:
        admin.execute(statement)
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConfigError(
            "database_url: this login may not make foreign servers "
            f"({error.diag.message_primary}); have an administrator run, in "
            f"{admin.info.dbname}: CREATE EXTENSION postgres_fdw; GRANT USAGE ON FOREIGN DATA "
            f"WRAPPER postgres_fdw TO {admin.info.user}"
        ) from error
