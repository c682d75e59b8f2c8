"""Tables of counts by dimension values, as the drill-down takes them: from CSV files, Arrow tables or plain lists.

A row says: of `total` sessions with these dimension values, `bad` went badly. Values are texts and are kept as
integer codes; the empty text is a value like any other (unknown), and so is "NaN".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv as pa_csv

from cem.platform.errors import InvalidInput

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


_TOTAL, _BAD, _PERIOD = "\0total", "\0bad", "\0period"
"""Columns of counts in tables made here: no dimension of a caller is called so."""


@dataclass(frozen=True, slots=True)
class Column:
    """One dimension: `values[codes[i]]` is the value of row i."""

    codes: IntArray
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """Counts by dimension values.

    Parameters
    ----------
    columns
        Dimension name to its column, each of n rows.
    total, bad
        Sessions and bad sessions, shape (n,), finite, 0 ≤ bad ≤ total. [1]
    period
        Number of the past period that a row belongs to, shape (n,), from 0; all 0 where there is one only.
    clipped_rows
        Rows whose bad count was above their total and was cut to it. [1]
    """

    columns: Mapping[str, Column]
    total: FloatArray
    bad: FloatArray
    period: IntArray
    clipped_rows: int = 0

    def __len__(self) -> int:
        return len(self.total)

    @property
    def periods(self) -> int:
        """How many periods there are. [1]"""
        return int(self.period.max()) + 1 if len(self.period) else 0


def make_table(
    columns: Mapping[str, Sequence[str | None]],
    total: Sequence[float] | FloatArray,
    bad: Sequence[float] | FloatArray,
    period: Sequence[str] | None = None,
) -> Table:
    """A table from plain lists; None counts as the empty text.

    Raises
    ------
    InvalidInput
        Lists of unequal length, or a count that is not a number from 0 up.
    """
    arrays: dict[str, Any] = {name: pa.array(list(values), pa.string()) for name, values in columns.items()}
    arrays[_TOTAL] = pa.array(np.asarray(total, dtype=np.float64))
    arrays[_BAD] = pa.array(np.asarray(bad, dtype=np.float64))
    if period is not None:
        arrays[_PERIOD] = pa.array([str(p) for p in period], pa.string())
    rows = len(arrays[_TOTAL])
    for name, values in arrays.items():
        if len(values) != rows:
            raise InvalidInput(f"column '{name.strip(chr(0))}' has {len(values)} rows, 'total' has {rows}")
    periods_column = None if period is None else _PERIOD
    return from_arrow(pa.table(arrays), total=_TOTAL, bad=_BAD, periods_column=periods_column)


def from_arrow(
    table: Any,
    *,
    total: str,
    bad: str,
    periods_column: str | None = None,
    dimensions: Sequence[str] | None = None,
    name: str = "table",
) -> Table:
    """A table from a `pyarrow.Table`; every other column is a dimension unless `dimensions` names them.

    Parameters
    ----------
    table
        Columns of any type for dimensions, numbers for counts.
    total, bad
        Names of the columns with the counts.
    periods_column
        Column whose values tell the past periods apart; left out of the dimensions. None: one period.
    dimensions
        Columns to use as dimensions; None for all that are left.
    name
        What errors call the table.

    Raises
    ------
    InvalidInput
        A column is missing or named twice, a count is not a number from 0 up, or no dimension is left.
    """
    names = list(table.column_names)
    for column in names:
        if names.count(column) > 1:
            raise InvalidInput(f"{name} has two columns named '{column}'")
    needed = [total, bad, *([periods_column] if periods_column else []), *(dimensions or ())]
    for column in needed:
        if column not in names:
            raise InvalidInput(f"{name} has no column '{column}'; it has {', '.join(map(repr, names))}")
    taken = {total, bad, periods_column}
    chosen = [c for c in (names if dimensions is None else dict.fromkeys(dimensions)) if c not in taken]
    if not chosen:
        raise InvalidInput(f"{name} has no dimension beside its counts")
    totals = _counts(table.column(total), total, name)
    bads = _counts(table.column(bad), bad, name)
    above = bads > totals
    period = np.zeros(len(totals), dtype=np.int64)
    if periods_column:
        period = _encode(table.column(periods_column)).codes
    return Table(
        columns={c: _encode(table.column(c)) for c in chosen},
        total=totals,
        bad=np.minimum(bads, totals),
        period=period,
        clipped_rows=int(above.sum()),
    )


def read_csv(
    path: str | Path,
    *,
    total: str,
    bad: str,
    periods_column: str | None = None,
    dimensions: Sequence[str] | None = None,
    periods_needed: bool = True,
) -> Table:
    """A table from a CSV file with a header line (UTF-8, comma; RFC 4180 quoting).

    Without `periods_needed` the column with the periods may be missing, and its values are ignored.

    Raises
    ------
    InvalidInput
        The file cannot be read as CSV, or as `from_arrow` says.
    """
    file = Path(path)
    try:
        with pa_csv.open_csv(
            file, convert_options=pa_csv.ConvertOptions(strings_can_be_null=False)
        ) as reader:
            names = reader.schema.names
        table = pa_csv.read_csv(
            file,
            read_options=pa_csv.ReadOptions(use_threads=False),
            parse_options=pa_csv.ParseOptions(newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
    except FileNotFoundError:
        raise InvalidInput(f"there is no file {file.name}") from None
    except (OSError, pa.ArrowException) as error:
        raise InvalidInput(f"{file.name} cannot be read as CSV: {str(error).splitlines()[0]}") from None
    if not periods_needed and periods_column in table.column_names and periods_column not in (total, bad):
        table, periods_column = table.drop_columns([periods_column]), None
    return from_arrow(
        table,
        total=total,
        bad=bad,
        periods_column=periods_column if periods_needed else None,
        dimensions=dimensions,
        name=file.name,
    )


def check_same_dimensions(
    now: Table, before: Table, now_name: str = "now", before_name: str = "before"
) -> None:
    """Both tables must have the same dimensions.

    Raises
    ------
    InvalidInput
        Names the first column that only one of them has.
    """
    for here, there, here_name, there_name in (
        (now, before, now_name, before_name),
        (before, now, before_name, now_name),
    ):
        for column in here.columns:
            if column not in there.columns:
                raise InvalidInput(
                    f"column '{column}' is in {here_name} but not in {there_name}; "
                    "name the dimensions to use, or the column that holds the periods"
                )


def _counts(column: Any, label: str, table: str) -> FloatArray:
    """Counts of a column as numbers. [1]"""
    shown = label.strip("\0")
    try:
        numbers = column.combine_chunks().cast(pa.float64()).to_numpy(zero_copy_only=False)
    except pa.ArrowException:
        numbers = np.array([_number(v) for v in column.to_pylist()])
    numbers = np.array(numbers, dtype=np.float64)
    wrong = np.flatnonzero(~(np.isfinite(numbers) & (numbers >= 0)))
    if len(wrong):
        row = int(wrong[0])
        raise InvalidInput(
            f"{table}: column '{shown}' of row {row + 1} holds {column[row].as_py()!r}; "
            "a number from 0 up is needed"
        )
    return numbers


def _number(text: Any) -> float:
    try:
        return float(text)
    except (TypeError, ValueError):
        return float("nan")


def _encode(column: Any) -> Column:
    """Codes of a column; nulls become the empty text."""
    texts = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(texts, pa.ChunkedArray):  # no rows: nothing to combine
        texts = pa.array([], pa.string())
    if pa.types.is_dictionary(texts.type):
        texts = texts.cast(texts.type.value_type)
    encoded = texts.cast(pa.string()).fill_null("").dictionary_encode()
    return Column(
        codes=encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64),
        values=tuple(encoded.dictionary.to_pylist()),
    )
