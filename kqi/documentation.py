"""What /docs says of bodies that are read by hand: examples and refusals. Data only."""

from __future__ import annotations

from typing import Any

from kqi.samples import Feed

_PROBLEM = {"application/problem+json": {"schema": {"type": "object"}}}

REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"description": "The body cannot be read at all.", "content": _PROBLEM},
    413: {
        "description": "Too long, too long inflated, or too many items; `bound` says which.",
        "content": _PROBLEM,
    },
    415: {"description": "Content type or encoding not taken.", "content": _PROBLEM},
    422: {"description": "No item was good; `errors` names each by pointer and reason.", "content": _PROBLEM},
    503: {"description": "Nothing was accepted; come back after `Retry-After`.", "content": _PROBLEM},
}

NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"description": "No such session.", "content": _PROBLEM}}

_EXAMPLES: dict[Feed, dict[str, Any]] = {
    Feed.PIPE: {
        "id": "probe-7-000001",
        "observed_at": "2026-11-22T07:30:00.123Z",
        "subscriber": "+8613800000001",
        "service": "video",
        "dimensions": {
            "province": "浙江",
            "city": "杭州",
            "cell": "460-00-1A2B3C",
            "gateway": "upf-3",
            "rat": "NR",
        },
        "values": {"tcp_setup_user_ms": 38, "tcp_setup_server_ms": 21, "retransmission_ratio": 0.004},
    },
    Feed.CLOUD: {
        "id": "edge-9-000001",
        "observed_at": "2026-11-22T07:30:01.500Z",
        "session_id": "6e2fb550-c457-11e9-bb97-0800200c9a66",
        "service": "video",
        "dimensions": {"source": "live", "node": "edge-9"},
        "values": {"first_byte_ms": 41.5, "origin_ms": 0, "cache_hit_ratio": 1, "http_5xx_ratio": 0},
    },
    Feed.IOT: {
        "id": "platform-000001",
        "observed_at": "2026-11-22T07:30:02Z",
        "subscriber": "1440000000001",
        "dimensions": {"device_type": "smoke_sensor", "model": "SD-2", "city": "杭州", "rat": "NB-IoT"},
        "values": {"register_success_ratio": 1, "uplink_delay_ms": 2100},
        "lwm2m": {"/4/0/2": -101, "/4/0/13": 1, "/3/0/9": 87},
    },
}


def samples_body(feed: Feed) -> dict[str, Any]:
    """The request body of a samples route, for its OpenAPI operation."""
    example = _EXAMPLES[feed]
    sample = {
        "type": "object",
        "required": ["id", "observed_at"],
        "properties": {
            "id": {
                "type": "string",
                "maxLength": 128,
                "description": "Makes the sample idempotent, per feed.",
            },
            "observed_at": {"type": "string", "format": "date-time"},
            "subscriber": {"type": "string", "description": "The line's number; hashed and dropped."},
            "session_id": {"type": "string", "maxLength": 128},
            "service": {"type": "string", "maxLength": 32},
            "vantage": {"type": "string", "enum": ["pipe", "cloud"]},
            "dimensions": {"type": "object", "additionalProperties": {"type": "string", "maxLength": 128}},
            "values": {"type": "object", "additionalProperties": {"type": "number"}},
            "lwm2m": {"type": "object", "description": "IoT only: resources by path, as /4/0/2."},
            "labels": {"type": "object", "additionalProperties": {"type": "string", "maxLength": 128}},
        },
    }
    return {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"oneOf": [{"type": "array", "items": sample}, sample]},
                    "example": [example],
                },
                "application/x-ndjson": {"schema": {"type": "string"}},
            },
        }
    }
