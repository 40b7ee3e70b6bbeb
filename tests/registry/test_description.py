"""The files of registry/: what is right is taken, what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from vo_service.errors import ConfigError
from vo_service.registry.description import load_collection_text, load_publisher_text
from vo_service.services.registry import shipped_registry


def test_all_shipped_files_are_valid() -> None:
    assert load_publisher_text(shipped_registry() / "publisher.yaml").rights is not None
    files = sorted((shipped_registry() / "collections").glob("*.yaml"))
    assert {file.stem for file in files} >= {"tomoe", "triccs", "subaru"}
    for file in files:
        assert load_collection_text(file).subjects


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("short_name: more than sixteen letters", "short_name: expected 16 characters at most"),
        ("subjects: [Galaxy clusters]", "subjects.0: expected a term of the Unified Astronomy"),
        ("reference_url: ftp://x", "reference_url: expected an address that starts with https://"),
        ("titel: x", "titel: there is no such field"),
        ("doi: 12", "doi: "),
        ("doi: 11.1/2", "doi: expected a DOI"),
        ("bibcode: 2018PASJ", "bibcode: expected a bibcode of 19 characters"),
        ("types: [Table]", "types.0: expected 'Other', 'Archive'"),
        ("relations: [{type: Loves, title: x}]", "relations.0.type: expected 'Cites'"),
        ("relations: [{type: Cites, title: x, ivoid: 'ivo://a.b/c?d'}]", "expected an IVOID"),
        ("coverage: {spatial: everywhere}", "coverage.spatial: expected an ASCII MOC"),
        ("coverage: {spectral: [[2, 1]]}", "spectral: expected the lower limit first"),
        ("dates: [{date: 2020-02-30, role: Collected}]", "day is out of range"),
        ("dates: [{date: 2020-02-29, role: Whenever}]", "dates.0.role: expected 'Accepted'"),
        ("creators: [{name: ''}]", "creators.0.name: expected some text"),
        ("creators: [{name: A, orcid: 1}]", "creators.0.orcid"),
        ("contacts: [{name: A, email: nobody}]", "contacts.0.email: expected an e-mail address"),
        ("rights: CC", "rights: "),
        ("register: perhaps", "register: "),
        ("- a\n- b", "expected fields such as title, subjects and rights"),
        ("title: [", "line 1"),
    ],
)
def test_a_mistake_is_told_with_file_field_and_what_is_wanted(
    tmp_path: Path, text: str, said: str
) -> None:
    file = tmp_path / "tomoe.yaml"
    file.write_text(text, "utf-8")
    with pytest.raises(ConfigError) as caught:
        load_collection_text(file)
    assert str(file) in str(caught.value)
    assert said in str(caught.value)
