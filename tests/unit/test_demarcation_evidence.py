"""Evidence out of snapshots, samples and answers: absent stays absent, nonsense is not read, time counts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demarcation.evidence import EvidenceSet, Quality, catalogue, freshness, make_evidence
from demarcation.ports import LineSample, OpenOrderRef
from demarcation.snapshot import dimensions_of, evidence_from_snapshot, fault_time_of
from demarcation.symptoms import Symptom, derive_symptoms
from demarcation.vantage import (
    evidence_from_line,
    evidence_from_orders,
    evidence_from_settings,
    evidence_from_upstream,
    resolve_pointer,
)

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def facts_of(shot: dict[str, Any], **options: Any) -> EvidenceSet:
    return EvidenceSet(evidence_from_snapshot(shot, at=NOON, received_at=NOON, **options))


def test_what_is_not_there_is_unknown() -> None:
    assert len(facts_of({})) == 0
    facts = facts_of(
        {"settings": {"airplane_mode": None}, "status": {}, "probes": [], "player": {"figures": {}}}
    )
    assert len(facts) == 0


JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
GROUPS = st.sampled_from(
    ["place", "device", "settings", "status", "radio", "probes", "player", "iot", "observed_at"]
)


@given(st.dictionaries(GROUPS, JSON, max_size=9))
def test_no_snapshot_breaks_the_reading(shot: dict[str, Any]) -> None:
    for fact in evidence_from_snapshot(shot, at=NOON, received_at=NOON, lowest_app_versions={"": "1.0"}):
        assert fact.key in catalogue()


def test_a_value_of_another_type_is_not_read() -> None:
    facts = facts_of({"settings": {"airplane_mode": "yes"}, "radio": {"rsrp_dbm": "weak", "sinr_db": True}})
    assert len(facts) == 0


def test_an_implausible_value_is_kept_but_not_read() -> None:
    [fact] = evidence_from_snapshot({"radio": {"rsrp_dbm": 12}}, at=NOON, received_at=NOON)
    assert (fact.quality, fact.usable) == (Quality.IMPLAUSIBLE, False)
    assert "radio.rsrp_dbm" not in facts_of({"radio": {"rsrp_dbm": 12}})


def test_radio_figures_are_derived() -> None:
    facts = facts_of({"radio": {"rsrp_dbm": -90, "neighbour_rsrp_dbm": [-93, -95.5, -97]}})
    assert facts.number("radio.best_neighbour_rsrp_dbm") == -93
    assert facts.number("radio.cells_within_6db") == 3


def test_probes_are_split_by_role_and_the_worst_counts() -> None:
    facts = facts_of(
        {
            "probes": [
                {
                    "role": "node",
                    "tcp_ms": 10,
                    "first_byte_ms": 90,
                    "http_status": 200,
                    "throughput_kbps": 900,
                },
                {"role": "node", "tcp_ms": 30, "first_byte_ms": 40, "http_status": 503},
                {"role": "reference", "tcp_ms": 7, "http_status": 0},
                {"role": "origin", "tcp_error": "timeout"},
            ]
        }
    )
    assert facts.number("probe.node.tcp_ms") == 30
    assert facts.number("probe.service.first_byte_ms") == 90
    assert facts.number("probe.service.http_status") == 503
    assert facts.value("probe.origin.tcp_failed") is True
    assert facts.value("probe.service.tcp_failed") is False, "the node was reached"
    assert "probe.reference.http_status" not in facts, "0 is how browsers say that no answer came"


@pytest.mark.parametrize(
    ("settings", "probes", "private", "operator"),
    [
        ({}, [{"dns_error": "timeout"}], None, True),
        ({"private_dns": "host"}, [{"dns_error": "timeout"}], True, None),
        (
            {},
            [{"resolver": "private", "dns_error": "timeout"}, {"resolver": "operator", "dns_ms": 9}],
            True,
            False,
        ),
        ({}, [{"dns_error": "timeout"}, {"dns_ms": 9}], None, False),
        ({}, [{"dns_error": "NXDOMAIN"}], None, False),
        ({}, [{"tcp_ms": 9}], None, None),
    ],
)
def test_name_resolution_is_split_by_resolver(
    settings: dict[str, Any], probes: list[dict[str, Any]], private: bool | None, operator: bool | None
) -> None:
    facts = facts_of({"settings": settings, "probes": probes})
    assert facts.value("dns.private_failed") is private
    assert facts.value("dns.operator_failed") is operator


def test_player_figures_win_over_events_and_make_ratios() -> None:
    facts = facts_of({"player": {"figures": {"play_ms": 9_000, "stall_ms": 1_000, "stall_count": 2}}})
    assert facts.number("player.stall_ratio") == 0.1
    assert facts.number("player.stall_mean_ms") == 500
    assert "player.stall_ratio" not in facts_of({"player": {"figures": {"play_ms": 0, "stall_ms": 0}}})


def test_events_alone_give_the_figures() -> None:
    def event(kind: str, second: float, **values: Any) -> dict[str, Any]:
        return {"kind": kind, "at": (NOON + timedelta(seconds=second)).isoformat(), **values}

    events = [
        event("requested", 0),
        event("first_frame", 2),
        event("stall_started", 10),
        event("stall_ended", 13),
        event("paused", 20),
        event("resumed", 50),
        event("failed", 53, error_code="net", http_status=503),
    ]
    facts = facts_of({"player": {"events": events}})
    assert facts.number("player.start_delay_ms") == 2_000
    assert facts.number("player.stall_ms") == 3_000
    assert facts.number("player.play_ms") == 8_000 + 7_000 + 3_000
    assert (facts.value("player.failed"), facts.number("player.http_status")) == (True, 503)


@pytest.mark.parametrize(
    ("mine", "lowest", "expected"),
    [
        ("8.2.0", {"": "8.10"}, True),
        ("8.10", {"": "8.2.9"}, False),
        ("7.1", {"ios": "8"}, None),
        ("7.1", {"android": "8"}, True),
        ("beta", {"": "8"}, None),
    ],
)
def test_app_versions_compare_as_numbers(mine: str, lowest: dict[str, str], expected: bool | None) -> None:
    shot = {"device": {"app_version": mine, "os": "Android"}}
    assert facts_of(shot, lowest_app_versions=lowest).value("app.unsupported") is expected


def test_lwm2m_coverage_level_is_off_by_one() -> None:
    assert facts_of({"iot": {"lwm2m": {"/4/0/13": 3}}}).number("radio.ce_level") == 2


def test_a_sleeping_thing_is_not_overdue() -> None:
    shot = {"iot": {"last_seen_at": (NOON - timedelta(hours=20)).isoformat(), "expected_every_s": 86_400}}
    overdue = facts_of(shot).number("iot.overdue_ratio")
    assert overdue is not None
    assert overdue < 1


@pytest.mark.parametrize(
    ("age_s", "weight"), [(-60, 1.0), (0, 1.0), (300, 1.0), (1_500, 0.5), (2_700, 0.0), (9_999, 0.0)]
)
def test_facts_fade(age_s: float, weight: float) -> None:
    assert freshness(NOON - timedelta(seconds=age_s), NOON) == weight


def test_an_observation_of_the_line_goes_before_a_setting_for_all() -> None:
    general = evidence_from_settings(["cmnet", "CMIOT"], NOON)
    own = evidence_from_upstream(
        "hlr", {"apn": "private.corp"}, {"account.apns": "/apn"}, received_at=NOON, at=NOON
    )
    assert EvidenceSet([*general, *own]).value("account.apns") == "private.corp"
    assert EvidenceSet(general).value("account.apns") == "cmiot,cmnet"


@pytest.mark.parametrize(
    ("claimed", "status", "expected"),
    [
        (NOON - timedelta(minutes=40), {}, NOON - timedelta(minutes=40)),
        (NOON - timedelta(hours=169), {}, NOON),
        (NOON + timedelta(minutes=1), {}, NOON),
        (NOON - timedelta(minutes=40), {"clock_offset_ms": -2_400_000}, NOON),
        (None, {}, NOON),
    ],
)
def test_the_moment_of_the_fault(
    claimed: datetime | None, status: dict[str, Any], expected: datetime
) -> None:
    shot = {"observed_at": claimed and claimed.isoformat(), "status": status}
    assert fault_time_of(shot, NOON) == expected


def sample(vantage: str, minutes: float = 1, service: str = "video", **values: float) -> LineSample:
    at = NOON - timedelta(minutes=minutes)
    return LineSample(vantage, service, at, at, values, {})


def test_the_lines_samples_become_medians_and_shares() -> None:
    facts = EvidenceSet(
        evidence_from_line(
            [
                sample("pipe", tcp_setup_server_ms=10, tcp_setup_user_ms=300, rsrp_dbm=-115),
                sample("pipe", tcp_setup_server_ms=30, tcp_setup_user_ms=500, rsrp_dbm=-100),
                sample("pipe", tcp_setup_server_ms=20),
                sample("cloud", first_byte_ms=100, http_5xx_ratio=0.5),
                sample("cloud", first_byte_ms=100, http_5xx_ratio=0.0),
            ],
            "video",
            NOON,
        )
    )
    assert facts.number("line.syn_synack_ms") == 20
    assert facts.number("line.synack_ack_ms") == 400
    assert facts.number("line.weak_share") == 0.5
    assert facts.number("line.cloud_error_ratio") == 0.25
    assert facts.number("line.samples") == 5
    assert facts.number("line.bad_share") == pytest.approx(
        0.6
    )  # two pipe set-ups over 200 ms, one cloud error


def test_samples_after_the_fault_or_of_another_service_are_left_out() -> None:
    late = sample("pipe", -1, tcp_setup_server_ms=900)
    other = sample("cloud", service="web", first_byte_ms=5_000)
    assert evidence_from_line([late, other], "video", NOON) == ()


def test_covering_orders_become_evidence() -> None:
    order = OpenOrderRef("o", "W-1", "cell_fault", "network", {"cell": "c"}, NOON, 7)
    facts = EvidenceSet(evidence_from_orders([order], NOON))
    assert (facts.number("orders.count"), facts.value("orders.cell_fault")) == (1, True)
    assert "orders.core_failure" not in facts
    assert EvidenceSet(evidence_from_orders([], NOON)).number("orders.count") == 0


def test_an_upstreams_answer_is_read_by_pointer_and_type() -> None:
    answer = {"line": {"state": "ARREARS", "a/b": [True]}, "throttled": "yes"}
    fields = {
        "account.status": "/line/state",
        "account.service_allowed": "/line/a~1b/0",
        "account.throttled": "/throttled",
        "account.apns": "/none",
    }
    facts = EvidenceSet(evidence_from_upstream("hlr", answer, fields, received_at=NOON, at=NOON))
    assert {key: fact.value for key, fact in facts.items()} == {
        "account.status": "arrears",
        "account.service_allowed": True,
    }
    assert facts["account.status"].origin == "upstream:hlr"


@pytest.mark.parametrize(("pointer", "value"), [("", {"a": [1]}), ("/a/0", 1), ("/a/1", None), ("/b", None)])
def test_pointers(pointer: str, value: Any) -> None:
    assert resolve_pointer({"a": [1]}, pointer) == value


def test_unknown_dimensions_are_empty() -> None:
    found = dimensions_of({"place": {"city": " Shenzhen ", "cell": 7}, "player": {"node": "n"}})
    assert (found["city"], found["node"], found["cell"], found["model"]) == ("Shenzhen", "n", "", "")


def test_a_specific_measured_symptom_replaces_the_vague_word() -> None:
    facts = facts_of({"probes": [{"role": "origin", "http_status": 503}]})
    assert derive_symptoms(facts, "fails").all == {Symptom.HTTP_5XX}
    assert derive_symptoms(facts_of({}), "fails").all == {Symptom.FAILS}
    assert derive_symptoms(facts_of({}), "it is haunted").all == frozenset()


def test_evidence_needs_a_key_of_the_catalogue() -> None:
    assert make_evidence("no.such", 1, origin="terminal", observed_at=NOON, received_at=NOON, at=NOON) is None
