"""One cause in one scope is one key, however its dimensions are ordered; a wider scope is its parent."""

from __future__ import annotations

import tomllib
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workorders.grouping import Grouping, group_of, scope_key, swallows
from workorders.scope import RULES, UNKNOWN, Owner, Scope, Segment, possible_scopes, scope_of
from workorders.segments import CAUSE_SEGMENTS, segment_of

NAMES = ("city", "area", "cell", "gateway", "source", "node", "model", "app_version", "province")
VALUES = st.text(alphabet="ab=&|%é北", max_size=4)
DIMENSIONS = st.dictionaries(st.sampled_from(NAMES), VALUES)
CAUSES = st.sampled_from([*CAUSE_SEGMENTS, "something_new"])
DOMAINS = st.sampled_from(["network", "platform", "terminal", "undetermined", "no_fault"])

FULL = {
    "province": "js",
    "city": "nanjing",
    "area": "ta-7",
    "cell": "460-00-7-1",
    "gateway": "gw-2",
    "source": "pear-tv",
    "node": "nj-1",
    "model": "P60",
    "os": "android",
    "app_version": "9.1",
}


def group(cause: str, domain: str, dimensions: dict[str, str], subscriber: str = "s_1") -> Grouping:
    return group_of(cause, domain, dimensions, service="video", subscriber_id=subscriber)


@pytest.mark.parametrize(
    ("cause", "domain", "scope", "owner"),
    [
        ("weak_coverage", "network", {"cell": "460-00-7-1"}, Owner.RADIO),
        ("core_failure", "network", {"gateway": "gw-2"}, Owner.CORE),
        ("transport_fault", "network", {"gateway": "gw-2"}, Owner.TRANSPORT),
        ("operator_dns_failure", "network", {"gateway": "gw-2"}, Owner.CORE),
        ("cdn_node_fault", "platform", {"node": "nj-1"}, Owner.CDN),
        ("origin_errors", "platform", {"source": "pear-tv"}, Owner.PLATFORM),
        ("app_server_errors", "platform", {"source": "pear-tv"}, Owner.APP),
        ("app_release_fault", "platform", {"app_version": "9.1", "service": "video"}, Owner.APP),
        ("iot_platform_fault", "platform", {"source": "pear-tv"}, Owner.IOT),
        ("device_model_fault", "terminal", {"model": "P60", "os": "android"}, Owner.APP),
        ("account_arrears", "network", {"subscriber": "s_1"}, Owner.ACCOUNTS),
        ("airplane_mode", "terminal", {"subscriber": "s_1"}, Owner.CARE),
        ("cdn_node_fault", "undetermined", {"subscriber": "s_1"}, Owner.CARE),
    ],
)
def test_a_cause_reads_the_dimensions_of_its_segment(
    cause: str, domain: str, scope: dict[str, str], owner: Owner
) -> None:
    found = group(cause, domain, FULL)
    assert found.scope.as_dict() == scope
    assert found.owner is owner


@pytest.mark.parametrize(
    ("known", "scope"),
    [
        ({"area": "ta-7", "city": "nanjing"}, {"area": "ta-7"}),
        ({"city": "nanjing", "province": "js"}, {"city": "nanjing", "service": "video"}),
        ({"province": "js", "cell": ""}, {"province": "js", "service": "video"}),
        ({}, {"service": "video"}),
    ],
)
def test_what_is_unknown_falls_back_to_place_and_service(
    known: dict[str, str], scope: dict[str, str]
) -> None:
    assert group("weak_coverage", "network", known).scope.as_dict() == scope


def test_a_fault_that_came_with_nothing_still_has_a_scope() -> None:
    assert scope_of(Segment.RADIO, {}, service="", subscriber_id="s_1").as_dict() == {"service": UNKNOWN}


def test_every_cause_of_the_taxonomy_is_placed() -> None:
    """A new shared cause must be given a segment, and its owner must be the taxonomy's."""
    text = resources.files("demarcation").joinpath("data/causes.toml").read_text("utf-8")
    causes = {cause["id"]: cause for cause in tomllib.loads(text)["cause"]}
    shared = {name for name, cause in causes.items() if cause.get("shared")}
    account = {name for name, cause in causes.items() if cause["segment"] == "account"}
    assert shared | account <= set(CAUSE_SEGMENTS)
    assert set(CAUSE_SEGMENTS) <= set(causes)
    for name in shared:
        rule = RULES[segment_of(name, causes[name]["domain"])]
        assert not rule.individual, name
        assert rule.owner == causes[name]["owner"], name


@given(DIMENSIONS, CAUSES, DOMAINS, st.randoms(use_true_random=False))
def test_the_key_does_not_depend_on_order(dimensions, cause, domain, random) -> None:  # type: ignore[no-untyped-def]
    pairs = list(dimensions.items())
    random.shuffle(pairs)
    assert group(cause, domain, dict(pairs)).key() == group(cause, domain, dimensions).key()


@given(DIMENSIONS, DIMENSIONS, CAUSES, DOMAINS)
def test_equal_keys_mean_equal_groups(one, other, cause, domain) -> None:  # type: ignore[no-untyped-def]
    left, right = group(cause, domain, one), group(cause, domain, other)
    assert (left.key() == right.key()) == (left == right)


@given(DIMENSIONS, CAUSES, DOMAINS)
def test_the_scope_covers_its_own_fault_and_is_found_by_it(dimensions, cause, domain) -> None:  # type: ignore[no-untyped-def]
    found = group(cause, domain, dimensions)
    if not found.individual:
        assert found.scope.covers({**dimensions, "service": "video"})
        assert found.scope in possible_scopes(dimensions, service="video")


@given(DIMENSIONS, CAUSES, DOMAINS)
def test_grouping_a_scope_again_changes_nothing(dimensions, cause, domain) -> None:  # type: ignore[no-untyped-def]
    found = group(cause, domain, dimensions)
    again = {name: value for name, value in found.scope.as_dict().items() if name != "service"}
    assert group(cause, domain, again).key() == found.key()


@given(DIMENSIONS)
def test_parents_are_exactly_the_wider_scopes(dimensions) -> None:  # type: ignore[no-untyped-def]
    scope = Scope.of(dimensions)
    parents = list(scope.parents())
    assert len(parents) == len(set(parents)) == max(0, 2 ** len(scope.pairs) - 2)
    assert all(parent.contains(scope) and not scope.contains(parent) for parent in parents)
    assert not scope.contains(scope)


def test_values_cannot_be_confused_with_the_text_of_the_key() -> None:
    assert scope_key(Scope.of({"a": "1&b=2"})) != scope_key(Scope.of({"a": "1", "b": "2"}))


def test_an_order_on_the_source_swallows_a_case_on_one_of_its_nodes() -> None:
    origin = group("origin_errors", "platform", FULL)
    node = group("cdn_node_fault", "platform", FULL)
    assert swallows(origin, node, [FULL, FULL])
    assert not swallows(origin, node, [FULL, {**FULL, "source": "other"}]), "the node fails for others too"
    assert not swallows(origin, node), "nothing is known of its cases"
    assert not swallows(node, origin, [FULL])
    assert not swallows(origin, origin, [FULL])


def test_a_node_without_a_name_lies_under_its_source() -> None:
    origin = group("origin_errors", "platform", FULL)
    assert swallows(origin, group("cdn_node_fault", "platform", {"source": "pear-tv"}))


def test_one_broken_origin_is_slow_to_some_and_fails_for_others() -> None:
    slow, errors = group("origin_slow", "platform", FULL), group("origin_errors", "platform", FULL)
    assert slow.key() == errors.key()
    assert group("cdn_overload", "platform", FULL).key() == group("cdn_node_fault", "platform", FULL).key()
    assert group("weak_coverage", "network", FULL).key() != group("cell_fault", "network", FULL).key()


def test_a_node_that_fails_for_several_sources_is_one_cause() -> None:
    other = {**FULL, "source": "fig-tv"}
    one, two = group("cdn_node_fault", "platform", FULL), group("cdn_node_fault", "platform", other)
    assert one.key() == two.key()
    assert one.scope.as_dict() == {"node": FULL["node"]}


def test_another_cause_in_a_wider_scope_swallows_nothing() -> None:
    app = group("app_server_errors", "platform", FULL)
    assert app.scope.covers(FULL)
    assert not swallows(app, group("cdn_node_fault", "platform", FULL), [FULL])


def test_the_same_cause_on_the_whole_source_swallows_its_nodes() -> None:
    source = group("cdn_node_fault", "platform", {"source": "pear-tv"})
    assert swallows(source, group("cdn_node_fault", "platform", FULL), [FULL])


def test_a_city_wide_fallback_does_not_hide_a_cell() -> None:
    city = group("weak_coverage", "network", {"city": "nanjing"})
    assert not swallows(city, group("weak_coverage", "network", FULL), [{**FULL, "city": "nanjing"}])


def test_individual_faults_of_two_lines_never_share_a_key() -> None:
    assert (
        group("airplane_mode", "terminal", FULL, "s_1").key()
        != group("airplane_mode", "terminal", FULL, "s_2").key()
    )
