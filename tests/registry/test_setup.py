"""``vo-service init``: the few things that registries need, from a file, options or a terminal."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from vo_service.cli.registry import answers_for
from vo_service.errors import ConfigError
from vo_service.registry.description import load_publisher_text
from vo_service.services.registry_setup import Answers, write_publisher
from vo_service.settings import Settings

FULL = """
authority: archive.example.org
publisher: 観測所
contact: archive@example.org
contact_name: Archive group
description: Runs telescopes.
reference_url: https://example.org/
licence: CC BY 4.0
licence_url: https://creativecommons.org/licenses/by/4.0/
"""


def test_a_file_answers_everything_and_options_come_first(tmp_path: Path) -> None:
    file = tmp_path / "answers.yaml"
    file.write_text(FULL, "utf-8")
    said = answers_for(tmp_path, file, authority="other.example.org", publisher=None)
    assert (said.authority, said.publisher) == ("other.example.org", "観測所")


def test_what_is_written_is_valid_and_says_what_was_answered(tmp_path: Path) -> None:
    file = tmp_path / "answers.yaml"
    file.write_text(FULL, "utf-8")
    settings = Settings(home=tmp_path, contact="archive@example.org")
    assert write_publisher(settings, answers_for(tmp_path, file))
    text = load_publisher_text(tmp_path / "registry" / "publisher.yaml")
    assert text.organisation.reference_url == "https://example.org/"
    assert text.contacts[0].email == "archive@example.org"
    assert text.rights is not None
    assert text.rights.url == "https://creativecommons.org/licenses/by/4.0/"


@pytest.mark.parametrize("answers", [Answers(), Answers(licence="Ask us")])
def test_few_answers_make_a_valid_file_too_and_one_that_is_there_stays(
    tmp_path: Path, answers: Answers
) -> None:
    settings = Settings(home=tmp_path)
    assert write_publisher(settings, answers)
    file = tmp_path / "registry" / "publisher.yaml"
    load_publisher_text(file)
    before = file.read_bytes()
    assert not write_publisher(settings, Answers(licence="Other"))
    assert file.read_bytes() == before


def test_a_wrong_answer_is_told_with_its_field(tmp_path: Path) -> None:
    file = tmp_path / "answers.yaml"
    file.write_text("contact: nobody\nlizence: x\n", "utf-8")
    with pytest.raises(ConfigError) as caught:
        answers_for(tmp_path, file)
    assert f"{file}: contact: expected an e-mail address" in str(caught.value)
    assert "lizence: there is no such field" in str(caught.value)


def test_a_terminal_is_asked_and_nobody_else(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from vo_service.cli.registry import answers_for; "
        "print(repr(answers_for(Path(sys.argv[1]), None)))"
    )
    command = (sys.executable, "-c", program, str(tmp_path))
    silent = subprocess.run(command, input="", capture_output=True, text=True, check=True)
    assert "?" not in silent.stdout
    assert "authority=None" in silent.stdout
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, text=True) as asked:
        os.write(ours, b"archive.example.org\nMe\na@b.example\n\n\n\n\n")
        said, _ = asked.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert "IVOA authority" in said
    assert "authority='archive.example.org'" in said
    assert "licence=None" in said
