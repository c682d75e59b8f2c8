"""The demo province and its faults: sizes as promised, chance that can be had again, effects that are physical."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from statistics import median

import pytest

from cem.demo.chance import seeded
from cem.demo.faults import Fault, FaultKind, Side, active, effects_on, schedule
from cem.demo.names import spoken_names
from cem.demo.physics import RadioDisturbance, path_loss_db, radio_link, tcp_rate_kbps
from cem.demo.player import Connection, watch
from cem.demo.world import Rat, World, build_world
from cem.platform.numbers import normalise_number

AT = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


@pytest.fixture(scope="module")
def world() -> World:
    return build_world(7)


def test_same_seed_same_province_another_seed_another(world: World) -> None:
    assert build_world(7).subscribers == world.subscribers
    assert build_world(8).subscribers != world.subscribers


def test_province_has_the_promised_size(world: World) -> None:
    assert len(world.cities) == 12
    assert 200 <= len(world.cells) <= 400
    assert 6 <= len(world.sources) <= 8
    assert len(world.nodes) == 20
    assert 2000 <= len(world.subscribers) <= 9000
    assert {device.device_type for device in world.iot_devices} == {"smoke_sensor", "meter", "shared_bike"}
    assert {device.rat for device in world.iot_devices} == {Rat.NB_IOT, Rat.LTE}


def test_numbers_are_numbers_and_lie_where_no_network_is(world: World) -> None:
    phones = [line.number for line in world.subscribers]
    things = [device.number for device in world.iot_devices]
    assert len(set(phones + things)) == len(phones) + len(things)
    assert all(number.startswith("+86154") for number in phones)
    assert all(number.startswith("+861000") for number in things)
    for number in (phones[0], phones[-1], things[0], things[-1]):
        assert normalise_number(number) == number


def test_every_reference_leads_somewhere(world: World) -> None:
    for line in world.subscribers:
        cells = [world.cell_by_id[cell] for cell in line.cells]
        assert len(cells) == 2
        assert all(cell.city == line.city and cell.rat is not Rat.NB_IOT for cell in cells)
        if not world.model_by_id[line.model].nr:
            assert all(cell.rat is Rat.LTE for cell in cells)
    for source in world.sources:
        assert set(source.nodes) <= set(world.node_by_id)
    for device in world.iot_devices:
        assert world.cell_by_id[device.cell].rat is device.rat


def test_every_city_and_source_has_a_name_in_both_languages(world: World) -> None:
    names = spoken_names(world)
    for dimension, values in (("city", world.cities), ("source", world.sources)):
        for value in values:
            assert all(names[(dimension, value.id)])


@pytest.mark.parametrize("seed", range(12))
def test_at_any_moment_three_to_six_faults_on_three_sides(seed: int) -> None:
    world = build_world(seed)
    since = AT - timedelta(hours=6)
    faults = schedule(world, since, AT)
    for minute in range(0, 360, 3):
        now = active(faults, since + timedelta(minutes=minute))
        assert 3 <= len(now) <= 6
        assert {fault.side for fault in now} == set(Side)


@pytest.mark.parametrize("seed", range(12))
def test_within_an_hour_several_faults_came_and_went(seed: int) -> None:
    faults = schedule(build_world(seed), AT - timedelta(hours=1), AT)
    came = [fault for fault in faults if fault.starts_at > AT - timedelta(hours=1)]
    went = [fault for fault in faults if fault.ends_at < AT]
    assert len(came) >= 4
    assert len(went) >= 4


def test_a_schedule_does_not_depend_on_who_asks_when(world: World) -> None:
    whole = schedule(world, AT - timedelta(hours=4), AT)
    halves = {
        *schedule(world, AT - timedelta(hours=4), AT - timedelta(hours=2)),
        *schedule(world, AT - timedelta(hours=2), AT),
    }
    assert set(whole) == halves


def test_a_fault_touches_its_scope_only(world: World) -> None:
    fault = Fault("f", FaultKind.NODE_ERRORS, (("node", "node-a"),), AT, AT + timedelta(hours=1), 1.0)
    assert fault.active(AT)
    assert not fault.active(AT + timedelta(hours=1))
    assert effects_on([fault], {"node": "node-a"}).node_error_share > 0
    assert effects_on([fault], {"node": "node-b"}) == effects_on([], {})


def test_two_faults_at_once_both_count(world: World) -> None:
    weak = Fault("w", FaultKind.CELL_WEAK, (("cell", "c"),), AT, AT + timedelta(hours=1), 0.5)
    slow = Fault("s", FaultKind.ORIGIN_SLOW, (("source", "p"),), AT, AT + timedelta(hours=1), 0.5)
    effects = effects_on([weak, slow], {"cell": "c", "source": "p"})
    assert effects.radio.extra_loss_db > 0
    assert effects.origin_delay_ms > 0


def test_path_loss_at_a_kilometre_and_ten_times_as_far() -> None:
    assert path_loss_db(1.0) == pytest.approx(128.1)
    assert path_loss_db(10.0) - path_loss_db(1.0) == pytest.approx(37.6)


def test_tcp_rate_by_hand() -> None:
    # 1460 B · 8 · 1.22 / (100 ms · √0.01) = 14,249.6 bit / 10 ms
    assert tcp_rate_kbps(100.0, 0.01) == pytest.approx(1424.96)
    assert tcp_rate_kbps(100.0, 0.0) == float("inf")


def test_weaker_signal_means_less_rate_and_more_loss(world: World) -> None:
    cell = next(cell for cell in world.cells if cell.rat is Rat.LTE)
    calm = [radio_link(seeded("a", i), cell, 0.6, 4.0) for i in range(200)]
    weak = [
        radio_link(seeded("a", i), cell, 0.6, 4.0, RadioDisturbance(extra_loss_db=35.0)) for i in range(200)
    ]
    assert median(link.rsrp_dbm for link in weak) == pytest.approx(
        median(link.rsrp_dbm for link in calm) - 35.0, abs=0.5
    )
    assert median(link.rate_kbps for link in weak) < median(link.rate_kbps for link in calm)
    assert median(link.loss for link in weak) > median(link.loss for link in calm)


def test_interference_leaves_the_signal_and_spoils_its_ratio(world: World) -> None:
    cell = next(cell for cell in world.cells if cell.rat is Rat.NR)
    calm = [radio_link(seeded("b", i), cell, 0.5, 0.0) for i in range(200)]
    loud = [
        radio_link(seeded("b", i), cell, 0.5, 0.0, RadioDisturbance(interference_dbm=-88.0))
        for i in range(200)
    ]
    assert [link.rsrp_dbm for link in loud] == [link.rsrp_dbm for link in calm]
    assert median(link.sinr_db for link in loud) < median(link.sinr_db for link in calm) - 5


@pytest.mark.parametrize("seed", range(30))
def test_a_viewing_adds_up(seed: int) -> None:
    rate = 200.0 * 1.4**seed
    viewing = watch(seeded("view", seed), Connection(500.0, rate, 40.0), 60_000.0)
    assert viewing.events[0].kind == "requested"
    assert viewing.events[-1].kind in {"ended", "failed"}
    offsets = [event.offset_ms for event in viewing.events]
    assert offsets == sorted(offsets)
    begun = [event for event in viewing.events if event.kind == "stall_started"]
    ended = [event for event in viewing.events if event.kind == "stall_ended"]
    assert len(begun) == len(ended) == viewing.stall_count
    stalled = sum(end.offset_ms - start.offset_ms for start, end in zip(begun, ended, strict=True))
    assert stalled == pytest.approx(viewing.stall_ms)
    if viewing.start_delay_ms is not None:
        assert viewing.start_delay_ms + viewing.play_ms + viewing.stall_ms == pytest.approx(
            viewing.length_ms, abs=250
        )


def test_a_fast_connection_plays_a_slow_one_stalls() -> None:
    fast = [watch(seeded("fast", i), Connection(400.0, 20_000.0, 30.0), 60_000.0) for i in range(40)]
    slow = [watch(seeded("slow", i), Connection(400.0, 330.0, 30.0), 60_000.0) for i in range(40)]
    assert sum(view.stall_ms for view in fast) < 0.01 * sum(view.play_ms for view in fast)
    assert sum(view.stall_ms for view in slow) > 0.1 * sum(view.play_ms for view in slow)


def test_no_connection_no_picture() -> None:
    viewing = watch(seeded("none"), Connection(600.0, 0.0, 0.0, fail_code="no_network"), 60_000.0)
    assert viewing.start_delay_ms is None
    assert viewing.error_code == "no_network"
    assert viewing.play_ms == 0
