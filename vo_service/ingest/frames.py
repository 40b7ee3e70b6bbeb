"""One file into one `Frame`, many files into frames and refusals by several processes.

Only headers are read. No database here: who calls stores what comes out.
Media types: RFC 4047 (image/fits where the primary HDU holds an image, else application/fits)
and, for files compressed as a whole, ObsCore 1.1, "access_format".
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import islice
from multiprocessing import get_context
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

from vo_service.errors import HeaderError, VOError
from vo_service.ingest.corrections import correct
from vo_service.ingest.files import given_md5, open_regular, place_of, root_of
from vo_service.ingest.headers import nominal_size, read_headers, read_text_headers
from vo_service.ingest.images import image_values
from vo_service.ingest.mapping import map_headers
from vo_service.ingest.provenance import provenance_of
from vo_service.model.collection import Collection
from vo_service.model.correction import CorrectionSet
from vo_service.model.dates import night_of
from vo_service.model.observation import Frame, HDUHeader, Observation, Product, Refusal

__all__ = ["map_frame", "read_frame", "read_frames"]

#: Files per message to a worker: the overhead of a message is that of a header.
_BATCH = 16
_REASON_LIMIT = 500
#: Header files are read whole, and headers are small.
_TEXT_LIMIT = 16 * 1024 * 1024

_NONE = CorrectionSet()


def read_frame(
    path: Path,
    collection: Collection,
    *,
    authority: str,
    root: Path,
    headers_only: bool = False,
    corrections: CorrectionSet = _NONE,
) -> Frame:
    """Map one file by the rules of its collection.

    Parameters
    ----------
    path, collection
        The file and its collection.
    authority
        Of the publisher, for `Product.did`.
    root
        Directory below which the file keeps its name in the public tree.
    headers_only
        The file is a text of header cards; the data stay elsewhere (`Product.source` is
        None, `Product.size` what the headers say the file has).
    corrections
        Of the collection; those that are meant for the file are applied before it is mapped,
        while `Product.headers` stays as it was read.

    Raises
    ------
    HeaderError
        The frame is to be refused: reason, HDU and keyword.
    """
    below = place_of(path, root, collection, headers_only=headers_only)
    try:
        descriptor = open_regular(path)
        try:
            status = os.fstat(descriptor)
            packed = os.pread(descriptor, 2, 0) == b"\x1f\x8b"
            if headers_only:
                hdus = read_text_headers(_all_of(descriptor))
            else:
                hdus = read_headers(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise HeaderError(f"cannot be read: {error.strerror or error}") from error
    did = _did(collection, authority, below)
    frame_id = collection.frame_id.of(hdus, below)
    meant = corrections.meant_for(frame_id, str(below), did)
    observation, product = map_frame(collection, correct(hdus, meant)[0], below)
    return Frame(
        product=Product(
            collection=collection.name,
            path=str(below),
            source=None if headers_only else os.path.abspath(path),
            size=nominal_size(hdus) if headers_only else status.st_size,
            modified=datetime.fromtimestamp(status.st_mtime, UTC),
            did=did,
            frame_id=frame_id,
            media_type=_media_type(hdus[0], packed=packed and not headers_only),
            headers=hdus,
            md5_given=None if headers_only else given_md5(path),
            elsewhere=headers_only and collection.data_server is not None,
            **product,
        ),
        observation=observation,
    )


def map_frame(
    collection: Collection, hdus: tuple[HDUHeader, ...], below: PurePosixPath
) -> tuple[Observation, dict[str, Any]]:
    """The observation of a file, and those fields of its `Product` that headers give.

    Raises
    ------
    HeaderError
        The frame is to be refused: reason, HDU and keyword.
    """
    observation, product = map_headers(collection, hdus, below)
    night = _night(product["night"], observation, collection)
    release = collection.release.plan(night, product["proposal_id"])
    if release.day is None:
        raise HeaderError("no night, so no date of release: the frame has no t_min")
    plan = {"night": night, "release_date": release.day, "release_rule": release.rule}
    return observation, product | plan | {"provenance": provenance_of(collection, hdus)}


@dataclass(frozen=True, slots=True)
class _Task:
    """What a worker must know; sent to it once per batch."""

    collection: Collection
    authority: str
    roots: tuple[Path, ...]
    headers_only: bool
    corrections: CorrectionSet

    def read(self, path: Path) -> Frame | Refusal:
        try:
            return read_frame(
                path,
                self.collection,
                authority=self.authority,
                root=root_of(path, self.collection, self.roots),
                headers_only=self.headers_only,
                corrections=self.corrections,
            )
        except HeaderError as error:
            return self.refusal(path, error.reason, error.hdu, error.keyword)
        except (VOError, OSError) as error:
            return self.refusal(path, str(error))
        except Exception as error:  # a defect of ours must not stop a night's ingest
            return self.refusal(path, f"cannot be mapped ({type(error).__name__}: {error})")

    def read_all(self, paths: Sequence[Path]) -> list[Frame | Refusal]:
        return [self.read(path) for path in paths]

    def refusal(
        self, path: Path, reason: str, hdu: int | None = None, keyword: str | None = None
    ) -> Refusal:
        return Refusal(
            collection=self.collection.name,
            source=_storable(os.path.abspath(path)),
            reason=_storable(reason)[:_REASON_LIMIT],
            hdu=hdu,
            keyword=keyword,
        )


def read_frames(
    files: Iterable[Path],
    collection: Collection,
    *,
    authority: str,
    roots: Iterable[Path],
    headers_only: bool = False,
    corrections: CorrectionSet = _NONE,
    processes: int = 1,
) -> Iterator[Frame | Refusal]:
    """Map many files, in their order, with a bounded number of them in memory.

    Parameters
    ----------
    files, collection, authority, headers_only, corrections
        As in `read_frame`.
    roots
        The paths given by the operator, see `files.root_of`.
    processes
        Workers, started by spawn; 0 reads in this process. A worker that dies (memory,
        a fault in a C library) costs the one file it died of, which is refused.
    """
    task = _Task(collection, authority, tuple(roots), headers_only, corrections)
    if processes == 0:
        yield from map(task.read, files)
        return
    source = iter(files)
    executor = _executor(processes)
    running: deque[tuple[list[Path], Future[list[Frame | Refusal]]]] = deque()
    try:
        while True:
            while len(running) < 2 * processes and (batch := list(islice(source, _BATCH))):
                running.append((batch, _submit(executor, task, batch)))
            if not running:
                return
            batch, future = running[0]
            try:
                results = future.result()
            except BrokenProcessPool:
                executor.shutdown(wait=False, cancel_futures=True)
                results = list(_one_by_one(task, batch))
                executor = _executor(processes)
                running = deque(
                    (b, f if _succeeded(f) else _submit(executor, task, b)) for b, f in running
                )
            running.popleft()
            yield from results
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


def _storable(text: str) -> str:
    """*text* as PostgreSQL takes it: file names may be no UTF-8."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _executor(processes: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(processes, mp_context=get_context("spawn"))


def _succeeded(future: Future[list[Frame | Refusal]]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def _submit(
    executor: ProcessPoolExecutor, task: _Task, batch: list[Path]
) -> Future[list[Frame | Refusal]]:
    try:
        return executor.submit(task.read_all, batch)
    except BrokenProcessPool as error:  # already known to be broken: told when it is its turn
        failed: Future[list[Frame | Refusal]] = Future()
        failed.set_exception(error)
        return failed


def _one_by_one(task: _Task, batch: list[Path]) -> Iterator[Frame | Refusal]:
    """Read a batch, of which a worker has died, by one process with one file at a time."""
    executor = _executor(1)
    try:
        for path in batch:
            try:
                yield executor.submit(task.read, path).result()
            except BrokenProcessPool:
                executor.shutdown(wait=False)
                executor = _executor(1)
                yield task.refusal(path, "the reading process was killed (memory, or a defect)")
    finally:
        executor.shutdown(wait=False, cancel_futures=True)


def _all_of(descriptor: int) -> bytes:
    parts = []
    read = 0
    while block := os.pread(descriptor, 1024 * 1024, read):
        parts.append(block)
        read += len(block)
        if read > _TEXT_LIMIT:
            raise HeaderError(f"a header file is at most {_TEXT_LIMIT} bytes long")
    return b"".join(parts)


def _night(given: str | None, observation: Observation, collection: Collection) -> date | None:
    """The night as mapped (YYYY-MM-DD or YYYYMMDD), else that of the start."""
    try:
        if given is not None:
            return date.fromisoformat(given)
        if observation.t_min is None:
            return None
        return night_of(observation.t_min, collection.utc_offset)
    except ValueError as error:
        raise HeaderError(f"night: {error}") from error


def _did(collection: Collection, authority: str, below: PurePosixPath) -> str:
    return collection.did.format(
        authority=authority, collection=collection.name, path=quote(str(below), safe="/~!$'()*+,:@")
    )


def _media_type(primary: HDUHeader, *, packed: bool) -> str:
    values = image_values(primary)
    is_image = bool(values.get("NAXIS")) and values.get("GROUPS") is not True
    if packed:
        return "image/x-fits-gzip" if is_image else "application/gzip"
    return "image/fits" if is_image else "application/fits"
