"""Every value of every type comes back as it was sent: astropy writes, we read and load."""

from __future__ import annotations

import io
import math
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.table import MaskedColumn, Table
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.uploads.support import Uploads, read
from vo_service.adql import translate
from vo_service.db.connect import Role, conninfo
from vo_service.db.uploads import LoadedTable, UploadSession
from vo_service.model.table import Catalog
from vo_service.settings import Settings

INTEGERS = {"u1": (0, 255), "i2": (-(2**15), 2**15 - 1), "i4": (-(2**31), 2**31 - 1),
            "i8": (-(2**63), 2**63 - 1)}  # fmt: skip
#: No blanks at the ends, since FITS has none there; nothing that XML would change.
TEXT = st.text(
    st.characters(categories=["L", "N", "P", "S"], max_codepoint=0xD7FF), min_size=1, max_size=8
)
ASCII = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=8)


def votable(serialisation: str) -> Callable[[Table], bytes]:
    def write(table: Table) -> bytes:
        out = io.BytesIO()
        table.write(out, format="votable", tabledata_format=serialisation)
        return out.getvalue()

    return write


def fits_file(table: Table) -> bytes:
    out = io.BytesIO()
    table.write(out, format="fits")
    return out.getvalue()


def ecsv(table: Table) -> bytes:
    out = io.StringIO()
    table.write(out, format="ascii.ecsv")
    return out.getvalue().encode()


def parquet(table: Table) -> bytes:
    out = io.BytesIO()
    columns = {}
    for name in table.colnames:
        column = table[name]
        mask = np.ma.getmaskarray(column)
        plain = np.ma.getdata(column)
        if column.ndim > 1:
            columns[name] = pa.array(plain.reshape(len(plain), -1).tolist())
        else:
            columns[name] = pa.array(plain, mask=mask)
    pq.write_table(pa.table(columns), out)
    return out.getvalue()


WRITERS: dict[str, Callable[[Table], bytes]] = {
    "tabledata": votable("tabledata"),
    "binary": votable("binary"),
    "binary2": votable("binary2"),
    "fits": fits_file,
    "ecsv": ecsv,
    "parquet": parquet,
}


@st.composite
def columns(draw: st.DrawFn, rows: int, form: str) -> np.ma.MaskedArray[Any, Any]:
    """A column, masked here and there where the format can say so."""
    kind = draw(st.sampled_from(["b", *INTEGERS, "f4", "f8", "text", "c16", "array", "matrix"]))
    if kind == "c16" and form in ("parquet", "ecsv"):
        kind = "f8"
    shape: tuple[int, ...] = (rows,)
    if kind in ("array", "matrix"):
        shape = (rows, 3) if kind == "array" or form == "parquet" else (rows, 2, 3)
        kind = draw(st.sampled_from(["i2", "i4", "i8", "f4", "f8"]))
    count = math.prod(shape)

    def many(of: st.SearchStrategy[Any], dtype: str) -> Any:
        made = draw(st.lists(of, min_size=count, max_size=count))
        return np.array(made, dtype).reshape(shape)

    if kind == "b":
        return np.ma.array(many(st.booleans(), "?"))
    if kind == "text":
        made = draw(st.lists(ASCII if form == "fits" else TEXT, min_size=count, max_size=count))
        return np.ma.array(np.array(made, dtype="U8"))
    if kind == "c16":
        return np.ma.array(many(st.complex_numbers(allow_nan=False, allow_infinity=False), "c16"))
    if kind in ("f4", "f8"):
        floats = st.floats(width=32 if kind == "f4" else 64, allow_nan=len(shape) == 1)
        return np.ma.array(many(floats, kind))
    low, high = INTEGERS[kind]
    values = np.ma.array(many(st.integers(low, high), kind))
    if len(shape) == 1 and form in ("binary2", "parquet") and draw(st.booleans()):
        values[draw(st.integers(0, rows - 1))] = np.ma.masked
    return values


@st.composite
def tables(draw: st.DrawFn) -> tuple[str, Table]:
    form = draw(st.sampled_from(sorted(WRITERS)))
    rows = draw(st.integers(1, 6))
    made = [draw(columns(rows, form)) for _ in range(draw(st.integers(1, 9)))]
    return form, Table([MaskedColumn(c, name=f"c{n}") for n, c in enumerate(made)])


def expected(column: Any) -> list[Any]:
    """What a column is to come back as: NaN and masked as None, all arrays flat."""
    found: list[Any] = []
    for value in column:
        if value is np.ma.masked:
            found.append(None)
        elif column.ndim > 1:
            found.append(np.ma.getdata(value).reshape(-1).tolist())
        elif column.dtype.kind == "c":
            found.append([value.real, value.imag])
        else:
            plain = value.item() if hasattr(value, "item") else str(value)
            found.append(None if isinstance(plain, float) and math.isnan(plain) else plain)
    return found


async def through_database(settings: Settings, content: bytes, place: Path) -> list[list[Any]]:
    incoming, _ = read(content, place)
    uploads = Uploads(settings, place)
    session = UploadSession(conninfo(settings, Role.UPLOAD), 20.0)
    try:
        table = LoadedTable("t", incoming.fields, incoming.shapes, place / "target.arrow")
        schema = await session.load([table])
        wanted = translate("SELECT * FROM TAP_UPLOAD.t", Catalog(schemas=(schema,)), 10_000)
        rows = await uploads.tap.reader.rows(wanted.select, wanted.fields, 10_000)
        batches = [batch async for batch in rows.batches()]
        await rows.aclose()
        return [c.to_pylist() for c in pa.Table.from_batches(batches).columns]
    finally:
        await session.aclose()
        await uploads.aclose()


@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(made=tables())
def test_values_of_all_types_come_back_from_the_database(
    settings: Settings, made: tuple[str, Table]
) -> None:
    form, table = made
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as place:
        warnings.simplefilter("ignore")
        content = WRITERS[form](table)
        found = anyio.run(through_database, settings, content, Path(place))
    for name, values in zip(table.colnames, found, strict=True):
        assert values == expected(table[name]), (form, name, table[name].dtype)
