"""Units that tables come in, and how a value gets into the unit of our names.

Factors are exact by definition (SI; 1 kB is 1000 B, IEC 80000-13). Decibels and what they refer to are taken as
they are.
"""

from __future__ import annotations

from collections.abc import Mapping

_FAMILIES: tuple[Mapping[str, float], ...] = (
    {"ns": 1e-6, "us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3, "min": 60e3, "h": 3600e3},
    {"bit/s": 1e-3, "bps": 1e-3, "kbit/s": 1.0, "kbps": 1.0, "Mbit/s": 1e3, "Mbps": 1e3, "Gbit/s": 1e6, "Gbps": 1e6,
     "B/s": 8e-3, "kB/s": 8.0, "MB/s": 8e3},
    {"1": 1.0, "%": 0.01, "permille": 1e-3, "ppm": 1e-6},
    {"B": 1e-3, "kB": 1.0, "MB": 1e3, "GB": 1e6, "KiB": 1.024, "MiB": 1048.576},
    {"mV": 1.0, "V": 1e3},
    {"dBm": 1.0},
    {"dB": 1.0},
    {"°C": 1.0},
    {"1/min": 1.0, "1/s": 60.0, "1/h": 1 / 60},
)  # fmt: skip
_FAMILY = {unit: number for number, family in enumerate(_FAMILIES) for unit in family}
_SUFFIXES = (
    ("_kbps", "kbit/s"), ("_per_min", "1/min"), ("_pct", "%"), ("_ratio", "1"), ("_dbm", "dBm"), ("_db", "dB"),
    ("_mv", "mV"), ("_kb", "kB"), ("_ms", "ms"), ("_s", "s"),
)  # fmt: skip


def names_a_unit(indicator: str) -> bool:
    """Whether a name says its unit by its ending."""
    return any(indicator.endswith(ending) for ending, _ in _SUFFIXES)


def unit_of(indicator: str) -> str:
    """The unit that an indicator's name says by its ending; '1' where it says none."""
    return next((unit for ending, unit in _SUFFIXES if indicator.endswith(ending)), "1")


def factor(given: str, wanted: str) -> float | None:
    """What a value in the unit `given` is multiplied by to be in `wanted`; None where they are no kin."""
    if given == wanted:
        return 1.0
    family = _FAMILY.get(given)
    if family is None or family != _FAMILY.get(wanted):
        return None
    return _FAMILIES[family][given] / _FAMILIES[family][wanted]
