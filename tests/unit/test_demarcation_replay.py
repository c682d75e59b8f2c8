"""Replay: the same verdict, bit for bit, whatever way the bundle took; and what a re-check proves."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import pytest

from demarcation.casefile import BundleError, read_casefile
from demarcation.decide import DecisionSettings, decide
from demarcation.recheck import compare
from demarcation.replay import encode_verdict, make_bundle, replay, replay_stream
from demarcation.rules import load_shipped_rules
from demarcation.taxonomy import load_taxonomy
from demarcation.verdict import MissingSource
from tests.unit.demarcation_cases import (
    AT,
    HEALTHY_PEERS,
    SMOOTH,
    STALLING,
    WEAK_RADIO,
    case,
    judge,
    origin,
    snapshot,
)

RULES, TAXONOMY, SETTINGS = load_shipped_rules(), load_taxonomy(), DecisionSettings()
SAMPLE = {
    "vantage": "pipe",
    "service": "video",
    "observed_at": "2026-03-01T11:40:00Z",
    "values": {"tcp_setup_user_ms": 312.5, "tcp_setup_server_ms": 1 / 3},
}
CASES = [
    case({}),
    case(snapshot({"airplane_mode": True})),
    case(snapshot(radio=WEAK_RADIO, player=STALLING), peers=HEALTHY_PEERS, samples=[SAMPLE]),
    case(
        snapshot(player=SMOOTH, probes=[origin()]),
        orders=[{"cause": "cell_fault", "order_id": "o", "number": "W", "domain": "network"}],
    ),
    replace(case(snapshot(player=STALLING)), missing=(MissingSource("line", "no answer in time", 2_000),)),
]


@pytest.mark.parametrize("one", CASES)
def test_a_stored_bundle_gives_the_same_bytes(one: Any) -> None:
    verdict = encode_verdict(decide(one, RULES, TAXONOMY, SETTINGS))
    bundle = json.loads(json.dumps(make_bundle(one, RULES, TAXONOMY, SETTINGS)))
    assert read_casefile(bundle["case"]) == one
    assert encode_verdict(replay(bundle)) == verdict


@pytest.mark.parametrize("one", CASES)
def test_the_order_of_arrival_changes_nothing(one: Any) -> None:
    shuffled = list(one.evidence)
    random.Random(7).shuffle(shuffled)
    again = replace(one, evidence=tuple(shuffled), peers=tuple(reversed(one.peers)))
    assert encode_verdict(decide(again, RULES, TAXONOMY, SETTINGS)) == encode_verdict(
        decide(one, RULES, TAXONOMY, SETTINGS)
    )


def test_settings_are_part_of_the_bundle() -> None:
    one = case(snapshot(player=STALLING, probes=[origin(http_status=503)]))
    strict = DecisionSettings(decide_from=0.999)
    bundle = make_bundle(one, RULES, TAXONOMY, strict)
    assert replay(bundle).domain == "undetermined"
    assert judge(snapshot(player=STALLING, probes=[origin(http_status=503)])).domain == "platform"


def test_a_raw_bundle_needs_no_server() -> None:
    raw = {"at": AT, "snapshot": snapshot({"apn": "cmwap"}, symptom="offline"), "provisioned_apns": ["cmnet"]}
    assert replay(raw).cause == "wrong_apn"


def test_a_bad_line_becomes_an_error_line_and_stops_nothing() -> None:
    good = json.dumps({"at": AT, "snapshot": {"settings": {"airplane_mode": True}}}).encode()
    stored = json.dumps(make_bundle(CASES[1], RULES, TAXONOMY, SETTINGS)).encode()
    other = json.loads(stored) | {"ruleset": {"version": "old", "sha256": "0" * 64}}
    lines = [
        good + b"\n",
        b"{not json\n",
        b"[]\n",
        b"\n",
        b'{"at":"yesterday","snapshot":{}}\n',
        b"[" * 100_000 + b"\n",
        json.dumps({"format": 9, "case": {}}).encode(),
        json.dumps({"format": 1, "case": {"at": AT}}).encode(),
        json.dumps({"format": 1, "case": 3}).encode(),
        json.dumps({"at": AT, "snapshot": {}, "peers": [{"dimension": "cell"}]}).encode(),
        json.dumps({"at": AT, "snapshot": {}, "samples": 3}).encode(),
        stored,
        json.dumps(other).encode(),
    ]
    answers = [json.loads(line) for line in replay_stream(lines, RULES)]
    assert [answer["line"] for answer in answers] == [1, 2, 3, 5, 6, 7, 8, 9, 10, 11, 12, 13]
    failed = [answer for answer in answers if "error" in answer]
    assert [answer["line"] for answer in failed] == [2, 3, 5, 6, 7, 8, 9, 10, 11]
    assert all(answer["error"]["detail"] for answer in failed)
    assert answers[0]["verdict"]["cause"] == "airplane_mode"
    assert [answers[0]["same_rules"], answers[-2]["same_rules"], answers[-1]["same_rules"]] == [
        None,
        True,
        False,
    ]
    assert answers[-1]["ruleset"] == {"version": RULES.version, "sha256": RULES.sha256}


def test_error_lines_begin_with_the_error() -> None:
    [line] = replay_stream([b"nonsense"], RULES)
    assert line.startswith(b'{"error":')


@pytest.mark.parametrize("settings", [3, {"unknown": 1}, {"decide_from": "high"}])
def test_wrong_settings_of_a_bundle_are_refused(settings: Any) -> None:
    bundle = make_bundle(CASES[0], RULES, TAXONOMY, SETTINGS) | {"settings": settings}
    with pytest.raises(BundleError, match="settings"):
        replay(bundle)


AIRPLANE = snapshot({"airplane_mode": True}, symptom="no_service")
WELL = snapshot(player=SMOOTH, probes=[origin()])


@pytest.mark.parametrize(
    ("before", "after", "change", "gone"),
    [
        (AIRPLANE, snapshot(), "gone", True),
        (AIRPLANE, WELL, "gone", True),
        (AIRPLANE, AIRPLANE, "still", False),
        (AIRPLANE, snapshot(radio=WEAK_RADIO, player=STALLING), "another", True),
        (AIRPLANE, {}, "unclear", None),
        (WELL, WELL, "none_before", None),
        ({}, WELL, "gone", True),
        ({}, {}, "unclear", None),
        (WELL, AIRPLANE, "another", True),
    ],
)
def test_a_re_check_says_what_became_of_the_fault(
    before: dict[str, Any], after: dict[str, Any], change: str, gone: bool | None
) -> None:
    told = compare(judge(before).document(), case(after), judge(after), RULES)
    assert (told["change"], told["fault_gone"]) == (change, gone)
    assert told["says"]["zh"]
    assert told["says"]["en"]
