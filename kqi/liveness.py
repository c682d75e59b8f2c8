"""Whether a thing is asleep or offline: its next contact is expected from its own timers, not from a time-out.

Pure. A device in power saving mode (PSM) cannot be reached once its active time T3324 is over, and must be heard
again when its periodic timer T3412 runs out. One in extended discontinuous reception (eDRX) listens once a cycle.
Where the timers are unknown, nothing was promised and silence says nothing: the state is `unknown`, never `offline`.

Sources: 3GPP TS 24.008 clauses 10.5.7.3 (GPRS timer), 10.5.7.4 (GPRS timer 2), 10.5.7.4a (GPRS timer 3) and 10.5.5.32
(extended DRX parameters); TS 24.301 clauses 5.3.5 (periodic tracking area update, mobile reachable timer) and 5.3.11
(PSM); TS 23.682 clauses 4.5.4 and 4.5.13; OMA LwM2M registry, object 10 (Cellular Network Connectivity).
"""

from __future__ import annotations

import base64
import binascii
import math
import string
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

NEVER: Final = math.inf
"""A timer that is deactivated. [s]"""
GRACE: Final = timedelta(minutes=4)
"""How late a contact may be. TS 24.301 clause 5.3.5: the network's own mobile reachable timer is by default 4 minutes
longer than T3412."""
PAGING_CYCLE_S: Final = 10.24
"""Longest cycle of ordinary paging. [s] TS 36.304 clause 7.1: 1,024 radio frames in NB-IoT; 2.56 s elsewhere."""

_TIMER_UNITS_S = {0b000: 2.0, 0b001: 60.0, 0b010: 360.0, 0b111: NEVER}
_TIMER3_UNITS_S = {
    0b000: 600.0, 0b001: 3_600.0, 0b010: 36_000.0, 0b011: 2.0, 0b100: 30.0, 0b101: 60.0,
    0b110: 1_152_000.0, 0b111: NEVER,
}  # fmt: skip
_EDRX_WB_S = (
    5.12, 10.24, 20.48, 40.96, 61.44, 81.92, 102.4, 122.88,
    143.36, 163.84, 327.68, 655.36, 1_310.72, 2_621.44, 2_621.44, 2_621.44,
)  # fmt: skip
_EDRX_NB_S = (
    20.48, 20.48, 20.48, 40.96, 20.48, 81.92, 20.48, 20.48,
    20.48, 163.84, 327.68, 655.36, 1_310.72, 2_621.44, 5_242.88, 10_485.76,
)  # fmt: skip


class Radio(StrEnum):
    """Which radio: the code of an eDRX cycle differs."""

    WIDEBAND = "wb_s1"
    NARROWBAND = "nb_s1"


class State(StrEnum):
    """What is known of a device's liveness."""

    REACHABLE = "reachable"
    """It listens, at once or within its cycle."""
    ASLEEP = "asleep"
    """It cannot be reached and need not be: its next contact is not due."""
    DUE = "due"
    """The contact is late by less than the grace."""
    OFFLINE = "offline"
    """A promised contact did not come."""
    UNKNOWN = "unknown"
    """Nothing was promised, or nothing was ever heard."""


@dataclass(frozen=True, slots=True)
class Timers:
    """What a device and its network agreed on; None where it is not known, `NEVER` where it is deactivated.

    Parameters
    ----------
    t3412_s
        Longest time between two contacts: the extended value where there is one, else the plain one. 0 is off, as
        `NEVER` is. [s]
    t3324_s
        Active time after a contact; deactivated means that there is no power saving mode. [s]
    edrx_cycle_s
        How often it listens while idle. [s]
    """

    t3412_s: float | None = None
    t3324_s: float | None = None
    edrx_cycle_s: float | None = None


@dataclass(frozen=True, slots=True)
class Liveness:
    """A device's state.

    Parameters
    ----------
    state
        What is known.
    reason
        Why, in a sentence.
    expected_at
        When the next contact is due; None where none was promised.
    offline_since
        From when it counts as offline: the moment the contact was due, not the end of the grace.
    """

    state: State
    reason: str
    expected_at: datetime | None = None
    offline_since: datetime | None = None

    def offline_for(self, now: datetime) -> timedelta:
        """How long it has been offline; zero where it is not."""
        return timedelta(0) if self.offline_since is None else now - self.offline_since


def gprs_timer_s(octet: int) -> float:
    """Seconds of a GPRS timer (octet 2) or GPRS timer 2 (octet 3), as T3324 and the plain T3412 are coded.

    Bits 8 to 6 are the unit: 2 s, 1 min, 6 min ("decihours"), 111 deactivated; others count as 1 min. Bits 5 to 1 are
    the multiplier. TS 24.008 clauses 10.5.7.3, 10.5.7.4.

    Raises
    ------
    ValueError
        Not 0 to 255.
    """
    return _timer_s(octet, _TIMER_UNITS_S, 60.0)


def gprs_timer3_s(octet: int) -> float:
    """Seconds of a GPRS timer 3 (octet 3), as the extended T3412 is coded.

    Units by bits 8 to 6: 10 min, 1 h, 10 h, 2 s, 30 s, 1 min, 320 h, 111 deactivated. TS 24.008 clause 10.5.7.4a.

    Raises
    ------
    ValueError
        Not 0 to 255.
    """
    return _timer_s(octet, _TIMER3_UNITS_S, 3_600.0)


def edrx_cycle_s(octet: int, radio: Radio) -> float:
    """Seconds of an eDRX cycle (low nibble of octet 3; the high one is the paging time window).

    Codes that are reserved count as the shortest of narrowband, 20.48 s, and as 2,621.44 s of wideband beyond 13.
    TS 24.008 clause 10.5.5.32.

    Raises
    ------
    ValueError
        Not 0 to 255.
    """
    _octet(octet)
    return (_EDRX_NB_S if radio is Radio.NARROWBAND else _EDRX_WB_S)[octet & 0x0F]


def paging_window_s(octet: int, radio: Radio) -> float:
    """Seconds of the paging time window: high nibble plus one, in steps of 1.28 s (wideband) or 2.56 s (narrowband).

    TS 24.008 clause 10.5.5.32. Raises ValueError: not 0 to 255.
    """
    _octet(octet)
    return ((octet >> 4) + 1) * (2.56 if radio is Radio.NARROWBAND else 1.28)


def timers_of_lwm2m(resources: Mapping[tuple[int, int], Any]) -> Timers:
    """Timers of object 10 by (object, resource): 4 and 5 in seconds, 9 and 8 as the octet of eDRX parameters.

    The octet may be a number, two hexadecimal digits, or base64 as SenML writes opaque values. Where resource 13
    (active power saving modes) is there, a mode that it does not name is off. What is no such value is unknown.
    """
    t3412_s, t3324_s = _seconds(resources.get((10, 4))), _seconds(resources.get((10, 5)))
    cycle_s = None
    for resource, radio in ((9, Radio.NARROWBAND), (8, Radio.WIDEBAND)):
        octet = _opaque(resources.get((10, resource)))
        if octet is not None and cycle_s is None:
            cycle_s = edrx_cycle_s(octet, radio)
    active = resources.get((10, 13))
    if isinstance(active, int) and not isinstance(active, bool):
        if not active & 1:
            t3324_s = NEVER
        if not active & 2:
            cycle_s = None
    return Timers(t3412_s, t3324_s, cycle_s)


def liveness(
    last_contact_at: datetime | None,
    timers: Timers,
    now: datetime,
    *,
    called_at: datetime | None = None,
    grace: timedelta = GRACE,
) -> Liveness:
    """A device's state from its last contact and its timers.

    Its next contact is due when T3412 runs out. Where it was called (paged, sent a command) at `called_at` and not
    heard since, an answer is due one listening cycle after the call if it listens then, else when it wakes up, which
    is when T3412 runs out.

    Parameters
    ----------
    last_contact_at
        When it was last heard; None: never. A moment ahead of `now` counts as now.
    timers
        What was agreed.
    now
        The present.
    called_at
        When it was called and the call not answered.
    grace
        How late a contact may be.
    """
    if last_contact_at is None:
        return Liveness(State.UNKNOWN, "It was never heard.")
    last = min(last_contact_at, now)
    sleeps_at = _sleeps_at(last, timers)
    due, reason = _later(last, timers.t3412_s or None), "its periodic timer (T3412) ran out"
    answer = None if called_at is None or called_at <= last else _answer_due(called_at, sleeps_at, timers)
    if answer is not None and (due is None or answer < due):
        due, reason = answer, "it was called while it listened"
    if due is None:
        why = "Its periodic timer is not known." if timers.t3412_s is None else "Its periodic timer is off."
        return Liveness(State.UNKNOWN, f"{why} It promised no contact.")
    if now >= due + grace:
        return Liveness(State.OFFLINE, f"No contact although {reason}.", due, due)
    if now >= due:
        return Liveness(State.DUE, f"A contact is due: {reason}.", due)
    if sleeps_at is not None and now >= sleeps_at:
        return Liveness(State.ASLEEP, "It sleeps (PSM) until its periodic timer runs out.", due)
    if timers.edrx_cycle_s is not None:
        return Liveness(State.REACHABLE, f"It listens every {timers.edrx_cycle_s:g} s (eDRX).", due)
    return Liveness(State.REACHABLE, "It listens.", due)


def _sleeps_at(last: datetime, timers: Timers) -> datetime | None:
    """When its active time ends; None where it does not sleep, or that is not known."""
    if timers.t3324_s is None or (timers.t3412_s and timers.t3324_s >= timers.t3412_s):
        return None
    return _later(last, timers.t3324_s)


def _answer_due(called_at: datetime, sleeps_at: datetime | None, timers: Timers) -> datetime | None:
    """When a call must have been heard; None where it may sleep before it listens.

    Where T3324 is not known it may sleep at any time.
    """
    if timers.t3324_s is None:
        return None
    listens_at = _later(called_at, timers.edrx_cycle_s or PAGING_CYCLE_S)
    if listens_at is None or (sleeps_at is not None and listens_at > sleeps_at):
        return None
    return listens_at


def _later(at: datetime, seconds: float | None) -> datetime | None:
    """So much later; None where that is never or not known."""
    if seconds is None or seconds == NEVER:
        return None
    try:
        return at + timedelta(seconds=seconds)
    except OverflowError:
        return None


def _timer_s(octet: int, units_s: Mapping[int, float], other_s: float) -> float:
    _octet(octet)
    unit_s = units_s.get(octet >> 5, other_s)
    return NEVER if unit_s == NEVER else (octet & 0x1F) * unit_s


def _octet(octet: int) -> None:
    if not 0 <= octet <= 255:
        raise ValueError("an octet is 0 to 255")


def _seconds(value: Any) -> float | None:
    """Seconds; None where it is no number, or beyond what a timer can be."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < 1e9:
        return None
    return float(value)


def _opaque(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if 0 <= value <= 255 else None
    if not isinstance(value, str):
        return None
    if len(value) == 2 and all(digit in string.hexdigits for digit in value):
        return int(value, 16)
    return octet_of_base64(value)


def octet_of_base64(text: str) -> int | None:
    """The one octet of a text in base64 or base64url, padded or not; None where it is not one octet."""
    try:
        plain = text[:8].rstrip("=").replace("-", "+").replace("_", "/")
        data = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    return data[0] if len(data) == 1 else None
