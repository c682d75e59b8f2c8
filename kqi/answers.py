"""One answer as JSON, CSV or an Arrow stream, by what the caller accepts."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from io import StringIO
from typing import Any

import pyarrow as pa
from fastapi import Request, Response
from pydantic import BaseModel

from cem.platform.errors import InvalidInput

CSV_TYPE = "text/csv"
ARROW_TYPE = "application/vnd.apache.arrow.stream"
NEXT_OFFSET = "X-Next-Offset"
EARLIEST, LATEST = 1971, 2105
"""Years that the store's days hold, and a margin."""

FORMATS: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            CSV_TYPE: {"schema": {"type": "string"}},
            ARROW_TYPE: {"schema": {"type": "string", "format": "binary"}},
        }
    }
}
"""For a route's `responses`."""

TEXT, NUMBER, COUNT = pa.string(), pa.float64(), pa.uint64()
TIME = pa.timestamp("ms", tz="UTC")


@dataclass(frozen=True, slots=True)
class Columns:
    """A table of an answer: names with their types, and rows in their order."""

    fields: Sequence[tuple[str, pa.DataType]]
    rows: Iterable[Sequence[Any]]


def respond(request: Request, model: BaseModel, columns: Columns, next_offset: int | None) -> Response:
    """The answer in the format that `Accept` names; JSON where it names neither of the others.

    CSV and Arrow have no place for `next_offset`: it is in the header X-Next-Offset.
    """
    accepted = request.headers.get("accept", "")
    headers = {"Vary": "Accept"}
    if next_offset is not None:
        headers[NEXT_OFFSET] = str(next_offset)
    if ARROW_TYPE in accepted:
        return Response(arrow_stream(columns), media_type=ARROW_TYPE, headers=headers)
    if CSV_TYPE in accepted:
        return Response(csv_text(columns), media_type=CSV_TYPE, headers=headers)
    return Response(model.model_dump_json(), media_type="application/json", headers=headers)


def arrow_stream(columns: Columns) -> bytes:
    """The table as an Arrow IPC stream."""
    schema = pa.schema(list(columns.fields))
    rows = list(columns.rows)
    arrays = [
        pa.array([row[place] for row in rows], type=kind) for place, (_, kind) in enumerate(columns.fields)
    ]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        writer.write_table(pa.table(arrays, schema=schema))
    whole: bytes = sink.getvalue().to_pybytes()
    return whole


def csv_text(columns: Columns) -> str:
    """The table as CSV with a header; no text that a spreadsheet takes for a formula."""
    out = StringIO()
    writer = csv.writer(out)
    writer.writerow([name for name, _ in columns.fields])
    for row in columns.rows:
        writer.writerow([_cell(value) for value in row])
    return out.getvalue()


def _cell(value: Any) -> Any:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"}:
        return f"'{value}"
    return value


def aware(at: datetime | None, name: str) -> datetime | None:
    """A given time. Raises InvalidInput without an offset, or beyond the store's days."""
    if at is None:
        return None
    if at.tzinfo is None:
        raise InvalidInput(f"`{name}` needs its offset from UTC, as in 2026-11-22T07:00:00Z.")
    if not EARLIEST <= at.year <= LATEST:
        raise InvalidInput(f"`{name}` lies outside the years {EARLIEST} to {LATEST}.")
    return at
