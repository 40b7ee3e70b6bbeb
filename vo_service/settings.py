"""What an operator may choose: ``VO_*`` variables over ``settings.toml`` in the data directory.

`load_settings` is the only place that reads either; everything else is given a `Settings`.
"""

from __future__ import annotations

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

    database_url: str | None = None
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

    session_s: int = Field(12 * 3600, gt=0, le=31 * 86_400)
    member_connections: int = Field(4, gt=0)

    role: Literal["all", "api", "data"] = "all"
    data_url: str = ""
    centre_url: str = ""
    signed_link_s: int = Field(900, gt=0, le=7 * 86_400)

    download_log: Literal["off", "key", "address"] = "key"
    download_retention_days: int = Field(365, gt=0, le=36_500)

    registry_page: int = Field(100, gt=0, le=1000)
    registry_token_s: int = Field(86_400, gt=0, le=7 * 86_400)

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
        return self

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
        return (self.base_url or f"http://localhost:{self.port}").rstrip("/")

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
    values = {key: value for key, value in values.items() if key not in known}
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
            elif name in known:
                where = f"VO_{name.upper()}"
            lines.append(f"{where}: {fault['msg']}")
        raise ConfigError("; ".join(lines)) from error
