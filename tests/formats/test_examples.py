"""The examples document, by the rules of DALI 1.1, "DALI-examples"."""

from __future__ import annotations

from lxml import etree

from vo_service.formats.examples import Example, examples_document

EXAMPLES = (
    Example(
        id="cone",
        name='Around <M82> & "all"',
        query="SELECT *\nFROM ivoa.obscore\nWHERE s_ra < 150 AND t_min > 5e4 -- é",
        description="Everything near.",
        tables=("ivoa.obscore", 'odd."A"'),
    ),
    Example(id="count", name="Count", query="SELECT COUNT(*) FROM ivoa.obscore"),
)
XHTML = "{http://www.w3.org/1999/xhtml}"


def test_examples_are_marked_up_for_programs() -> None:
    root = etree.fromstring(examples_document(EXAMPLES))
    assert root.tag == f"{XHTML}html"
    vocabularies = root.xpath("//@vocab")
    assert vocabularies == ["http://www.ivoa.net/rdf/examples#"]
    found = []
    for element in root.iterfind(f".//{XHTML}*[@typeof='example']"):
        assert element.get("resource") == f"#{element.get('id')}"
        properties = [
            (p.get("property"), p.text, len(p)) for p in element.iterfind(".//*[@property]")
        ]
        found.append((element.get("id"), properties))
    assert found == [
        ("cone", [("name", EXAMPLES[0].name, 0), ("query", EXAMPLES[0].query, 0),
                  ("table", "ivoa.obscore", 0), ("table", 'odd."A"', 0)]),
        ("count", [("name", "Count", 0), ("query", EXAMPLES[1].query, 0)]),
    ]  # fmt: skip


def test_no_property_stands_on_a_link() -> None:
    root = etree.fromstring(examples_document(EXAMPLES))
    assert not root.xpath("//*[@property and (@href or @src)]")


def test_a_service_without_examples_still_has_a_document() -> None:
    root = etree.fromstring(examples_document((), "None yet"))
    assert root.findtext(f"{XHTML}head/{XHTML}title") == "None yet"
