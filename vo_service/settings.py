"""What an operator may choose: ``VO_*`` variables over ``settings.toml`` in the data directory.

`load_settings` is the only place that reads either; everything else is given a `Settings`.
"""

from __future__ import annotations

import ipaddress
import itertools
import os
import re
import tomllib
from pathlib import Path
from typing import Any, Literal, Self

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from vo_service.errors import ConfigError

__all__ = ["SETTINGS_FILE", "Settings", "default_home", "load_settings"]

SETTINGS_FILE = "settings.toml"


class Settings(BaseSettings):
    """One frozen value; times end in their unit, sizes are bytes."""

    model_config = SettingsConfigDict(env_prefix="VO_", frozen=True, extra="forbid")

    home: Path
    host: str = "127.0.0.1"
    port: int = Field(8080, ge=0, le=65535)
    base_url: str = ""
    authority: str = Field("vo-service.example", pattern=r"^[A-Za-z0-9][A-Za-z0-9._~*+-]{2,}$")
    publisher: str = "An observatory that has not yet given its name"
    contact: str = "archive@vo-service.example"

    tls_cert: Path | None = None
    tls_key: Path | None = None
    redirect_port: int | None = Field(None, ge=1, le=65535)
    hsts_s: int = Field(180 * 86_400, ge=0)
    trusted_proxies: tuple[str, ...] = ()
    forwarded_header: Literal["x-forwarded", "forwarded"] = "x-forwarded"
    processes: int = Field(1, ge=1, le=64)
    drain_s: float = Field(60.0, ge=0)

    accel_prefix: str = Field("", pattern=r"^(/[A-Za-z0-9._-]+/)?$")
    accel_reports: str = Field("", pattern=r"^(([A-Za-z0-9._-]+|\[[0-9a-f:]+\]):[0-9]{1,5})?$")

    connections_limit: int = Field(2000, gt=0)
    client_connections: int = Field(256, gt=0)
    header_limit_s: float = Field(20.0, gt=0)
    keep_alive_s: int = Field(75, gt=0)
    stalled_s: float = Field(60.0, gt=0)
    client_requests_per_s: float = Field(300.0, ge=0)
    queries_limit: int = Field(256, gt=0)
    client_queries: int = Field(8, gt=0)
    client_uploads: int = Field(2, gt=0)
    client_cutouts: int = Field(4, gt=0)
    client_downloads: int = Field(64, gt=0)
    client_waiting: int = Field(64, ge=0)
    queue_s: float = Field(20.0, ge=0)

    database_url: str | None = None
    upgrade_at_start: bool = True
    service_login: str = Field("", pattern=r"^([a-z_][a-z0-9_]{0,62})?$")
    cluster_user: str = "postgres"
    partition_bounds: tuple[float, ...] = tuple(float(ra) for ra in range(0, 361, 10))

    maxrec_default: int = Field(10_000, gt=0)
    maxrec_limit: int = Field(10_000_000, gt=0)
    sync_limit_s: float = Field(60.0, gt=0)
    query_length_limit: int = Field(1_000_000, gt=0)
    request_limit: int = Field(10_000_000, gt=0)
    reader_connections: int = Field(16, gt=0)

    uploads_limit: int = Field(10, gt=0)
    upload_rows_limit: int = Field(1_000_000, gt=0)
    upload_bytes_limit: int = Field(200_000_000, gt=0)
    upload_memory_limit: int = Field(2_000_000_000, ge=500_000_000)
    upload_limit_s: float = Field(120.0, gt=0)
    upload_private_addresses: bool = False

    worker_in_serve: bool = True
    short_jobs: int = Field(2, gt=0)
    long_jobs: int = Field(2, gt=0)
    short_job_s: float = Field(30.0, gt=0)
    cost_per_s: float = Field(200_000.0, gt=0)
    job_attempts: int = Field(3, gt=0)
    jobs_per_client: int = Field(1000, gt=0)
    list_anonymous_jobs: bool = False
    async_default_s: int = Field(3600, gt=0)
    async_limit_s: int = Field(86_400, gt=0, lt=2**31)
    result_limit: int = Field(20_000_000_000, gt=0)
    job_retention_s: int = Field(7 * 86_400, gt=0)
    job_retention_limit_s: int = Field(31 * 86_400, gt=0)
    job_archive_s: int = Field(31 * 86_400, ge=0)

    release_hour: int = Field(0, ge=-1, le=23)
    release_week_bytes: int = Field(10_000_000_000_000, gt=0)

    bundle_members_limit: int = Field(100_000, gt=0)
    bundle_bytes_limit: int = Field(100_000_000_000_000, gt=0)

    previews: bool = True
    cutouts_sync_limit: int = Field(100, gt=0)
    cutouts_limit: int = Field(1000, gt=0)
    unpack_limit: int = Field(4_000_000_000, gt=0)

    session_s: int = Field(12 * 3600, gt=0, le=31 * 86_400)
    member_connections: int = Field(4, gt=0)

    role: Literal["all", "api", "data"] = "all"
    data_url: str = ""
    centre_url: str = ""
    signed_link_s: int = Field(900, gt=0, le=7 * 86_400)

    download_log: Literal["off", "key", "address"] = "key"
    download_retention_days: int = Field(365, gt=0, le=36_500)

    shard_down: Literal["error", "partial"] = "error"
    shard_answer_s: float = Field(3.0, gt=0, le=60)
    reader_urls: tuple[str, ...] = ()
    replica_lag_s: float = Field(10.0, ge=2)

    registry_mirror: bool = False
    registry_page: int = Field(100, gt=0, le=1000)
    registry_token_s: int = Field(86_400, gt=0, le=7 * 86_400)

    operator_host: str = "127.0.0.1"
    operator_port: int = Field(0, ge=0, le=65535)
    log_format: Literal["text", "json"] = "text"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_personal: bool = False
    access_log: bool = False
    wal_archive: Path | None = None
    slow_query_s: float = Field(5.0, ge=0)
    slow_query_days: int = Field(30, gt=0, le=36_500)
    otel: bool = False

    crawl_rows: int = Field(50_000, gt=0, le=1_000_000)
    crawl_pause_s: float = Field(0.2, ge=0)
    crawl_limit_s: float = Field(300.0, gt=0)
    crawl_bytes_limit: int = Field(500_000_000, gt=0)
    crawl_products_limit: int = Field(100_000_000, gt=0)

    alarm_url: SecretStr | None = None
    alarm_interval_s: int = Field(900, ge=0)
    alarm_refused_share: float = Field(0.1, ge=0, le=1)
    disk_free_share: float = Field(0.05, ge=0, lt=1)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.maxrec_default > self.maxrec_limit:
            raise ValueError("maxrec_default must not exceed maxrec_limit")
        if self.async_default_s > self.async_limit_s:
            raise ValueError("async_default_s must not exceed async_limit_s")
        if self.job_retention_s > self.job_retention_limit_s:
            raise ValueError("job_retention_s must not exceed job_retention_limit_s")
        if self.base_url and not self.base_url.startswith(("http://", "https://")):
            raise ValueError("base_url must start with http:// or https://")
        if self.accel_prefix and self.download_log != "off" and not self.accel_reports:
            raise ValueError("accel_prefix wants accel_reports, or downloads would not be logged")
        if self.tls_cert is None and (self.tls_key or self.redirect_port):
            raise ValueError("tls_key and redirect_port want a tls_cert (a file of certificates)")
        if self.redirect_port and not self.base_url.startswith("https://"):
            raise ValueError("redirect_port wants a base_url (https://...) to lead to")
        return self

    @field_validator("trusted_proxies")
    @classmethod
    def _addresses(cls, proxies: tuple[str, ...]) -> tuple[str, ...]:
        for proxy in proxies:
            if proxy != "unix":
                try:
                    ipaddress.ip_network(proxy)
                except ValueError as error:
                    expected = "an address (10.0.0.7), a network (10.0.0.0/8) or 'unix'"
                    raise ValueError(f"{proxy!r}: expected {expected}") from error
        return proxies

    @field_validator("data_url", "centre_url")
    @classmethod
    def _an_address(cls, url: str) -> str:
        if url and not url.startswith(("http://", "https://")):
            raise ValueError("expected an address that starts with http:// or https://")
        return f"{url.rstrip('/')}/" if url else url

    @field_validator("alarm_url")
    @classmethod
    def _a_webhook(cls, url: SecretStr | None) -> SecretStr | None:
        text = url.get_secret_value() if url else ""
        if text and not re.fullmatch(r"https?://[!-~]+", text):
            raise ValueError("expected an address that starts with https:// or http://")
        return url if text else None

    @field_validator("database_url")
    @classmethod
    def _libpq(cls, url: str | None) -> str | None:
        try:
            conninfo_to_dict(url or "")
        except ProgrammingError as error:
            raise ValueError(f"expected postgresql://user@host/database ({error})") from error
        return url or None

    @field_validator("wal_archive")
    @classmethod
    def _a_plain_place(cls, place: Path | None) -> Path | None:
        if place is not None and not re.fullmatch(r"/[A-Za-z0-9_./+@:=-]+", str(place)):
            raise ValueError("expected an absolute path of letters, digits and _ . / + @ : = -")
        return place

    @field_validator("reader_urls")
    @classmethod
    def _all_libpq(cls, urls: tuple[str, ...]) -> tuple[str, ...]:
        for url in urls:
            try:
                conninfo_to_dict(url)
            except ProgrammingError as error:
                raise ValueError(f"expected postgresql://user@host/database ({error})") from error
        return urls

    @field_validator("partition_bounds")
    @classmethod
    def _ascending(cls, bounds: tuple[float, ...]) -> tuple[float, ...]:
        if len(bounds) < 2 or bounds[0] != 0 or bounds[-1] != 360:
            raise ValueError("partition_bounds must start with 0 and end with 360 (degrees)")
        if any(low >= high for low, high in itertools.pairwise(bounds)):
            raise ValueError("partition_bounds must ascend")
        return bounds

    @property
    def root_url(self) -> str:
        """The public address of this server, without a slash at the end."""
        scheme = "https" if self.tls_cert else "http"
        return (self.base_url or f"{scheme}://localhost:{self.port}").rstrip("/")

    @property
    def collections(self) -> Path:
        """Where the operator's collection files lie."""
        return self.home / "collections"

    @property
    def public(self) -> Path:
        """The tree of symbolic links that is served under ``/data/``."""
        return self.home / "public"

    @property
    def signing_keys(self) -> Path:
        """The keys of signed links (`vo_service.services.signing`)."""
        return self.home / "signing.keys"

    @property
    def jobs(self) -> Path:
        """Inline uploads and results of jobs, a directory each."""
        return self.home / "jobs"


def default_home() -> Path:
    """``VO_HOME``, or the place where a system (root) or a person keeps such data."""
    if given := os.environ.get("VO_HOME"):
        return Path(given)
    if os.geteuid() == 0:
        return Path("/var/lib/vo-service")
    data = os.environ.get("XDG_DATA_HOME") or str(Path.home() / ".local" / "share")
    return Path(data) / "vo-service"


def load_settings(home: Path | None = None, **overrides: Any) -> Settings:
    """Settings of a data directory.

    Parameters
    ----------
    home
        The data directory; `default_home` where None.
    overrides
        Values from the command line, over variables and file.

    Raises
    ------
    ConfigError
        Names the file or variable, the field, and what was expected.
    """
    place = (home or default_home()).absolute()
    file = place / SETTINGS_FILE
    try:
        values = tomllib.loads(file.read_text("utf-8")) if file.is_file() else {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from error
    known = {name for name in Settings.model_fields if f"VO_{name.upper()}" in os.environ}
    secrets = _secrets()
    values = {key: value for key, value in values.items() if key not in known} | secrets
    given = {key: value for key, value in overrides.items() if value is not None}
    try:
        return Settings(**(values | given | {"home": place}))
    except ValidationError as error:
        lines = []
        for fault in error.errors():
            name = ".".join(str(part) for part in fault["loc"]) or "settings"
            where = f"{file}: {name}"
            if name in given:
                where = f"--{name.replace('_', '-')}"
            elif name in secrets:
                where = f"VO_{name.upper()}_FILE"
            elif name in known:
                where = f"VO_{name.upper()}"
            lines.append(f"{where}: {fault['msg']}")
        raise ConfigError("; ".join(lines)) from error


def _secrets() -> dict[str, str]:
    """Settings whose variable, with ``_FILE`` behind it, names a file that holds the value."""
    found = {}
    for name in Settings.model_fields:
        variable = f"VO_{name.upper()}"
        place = os.environ.get(f"{variable}_FILE")
        if not place:
            continue
        if os.environ.get(variable):
            raise ConfigError(f"{variable} and {variable}_FILE are both set: expected one of them")
        try:
            found[name] = Path(place).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{variable}_FILE: {place}: cannot be read: {_why(error)}") from error
    return found


def _why(error: OSError | UnicodeDecodeError) -> str:
    return error.strerror or str(error) if isinstance(error, OSError) else "expected UTF-8"
