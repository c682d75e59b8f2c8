"""Examples and request bodies of this room's routes, for `/docs`."""

from __future__ import annotations

from typing import Any, Final

from cem.platform.errors import PROBLEM_MEDIA_TYPE
from demarcation import schemas

SNAPSHOT: Final[dict[str, Any]] = {
    "id": "6a1f8f4e-0b0e-4d7e-9a55-6d0f4c5b7e11",
    "observed_at": "2026-11-22T07:30:00.123Z",
    "service": "video",
    "symptom": "stall",
    "place": {"province": "Guangdong", "city": "Shenzhen", "cell": "SZ-1101-1", "rat": "NR"},
    "device": {"model": "Mate 70", "os": "android", "app_version": "8.2.0", "device_type": "phone"},
    "settings": {"airplane_mode": False, "mobile_data": True, "apn": "cmnet", "vpn": False},
    "status": {"sim_state": "ready", "registered": True, "network_type": "cellular", "battery_pct": 71},
    "radio": {"rsrp_dbm": -119, "sinr_db": -3, "neighbour_rsrp_dbm": [-121, -123]},
    "probes": [
        {"role": "origin", "host": "origin.example", "tcp_ms": 41, "first_byte_ms": 80, "http_status": 200}
    ],
    "player": {
        "source": "evening-films",
        "node": "node-a",
        "figures": {"start_delay_ms": 2100, "stall_ms": 6400, "play_ms": 21000, "stall_count": 3},
    },
}

REQUEST_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "description": "A snapshot (the report form, every group optional) wrapped with what is asked, or bare.",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "snapshot": {
                            "type": "object",
                            "description": "As `/v1/schemas/report`, read leniently.",
                        },
                        "service": {
                            "type": "string",
                            "description": "`video`, `web`, `iot`; else the snapshot's.",
                        },
                        "symptom": {
                            "type": "string",
                            "description": "What the customer says: stall, slow_start, low_quality, slow, fails, "
                            "no_service, offline, iot_silent.",
                        },
                        "locale": {"type": "string", "description": "BCP 47; kept with the check."},
                        "deadline_ms": {
                            "type": "integer",
                            "minimum": 1,
                            "maximum": 20000,
                            "description": "Time the verdict gets; more than 20 s is cut.",
                        },
                        "subscriber_id": {
                            "type": "string",
                            "description": "The line, for staff and systems that know it by its hash; they may "
                            "also give the number as `snapshot.subscriber`.",
                        },
                    },
                },
                "examples": {
                    "wrapped": {"value": {"snapshot": SNAPSHOT, "symptom": "stall", "deadline_ms": 5000}},
                    "bare": {"value": SNAPSHOT},
                },
            }
        },
    }
}

_TEXT: Final = {"zh": "所在位置覆盖弱，邻区也弱", "en": "Coverage is weak here, neighbour cells are weak too"}

VERDICT: Final[dict[str, Any]] = {
    "id": "vdt_01kaxm2v6q3m8d1v5z0c9r7t4y",
    "version": 1,
    "self_check_id": "chk_01kaxm2v6q3m8d1v5z0c9r7t4y",
    "decided_at": "2026-11-22T07:30:00.412Z",
    "fault_at": "2026-11-22T07:30:00.123Z",
    "service": "video",
    "took_ms": 38,
    "dimensions": {"city": "Shenzhen", "cell": "SZ-1101-1"},
    "change": None,
    "domain": "network",
    "cause": "weak_coverage",
    "confidence": 0.98,
    "cause_confidence": 0.97,
    "calibration": "expert priors, uncalibrated",
    "summary": _TEXT,
    "symptoms": ["stall"],
    "probabilities": {"terminal": 0.01, "network": 0.98, "platform": 0.05, "no_fault": 0.0, "unknown": 0.01},
    "suspects": [{"cause": "weak_coverage", "domain": "network", "probability": 0.97}],
    "secondary": [],
    "evidence_for": [
        {
            "rule": "N001",
            "cause": "weak_coverage",
            "says": {"zh": "信号弱（RSRP < −110 dBm）", "en": "Weak signal (RSRP < −110 dBm)"},
            "log10": 1.7,
            "facts": {"radio.rsrp_dbm": -119.0},
        }
    ],
    "evidence_against": [],
    "noted": [],
    "missing": [{"source": "billing", "reason": "no answer in time", "budget_ms": 2000}],
    "would_settle": [],
    "suggestions": [
        {
            "cause": "weak_coverage",
            "owner": "radio",
            "urgency": "normal",
            "meaning": _TEXT,
            "customer": {
                "zh": "您所在位置信号较弱，请先移动到窗边或室外。",
                "en": "The signal is weak where you are.",
            },
            "agent": {"zh": "客户处弱覆盖，非手机问题。", "en": "Weak coverage at the customer's place."},
            "engineer": [{"zh": "核查该小区 RSRP 分布。", "en": "Check the cell's RSRP distribution."}],
        }
    ],
    "covered_by": [],
}

SELF_CHECK: Final[dict[str, Any]] = {
    "id": "chk_01kaxm2v6q3m8d1v5z0c9r7t4y",
    "state": "done",
    "service": "video",
    "symptom": "stall",
    "locale": "zh-CN",
    "re_check_of": None,
    "accepted_at": "2026-11-22T07:30:00.370Z",
    "deadline_at": "2026-11-22T07:30:05.370Z",
    "finished_at": "2026-11-22T07:30:00.412Z",
    "verdict": VERDICT,
    "complaint": None,
    "links": {
        "self": "/v1/self-checks/chk_01kaxm2v6q3m8d1v5z0c9r7t4y",
        "events": "/v1/self-checks/chk_01kaxm2v6q3m8d1v5z0c9r7t4y/events",
        "re_check": "/v1/self-checks/chk_01kaxm2v6q3m8d1v5z0c9r7t4y/re-check",
        "complaint": "/v1/self-checks/chk_01kaxm2v6q3m8d1v5z0c9r7t4y/complaint",
    },
}

PENDING: Final = {**SELF_CHECK, "state": "accepted", "finished_at": None, "verdict": None}

DETAIL: Final = {
    **VERDICT,
    "subscriber_id": "s_0f1e2d3c4b5a69788796a5b4c3d2e1f0",
    "handed_over": False,
    "versions": [{"version": 1, "decided_at": "2026-11-22T07:30:00.412Z", "reason": "decided"}],
}

PAGE: Final = {
    "items": [
        {
            "id": VERDICT["id"],
            "self_check_id": VERDICT["self_check_id"],
            "subscriber_id": DETAIL["subscriber_id"],
            "version": 1,
            "domain": "network",
            "cause": "weak_coverage",
            "confidence": 0.98,
            "service": "video",
            "province": "Guangdong",
            "city": "Shenzhen",
            "fault_at": VERDICT["fault_at"],
            "decided_at": VERDICT["decided_at"],
            "took_ms": 38,
            "handed_over": False,
        }
    ],
    "next_cursor": None,
}

EVENTS_EXAMPLE: Final = (
    'id: 1\nevent: provisional\ndata: {"domain":"network","cause":"weak_coverage","confidence":0.98}\n\n'
    'id: 2\nevent: evidence\ndata: {"source":"line","took_ms":12,"facts":6,"missing":null}\n\n'
)


def answer(model: type[schemas._Model], example: Any, description: str) -> dict[str, Any]:
    """A documented JSON answer with an example."""
    return {
        "model": model,
        "description": description,
        "content": {"application/json": {"example": example}},
    }


def problem(description: str, slug: str, status: int, title: str) -> dict[str, Any]:
    """A documented problem answer (RFC 9457)."""
    example = {"type": f"/problems/{slug}", "title": title, "status": status, "detail": description}
    return {"description": description, "content": {PROBLEM_MEDIA_TYPE: {"example": example}}}


_CONFLICT: Final = "The current state does not allow this"

NOT_FOUND: Final[dict[int | str, dict[str, Any]]] = {
    404: problem("No such check for this caller.", "not-found", 404, "There is no such thing")
}
REFUSALS: Final[dict[int | str, dict[str, Any]]] = {
    403: problem("A device asked for another line.", "forbidden", 403, "This caller may not do this"),
    409: problem(
        "The idempotency key came before with another body.",
        "conflict",
        409,
        _CONFLICT,
    ),
    422: problem("Nobody was named.", "invalid-input", 422, "The content is not valid"),
    429: problem(
        "The line reached its limit; see Retry-After.", "too-many-requests", 429, "Too many requests"
    ),
}
