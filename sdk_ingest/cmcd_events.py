"""What a CMCD record of event mode says of a session, as a player event.

Pure. One record, one event, told alone: records of one session come over several requests and out of order
(hls.js 1.7 posts them side by side), so the order is `sequence` (`sn`) and is drawn where events are read.

Only `ps` (play state) changes a state. Other records carry `sta` as a standing member, for `rr` even with another
moment than `ts`: their `sta` says nothing and is left out. A heartbeat (`t`) tells truly that the state lasts.

References
----------
CTA-5004-B, version 2: `e`, `sta`, `msd`, `bsd`, `sn`, response members.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Final
from urllib.parse import urlsplit

from sdk_ingest.cmcd import CmcdError, Record
from sdk_ingest.events import CMCD, PlayerEvent
from sdk_ingest.vocabulary import PlayerEventKind

_K = PlayerEventKind

KIND_OF_STATE: Final = MappingProxyType(
    {
        "s": _K.REQUESTED,
        "p": _K.PLAYING,
        "r": _K.STALL_STARTED,
        "k": _K.SEEK_STARTED,
        "a": _K.PAUSED,
        "e": _K.ENDED,
        "q": _K.ENDED,
        "f": _K.FAILED,
        "d": _K.PROGRESS,  # preloading: nobody has asked for the picture yet
        "w": _K.PROGRESS,  # waiting for something that is not data
    }
)
KIND_OF_EVENT: Final = MappingProxyType({"e": _K.FAILED, "bc": _K.BITRATE_CHANGED})

DAY_MS: Final = 86_400_000.0
RATE_KBPS: Final = 1e8
NUMBERS: Final = (
    # CMCD key, name in the store, largest value taken (same bounds as a report's)
    ("br", "bitrate_kbps", RATE_KBPS),
    ("mtp", "throughput_kbps", RATE_KBPS),
    ("msd", "start_delay_ms", DAY_MS),
    ("dfa", "dropped_frames", 1e9),
    ("pr", "play_rate", 100.0),
    ("ltc", "latency_ms", DAY_MS),
    ("rc", "http_status", 999.0),
    ("ttfb", "ttfb_ms", DAY_MS),
    ("ttlb", "ttlb_ms", DAY_MS),
)
LABELS: Final = (("cid", "content_id"), ("st", "stream_type"), ("sf", "format"), ("h", "host"))
MAX_LABEL: Final = 128
MAX_CUSTOM: Final = 16
"""Members of a player's own that are kept with an event. [1] Chosen here."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_TS: Final = 253_402_300_799_000.0  # 9999-12-31T23:59:59Z, the last instant that a datetime holds [ms]
_MAX_SN: Final = 4_294_967_295.0


def event_of(record: Record) -> PlayerEvent:
    """The event that a record tells.

    Raises
    ------
    CmcdError
        A member is of the wrong type or out of range, or `sid` is missing: an event without a session cannot
        be counted.
    """
    session = _label(record, "sid")
    if not session:
        raise CmcdError("missing", "sid is needed to tell sessions apart", "sid")
    event = _label(record, "e")
    state = _label(record, "sta") if event in {"ps", "t"} else ""
    if event == "ps":
        if not state:
            raise CmcdError("missing", "sta is required with e=ps", "sta")
        kind = KIND_OF_STATE.get(state, _K.PROGRESS)
    else:
        kind = KIND_OF_EVENT.get(event, _K.PROGRESS)
    moment = _bounded(record, "ts", _MAX_TS)
    assert moment is not None
    return PlayerEvent(
        session_id=session,
        kind=kind,
        at=_EPOCH + timedelta(milliseconds=moment),
        sequence=int(_bounded(record, "sn", _MAX_SN) or 0),
        origin=CMCD,
        values=_values(record),
        labels=_labels(record, event, state),
    )


def _values(record: Record) -> dict[str, float]:
    values: dict[str, float] = {}
    for key, name, largest in NUMBERS:
        value = _bounded(record, key, largest)
        if value is not None:
            values[name] = value
    # The picture stands when the shorter of the buffers is empty.
    if buffers := _each(record, "bl", DAY_MS):
        values["buffer_ms"] = min(buffers)
    # Each finished stall since the last record.
    if stalls := _each(record, "bsd", DAY_MS):
        values["stall_ms"] = sum(stalls)
    return values


def _labels(record: Record, event: str, state: str) -> dict[str, str]:
    labels = {"e": event, "service": "video"}
    if state:
        labels["sta"] = state
    for key, name in LABELS:
        if value := _label(record, key):
            labels[name] = value
    if codes := record.texts("ec"):
        labels["error_code"] = ",".join(codes)[:MAX_LABEL]
    if host := _host(record.text("url")):
        labels["node"] = host
    custom = record.custom
    if len(custom) > MAX_CUSTOM:
        raise CmcdError("wrong_length", f"at most {MAX_CUSTOM} keys of a player's own")
    for key, value in custom.items():
        if len(value) > MAX_LABEL:
            raise CmcdError("wrong_length", f"{key} is longer than {MAX_LABEL}", key)
        labels[key] = value
    return labels


def _host(url: str) -> str:
    """Host of a URL, and no more of it: paths and queries can carry what is somebody's own."""
    try:
        return (urlsplit(url).hostname or "")[:253]
    except ValueError:
        return ""


def _label(record: Record, key: str) -> str:
    text = record.text(key)
    if len(text) > MAX_LABEL:
        raise CmcdError("wrong_length", f"{key} is longer than {MAX_LABEL}", key)
    return text


def _bounded(record: Record, key: str, largest: float) -> float | None:
    value = record.number(key)
    if value is not None and not 0 <= value <= largest:
        raise CmcdError("out_of_range", f"{key} is 0…{largest:.0f}", key)
    return value


def _each(record: Record, key: str, largest: float) -> list[float]:
    values = [float(item.value) for item in record.numbers(key)]
    if not all(0 <= value <= largest for value in values):
        raise CmcdError("out_of_range", f"{key} is 0…{largest:.0f}", key)
    return values
