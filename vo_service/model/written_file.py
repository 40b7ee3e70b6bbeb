"""Files that an operator writes: YAML or TOML, read into a checked value, and tables as text.

Whatever is wrong is said with the file, the field, what was expected and what was found.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from vo_service.errors import ConfigError, UsageError

__all__ = ["check_written", "read_written", "written_text"]

_SIZE_LIMIT = 1_000_000

_Written = TypeVar("_Written", bound=BaseModel)


def read_written(
    path: Path, kind: type[_Written], *, whole: str, fields: str, context: object = None
) -> _Written:
    """Read one file.

    Parameters
    ----------
    path
        TOML if its name says so, YAML otherwise.
    kind
        What it must be.
    whole, fields
        What to call the file's content as a whole, and some of its fields, in messages.
    context
        For the validators.

    Raises
    ------
    ConfigError
        Names the file, the field, what was expected and what was found.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_SIZE_LIMIT + 1)
        if len(content) > _SIZE_LIMIT:
            raise ConfigError(f"{path}: larger than {_SIZE_LIMIT} bytes")
        text = content.decode("utf-8")
        values = tomllib.loads(text) if path.suffix == ".toml" else yaml.safe_load(text)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, yaml.YAMLError, RecursionError) as error:
        raise ConfigError(f"{path}: {' '.join(str(error).split())}") from error
    except ValueError as error:  # a date or a number that YAML took for one
        raise ConfigError(f"{path}: {error}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: expected fields such as {fields}")
    return check_written(values, kind, source=str(path), whole=whole, context=context)


def check_written(
    values: object, kind: type[_Written], *, source: str, whole: str, context: object = None
) -> _Written:
    """Check values that come from *source*, a file or another; the rest as in `read_written`."""
    try:
        return kind.model_validate(values, context=context)
    except ValidationError as error:
        raise ConfigError(
            "; ".join(f"{source}: {_sentence(fault, whole)}" for fault in error.errors())
        ) from error


def _sentence(fault: Any, whole: str) -> str:
    """One mistake in words: field, expectation, finding."""
    field = ".".join(str(part) for part in fault["loc"]) or whole
    message = str(fault["msg"]).removeprefix("Value error, ")
    if fault["type"] == "missing":
        return f"{field}: is missing"
    if fault["type"] == "extra_forbidden":
        return f"{field}: there is no such field"
    if message.startswith("Input should be"):
        message = "expected" + message.removeprefix("Input should be")
    found = fault["input"]
    if isinstance(found, str | int | float | bool | None) and "found" not in message:
        message += f", found {json.dumps(found)[:80]}"
    return f"{field}: {message}"


def written_text(path: Path, limit: int) -> str:
    """The content of a text file of at most *limit* bytes, without a byte-order mark.

    Raises
    ------
    UsageError
        If it is larger, or not UTF-8; names the line.
    OSError
        If the file cannot be read.
    """
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise UsageError(f"{path}: larger than {limit} bytes")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path}, line {line}: not UTF-8 (byte {error.start})") from error
