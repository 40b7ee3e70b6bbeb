"""Logins of servers that do not upgrade the database, and settings that come from files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from tests.support import settings_at
from vo_service.db.connect import conninfo
from vo_service.db.roles import Role
from vo_service.db.schema import require_newest, upgrade
from vo_service.errors import ConfigError
from vo_service.settings import load_settings


@pytest.fixture
def login(server: str) -> Iterator[str]:
    """A login that may do nothing yet."""
    name = f"serve_{uuid4().hex[:8]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(name)))
        yield name
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def test_a_service_login_may_act_as_every_role_but_the_owner(
    empty_database_url: str, place: Path, login: str
) -> None:
    settings = settings_at(empty_database_url, place / "logins", service_login=login)
    upgrade(settings)
    upgrade(settings)  # again: nothing is left to be granted
    with psycopg.connect(empty_database_url) as connection:
        for role in Role:
            [(member,)] = connection.execute(
                "SELECT pg_has_role(%s, %s, 'MEMBER')", [login, role]
            ).fetchall()
            assert member == (role is not Role.OWNER), role


def test_a_service_login_that_does_not_exist_is_named(empty_database_url: str, place: Path) -> None:
    settings = settings_at(empty_database_url, place / "logins", service_login="nobody_at_all")
    with pytest.raises(ConfigError, match='service_login: role "nobody_at_all" does not exist'):
        upgrade(settings)


def test_who_does_not_upgrade_wants_the_newest_schema(empty_database_url: str, place: Path) -> None:
    settings = settings_at(empty_database_url, place / "logins")
    admin = make_conninfo(empty_database_url)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("CREATE TABLE before (id int)")
    with pytest.raises(ConfigError, match="has version none, this program needs 00"):
        require_newest(settings)
    upgrade(settings)
    require_newest(settings)
    with psycopg.connect(conninfo(settings, Role.OWNER)) as connection:
        connection.execute("UPDATE archive.alembic_version SET version_num = '0001'")
    with pytest.raises(ConfigError, match=r"has version 0001, this program needs 00.*db upgrade"):
        require_newest(settings)


def test_a_setting_may_come_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = tmp_path / "url"
    secret.write_text("postgresql://serve:se%20cret@db/vo\n")
    (tmp_path / "settings.toml").write_text('database_url = "dbname=another"\n')
    monkeypatch.delenv("VO_DATABASE_URL", raising=False)
    monkeypatch.setenv("VO_DATABASE_URL_FILE", str(secret))
    found = conninfo_to_dict(load_settings(tmp_path).database_url or "")
    assert (found["user"], found["password"]) == ("serve", "se cret")


def test_a_file_that_is_not_there_and_two_ways_at_once_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VO_ALARM_URL_FILE", str(tmp_path / "none"))
    with pytest.raises(ConfigError, match=r"VO_ALARM_URL_FILE: .*none: cannot be read: No such"):
        load_settings(tmp_path)
    monkeypatch.setenv("VO_ALARM_URL", "https://hooks.example.org/x")
    with pytest.raises(ConfigError, match="VO_ALARM_URL and VO_ALARM_URL_FILE are both set"):
        load_settings(tmp_path)


def test_a_wrong_value_in_a_file_is_told_without_the_value(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "hook"
    secret.write_text("hooks.example.org/secret")
    monkeypatch.setenv("VO_ALARM_URL_FILE", str(secret))
    with pytest.raises(ConfigError, match=r"VO_ALARM_URL_FILE: .*expected an address") as caught:
        load_settings(tmp_path)
    assert "secret" not in str(caught.value)
