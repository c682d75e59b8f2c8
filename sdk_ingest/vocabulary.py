"""Words and bounded kinds of value that the wire forms share. Units stand in names; bounds are chosen so that no
real device can exceed them and no made-up one can flood the store."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Final

from msgspec import Meta

Id = Annotated[str, Meta(min_length=1, max_length=128)]
Word = Annotated[str, Meta(min_length=1, max_length=64)]
Label = Annotated[str, Meta(max_length=128)]
Host = Annotated[str, Meta(max_length=253)]
"""RFC 1035 §2.3.4: 255 octets on the wire, 253 characters in text."""

Millis = Annotated[float, Meta(ge=0, le=86_400_000)]
"""A duration. [ms] At most a day."""
SignedMillis = Annotated[float, Meta(ge=-315_576_000_000, le=315_576_000_000)]
"""An offset. [ms] At most ten years: phones do stand at 1970 or years ahead, but not by more that matters."""
Kbps = Annotated[float, Meta(ge=0, le=100_000_000)]
"""A rate. [kbit/s] At most 100 Gbit/s."""
Percent = Annotated[float, Meta(ge=0, le=100)]
Ratio = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[float, Meta(ge=0, le=1_000_000_000, multiple_of=1)]
"""A whole number. [1] Kept as float, because JSON does not tell 200 from 200.0 and neither does JSON Schema."""
Megabytes = Annotated[float, Meta(ge=0, le=100_000_000)]
HttpStatus = Annotated[float, Meta(ge=0, le=999, multiple_of=1)]
"""RFC 9110 §15; 0 where no answer came, as browsers say it."""
Rsrp = Annotated[float, Meta(ge=-160, le=-20)]
"""[dBm] TS 36.133 §9.1.4 and TS 38.133 §10.1.6 report −156…−31; a margin for vendors' raw values."""
Rsrq = Annotated[float, Meta(ge=-50, le=30)]
"""[dB] TS 36.133 §9.1.7 and TS 38.133 §10.1.11 report −43…20; a margin."""
Sinr = Annotated[float, Meta(ge=-50, le=60)]
"""[dB] TS 38.133 §10.1.16 reports −23…40; a margin."""
Rssi = Annotated[float, Meta(ge=-160, le=20)]
"""[dBm] Wi-Fi RSSI."""


class PlayerEventKind(StrEnum):
    """What happened in a player.

    `playing` is for players that tell their state only (CMCD): the picture runs from here on; whether that was
    the first frame or the end of a stall, a seek or a pause is for the time line to say.
    """

    REQUESTED = "requested"
    FIRST_FRAME = "first_frame"
    STALL_STARTED = "stall_started"
    STALL_ENDED = "stall_ended"
    PAUSED = "paused"
    RESUMED = "resumed"
    SEEK_STARTED = "seek_started"
    SEEK_ENDED = "seek_ended"
    PLAYING = "playing"
    BITRATE_CHANGED = "bitrate_changed"
    PROGRESS = "progress"
    FAILED = "failed"
    ENDED = "ended"


class SimState(StrEnum):
    """State of the SIM as the phone sees it."""

    READY = "ready"
    ABSENT = "absent"
    LOCKED = "locked"
    FAILED = "failed"
    WRONG_DATA_SIM = "wrong_data_sim"
    UNKNOWN = "unknown"


class Thermal(StrEnum):
    """Thermal status; the words of Android's PowerManager in lower case."""

    NONE = "none"
    LIGHT = "light"
    MODERATE = "moderate"
    SEVERE = "severe"
    CRITICAL = "critical"
    EMERGENCY = "emergency"
    SHUTDOWN = "shutdown"


class NetworkType(StrEnum):
    """What the phone is on."""

    CELLULAR = "cellular"
    WIFI = "wifi"
    ETHERNET = "ethernet"
    NONE = "none"


class Resolver(StrEnum):
    """Whose resolver answered."""

    PRIVATE = "private"
    OPERATOR = "operator"


class ProbeRole(StrEnum):
    """What the probed host is for."""

    RESOLVER = "resolver"
    NODE = "node"
    ORIGIN = "origin"
    APP = "app"
    REFERENCE = "reference"


PERSONAL_FIELDS: Final = frozenset(
    {"msisdn", "phone_number", "mobile_number", "imsi", "imei", "iccid", "idfa", "gaid"}
)
"""Names of members that a report must not carry at any depth: reports are kept as sent, and a customer is a keyed
hash everywhere but in one encrypted column."""
