"""What `/docs` says of the ingest routes: bodies are read by our own parser, so it is written out here."""

from __future__ import annotations

from typing import Any, Final

EXAMPLE_REPORT: Final[dict[str, Any]] = {
    "id": "5b0a5c0e-7f0e-4f6c-9d3a-0c8f5b1f2a11",
    "observed_at": "2026-11-22T07:30:00.123Z",
    "service": "video",
    "session_id": "9f4e2f6a-1c55-4a52-8f0e-5f3cf3b3c0de",
    "place": {"province": "Yunnan", "city": "Kunming", "cell": "46000-1234-17", "rat": "NR"},
    "device": {"model": "Mate 60", "os": "HarmonyOS", "app_version": "8.4.1", "device_type": "phone"},
    "settings": {"airplane_mode": False, "mobile_data": True, "apn": "cmnet", "vpn": False},
    "status": {"sim_state": "ready", "registered": True, "battery_pct": 71, "network_type": "cellular"},
    "radio": {"rsrp_dbm": -97, "rsrq_db": -11, "sinr_db": 14, "neighbour_rsrp_dbm": [-103, -109]},
    "probes": [
        {"host": "node-3.cdn.example", "role": "node", "dns_ms": 18, "tcp_ms": 31, "first_byte_ms": 64}
    ],
    "player": {
        "source": "sports",
        "node": "node-3",
        "content_id": "match-17",
        "events": [
            {"kind": "requested", "at": "2026-11-22T07:29:01.000Z"},
            {"kind": "first_frame", "at": "2026-11-22T07:29:02.140Z", "bitrate_kbps": 2500},
            {"kind": "ended", "at": "2026-11-22T07:30:00.000Z"},
        ],
        "figures": {"start_delay_ms": 1140, "stall_ms": 0, "play_ms": 57860, "stall_count": 0},
    },
}

EXAMPLE_ANSWER: Final[dict[str, Any]] = {
    "accepted": 1,
    "duplicate": 0,
    "rejected": 1,
    "errors": [
        {"pointer": "/1/radio/rsrp_dbm", "code": "out_of_range", "detail": "Expected `float` <= -20.0."}
    ],
    "commit_ms": 14.2,
}

EXAMPLE_CMCD: Final = (
    'cid="film-1",e=ps,sf=h,sid="9f4e2f6a",sn=2,sta=s,ts=1795333595060,v=2\n'
    'bl=(0),br=(400),cid="film-1",e=ps,mtp=(5900),sf=h,sid="9f4e2f6a",sn=6,st=v,sta=p,ts=1795333595339,v=2\n'
)

_ERROR_SCHEMA: Final = {
    "type": "object",
    "required": ["pointer", "code", "detail"],
    "properties": {
        "pointer": {
            "type": "string",
            "description": "RFC 6901; the item's index (NDJSON, CMCD: line) first.",
        },
        "code": {"type": "string"},
        "detail": {"type": "string"},
    },
}
_COUNT: Final = {"type": "integer", "minimum": 0}
ANSWER_SCHEMA: Final[dict[str, Any]] = {
    "title": "Taken",
    "type": "object",
    "required": ["accepted", "duplicate", "rejected", "errors", "commit_ms"],
    "properties": {
        "accepted": _COUNT | {"description": "New, and on disk."},
        "duplicate": _COUNT | {"description": "There already: nothing was changed."},
        "rejected": _COUNT,
        "errors": {"type": "array", "items": _ERROR_SCHEMA},
        "commit_ms": {"type": "number", "description": "From being read to being on disk. [ms]"},
    },
}


def _problem(text: str) -> dict[str, Any]:
    problem = {"type": "object", "description": "Problem details (RFC 9457)."}
    return {"description": text, "content": {"application/problem+json": {"schema": problem}}}


REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
    400: _problem("The body cannot be read: not JSON, not UTF-8, a broken archive."),
    413: _problem("Too long on the wire, too long once inflated, or too many items; `bound` says which."),
    415: _problem("Content type or encoding is not taken."),
    422: _problem("No item was good; `errors` names each."),
    503: _problem("Nothing was accepted; send it again after `Retry-After` seconds."),
}

ANSWER: Final[dict[str, Any]] = {
    "description": "Everything counted as accepted or duplicate is on disk.",
    "content": {"application/json": {"schema": ANSWER_SCHEMA, "example": EXAMPLE_ANSWER}},
}

_REPORT: Final = {"type": "object", "description": "By the schema at /v1/schemas/report."}
REPORTS_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {"oneOf": [{"type": "array", "items": _REPORT}, _REPORT]},
                "example": [EXAMPLE_REPORT],
            },
            "application/x-ndjson": {"schema": {"type": "string"}},
        },
    },
    "parameters": [
        {
            "name": "Content-Encoding",
            "in": "header",
            "required": False,
            "schema": {"type": "string", "enum": ["identity", "gzip", "zstd"]},
        }
    ],
}
CMCD_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {"application/cmcd": {"schema": {"type": "string"}, "example": EXAMPLE_CMCD}},
    }
}
