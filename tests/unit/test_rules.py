"""Rule files: three-valued, bound to the taxonomy and the catalogue, and refused with line, rule and reason."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cem.platform.errors import ConfigurationError
from demarcation.conditions import ConditionError, Ternary, parse_condition
from demarcation.evidence import EvidenceSet, catalogue, make_evidence
from demarcation.rules import evaluate, load_rules, load_shipped_rules, parse_rules
from demarcation.symptoms import Symptom
from demarcation.taxonomy import Domain, load_taxonomy, parse_taxonomy

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)

GOOD = """\
version = "t"
[groups]
slow = ["stall"]

[[rule]]
id = "X001"
cause = "weak_coverage"
explains = ["@slow"]
when = [{ key = "radio.rsrp_dbm", lt = -110 }]
fired = 1.5
not_fired = -1.0
says = { zh = "弱", en = "weak" }
comment = "why"
source = "where"
"""


def facts(**values: Any) -> EvidenceSet:
    made = [
        make_evidence(
            key.replace("__", "."), value, origin="terminal", observed_at=NOON, received_at=NOON, at=NOON
        )
        for key, value in values.items()
    ]
    return EvidenceSet([fact for fact in made if fact is not None])


def test_the_shipped_rules_reach_every_cause() -> None:
    rules, taxonomy = load_shipped_rules(), load_taxonomy()
    reached = {rule.cause for rule in rules.rules} | {c for rule in rules.rules for c in rule.also}
    assert set(taxonomy) <= reached


def test_every_rule_says_why_and_where_from() -> None:
    for rule in load_shipped_rules().rules:
        assert rule.comment, rule.id
        assert rule.source, rule.id
        assert rule.says.zh, rule.id
        assert rule.says.en, rule.id
        assert rule.explains, rule.id


def test_only_hard_facts_veto() -> None:
    vetoes = {rule.cause for rule in load_shipped_rules().rules if rule.veto}
    assert vetoes == {
        "airplane_mode",
        "mobile_data_off",
        "sim_absent",
        "sim_failed",
        "captive_portal",
        "account_arrears",
        "account_barred",
    }


def test_terminal_causes_name_the_settings_path() -> None:
    for cause in load_taxonomy().values():
        if cause.domain is Domain.TERMINAL:
            assert cause.android
            assert cause.ios


@pytest.mark.parametrize(
    ("values", "state"),
    [({"radio__rsrp_dbm": -118}, "fired"), ({"radio__rsrp_dbm": -90}, "not_fired"), ({}, "unknown")],
)
def test_a_rule_is_ternary(values: dict[str, Any], state: str) -> None:
    [found] = evaluate(parse_rules(GOOD, "r.toml", load_taxonomy()), facts(**values), frozenset(), "video")
    assert found.state == state
    assert found.strength == {"fired": 1.5, "not_fired": -1.0, "unknown": 0.0}[state]


def test_a_rule_that_cannot_explain_the_symptom_says_so() -> None:
    rules = parse_rules(GOOD, "r.toml", load_taxonomy())
    known = facts(radio__rsrp_dbm=-118)
    assert not evaluate(rules, known, frozenset({Symptom.HTTP_5XX}), "video")[0].explains
    assert evaluate(rules, known, frozenset({Symptom.STALL}), "video")[0].explains


def test_a_rule_for_another_service_is_not_asked() -> None:
    text = GOOD.replace('cause = "weak', 'services = ["iot"]\ncause = "weak')
    rules = parse_rules(text, "r.toml", load_taxonomy())
    assert evaluate(rules, facts(), frozenset(), "video") == []
    assert len(evaluate(rules, facts(), frozenset(), "iot")) == 1
    assert not rules.concerns("weak_coverage", "video")


@pytest.mark.parametrize(
    ("old", "new", "line", "reason"),
    [
        ('cause = "weak_coverage"', 'cause = "weak_cover"', 7, "no cause 'weak_cover'"),
        ("lt = -110", "lt = true", 9, "lt compares numbers"),
        ("lt = -110", "below = -110", 9, "give exactly one of"),
        ("radio.rsrp_dbm", "radio.rsrp", 9, "no evidence called 'radio.rsrp'"),
        ("fired = 1.5", "fired = 99", 10, "`fired` is a number"),
        ("fired = 1.5\n", "", 5, "`fired` is a number"),
        ('["@slow"]', '["@fast"]', 8, "no group @fast"),
        ('["@slow"]', '["itches"]', 8, "no symptom 'itches'"),
        ('comment = "why"\n', "", 5, "`comment` is missing"),
        ('comment = "why"', 'comment = "why"\nweight = 3', 14, "unknown field `weight`"),
        ('id = "X001"', 'id = "x1"', 6, "an id is"),
        (
            'source = "where"',
            'source = "where"\nalso = { nobody = 1 }',
            15,
            "no cause, domain or segment 'nobody'",
        ),
        ('source = "where"', 'source = "where"\nhealth = "peers"', 15, "health is one of"),
        ('source = "where"', 'source = "where"\nfrom = "peers.cell"', 9, "either `when` or `from`"),
    ],
)
def test_a_wrong_rule_is_refused_with_line_rule_and_reason(
    old: str, new: str, line: int, reason: str
) -> None:
    assert old in GOOD
    with pytest.raises(ConfigurationError) as caught:
        parse_rules(GOOD.replace(old, new, 1), "mine.toml", load_taxonomy())
    assert caught.value.detail.startswith(f"mine.toml:{line}: rule ")
    assert reason in caught.value.detail


def test_an_id_is_never_used_twice() -> None:
    again = GOOD[GOOD.index("[[rule]]") :]
    with pytest.raises(ConfigurationError, match=r"mine\.toml:17: rule X001: the id X001 occurs twice"):
        parse_rules(f"{GOOD}\n{again}", "mine.toml", load_taxonomy())


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("version = 1 2", "line 1"),
        ('version = "1"\n', r"no \[\[rule"),
        ("[groups]\n", "`version` is missing"),
    ],
)
def test_a_broken_file_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        parse_rules(text, "mine.toml", load_taxonomy())


def test_an_operators_file_is_read_from_disk(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD, "utf-8")
    assert load_rules(path).version == "t"
    assert load_rules(None) is load_shipped_rules()
    with pytest.raises(ConfigurationError, match=r"none\.toml"):
        load_rules(tmp_path / "none.toml")


F, N, U = Ternary.FIRED, Ternary.NOT_FIRED, Ternary.UNKNOWN
VPN = {"key": "settings.vpn", "is": True}
PROXY = {"key": "settings.proxy", "is": True}


@pytest.mark.parametrize(
    ("vpn", "proxy", "conjunction", "disjunction"),
    [
        (True, True, F, F),
        (True, False, N, F),
        (True, None, U, F),
        (False, None, N, U),
        (None, None, U, U),
        (False, False, N, N),
    ],
)
def test_kleenes_logic(
    vpn: bool | None, proxy: bool | None, conjunction: Ternary, disjunction: Ternary
) -> None:
    known = facts(settings__vpn=vpn, settings__proxy=proxy)
    assert parse_condition({"all": [VPN, PROXY]}, catalogue()).test(known) is conjunction
    assert parse_condition({"any": [VPN, PROXY]}, catalogue()).test(known) is disjunction


@pytest.mark.parametrize(("vpn", "negated", "assumed"), [(True, N, N), (False, F, F), (None, U, F)])
def test_negation_keeps_unknown_unless_told(vpn: bool | None, negated: Ternary, assumed: Ternary) -> None:
    known = facts(settings__vpn=vpn)
    assert parse_condition({"not": VPN}, catalogue()).test(known) is negated
    assert parse_condition({"not_known": VPN}, catalogue()).test(known) is assumed


@pytest.mark.parametrize(
    ("comparison", "state"),
    [
        ({"is": 5}, F),
        ({"is_not": 5}, N),
        ({"lt": 5}, N),
        ({"le": 5}, F),
        ({"gt": 4}, F),
        ({"ge": 6}, N),
        ({"in": [4, 5]}, F),
        ({"not_in": [4, 5]}, N),
    ],
)
def test_comparisons(comparison: dict[str, Any], state: Ternary) -> None:
    parsed = parse_condition({"key": "nas.emm", **comparison}, catalogue())
    assert parsed.test(facts(nas__emm=5)) is state
    assert parsed.test(facts()) is U


def test_a_text_against_another_facts_list() -> None:
    parsed = parse_condition([{"key": "settings.apn", "not_listed_in": "account.apns"}], catalogue())
    assert parsed.test(facts(settings__apn="CMNET", account__apns=["cmnet", "cmiot"])) is N
    assert parsed.test(facts(settings__apn="cmwap", account__apns=["cmnet"])) is F
    assert parsed.test(facts(settings__apn="cmwap")) is U


@pytest.mark.parametrize(
    "data",
    [
        {},
        [],
        "settings.vpn",
        {"any": []},
        {"xor": [VPN]},
        {"all": [VPN], "any": [PROXY]},
        {"key": "settings.vpn", "is": "true"},
        {"key": "settings.apn", "not_listed_in": "settings.vpn"},
        {"key": "nas.emm", "in": []},
        {"not": {"not": {"not": {"not": {"not": {"not": {"not": VPN}}}}}}},
        {"key": ["settings.vpn"], "is": True},
    ],
)
def test_a_condition_that_cannot_be_read_is_refused(data: Any) -> None:
    with pytest.raises(ConditionError):
        parse_condition(data, catalogue())


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('domain = "network"', 'domain = "weather"', "weather"),
        ('owner = "customer"\n', "", "`owner` is missing"),
        (
            'ios = { zh = "设置 > 飞行模式", en = "Settings > Airplane Mode" }\n',
            "",
            "path on android and ios",
        ),
        ('id = "mobile_data_off"', 'id = "airplane_mode"', "occurs twice"),
        ("prior = 0.10", "prior = 0.60", "make 1"),
        ("prior = 0.10", "prior = 1.5", "between 0 and 1"),
    ],
)
def test_a_wrong_taxonomy_is_refused(old: str, new: str, reason: str) -> None:
    text = (Path(__file__).parents[2] / "demarcation/data/causes.toml").read_text("utf-8")
    assert old in text
    with pytest.raises(ConfigurationError, match=reason):
        parse_taxonomy(text.replace(old, new, 1))
