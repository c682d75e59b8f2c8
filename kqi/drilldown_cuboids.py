"""Leaves (distinct combinations of dimension values) and the groupings of them that the drill-down looks at.

A cuboid is a set of dimensions; its groups are the combinations of their values that occur. Everything is integer
codes and `bincount`, so the cost is that of touching each leaf once per cuboid, and memory is bounded by the leaves,
not by the product of the cardinalities.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kqi.drilldown_table import FloatArray, IntArray, Table

GroupArray = npt.NDArray[np.int32]
Dims = tuple[int, ...]

DENSE = 1 << 20
"""Key spaces up to this size are numbered through a table instead of sorting. [keys] Chosen here: 8 MB."""
WIDEST = 1 << 62
"""Keys stay below it. [1]"""
CACHE = 256 << 20
"""Memory for groupings kept between passes. [bytes] Chosen here; what does not fit is made again."""


@dataclass(frozen=True, slots=True)
class Grouping:
    """Group number of each leaf, and how many groups there are."""

    group: GroupArray
    size: int

    def sums(self, weights: FloatArray) -> FloatArray:
        """Sum of a leaf quantity by group, shape (size,)."""
        return weighted_counts(self.group, weights, self.size)


@dataclass(slots=True)
class Leaves:
    """All leaves of both tables.

    Parameters
    ----------
    names, values
        Dimensions, and the texts of their codes.
    codes
        Shape (dimensions, leaves).
    total, bad
        Now, shape (leaves,). [1]
    row_leaf, row_period, row_total, row_bad
        The past: one row per leaf and period.
    periods
        Number of past periods. [1]
    """

    names: tuple[str, ...]
    values: tuple[tuple[str, ...], ...]
    codes: IntArray
    total: FloatArray
    bad: FloatArray
    row_leaf: IntArray
    row_period: IntArray
    row_total: FloatArray
    row_bad: FloatArray
    periods: int
    _cache: dict[Dims, Grouping] = field(default_factory=dict)
    _cached_bytes: int = 0

    def __len__(self) -> int:
        return len(self.total)

    def grouping(self, dims: Dims) -> Grouping:
        """The groups of a cuboid; () is one group of everything."""
        known = self._cache.get(dims)
        if known is not None:
            return known
        if not dims:
            made = Grouping(np.zeros(len(self), dtype=np.int32), 1)
        else:
            above = self.grouping(dims[:-1])
            width = len(self.values[dims[-1]])
            made = number(above.group.astype(np.int64) * width + self.codes[dims[-1]], above.size * width)
        if self._cached_bytes + made.group.nbytes <= CACHE:
            self._cache[dims] = made
            self._cached_bytes += made.group.nbytes
        return made

    def cuboids(self, longest: int) -> list[Dims]:
        """Cuboids worth looking at, coarse first: those that tell no more than a smaller one are left out."""
        telling = [d for d in range(len(self.names)) if self.grouping((d,)).size > 1]
        kept: list[Dims] = [()]
        same: set[Dims] = set()
        for length in range(1, longest + 1):
            for dims in combinations(telling, length):
                smaller = list(combinations(dims, length - 1))
                sizes = [self.grouping(s).size for s in smaller] if length == 2 else []
                if any(s in same for s in smaller) or (sizes and self.grouping(dims).size in sizes):
                    same.add(dims)
                else:
                    kept.append(dims)
        return kept


def weighted_counts(group: npt.NDArray[np.integer[Any]], weights: npt.NDArray[Any], size: int) -> FloatArray:
    """Sum of the weights by group, shape (size,)."""
    return np.asarray(np.bincount(group, weights, size), dtype=np.float64)


def number(keys: IntArray, space: int) -> Grouping:
    """Numbers the distinct keys from 0; `space` is one more than the greatest key possible."""
    if space <= max(DENSE, 4 * len(keys)):
        seen = np.zeros(space, dtype=bool)
        seen[keys] = True
        numbers = np.cumsum(seen, dtype=np.int32) - np.int32(1)
        return Grouping(numbers[keys], int(seen.sum()))
    encoded = pa.array(keys).dictionary_encode()  # hashes; sorting takes several times as long
    return Grouping(encoded.indices.to_numpy(zero_copy_only=False), len(encoded.dictionary))


def make_leaves(now: Table, before: Table) -> Leaves:
    """Leaves of two tables with the same dimensions; rows of the same leaf (and period) are added up."""
    names = tuple(now.columns)
    values: list[tuple[str, ...]] = []
    codes: list[IntArray] = []
    for name in names:
        here, there = now.columns[name], before.columns[name]
        numbers = {text: i for i, text in enumerate(here.values)}
        moved = np.array([numbers.setdefault(text, len(numbers)) for text in there.values], dtype=np.int64)
        values.append(tuple(numbers))
        codes.append(np.concatenate([here.codes, moved[there.codes] if len(moved) else there.codes]))
    rows = len(now) + len(before)
    keys, space = np.zeros(rows, dtype=np.int64), 1
    for column, texts in zip(codes, values, strict=True):
        if space * max(len(texts), 1) > WIDEST:
            leaf = number(keys, space)
            keys, space = leaf.group.astype(np.int64), leaf.size
        keys, space = keys * len(texts) + column, space * len(texts)
    leaf = number(keys, space)
    first = np.zeros(leaf.size, dtype=np.int64)
    first[leaf.group] = np.arange(rows)
    now_leaf, before_leaf = leaf.group[: len(now)], leaf.group[len(now) :].astype(np.int64)
    periods = max(before.periods, 1)
    cell = number(before_leaf * periods + before.period, leaf.size * periods)
    cell_first = np.zeros(cell.size, dtype=np.int64)
    cell_first[cell.group] = np.arange(len(before))
    return Leaves(
        names=names,
        values=tuple(values),
        codes=np.array([column[first] for column in codes], dtype=np.int64).reshape(len(names), leaf.size),
        total=weighted_counts(now_leaf, now.total, leaf.size),
        bad=weighted_counts(now_leaf, now.bad, leaf.size),
        row_leaf=before_leaf[cell_first],
        row_period=before.period[cell_first],
        row_total=cell.sums(before.total),
        row_bad=cell.sums(before.bad),
        periods=periods,
    )
