"""Sums of a cube → values with their spread, as baselines take them. Pure."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from kqi.baseline import FloatArray, Kind, Observed
from kqi.catalogue import CATALOGUE, Aggregation, Indicator


def parts_of(name: str) -> tuple[str, ...]:
    """An indicator and those that its formula needs."""
    entry = CATALOGUE[name]
    return tuple(dict.fromkeys((name, *entry.numerators, *entry.denominators)))


def kind_of(entry: Indicator) -> Kind:
    """How an indicator varies."""
    if entry.aggregation is Aggregation.SHARE:
        return Kind.SHARE
    return Kind.SHIFT if entry.unit in {"dB", "dBm"} else Kind.RATIO


def observe(
    entry: Indicator,
    keys: tuple[str, ...],
    count: FloatArray,
    total: FloatArray,
    squares: FloatArray,
    parts: Mapping[str, FloatArray],
) -> Observed:
    """One window's sums as values with their spread.

    Parameters
    ----------
    count, total, squares
        Samples that carry the indicator, Σ value, Σ value², shape (n,).
    parts
        Σ of every part of a ratio.

    A single sample's variance is the slice's own beside that of all slices, which weighs as two samples: a slice of
    few samples cannot have none by chance. Of a ratio of sums it is taken from the samples' own ratios.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(count > 0, total / count, np.nan)
        within = np.maximum(np.where(count > 0, squares - total**2 / np.maximum(count, 1), 0.0), 0.0)
    freedom = np.maximum(count - 1, 0.0)
    if entry.aggregation is Aggregation.SHARE:
        share = np.clip((total + 0.5) / (count + 1), 0.0, 1.0)
        several = count > 1
        ideal = float((np.clip(mean, 0, 1) * (1 - np.clip(mean, 0, 1)) * freedom)[several].sum())
        # without any mixed slice there is nothing to tell a yes or no from a share of many
        design = min(1.0, float(within[several].sum()) / ideal) if ideal > 0 else float(several.any())
        return Observed(keys, count, np.clip(mean, 0.0, 1.0), share * (1 - share) * design, design)
    common = float(within.sum()) / float(freedom.sum()) if freedom.sum() > 0 else 0.0
    spread = (within + 2 * common) / (freedom + 2)
    if entry.aggregation is not Aggregation.RATIO:
        return Observed(keys, count, mean, spread)
    over = sum((parts[name] for name in entry.denominators), np.zeros(len(keys)))
    top = sum((parts[name] for name in entry.numerators), np.zeros(len(keys)))
    with np.errstate(divide="ignore", invalid="ignore"):
        value = np.where((count > 0) & (over > 0), entry.scale * top / over, np.nan)
    return Observed(keys, count, value, spread)
