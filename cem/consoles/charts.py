"""The geometry of the charts: which rectangle stands where, how dark, and what it says.

Pure: numbers in, shapes out; templates turn them into SVG, style sheets into colours. Levels are steps of a scale
that people can read from a legend, not a blend of colours.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from cem.platform.windows import WINDOW

FEW_SESSIONS = 10
"""Below so many viewings a square is drawn as uncertain; chosen here. [1]"""
LEAST_COLUMNS = 8
"""A chart is at least two hours wide, so that a service just started does not show one giant square. [1]"""


MOST_ROWS = 24
"""More cities than fit a screen are a table, not a picture; chosen here. [1]"""


@dataclass(frozen=True, slots=True)
class Scale:
    """Upper bounds of all levels but the last, ascending, in the unit shown; a bound belongs to the level above."""

    bounds: tuple[float, ...]
    decimals: int

    def level(self, value: float) -> int:
        """Give the level of a value, 0 (best) to len(bounds)."""
        return bisect_right(self.bounds, value)

    def text(self, value: float) -> str:
        """Write a value as the squares show it."""
        return f"{value:.{self.decimals}f}"

    def legend(self) -> tuple[str, ...]:
        """Write the range of each level."""
        texts = [f"< {self._bound(self.bounds[0])}"]
        texts += [
            f"{self._bound(low)}–{self._bound(high)}"
            for low, high in zip(self.bounds, self.bounds[1:], strict=False)
        ]
        return (*texts, f"≥ {self._bound(self.bounds[-1])}")

    @staticmethod
    def _bound(value: float) -> str:
        return f"{value:g}"


START_DELAY_SCALE = Scale((1.5, 2.0, 2.5, 3.5, 5.0), 1)
"""Seconds. A year's work on one deployed system moved its mean from 3.2 to 2.5 s, the upper end of the light levels;
viewers leave in numbers beyond 5 s. Chosen here."""
STALL_SCALE = Scale((1.0, 2.0, 3.0, 5.0, 8.0), 1)
"""Per cent. The same system went from 2.6 to 1.6 %; chosen here."""


@dataclass(frozen=True, slots=True)
class Square:
    """One square: place, level, text inside. `value` None: nothing was viewed."""

    x: float
    y: float
    row: str
    column: datetime
    value: float | None
    level: int | None
    text: str
    sessions: int

    @property
    def few(self) -> bool:
        """Tell whether too little was viewed to trust it."""
        return 0 < self.sessions < FEW_SESSIONS


@dataclass(frozen=True, slots=True)
class HeatMap:
    """Squares in rows (cities) and columns (quarter hours), with the sizes to draw them. Lengths in SVG units.

    `left_out` rows with the fewest viewings found no place. [1]
    """

    rows: tuple[str, ...]
    left_out: int
    columns: tuple[datetime, ...]
    squares: tuple[Square, ...]
    label_width: float
    square_width: float
    square_height: float
    gap: float
    top: float

    @property
    def width(self) -> float:
        """Whole width."""
        return self.label_width + len(self.columns) * (self.square_width + self.gap)

    @property
    def height(self) -> float:
        """Whole height."""
        return self.top + len(self.rows) * (self.square_height + self.gap)

    def row_y(self, index: int) -> float:
        """Give the middle of a row, for its label."""
        return self.top + index * (self.square_height + self.gap) + self.square_height / 2

    def column_x(self, index: int) -> float:
        """Give the middle of a column, for its label."""
        return self.label_width + index * (self.square_width + self.gap) + self.square_width / 2

    def by_row(self) -> Mapping[str, tuple[Square, ...]]:
        """Give the squares of each row from left to right, for the table beside the chart."""
        return {row: tuple(square for square in self.squares if square.row == row) for row in self.rows}

    def worst(self) -> Square | None:
        """Give the square with the greatest value among those that enough was viewed in; None where there is none."""
        sure = [square for square in self.squares if square.value is not None and not square.few]
        return max(sure, key=lambda square: square.value or 0.0, default=None)


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a chart: its row, its quarter hour, and how many viewings it stands on."""

    row: str
    column: datetime
    value: float | None
    sessions: int


def heat_map(
    points: Sequence[Point],
    scale: Scale,
    *,
    most_rows: int = MOST_ROWS,
    label_width: float = 92.0,
    square_width: float = 40.0,
    square_height: float = 26.0,
) -> HeatMap:
    """Lay points out, one row a city in the order of viewings, one column for every quarter hour up to the last.

    Columns run without gaps from the first quarter hour with a value to the last, at least `LEAST_COLUMNS`. Where
    two points share row and column the later one counts.
    """
    found = {(point.row, point.column): point for point in points}
    weight: dict[str, int] = {}
    for point in found.values():
        weight[point.row] = weight.get(point.row, 0) + point.sessions
    ranked = sorted(weight, key=lambda row: (-weight[row], row))
    rows = tuple(ranked[:most_rows])
    columns = _columns([point.column for point in found.values()])
    gap, top = 2.0, 20.0
    squares: list[Square] = []
    for row_index, row in enumerate(rows):
        for column_index, column in enumerate(columns):
            here = found.get((row, column))
            value = here.value if here is not None and here.sessions > 0 else None
            squares.append(
                Square(
                    x=label_width + column_index * (square_width + gap),
                    y=top + row_index * (square_height + gap),
                    row=row,
                    column=column,
                    value=value,
                    level=None if value is None else scale.level(value),
                    text="" if value is None else scale.text(value),
                    sessions=here.sessions if here is not None else 0,
                )
            )
    left_out = len(ranked) - len(rows)
    return HeatMap(
        rows, left_out, columns, tuple(squares), label_width, square_width, square_height, gap, top
    )


def _columns(starts: Sequence[datetime]) -> tuple[datetime, ...]:
    if not starts:
        return ()
    first, last = min(starts), max(starts)
    count = max(LEAST_COLUMNS, round((last - first) / WINDOW) + 1)
    return tuple(last - WINDOW * back for back in range(count - 1, -1, -1))


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a small chart, in SVG units from the top left corner."""

    x: float
    y: float
    width: float
    height: float


def bars(values: Sequence[float], *, width: float, height: float, gap: float = 1.0) -> tuple[Bar, ...]:
    """Draw values as bars side by side, the greatest as high as the chart; zero has no height."""
    if not values:
        return ()
    step = width / len(values)
    top = max(values) or 1.0
    return tuple(
        Bar(index * step, height - height * value / top, max(0.5, step - gap), height * value / top)
        for index, value in enumerate(values)
    )


@dataclass(frozen=True, slots=True)
class Segment:
    """One part of a bar that shows shares: its name, count, share in 0–1 and place in per cent of the width."""

    name: str
    count: int
    share: float
    x_pct: float
    width_pct: float


def shares(counts: Mapping[str, int], order: Sequence[str]) -> tuple[Segment, ...]:
    """Cut one bar into shares in a fixed order; names without a count are left out."""
    total = sum(counts.get(name, 0) for name in order)
    segments: list[Segment] = []
    at = 0.0
    for name in order:
        count = counts.get(name, 0)
        if count <= 0:
            continue
        part = count / total
        segments.append(Segment(name, count, part, at * 100, part * 100))
        at += part
    return tuple(segments)
