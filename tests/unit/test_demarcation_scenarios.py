"""Faults as a customer has them, from hand-built snapshots, and what the verdict must say of each."""

from __future__ import annotations

from typing import Any

import pytest

from demarcation.taxonomy import Domain
from tests.unit.demarcation_cases import (
    HEALTHY_PEERS,
    REFERENCE,
    SMOOTH,
    STALLING,
    WEAK_RADIO,
    judge,
    origin,
    peer,
    snapshot,
)

SLOW_ORIGIN = [origin(first_byte_ms=3_000), REFERENCE]
FAILING_ORIGIN = [origin(http_status=503), REFERENCE]


def resolver(which: str, **outcome: Any) -> dict[str, Any]:
    return {"role": "resolver", "resolver": which, **outcome}


@pytest.mark.parametrize(
    ("name", "shot", "others", "domain", "cause"),
    [
        ("healthy", snapshot(player=SMOOTH, probes=[origin(), REFERENCE]), {}, "no_fault", "healthy"),
        (
            "healthy, though the customer says it stalls",
            snapshot(player=SMOOTH, probes=[origin(), REFERENCE], symptom="stall"),
            {},
            "no_fault",
            "healthy",
        ),
        ("healthy by peers", snapshot(player=SMOOTH), {"peers": HEALTHY_PEERS}, "no_fault", "healthy"),
        (
            "airplane",
            snapshot({"airplane_mode": True}, symptom="no_service"),
            {},
            "terminal",
            "airplane_mode",
        ),
        (
            "airplane, nothing else known",
            {"settings": {"airplane_mode": True}},
            {},
            "terminal",
            "airplane_mode",
        ),
        ("data off", snapshot({"mobile_data": False}, symptom="offline"), {}, "terminal", "mobile_data_off"),
        (
            "no SIM",
            snapshot(status={"sim_state": "absent", "registered": False}),
            {},
            "terminal",
            "sim_absent",
        ),
        ("other APN", snapshot({"apn": "CMWAP"}, symptom="offline"), {}, "terminal", "wrong_apn"),
        (
            "right APN, refused",
            snapshot(status={"nas_cause": {"esm": 27}, "network_type": "none"}, symptom="offline"),
            {},
            "network",
            "apn_provisioning_fault",
        ),
        (
            "private DNS",
            snapshot(
                {"private_dns": "host"},
                probes=[resolver("private", dns_error="timeout"), resolver("operator", dns_ms=18)],
                symptom="offline",
            ),
            {},
            "terminal",
            "private_dns_broken",
        ),
        (
            "operator's DNS, many",
            snapshot(probes=[resolver("operator", dns_error="timeout")], symptom="fails"),
            {"peers": [peer("gateway", 200, 70), peer("cell", 12, 5), peer("source", 300, 50)]},
            "network",
            "operator_dns_failure",
        ),
        (
            "a name that is not there",
            snapshot(probes=[resolver("operator", dns_error="NXDOMAIN"), REFERENCE], symptom="fails"),
            {},
            "platform",
            "domain_nxdomain",
        ),
        (
            "captive portal",
            snapshot(status={"network_type": "wifi", "captive_portal": True}, symptom="fails", radio=None),
            {},
            "terminal",
            "captive_portal",
        ),
        (
            "weak Wi-Fi",
            snapshot(status={"network_type": "wifi", "wifi_rssi_dbm": -86}, player=STALLING, radio=None),
            {},
            "terminal",
            "weak_wifi",
        ),
        (
            "clock",
            snapshot(
                status={"clock_offset_ms": -3e10},
                probes=[{"role": "node", "tcp_ms": 30, "tls_error": "certificate_not_yet_valid"}],
                symptom="fails",
            ),
            {},
            "terminal",
            "clock_wrong",
        ),
        (
            "certificate with a right clock",
            snapshot(
                probes=[{"role": "node", "tcp_ms": 30, "tls_error": "certificate expired"}], symptom="fails"
            ),
            {},
            "platform",
            "certificate_invalid",
        ),
        ("weak coverage", snapshot(radio=WEAK_RADIO, player=STALLING), {}, "network", "weak_coverage"),
        (
            "interference",
            snapshot(radio={"rsrp_dbm": -82, "sinr_db": -2, "neighbour_rsrp_dbm": [-99]}, player=STALLING),
            {},
            "network",
            "radio_interference",
        ),
        (
            "cell down",
            snapshot(player=STALLING),
            {"peers": [peer("cell", 12, 6), peer("node", 200, 4), peer("source", 400, 9)]},
            "network",
            "cell_fault",
        ),
        (
            "gateway",
            snapshot(player=STALLING),
            {
                "peers": [
                    peer("cell", 12, 6),
                    peer("gateway", 300, 140),
                    peer("node", 200, 25),
                    peer("source", 400, 50),
                ]
            },
            "network",
            "transport_fault",
        ),
        (
            "core refuses",
            snapshot(status={"nas_cause": {"emm": 22}, "registered": False}, symptom="no_service"),
            {},
            "network",
            "core_failure",
        ),
        (
            "arrears",
            snapshot(symptom="no_service"),
            {"upstreams": {"billing": {"account.status": "arrears"}}},
            "network",
            "account_arrears",
        ),
        ("slow origin", snapshot(player=STALLING, probes=SLOW_ORIGIN), {}, "platform", "origin_slow"),
        ("failing origin", snapshot(player=STALLING, probes=FAILING_ORIGIN), {}, "platform", "origin_errors"),
        (
            "one CDN node",
            snapshot(player=STALLING, probes=[{"role": "node", "tcp_ms": 900}, REFERENCE]),
            {},
            "platform",
            "cdn_node_fault",
        ),
        (
            "overloaded node",
            snapshot(player=STALLING),
            {
                "samples": [
                    {
                        "vantage": "cloud",
                        "service": "video",
                        "observed_at": "2026-03-01T11:59:00Z",
                        "values": {"first_byte_ms": 1_900, "cache_hit_ratio": 1, "http_5xx_ratio": 0},
                    }
                ]
            },
            "platform",
            "cdn_overload",
        ),
        (
            "refused content",
            snapshot(player={"figures": {"http_status": 403, "error_code": "drm"}}, probes=[REFERENCE]),
            {},
            "platform",
            "content_refused",
        ),
        (
            "one app version",
            snapshot(player={"figures": {"error_code": "decoder_failed"}}, symptom="fails"),
            {"peers": [*HEALTHY_PEERS, peer("app_version", 60, 40)]},
            "platform",
            "app_release_fault",
        ),
        (
            "mass fault",
            snapshot(player=STALLING),
            {"orders": [{"cause": "cell_fault", "order_id": "o", "number": "W-1", "domain": "network"}]},
            "network",
            "cell_fault",
        ),
        (
            "IoT device",
            {"service": "iot", "symptom": "iot_silent", "iot": {"lwm2m": {"/3/0/11": 1, "/3/0/9": 3}}},
            {},
            "terminal",
            "iot_device_fault",
        ),
    ],
)
def test_the_verdict_names_side_and_cause(
    name: str, shot: dict[str, Any], others: dict[str, Any], domain: str, cause: str
) -> None:
    verdict = judge(shot, **others)
    assert (verdict.domain.value, verdict.cause) == (domain, cause), (name, verdict.suspects, verdict.sides)
    assert verdict.confidence >= 0.6
    assert verdict.advice[0]["cause"] == cause


def test_a_weak_battery_does_not_explain_a_503() -> None:
    verdict = judge(snapshot({"power_save": True}, {"battery_pct": 4}, probes=FAILING_ORIGIN))
    assert (verdict.domain, verdict.cause) == (Domain.PLATFORM, "origin_errors")
    assert "T014" in {reason.rule for reason in verdict.noted}, "it is told as noted, and counts for nothing"
    assert "power_save" not in {suspect.cause for suspect in verdict.suspects}


def test_a_customers_vpn_does_not_explain_that_others_fail() -> None:
    alone = judge(snapshot({"vpn": True}, player=STALLING), peers=HEALTHY_PEERS)
    among_many = judge(
        snapshot({"vpn": True}, player=STALLING), peers=[peer("cell", 12, 6), peer("source", 400, 9)]
    )
    assert (alone.domain, alone.cause) == (Domain.TERMINAL, "vpn_or_proxy")
    assert among_many.domain is Domain.NETWORK


def test_airplane_mode_over_wifi_is_no_cause() -> None:
    verdict = judge(snapshot({"airplane_mode": True}, {"network_type": "wifi"}, player=STALLING, radio=None))
    assert verdict.cause != "airplane_mode"


def test_a_hard_fact_does_not_silence_a_fault_that_others_have() -> None:
    verdict = judge(snapshot({"airplane_mode": True}, symptom="no_service"), peers=[peer("cell", 12, 6)])
    causes = {verdict.cause, *(suspect.cause for suspect in verdict.secondary)}
    assert causes == {"airplane_mode", "cell_fault"}


def test_two_faults_at_once_are_both_named() -> None:
    verdict = judge(snapshot(radio=WEAK_RADIO, player=STALLING, probes=[origin(http_status=503)]))
    assert verdict.cause == "origin_errors"
    assert [suspect.cause for suspect in verdict.secondary] == ["weak_coverage"]
    assert [advice["cause"] for advice in verdict.advice] == ["origin_errors", "weak_coverage"]


@pytest.mark.parametrize(
    "shot", [{}, {"symptom": "stall"}, {"service": "video", "place": {"city": "Shenzhen"}}]
)
def test_nothing_known_is_undetermined_and_says_what_would_settle_it(shot: dict[str, Any]) -> None:
    verdict = judge(shot)
    assert (verdict.domain, verdict.cause) == (Domain.UNDETERMINED, "")
    assert len(verdict.would_settle) == 5
    assert all(step.gain > 0 and step.label.zh and step.label.en for step in verdict.would_settle)
    assert verdict.advice == ()


def test_no_bad_sign_alone_is_not_health() -> None:
    """Settings in order and a good signal: nothing measured says that the service works."""
    assert judge(snapshot()).domain is Domain.UNDETERMINED
    assert judge(snapshot(player=SMOOTH)).domain is Domain.UNDETERMINED, "one kind of health is not enough"


def test_a_measured_symptom_is_never_no_fault() -> None:
    verdict = judge(snapshot(player=STALLING, probes=[origin(), REFERENCE]), peers=HEALTHY_PEERS)
    assert verdict.domain is not Domain.NO_FAULT


def test_confidence_names_its_origin() -> None:
    document = judge(snapshot({"airplane_mode": True})).document()
    assert document["calibration"] == "expert priors, uncalibrated"
    assert document["confidence"] <= 0.99


def test_healthy_peers_speak_for_the_terminal() -> None:
    shot = snapshot({"vpn": True}, player=STALLING)
    assert judge(shot, peers=HEALTHY_PEERS).sides["terminal"] > judge(shot).sides["terminal"] + 0.2


def test_reasons_carry_the_facts_they_read() -> None:
    verdict = judge(snapshot(radio=WEAK_RADIO, player=STALLING))
    first = verdict.reasons_for[0]
    assert (first.rule, dict(first.facts)["radio.rsrp_dbm"]) == ("N001", -118.0)
    assert verdict.reasons_for == tuple(
        sorted(verdict.reasons_for, key=lambda r: (-r.log10, r.rule, r.cause))
    )
