"""Hand-built snapshots for the demarcation tests: one healthy phone, and what differs from it."""

from __future__ import annotations

from typing import Any

from demarcation.casefile import CaseFile, casefile_from_raw
from demarcation.decide import DecisionSettings, decide
from demarcation.rules import load_shipped_rules
from demarcation.taxonomy import load_taxonomy
from demarcation.verdict import Verdict

AT = "2026-03-01T12:00:00Z"

SETTINGS: dict[str, Any] = {
    "airplane_mode": False,
    "mobile_data": True,
    "apn": "cmnet",
    "vpn": False,
    "proxy": False,
    "private_dns": "off",
    "data_saver": False,
    "power_save": False,
    "background_restricted": False,
    "nr_enabled": True,
}
STATUS: dict[str, Any] = {
    "sim_state": "ready",
    "registered": True,
    "roaming": False,
    "battery_pct": 71,
    "thermal": "none",
    "memory_free_mb": 2300,
    "storage_free_mb": 41000,
    "clock_offset_ms": 12,
    "captive_portal": False,
    "network_type": "cellular",
}
RADIO: dict[str, Any] = {"rsrp_dbm": -84, "rsrq_db": -8, "sinr_db": 19, "neighbour_rsrp_dbm": [-97, -101]}
WEAK_RADIO: dict[str, Any] = {
    "rsrp_dbm": -118,
    "rsrq_db": -16,
    "sinr_db": 1,
    "neighbour_rsrp_dbm": [-121, -124],
}
REFERENCE: dict[str, Any] = {"role": "reference", "tcp_ms": 22, "first_byte_ms": 40, "http_status": 200}
STALLING: dict[str, Any] = {
    "figures": {"play_ms": 20_000, "stall_ms": 6_000, "stall_count": 2, "start_delay_ms": 1_500}
}
SMOOTH: dict[str, Any] = {
    "figures": {"play_ms": 30_000, "stall_ms": 0, "stall_count": 0, "start_delay_ms": 600}
}


def origin(**figures: Any) -> dict[str, Any]:
    return {"role": "origin", "tcp_ms": 20, "first_byte_ms": 60, "http_status": 200, **figures}


def snapshot(
    settings: dict[str, Any] | None = None, status: dict[str, Any] | None = None, **groups: Any
) -> dict[str, Any]:
    """The healthy phone with differences; a group given as None is left out."""
    base = {
        "service": "video",
        "settings": SETTINGS | (settings or {}),
        "status": STATUS | (status or {}),
        "radio": RADIO,
    }
    return {name: group for name, group in (base | groups).items() if group is not None}


def peer(dimension: str, users: int, bad: int) -> dict[str, Any]:
    return {
        "dimension": dimension,
        "value": "x",
        "users": users,
        "bad_users": bad,
        "baseline_users": 1_000,
        "baseline_bad_users": 20,
    }


HEALTHY_PEERS = [peer("cell", 20, 0), peer("node", 200, 4), peer("source", 400, 9)]


def case(shot: dict[str, Any], **others: Any) -> CaseFile:
    return casefile_from_raw({"at": AT, "snapshot": shot, **others}, provisioned_apns=("cmnet",))


def judge(shot: dict[str, Any], **others: Any) -> Verdict:
    return decide(case(shot, **others), load_shipped_rules(), load_taxonomy(), DecisionSettings())
