"""docs/adql.md says what the code declares."""

from __future__ import annotations

from pathlib import Path

from vo_service.adql import FEATURES
from vo_service.adql.moc import MAX_COVERAGE_ORDER
from vo_service.adql.parse import MAX_DEPTH, MAX_LIST

PAGE = Path(__file__).parents[2] / "docs" / "adql.md"
UDF = "ivo://ivoa.net/std/tapregext#features-udf"


def function_table() -> str:
    """The table of functions, one row for each, made of what capabilities declare."""
    rows: dict[str, list[str]] = {}
    for feature in FEATURES:
        if feature.type == UDF:
            rows.setdefault(feature.description, []).append(f"`{feature.form}`")
    lines = [f"| {'<br>'.join(forms)} | {text} |" for text, forms in rows.items()]
    return "\n".join(["| Function | Meaning |", "|---|---|", *lines])


def test_page_has_the_table_of_functions() -> None:
    page = PAGE.read_text("utf-8")
    shown = page.partition("-->\n")[2].partition("\n<!-- end of functions -->")[0]
    assert shown == function_table()


def test_page_names_every_optional_feature_in_its_group() -> None:
    groups: dict[str, list[str]] = {}
    for feature in FEATURES:
        if feature.type != UDF:
            groups.setdefault(feature.type.partition("#")[2], []).append(feature.form)
    page = PAGE.read_text("utf-8")
    for group, forms in groups.items():
        assert f"| `{group}` | {' '.join(forms)} |" in page


def test_page_names_the_limits() -> None:
    page = PAGE.read_text("utf-8")
    assert f"(geometries count for several) | {MAX_DEPTH} |" in page
    assert f"vertices | {MAX_LIST:,} |".replace(",", " ") in page
    assert f"`MOC(order, geometry)` | {MAX_COVERAGE_ORDER} |" in page
