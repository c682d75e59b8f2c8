"""Times, durations and file names of measurement files.

Sources: TS 32.435 clause 4.1 (granPeriod, repPeriod, beginTime, endTime: XML Schema dateTime and duration);
TS 32.432 clause 5.1.1 and TS 28.532 clause 11.3 (names of files: type, begin, end, each with its offset from UTC).
Besides XML Schema's form the compact one of file names is taken as a time: `202607311004+0300`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo

_OFFSET = r"(?P<zone>[Zz]|[+-]\d{2}:?\d{2})?"
_DATE_TIME = re.compile(
    r"(?P<y>\d{4})-(?P<mo>\d{2})-(?P<d>\d{2})[Tt ](?P<h>\d{2}):(?P<mi>\d{2})(?::(?P<s>\d{2})(?P<f>[.,]\d{1,9})?)?"
    + _OFFSET,
    re.ASCII,
)
_COMPACT = re.compile(
    r"(?P<y>\d{4})(?P<mo>\d{2})(?P<d>\d{2})[Tt.]?(?P<h>\d{2})(?P<mi>\d{2})(?:(?P<s>\d{2})(?P<f>[.,]\d{1,9})?)?"
    + _OFFSET,
    re.ASCII,
)
_DURATION = re.compile(
    r"P(?:(\d{1,5})D)?(?:T(?:(\d{1,6})H)?(?:(\d{1,7})M)?(?:(\d{1,9})(?:\.(\d{1,9}))?S)?)?", re.ASCII
)
_NAME_32432 = re.compile(
    r"(?P<type>[A-D])(?P<date>\d{8})\.(?P<begin>\d{4})(?P<zone>[+-]\d{4})?"
    r"-(?:(?P<enddate>\d{8})\.)?(?P<end>\d{4})(?P<endzone>[+-]\d{4})?(?:[_.-].*)?",
    re.ASCII | re.DOTALL,
)
_NAME_28532 = re.compile(
    r"PM(?P<ready>\d{12})(?P<readyzone>[+-]\d{4})(?P<keep>\d{1,4})(?P<type>[A-D])"
    r"(?P<date>\d{8})(?P<begin>\d{4})(?P<zone>[+-]\d{4})?"
    r"-(?:(?P<enddate>\d{8}))?(?P<end>\d{4})(?P<endzone>[+-]\d{4})?(?:[_.-].*)?",
    re.ASCII | re.DOTALL,
)

LONGEST_PERIOD = timedelta(days=1)
"""A granularity period is at most so long. TS 32.401 clause 5.2.1.3 names up to an hour; files of a day occur."""


def parse_time(text: str, zone: tzinfo | None = None) -> datetime | None:
    """An instant in UTC; None where the text is no time, or has no offset and `zone` is None."""
    text = text.strip()
    match = _DATE_TIME.fullmatch(text) or _COMPACT.fullmatch(text)
    if match is None:
        return None
    offset = _offset(match["zone"]) if match["zone"] else zone
    if offset is None:
        return None
    fraction = (match["f"] or ".0")[1:7].ljust(6, "0")
    hour = int(match["h"])
    try:
        at = datetime(
            int(match["y"]), int(match["mo"]), int(match["d"]), 0 if hour == 24 else hour,
            int(match["mi"]), int(match["s"] or 0), int(fraction), tzinfo=offset,
        )  # fmt: skip
        if hour == 24:  # XML Schema: the end of a day
            if at.minute or at.second:
                return None
            at += timedelta(days=1)
        return at.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def offset_of(text: str) -> tzinfo | None:
    """The offset from UTC that a time's text names; None where it names none."""
    text = text.strip()
    match = _DATE_TIME.fullmatch(text) or _COMPACT.fullmatch(text)
    return _offset(match["zone"]) if match and match["zone"] else None


def parse_duration(text: str) -> timedelta | None:
    """An XML Schema duration of days and less (`PT900S`, `PT15M`, `P1D`); None where it is no such, or zero.

    Years and months have no fixed length and are not taken.
    """
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups()[:4])
    micros = int((match[5] or "0")[:6].ljust(6, "0"))
    length = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds, microseconds=micros)
    return length or None


@dataclass(frozen=True, slots=True)
class FileName:
    """What a measurement file's name says.

    Parameters
    ----------
    kind
        A: one network element and one period. B: one element, several periods. C: several elements, one
        period. D: several of both.
    begin, end
        Of what is in it; None where the name has no offset and none was given.
    zone
        The offset that the name's begin has.
    """

    kind: str
    begin: datetime | None
    end: datetime | None
    zone: tzinfo | None


def parse_file_name(name: str, zone: tzinfo | None = None) -> FileName | None:
    """Read a file's name (without folders); None where it follows neither convention."""
    match = _NAME_32432.fullmatch(name) or _NAME_28532.fullmatch(name)
    if match is None:
        return None
    own = _offset(match["zone"]) if match["zone"] else None
    begin = parse_time(match["date"] + match["begin"], own or zone)
    ends = _offset(match["endzone"]) if match["endzone"] else own or zone
    end = parse_time((match["enddate"] or match["date"]) + match["end"], ends)
    if begin is not None and end is not None and end <= begin and not match["enddate"]:
        end += timedelta(days=1)
    return FileName(match["type"], begin, end, own)


def _offset(text: str) -> tzinfo | None:
    if text in "Zz":
        return UTC
    digits = text[1:].replace(":", "")
    length = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    if length >= timedelta(hours=24) or int(digits[2:]) > 59:
        return None
    return timezone(-length if text[0] == "-" else length)
