"""CMCD records as player events: which kind, at what moment, with which figures."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from sdk_ingest.cmcd import CmcdError, Record, parse_events
from sdk_ingest.cmcd_events import event_of
from sdk_ingest.events import PlayerEvent, PlayerEventKind

K = PlayerEventKind

# A start, a stall, a seek and a fatal error as hls.js 1.7 posts them: single posts, out of order, standing members
# in every record.
POSTED = """\
cid="film-1",e=t,sf=h,sid="s-1",sn=0,ts=1795333595048,v=2
br=(400),cid="film-1",e=pr,mtp=(500),pr=1,sf=h,sid="s-1",sn=4,sta=s,ts=1795333595098,v=2
br=(400),cid="film-1",e=bc,mtp=(500),sf=h,sid="s-1",sn=3,sta=s,ts=1795333595096,v=2
cid="film-1",e=ps,sf=h,sid="s-1",sn=1,sta=d,ts=1795333595055,v=2
cid="film-1",e=ps,mtp=(500),sf=h,sid="s-1",sn=2,sta=s,ts=1795333595060,v=2
br=(400),cid="film-1",e=rr,mtp=(500),rc=200,sf=h,sid="s-1",sn=5,st=v,sta=s,ts=1795333595190,ttfb=7,ttlb=9,\
url="http://Node-3.example:8080/film/high-000.ts?user=42",v=2
bl=(0),br=(400),cid="film-1",e=ps,mtp=(5900),sf=h,sid="s-1",sn=6,st=v,sta=p,ts=1795333595339,v=2
bl=(1900),br=(400),cid="film-1",e=ps,mtp=(1000),sf=h,sid="s-1",sn=7,st=v,sta=r,ts=1795333599000,v=2
bl=(2100),br=(400),cid="film-1",e=ps,mtp=(600),sf=h,sid="s-1",sn=8,st=v,sta=p,ts=1795333599400,v=2
bl=(5900),br=(400),cid="film-1",e=t,mtp=(600),sf=h,sid="s-1",sn=9,st=v,sta=p,ts=1795333600048,v=2
cid="film-1",e=ps,sid="s-1",sn=10,sta=k,ts=1795333601000,v=2
cid="film-1",e=ps,sid="s-1",sn=11,sta=a,ts=1795333602000,v=2
cid="film-1",e=e,ec=("manifestLoadError"),sid="s-1",sn=13,sta=f,ts=1795333603000,v=2
cid="film-1",e=ps,sid="s-1",sn=12,sta=f,ts=1795333603000,v=2
"""


def events(text: str) -> list[PlayerEvent]:
    found = []
    for _, record in parse_events(text.encode()):
        assert isinstance(record, Record), record
        found.append(event_of(record))
    return found


def one(text: str) -> PlayerEvent:
    return events(text)[0]


def test_a_session_as_a_stock_player_posts_it() -> None:
    told = sorted(events(POSTED), key=lambda event: event.sequence)
    assert [(event.sequence, event.kind) for event in told] == [
        (0, K.PROGRESS),
        (1, K.PROGRESS),
        (2, K.REQUESTED),
        (3, K.BITRATE_CHANGED),
        (4, K.PROGRESS),
        (5, K.PROGRESS),
        (6, K.PLAYING),
        (7, K.STALL_STARTED),
        (8, K.PLAYING),
        (9, K.PROGRESS),
        (10, K.SEEK_STARTED),
        (11, K.PAUSED),
        (12, K.FAILED),
        (13, K.FAILED),
    ]
    assert {event.session_id for event in told} == {"s-1"}
    assert {event.origin for event in told} == {"cmcd"}
    start, first = told[2], told[6]
    assert start.at == datetime(2026, 11, 22, 7, 46, 35, 60_000, tzinfo=UTC)
    assert (first.at - start.at).total_seconds() == 0.279
    assert first.values == {"bitrate_kbps": 400.0, "throughput_kbps": 5900.0, "buffer_ms": 0.0}
    assert told[13].labels["error_code"] == "manifestLoadError"


def test_state_is_told_only_where_it_is_true_at_its_moment() -> None:
    told = {event.sequence: event.labels.get("sta") for event in events(POSTED)}
    assert [told[n] for n in (0, 3, 4, 5, 13)] == [
        None
    ] * 5  # rr, bc, pr and e carry a state of another moment
    assert (told[1], told[2], told[9]) == ("d", "s", "p")


def test_a_response_tells_the_node_and_never_the_rest_of_its_url() -> None:
    response = next(event for event in events(POSTED) if event.labels["e"] == "rr")
    assert response.values == {
        "bitrate_kbps": 400.0,
        "throughput_kbps": 500.0,
        "http_status": 200.0,
        "ttfb_ms": 7.0,
        "ttlb_ms": 9.0,
    }
    assert response.labels["node"] == "node-3.example"
    assert not any("42" in value for value in response.labels.values())


def test_delays_that_a_player_measured_itself_are_kept() -> None:
    event = one(
        'bl=(900;a 400;v),br=(3200;v 128;a),bsd=(1200 300),dfa=7,e=ps,msd=1834,sid="a",sta=p,ts=1,v=2'
    )
    assert event.values == {
        "start_delay_ms": 1834.0,
        "stall_ms": 1500.0,
        "bitrate_kbps": 3200.0,
        "buffer_ms": 400.0,
        "dropped_frames": 7.0,
    }


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("q", K.ENDED),
        ("e", K.ENDED),
        ("w", K.PROGRESS),
        ("d", K.PROGRESS),
        ("zz", K.PROGRESS),
        ("r", K.STALL_STARTED),
    ],
)
def test_every_state_has_a_kind(state: str, kind: PlayerEventKind) -> None:
    event = one(f'e=ps,sid="a",sta={state},ts=1795333595060,v=2')
    assert (event.kind, event.labels["sta"]) == (kind, state)


def test_a_players_own_keys_and_events_are_kept() -> None:
    event = one('com.example-plan="gold",e=com.example-button,sid="a",ts=5,v=2')
    assert event.kind is K.PROGRESS
    assert event.labels == {"e": "com.example-button", "service": "video", "com.example-plan": "gold"}


@pytest.mark.parametrize(
    ("text", "code", "key"),
    [
        ("e=t,ts=1,v=2", "missing", "sid"),
        ('e=ps,sid="a",ts=1,v=2', "missing", "sta"),
        ("e=t,sid=5,ts=1,v=2", "wrong_type", "sid"),
        ('br=(400;v fast),e=t,sid="a",ts=1,v=2', "wrong_type", "br"),
        ('br=(-1),e=t,sid="a",ts=1,v=2', "out_of_range", "br"),
        ('bl=(1 -5),e=t,sid="a",ts=1,v=2', "out_of_range", "bl"),
        ('e=t,rc=1000,sid="a",ts=1,v=2', "out_of_range", "rc"),
        ('e=t,sid="a",ts=-1,v=2', "out_of_range", "ts"),
        ('e=t,sid="a",ts=999999999999999,v=2', "out_of_range", "ts"),
        ('e=t,sid="a",sn=4294967296,ts=1,v=2', "out_of_range", "sn"),
        ('e=t,sid="' + "x" * 129 + '",ts=1,v=2', "wrong_length", "sid"),
        ('com.example-x="' + "x" * 129 + '",e=t,sid="a",ts=1,v=2', "wrong_length", "com.example-x"),
        (",".join(f"c.x-k{n}" for n in range(17)) + ',e=t,sid="a",ts=1,v=2', "wrong_length", ""),
    ],
)
def test_what_makes_no_event_is_named(text: str, code: str, key: str) -> None:
    ((_, record),) = parse_events(text.encode())
    assert isinstance(record, Record)
    with pytest.raises(CmcdError) as error:
        event_of(record)
    assert (error.value.code, error.value.key) == (code, key)


def test_a_record_sent_again_has_its_key_and_any_other_has_not() -> None:
    first = one('e=ps,sid="a",sn=3,sta=p,ts=1795333595060,v=2')
    again = one('e=ps,sid="a",sn=3,sta=p,ts=1795333595060,v=2')
    assert first.key("s_1") == again.key("s_1")
    others = [
        one('e=ps,sid="b",sn=3,sta=p,ts=1795333595060,v=2'),
        one('e=ps,sid="a",sn=4,sta=p,ts=1795333595060,v=2'),
        one('e=ps,sid="a",sn=3,sta=p,ts=1795333595061,v=2'),
        one('e=t,sid="a",sn=3,sta=p,ts=1795333595060,v=2'),
    ]
    assert len({first.key("s_1"), first.key("s_2"), *(other.key("s_1") for other in others)}) == 6
