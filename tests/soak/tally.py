"""What the soak counts: requests, errors by kind, latencies, and promises that were broken."""

from __future__ import annotations

import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable

import httpx
import numpy as np

#: Seconds after a kill in which errors are its doing.
AFTERMATH_S = 20.0


class Tally:
    """Counts; filled by many threads.

    *last_kill* tells when something was last killed (`time.monotonic`).
    """

    def __init__(self, last_kill: Callable[[], float]) -> None:
        self._last_kill = last_kill
        self._lock = threading.Lock()
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.errors: Counter[tuple[str, str, bool]] = Counter()
        self.broken: list[str] = []
        self.bytes: Counter[str] = Counter()

    def good(self, kind: str, seconds: float, size: int = 0) -> None:
        with self._lock:
            self.seconds[kind].append(seconds)
            self.bytes[kind] += size

    def bad(self, kind: str, why: str) -> None:
        """An error: a kill's doing, or not."""
        near = time.monotonic() - self._last_kill() < AFTERMATH_S
        with self._lock:
            self.errors[kind, why, near] += 1

    def failed(self, kind: str, error: httpx.HTTPError | httpx.Response) -> None:
        self.bad(
            kind,
            f"status {error.status_code}"
            if isinstance(error, httpx.Response)
            else type(error).__name__,
        )

    def breach(self, text: str) -> None:
        """A promise was broken."""
        with self._lock:
            self.broken.append(f"{time.strftime('%H:%M:%S')} {text}")

    def table(self) -> list[str]:
        """Lines of a table in Markdown: what was done, how often, how long it took."""
        lines = [
            "| what | answers | errors after a kill | errors otherwise | p50 | p95 | max | bytes |",
            "|---|---|---|---|---|---|---|---|",
        ]
        kinds = sorted(set(self.seconds) | {kind for kind, _, _ in self.errors})
        for kind in kinds:
            times = np.array(self.seconds.get(kind) or [0.0])
            after, other = (
                sum(n for (k, _, near), n in self.errors.items() if k == kind and near is wanted)
                for wanted in (True, False)
            )
            p50, p95, most = (float(f) for f in (*np.percentile(times, [50, 95]), times.max()))
            lines.append(
                f"| {kind} | {len(self.seconds.get(kind, []))} | {after} | {other} | "
                f"{p50:.3f} s | {p95:.3f} s | {most:.1f} s | {self.bytes[kind]:,} |"
            )
        return lines

    def reasons(self) -> list[str]:
        """Errors by kind, one line each."""
        return [
            f"- {kind}: {why}, {count} times {'after a kill' if near else 'with no kill near'}"
            for (kind, why, near), count in sorted(self.errors.items())
        ]
