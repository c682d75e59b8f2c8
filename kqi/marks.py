"""How far the jobs of this room are: one row a job in the KQI store.

A job reads what was received since its mark less `OVERLAP`, works all of it in, and only then moves the mark to
the time at which it began: killed in between, it does the same again. The overlap covers rows that were stamped
before the mark and reached the store after it (a commit's wait, a store's slow insert, clocks of two processes).
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from cem.platform.facts import FactStore

OVERLAP = timedelta(minutes=3)
"""Chosen here: an insert may take 2 min (`cem.platform.facts.EXECUTE_TIMEOUT_S`), clocks may differ by seconds."""


class JobMarks:
    """Marks of jobs, by name."""

    def __init__(self, store: FactStore) -> None:
        self._store = store

    def read(self, job: str, otherwise: datetime) -> datetime:
        """From when on the job must look: its mark less the overlap, `otherwise` where it has none."""
        rows = self._store.rows("SELECT mark FROM job_marks FINAL WHERE job = {job:String}", {"job": job})
        return max(rows[0]["mark"] - OVERLAP, otherwise) if rows else otherwise

    def write(self, job: str, mark: datetime) -> None:
        """Everything received before `mark` is worked in."""
        at = mark.isoformat(timespec="milliseconds")
        row = {"job": job, "mark": at, "marked_at": at}
        self._store.insert("job_marks", msgspec.json.encode(row), "JSONEachRow")
