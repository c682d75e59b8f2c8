"""What the demo province sends: taken by the service as it is, the same for the same seed, and telling the truth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import mean, median
from typing import Any

import pytest

from cem.demo.faults import Fault, FaultKind, schedule
from cem.demo.traffic import SLOT, Batch, slot_of, slot_traffic, slots
from cem.demo.world import World, build_world
from kqi.catalogue import CATALOGUE
from kqi.samples import Feed, TimeBounds, read_samples
from sdk_ingest.parsing import IngestLimits, parse_body

AT = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def world() -> World:
    return build_world(11)


def traffic(world: World, faults: tuple[Fault, ...], *, slots_: int = 24, sessions: int = 40) -> Batch:
    batch = Batch()
    for slot in slots(AT - SLOT * slots_, AT):
        batch.add(slot_traffic(world, faults, slot, sessions))
    return batch


@pytest.fixture(scope="module")
def usual(world: World) -> Batch:
    return traffic(world, schedule(world, AT - HOUR, AT))


def everything(batch: Batch) -> Iterator[dict[str, Any]]:
    yield from batch.reports
    yield from batch.pipe
    yield from batch.cloud
    yield from batch.iot
    for check in batch.checks:
        yield check.snapshot
        if check.corrected is not None:
            yield check.corrected


def one_fault(kind: FaultKind, *scope: tuple[str, str]) -> tuple[Fault, ...]:
    return (Fault("fault", kind, scope, AT - HOUR, AT + HOUR, 0.8),)


def test_every_report_and_snapshot_is_taken(usual: Batch) -> None:
    documents = [*usual.reports, *(check.snapshot for check in usual.checks)]
    documents += [check.corrected for check in usual.checks if check.corrected is not None]
    body = b"\n".join(json.dumps(document).encode() for document in documents)
    parsed = parse_body(body, "application/x-ndjson", "", IngestLimits(), AT + timedelta(minutes=3))
    assert not parsed.rejects
    assert len(parsed.items) == len(documents)


def test_every_sample_is_taken(usual: Batch) -> None:
    bounds = TimeBounds(AT, timedelta(hours=1), timedelta(minutes=5))
    for feed, documents in ((Feed.PIPE, usual.pipe), (Feed.CLOUD, usual.cloud), (Feed.IOT, usual.iot)):
        items = [json.dumps(document).encode() for document in documents]
        entries, rejects = read_samples(
            items, feed, origin="demo", hash_number=lambda number: f"s_{number}", bounds=bounds
        )
        assert rejects == []
        assert len(entries) == len(documents) > 0


def test_every_indicator_sent_is_in_the_catalogue(usual: Batch) -> None:
    sent = {name for sample in (*usual.pipe, *usual.cloud, *usual.iot) for name in sample["values"]}
    assert sent <= set(CATALOGUE)


def test_the_same_slot_is_the_same_to_the_last_id(world: World) -> None:
    faults = schedule(world, AT - HOUR, AT)
    slot = slot_of(AT - timedelta(minutes=7))
    assert slot_traffic(world, faults, slot, 30) == slot_traffic(build_world(11), faults, slot, 30)


def test_a_higher_rate_only_adds(world: World) -> None:
    faults = schedule(world, AT - HOUR, AT)
    few, many = slot_traffic(world, faults, slot_of(AT), 10), slot_traffic(world, faults, slot_of(AT), 25)
    assert many.reports[:10] == few.reports
    assert len(many.reports) == 25
    assert many.iot == few.iot


def test_ids_are_not_used_twice(usual: Batch) -> None:
    checks = {check.id for check in usual.checks}
    ids = [document["id"] for document in (*usual.reports, *usual.pipe, *usual.cloud, *usual.iot)]
    assert len(set(ids)) == len(ids)
    assert checks.isdisjoint(ids)


def test_a_customer_taps_once_in_a_stretch(usual: Batch) -> None:
    by_id: dict[str, set[str]] = {}
    for check in usual.checks:
        by_id.setdefault(check.id, set()).add(check.number)
    assert all(len(numbers) == 1 for numbers in by_id.values())


def test_slots_tile_time_without_gap_or_overlap() -> None:
    since, until = AT + timedelta(seconds=3), AT + timedelta(minutes=1, seconds=3)
    found = list(slots(since, until))
    assert found[0] == AT + SLOT
    assert all(later - earlier == SLOT for earlier, later in pairwise(found))
    assert found[-1] < until <= found[-1] + SLOT


def test_things_speak_in_their_own_rhythm(world: World) -> None:
    batch = traffic(world, (), slots_=360, sessions=0)
    expected = sum(3600 / device.period_s for device in world.iot_devices)
    assert len(batch.iot) == pytest.approx(expected, rel=0.02)


def test_what_is_sent_tells_no_fault_and_no_number_but_the_line(world: World, usual: Batch) -> None:
    words = {fault.id for fault in schedule(world, AT - HOUR, AT)} | {kind.value for kind in FaultKind}
    for document in everything(usual):
        text = json.dumps(document)
        assert not any(f'"{word}"' in text for word in words)
        assert text.count("+86") == ("subscriber" in document)


def bad_share(world: World, faults: tuple[Fault, ...], dimension: str, value: str) -> tuple[float, float]:
    """Share of viewings that failed or never began, in the scope and outside of it."""
    inside: list[bool] = []
    outside: list[bool] = []
    for report in traffic(world, faults, slots_=30, sessions=60).reports:
        figures = report["player"]["figures"]
        bad = "error_code" in figures or figures.get("start_delay_ms", 0) > 4500
        group = {**report["place"], **report["device"], **report["player"]}
        (inside if group.get(dimension) == value else outside).append(bad)
    return mean(inside), mean(outside)


def test_a_broken_node_fails_its_viewers_and_nobody_else(world: World) -> None:
    node = world.nodes[0].id
    inside, outside = bad_share(world, one_fault(FaultKind.NODE_ERRORS, ("node", node)), "node", node)
    assert inside > 0.4
    assert outside < 0.1


def test_a_broken_release_fails_its_users_and_nobody_else(world: World) -> None:
    inside, outside = bad_share(
        world, one_fault(FaultKind.APP_BROKEN, ("app_version", "8.4.0")), "app_version", "8.4.0"
    )
    assert inside > 0.2
    assert outside < 0.1


def test_a_full_cell_is_slow_with_a_good_signal(world: World) -> None:
    cell = world.busy_cells[0]
    reports = traffic(world, one_fault(FaultKind.CELL_CONGESTED, ("cell", cell)), sessions=150).reports
    inside = [report for report in reports if report["place"].get("cell") == cell]
    rates = [report["probes"][-1].get("throughput_kbps", 0) for report in inside if report["probes"]]
    others = [report["probes"][-1].get("throughput_kbps", 0) for report in reports if report["probes"]]
    assert len(rates) > 20
    assert median(rates) < 0.2 * median(others)
    assert median(report["radio"]["rsrp_dbm"] for report in inside if "radio" in report) > -105


def test_a_slow_origin_shows_at_the_node_and_not_in_the_pipe(world: World) -> None:
    source = world.sources[1].id
    calm, slow = traffic(world, ()), traffic(world, one_fault(FaultKind.ORIGIN_SLOW, ("source", source)))

    def of(samples: list[dict[str, Any]], name: str) -> list[float]:
        return [
            item["values"][name]
            for item in samples
            if item["dimensions"]["source"] == source and name in item["values"]
        ]

    assert median(of(slow.cloud, "origin_ms")) > 10 * median(of(calm.cloud, "origin_ms"))
    assert median(of(slow.pipe, "tcp_setup_server_ms")) < 2 * median(of(calm.pipe, "tcp_setup_server_ms"))


def test_an_offline_phone_reports_later_what_nobody_else_saw(world: World) -> None:
    batch = traffic(world, schedule(world, AT - HOUR, AT), slots_=60)
    offline = {r["session_id"] for r in batch.reports if r["settings"]["airplane_mode"]}
    assert offline
    assert offline.isdisjoint(sample["session_id"] for sample in (*batch.pipe, *batch.cloud))


def test_a_corrected_phone_has_no_mistake_left(usual: Batch) -> None:
    corrected = [check.corrected for check in usual.checks if check.corrected is not None]
    assert corrected
    for document in corrected:
        assert not document["settings"]["airplane_mode"]
        assert document["settings"]["mobile_data"]
        assert document["settings"]["apn"] == "cmnet"
        assert document["status"]["sim_state"] == "ready"


def test_coverage_level_is_written_one_above_as_the_resource_counts(world: World) -> None:
    batch = traffic(world, (), slots_=180, sessions=0)
    narrow = [item for item in batch.iot if item["dimensions"]["rat"] == "NB-IoT"]
    assert {item["values"]["ce_level"] for item in narrow} == {0, 1, 2}
    assert all(item["lwm2m"]["/4/0/13"] == item["values"]["ce_level"] + 1 for item in narrow)
    assert all(item["lwm2m"]["/4/0/0"] == 7 for item in narrow)
