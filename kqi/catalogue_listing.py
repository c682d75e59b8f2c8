"""The catalogue as text: a table to read, lines to process, or the page docs/indicators.md.

Pure. The listing of a service holds what is its own and what all services share; of things, the three layers first.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from io import StringIO
from itertools import groupby

from rich.console import Console
from rich.table import Table

from cem.platform.errors import InvalidInput
from kqi.catalogue import BAD_IF, CATALOGUE, CATALOGUE_VERSION, NAMES, Indicator, Layer, Service

FORMATS = ("table", "ndjson", "markdown")
"""What `render` writes."""
_WIDTH = 160
"""Columns of a table. [1]"""
_TITLES = {
    Layer.CORE: "Things: core network",
    Layer.RADIO: "Things: radio",
    Layer.PLATFORM: "Things: IoT platform",
    Layer.DEVICE: "Things: the device itself",
}
_NAMES_TITLES = {"counters": "Counters", "figures": "Figures", "events": "Events"}


def render(format: str = "table", service: str | None = None) -> str:  # noqa: A002 - the option's name
    """The catalogue's entries, ending in a line feed.

    Parameters
    ----------
    format
        `table`, `ndjson` (one JSON object an indicator) or `markdown`.
    service
        Only indicators of this service; None for all.

    Raises
    ------
    InvalidInput
        Another format, or a service without entries.
    """
    if format not in FORMATS:
        raise InvalidInput(f"`format` is one of {', '.join(FORMATS)}.")
    if service is not None and service not in list(Service):
        raise InvalidInput(f"`service` is one of {', '.join(Service)}.")
    chosen = chosen_for(service)
    if format == "ndjson":
        return "".join(json.dumps(asdict(entry), ensure_ascii=False) + "\n" for entry in chosen)
    sections = [
        (title, list(group)) for title, group in groupby(chosen, lambda entry: _title(entry, service))
    ]
    return _table(sections) if format == "table" else _markdown(sections)


def chosen_for(service: str | None) -> list[Indicator]:
    """Indicators of a service (None: of all), those of its layers first, in the catalogue's order."""
    found = [entry for entry in CATALOGUE.values() if service is None or service in entry.services]
    order: dict[Layer | None, int] = {None: len(Layer), **{layer: place for place, layer in enumerate(Layer)}}
    if service == Service.IOT:
        return sorted(found, key=lambda entry: order[entry.layer])
    ranks: dict[str, int] = {}
    for entry in found:
        ranks.setdefault(_title(entry, service), len(ranks))
    return sorted(found, key=lambda entry: ranks[_title(entry, service)])


def _title(entry: Indicator, service: str | None) -> str:
    of_all = set(entry.services) == set(Service)
    if service == Service.IOT:
        return _TITLES[entry.layer] if entry.layer else "Shared by all services"
    if of_all:
        return "Shared by all services"
    if entry.layer is not None:
        return _TITLES[entry.layer]
    return " and ".join(sorted(name.capitalize() for name in entry.services))


def _bounds(entry: Indicator) -> tuple[str, str]:
    sign = "≥ " if entry.direction == "higher" else "≤ "
    beyond = "< " if entry.direction == "higher" else "> "
    return (
        "" if entry.good is None else f"{sign}{entry.good:g}",
        "" if entry.poor is None else f"{beyond}{entry.poor:g}",
    )


def _table(sections: Iterable[tuple[str, Sequence[Indicator]]]) -> str:
    out = StringIO()
    console = Console(file=out, width=_WIDTH, color_system=None, force_terminal=False, legacy_windows=False)
    total = 0
    for title, entries in sections:
        total += len(entries)
        table = Table(title=f"{title} ({len(entries)})", title_justify="left", box=None, pad_edge=False)
        for name in ("id", "名称", "name", "unit", "good", "poor", "merges by", "seen from", "formula"):
            table.add_column(name, overflow="fold", no_wrap=name in {"id", "unit", "good", "poor"})
        for entry in entries:
            seen = " ".join(entry.vantages)
            table.add_row(
                entry.id, entry.name_zh, entry.name_en, entry.unit, *_bounds(entry), entry.aggregation, seen,
                entry.formula.replace("`", ""),
            )  # fmt: skip
        console.print(table)
        console.print()
    console.print(f"{total} indicators, catalogue {CATALOGUE_VERSION}")
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines()) + "\n"


def _markdown(sections: Iterable[tuple[str, Sequence[Indicator]]]) -> str:
    lines = [
        "# Indicators",
        "",
        "<!-- Made by `cem kqi catalogue --format markdown`; a test keeps it current. -->",
        "",
        f"Catalogue {CATALOGUE_VERSION}, from `kqi/data/*.toml`.",
        "",
        "What is measured, in which unit, which way is better, and where that comes from. Units: `1` is a ratio, a",
        "count or a score. *Good* and *poor* are the two ends; beyond *poor* a value counts as bad. *Merges by* says",
        "how many samples become one: `mean`; `sum`; `share` (the mean of zeros and ones, or of shares); `ratio` (sums",
        "divided by sums, never a mean of ratios). Thresholds marked *chosen here* are starting values to tune.",
        "",
    ]
    for title, entries in sections:
        lines += [f"## {title}", ""]
        for entry in entries:
            good, poor = _bounds(entry)
            ends = "; ".join(f"{word} {text}" for word, text in (("good", good), ("poor", poor)) if text)
            layer = f" · layer {entry.layer}" if entry.layer else ""
            lines += [
                f"### `{entry.id}`: {entry.name_en} · {entry.name_zh}",
                "",
                entry.definition,
                "",
                f"- formula: {entry.formula}",
                f"- unit `{entry.unit}` · {entry.direction} is better · merges by {entry.aggregation}{layer}"
                if entry.direction != "neutral"
                else f"- unit `{entry.unit}` · no direction · merges by {entry.aggregation}{layer}",
                f"- seen from {', '.join(entry.vantages)} · for {', '.join(entry.services)}",
                *([f"- {ends}"] if ends else []),
                f"- source: {entry.source}",
                "",
            ]
    lines += [
        "## What counts as a bad experience",
        "",
        "| service | seen from | bad where any is beyond its poor end |",
        "|---|---|---|",
    ]
    lines += [
        f"| {rule.service or 'any'} | {rule.vantage} | {', '.join(f'`{name}`' for name in rule.indicators)} |"
        for rule in BAD_IF
    ]
    lines += [
        "",
        "## Names in formulas",
        "",
        "`/4/0/2` is an LwM2M resource: object, instance, resource. `NAME.at` is an event's time, `count(NAME)` how",
        "often it came.",
        "",
    ]
    for kind, names in NAMES.items():
        lines += [f"### {_NAMES_TITLES[kind]}", "", "| name | what it stands for |", "|---|---|"]
        lines += [f"| `{name}` | {meaning} |" for name, meaning in names.items()]
        lines.append("")
    return "\n".join(lines[:-1]) + "\n"
