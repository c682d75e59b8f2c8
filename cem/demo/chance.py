"""Chance that can be had again: one generator of pseudo-random numbers for each named thing."""

from __future__ import annotations

from random import Random


def seeded(*parts: object) -> Random:
    """Give the generator that belongs to these parts; the same parts always give the same numbers."""
    return Random(":".join(map(str, parts)))  # noqa: S311 - a world is drawn here, no secret
