"""The few things that an archive must say of itself, asked once and written down.

`Answers` is what ``vo-service init`` asks for, or takes from a file. What belongs to all of the
archive goes to ``settings.toml``, the rest to ``registry/publisher.yaml``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import yaml

from vo_service.model.release import Written
from vo_service.model.written_file import check_written, read_written
from vo_service.registry.description import Address, Email, PublisherText, Text
from vo_service.services.registry import PUBLISHER_FILE, registry_directory
from vo_service.settings import Settings

__all__ = ["Answers", "checked_answers", "read_answers", "write_publisher"]

_HEAD = """\
# What this archive says of itself to registries; docs/registry.md lists all fields.
# 'vo-service check --registry' checks it, 'vo-service registry publish' publishes it.
"""


class Answers(Written):
    """What is asked; *authority*, *publisher* and *contact* are settings."""

    authority: str | None = None
    publisher: Text | None = None
    contact: Email | None = None
    contact_name: Text | None = None
    description: Text | None = None
    reference_url: Address | None = None
    licence: Text | None = None
    licence_url: Address | None = None


def read_answers(path: Path) -> Answers:
    """Answers from a YAML or TOML file.

    Raises
    ------
    ConfigError
        Names the file, the field, what was expected and what was found.
    """
    return read_written(path, Answers, whole="answers", fields="authority, publisher and contact")


def checked_answers(values: Mapping[str, object]) -> Answers:
    """Answers from a terminal or the command line; errors as in `read_answers`."""
    return check_written(values, Answers, source="init", whole="answers")


def write_publisher(settings: Settings, answers: Answers) -> bool:
    """Write ``registry/publisher.yaml``; False, and nothing done, if there is one."""
    file = registry_directory(settings) / PUBLISHER_FILE
    if file.exists():
        return False
    organisation = {
        "description": answers.description,
        "reference_url": answers.reference_url,
    }
    # Name of the publisher and address for questions are settings: they are not said twice.
    content: dict[str, object] = {
        "organisation": {key: value for key, value in organisation.items() if value}
    }
    if answers.contact_name:
        content["contacts"] = [{"name": answers.contact_name, "email": settings.contact}]
    if answers.licence:
        rights = {"text": answers.licence, "url": answers.licence_url}
        content["rights"] = {key: value for key, value in rights.items() if value}
    PublisherText.model_validate(content)
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(".new")
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    draft.write_text(_HEAD + text, "utf-8")
    os.replace(draft, file)
    return True
