"""How values are said to people: ages, shares, times of day, scopes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, tzinfo

from cem.consoles.ports import Names
from cem.consoles.texts import Texts

WIDEST_FIRST = (
    "province",
    "gateway",
    "source",
    "node",
    "resolver",
    "city",
    "area",
    "cell",
    "app_version",
    "model",
    "os",
    "device_type",
    "rat",
    "slice",
    "service",
)
"""The order in which a scope's dimensions are said."""


def age(texts: Texts, since: datetime, now: datetime) -> str:
    """Say how long ago something was, in two units at most; a moment to come counts as now."""
    seconds = int((now - since).total_seconds())
    if seconds < 5:
        return texts("age.now")
    if seconds < 60:
        return texts("age.seconds", count=seconds)
    minutes = seconds // 60
    if minutes < 60:
        return texts("age.minutes", count=minutes)
    hours = minutes // 60
    if hours < 24:
        return texts("age.hours", hours=hours, minutes=minutes % 60)
    return texts("age.days", days=hours // 24, hours=hours % 24)


def percent(share: float) -> str:
    """Write a share of 0–1 in whole per cent; what is not all never shows as all."""
    rounded = round(share * 100)
    if rounded == 100 and share < 1:
        rounded = 99
    return f"{rounded} %"


def count(number: float) -> str:
    """Write a count with separators of thousands."""
    return f"{number:,.0f}"


def rate(number: float) -> str:
    """Write a rate: one decimal below ten, none above."""
    return f"{number:.1f}" if number < 10 else f"{number:,.0f}"


def clock(at: datetime, zone: tzinfo) -> str:
    """Write the time of day in the operator's zone."""
    return at.astimezone(zone).strftime("%H:%M")


def moment(at: datetime, zone: tzinfo) -> str:
    """Write date and time in the operator's zone."""
    return at.astimezone(zone).strftime("%Y-%m-%d %H:%M")


def scope(texts: Texts, names: Names, dimensions: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Say a scope: dimension and value in words, the wider dimensions first, hashes of customers left out."""
    ranked = {name: rank for rank, name in enumerate(WIDEST_FIRST)}
    said: list[tuple[str, str]] = []
    for name, value in sorted(
        dimensions.items(), key=lambda item: (ranked.get(item[0], len(ranked)), item[0])
    ):
        if not value:
            continue
        label = texts.get(f"dimension.{name}", name)
        if name == "subscriber":
            said.append((label, ""))
        elif name == "service":
            said.append((label, texts.get(f"service.{value}", value)))
        else:
            said.append((label, names.name(name, value, texts.language)))
    return tuple(said)
