"""Memory does not grow with the result, in any format."""

from __future__ import annotations

import subprocess
import sys

import pytest

from vo_service.formats.output import FORMATS

#: Rows of eight columns through a format; prints the peak of resident memory in MiB.
PROGRAM = """
import asyncio, resource, sys
import numpy as np, pyarrow as pa
from vo_service.formats.output import output_format
from vo_service.model.table import Field, Rows

fields = tuple(Field(name=f"d{n}", datatype="double") for n in range(5)) + tuple(
    Field(name=f"t{n}", datatype="char", arraysize="*") for n in range(2)
) + (Field(name="a", datatype="float", arraysize="*"),)
count, rng = 10_000, np.random.default_rng(1)
text = pa.array([f"a text of some length, number {n}" for n in range(count)])
lists = pa.ListArray.from_arrays(np.arange(0, 2 * count + 1, 2, np.int32),
                                 pa.array(rng.random(2 * count, np.float32)))
columns = [pa.array(rng.random(count)) for _ in range(5)] + [text, text, lists]
batch = pa.RecordBatch.from_arrays(columns, names=[f.name for f in fields])

async def source(batches):
    for _ in range(batches):
        yield batch

async def write(batches):
    size = 0
    async for piece in output_format(sys.argv[1])[0].write(Rows(fields, source(batches)), []):
        size += len(piece)
    return size

for batches in (1, int(sys.argv[2])):
    size = asyncio.run(write(batches))
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024, size)
"""


@pytest.mark.parametrize("name", [f.media_type for f in FORMATS])
def test_two_million_rows_take_no_more_memory_than_ten_thousand(name: str) -> None:
    rows = 400_000 if "sqlite" in name else 2_000_000  # the same database pages, sooner
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, name, str(rows // 10_000)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    (small, small_size), (large, large_size) = (
        map(int, line.split()) for line in ran.stdout.splitlines()
    )
    assert large_size > 20 * small_size
    assert large - small < 64
