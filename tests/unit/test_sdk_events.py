"""Figures, dimensions and events out of a report, and the rows made of them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec

from sdk_ingest.events import PlayerEventKind, dimensions_of, events_of_report, values_of
from sdk_ingest.rows import PLAYER_EVENTS, REPORTS, TABLES, owner_of, report_entry
from sdk_ingest.schemas import Report

NOW = datetime(2026, 11, 22, 7, 41, 12, 345_000, tzinfo=UTC)


def report(**members: Any) -> Report:
    return msgspec.convert({"id": "r-1", "observed_at": "2026-11-22T15:37:00+08:00", **members}, Report)


def entry_rows(sent: Report, body: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    entry = report_entry(
        sent, body, subscriber_id="s_1", install_id="", origin="device", caller_id="", received_at=NOW
    )
    return [(table, json.loads(row)) for table, row in entry.rows]


def test_values_carry_units_and_only_what_was_told() -> None:
    assert values_of(report()) == {}
    told = report(
        radio={"rsrp_dbm": -97, "sinr_db": 14.5},
        status={"battery_pct": 71, "sim_state": "ready"},
        player={"figures": {"start_delay_ms": 1140, "stall_ms": 0, "error_code": "E1"}},
    )
    assert values_of(told) == {
        "rsrp_dbm": -97.0,
        "sinr_db": 14.5,
        "battery_pct": 71.0,
        "start_delay_ms": 1140.0,
        "stall_ms": 0.0,
        "failed": 1.0,
    }


def test_of_several_probes_the_way_to_the_service_counts() -> None:
    told = report(
        probes=[
            {"role": "resolver", "dns_ms": 5},
            {"role": "reference", "tcp_ms": 10, "loss_ratio": 0.5, "throughput_kbps": 9000},
            {"role": "node", "tcp_ms": 31, "dns_ms": 18},
            {"role": "origin", "tcp_ms": 80, "first_byte_ms": 120},
        ]
    )
    assert values_of(told) == {
        "dns_ms": 18.0,
        "tcp_ms": 31.0,
        "first_byte_ms": 120.0,
        "loss_ratio": 0.5,
        "throughput_kbps": 9000.0,
    }


def test_dimensions_leave_out_what_is_empty() -> None:
    told = report(
        service="video",
        place={"city": "Kunming", "cell": "", "rat": "NR"},
        device={"model": "Mate 60", "os_version": "4.2"},
        player={"source": "sports", "node": "node-3"},
    )
    assert dimensions_of(told) == {
        "service": "video",
        "city": "Kunming",
        "rat": "NR",
        "model": "Mate 60",
        "source": "sports",
        "node": "node-3",
    }


def test_events_come_with_the_reports_dimensions_and_their_own_values() -> None:
    told = report(
        session_id="v-1",
        place={"city": "Kunming"},
        player={
            "source": "sports",
            "content_id": "match-17",
            "events": [
                {"kind": "requested", "at": "2026-11-22T07:29:01Z"},
                {
                    "kind": "failed",
                    "at": "2026-11-22T07:29:09Z",
                    "sequence": 2,
                    "error_code": "E7",
                    "stall_ms": 12.5,
                },
            ],
        },
    )
    first, second = events_of_report(told)
    assert first.kind is PlayerEventKind.REQUESTED
    assert first.labels == {"city": "Kunming", "source": "sports", "content_id": "match-17"}
    assert (second.sequence, second.values) == (2, {"stall_ms": 12.5})
    assert second.labels == first.labels | {"error_code": "E7"}
    assert {event.session_id for event in (first, second)} == {"v-1"}


def test_a_report_without_session_is_a_session_of_its_own() -> None:
    told = report(player={"events": [{"kind": "requested", "at": "2026-11-22T07:29:01Z"}]})
    assert [event.session_id for event in events_of_report(told)] == ["r-1"]


def test_an_event_told_by_two_reports_is_one_event() -> None:
    event = {"kind": "requested", "at": "2026-11-22T07:29:01Z", "sequence": 1}
    keys = []
    for name in ("r-1", "r-2"):
        sent = report(id=name, session_id="v-1", player={"events": [event]})
        keys += [row["item_key"] for table, row in entry_rows(sent, {}) if table == PLAYER_EVENTS]
    assert len(keys) == 2
    assert keys[0] == keys[1]


def test_rows_are_in_event_time_and_utc_and_the_report_comes_last() -> None:
    sent = report(
        place={"cell": "c-1"},
        session_id="v-1",
        player={"events": [{"kind": "requested", "at": "2026-11-22T07:29:59.999Z"}]},
    )
    rows = entry_rows(sent, {"id": "r-1", "unknown": {"kept": True}})
    assert [table for table, _ in rows] == [PLAYER_EVENTS, REPORTS] == list(TABLES)
    event, stored = rows[0][1], rows[1][1]
    assert (event["window"], event["observed_at"]) == ("2026-11-22T07:15:00Z", "2026-11-22T07:29:59.999000Z")
    assert (stored["window"], stored["observed_at"]) == ("2026-11-22T07:30:00Z", "2026-11-22T07:37:00Z")
    assert stored["received_at"] == "2026-11-22T07:41:12.345000Z"
    assert json.loads(stored["body"]) == {"id": "r-1", "unknown": {"kept": True}}
    assert (stored["cell"], stored["session_id"]) == ("c-1", "v-1")


def test_one_id_of_two_owners_is_two_items() -> None:
    owners = {owner_of("s_1", "i-1"), owner_of("s_2", "i-1"), owner_of("", "i-1"), owner_of("", "s_1")}
    assert len(owners) == 4
    assert owner_of("s_1", "i-1") == owner_of("s_1", "i-2")
