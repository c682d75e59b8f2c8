"""Series, rankings and anomalies over HTTP: figures, bands, formats, pages, bounds, and who may."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from kqi.anomaly_job import AnomalyJob
from kqi.answers import ARROW_TYPE
from tests.integration.kqi_support import ENGINES, opened, standing_clock
from tests.integration.test_kqi_anomalies import QUARTER, history, traffic
from tests.integration.test_kqi_routes import CALLERS, Room

RANGE = "from=2050-03-01T12:00:00Z&to=2050-03-01T12:15:00Z"


@pytest.fixture(params=ENGINES)
def room(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Room]:
    with opened(request.param, tmp_path) as store:
        made = Room(store, standing_clock())
        made.clock.at += QUARTER
        yield made
        made.close()


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Room]:
    with opened("chdb", tmp_path) as store:
        made = Room(store, standing_clock())
        made.clock.at += QUARTER
        yield made
        made.close()


def faulty(room: Room) -> Room:
    history(room.facts, room.clock)
    traffic(room.facts, timedelta(0), room.clock, {"c3": 0.7, "c5": 0.3})
    return room


def arrow(answer: Any) -> list[dict[str, Any]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == ARROW_TYPE
    rows: list[dict[str, Any]] = pa.ipc.open_stream(answer.content).read_all().to_pylist()
    return rows


def test_the_analysis_of_a_fault(room: Room) -> None:
    """On both engines: the same story from the series, the ranking and the anomalies."""
    faulty(room)
    AnomalyJob(room.store, room.clock, busy_share=1, least_rest_s=0).tick()
    filters = "province=浙江&city=杭州&cell=c3"
    page = room.get(f"/v1/kqi/series?indicator=failed&service=video&{filters}&{RANGE}").json()
    (row,) = page["rows"]
    assert (row["count"], row["users"], page["answered_from"]) == (40, 40, "cell")
    assert row["mean"] > 0.5 > row["band"]["high"] > row["band"]["expected"] > row["band"]["low"]
    assert row["band"]["basis"] == "weeks"
    hourly = room.get(f"/v1/kqi/series?indicator=failed&service=video&{filters}&{RANGE}&step=1h").json()[
        "rows"
    ]
    assert [(one["mean"], one["band"]["basis"]) for one in hourly] == [(row["mean"], "weeks")]

    ranked = room.get(f"/v1/kqi/top?indicator=failed&dimension=cell&service=video&{RANGE}").json()
    assert [one["group"]["cell"] for one in ranked["rows"]][:2] == ["c3", "c5"]
    assert len(ranked["rows"]) == 6
    assert ranked["rows"][0]["mean"] == row["mean"]

    stood_out = room.get(f"/v1/kqi/anomalies?indicator=failed,bad&level=cell&{RANGE}").json()["rows"]
    assert {one["dimensions"]["cell"] for one in stood_out} == {"c3", "c5"}
    assert stood_out[0]["observed"] == row["mean"]


def test_arrow_csv_and_json_say_the_same(embedded: Room) -> None:
    faulty(embedded)
    AnomalyJob(embedded.store, embedded.clock, busy_share=1, least_rest_s=0).tick()
    for path, count in (
        (f"/v1/kqi/cubes?indicator=failed,start_delay_ms&group_by=province,city,cell&{RANGE}", 12),
        (f"/v1/kqi/series?indicator=failed&{RANGE}", 1),
        (f"/v1/kqi/top?indicator=failed&dimension=cell&{RANGE}", 6),
        (f"/v1/kqi/anomalies?{RANGE}", None),
    ):
        plain = embedded.get(path).json()["rows"]
        table = arrow(embedded.get(path, headers={"accept": ARROW_TYPE}))
        csv = embedded.get(path, headers={"accept": "text/csv"}).text.splitlines()
        assert len(plain) == len(table) == len(csv) - 1 == (count or len(plain)) > 0
        assert csv[0].split(",") == list(table[0])
        for name in {"mean", "observed", "users", "basis"} & set(table[0]) & set(plain[0]):
            assert [row[name] for row in table] == [row[name] for row in plain]


def test_worst_goes_by_the_direction_and_bounds_leave_out(embedded: Room) -> None:
    for number, level in enumerate((-80.0, -120.0, -100.0)):
        for line in range(4 - number):
            embedded.facts.sample(
                f"s_{line}", number, {"rsrp_dbm": level}, node=f"n{number}", name=f"{number} {line}"
            )
    embedded.facts.sample("s_1", 9, {"rsrp_dbm": -130.0}, name="nowhere")
    embedded.work()
    ask = f"/v1/kqi/top?indicator=rsrp_dbm&dimension=node&{RANGE}"
    rows = embedded.get(ask + "&least_users=0").json()["rows"]
    assert [(row["group"]["node"], row["mean"]) for row in rows] == [
        ("n1", -120.0),
        ("n2", -100.0),
        ("n0", -80.0),
    ]
    assert [row["group"]["node"] for row in embedded.get(ask).json()["rows"]] == ["n1", "n0"]
    by_share = embedded.get(ask + "&by=bad_share&least_users=0").json()["rows"]
    assert (by_share[0]["group"]["node"], by_share[0]["bad_share"]) == ("n1", 1.0)


def test_a_ratio_is_ranked_by_its_sums(embedded: Room) -> None:
    # by hand: n0 100/(100+900) = 10 %; n1 (900+0)/(1000+9000) = 9 %, though the mean of its ratios is 45 %
    embedded.facts.sample("a", 1, {"stall_ms": 100, "play_ms": 900, "stall_ratio": 0.1}, node="n0", name="a")
    embedded.facts.sample("b", 2, {"stall_ms": 900, "play_ms": 100, "stall_ratio": 0.9}, node="n1", name="b")
    embedded.facts.sample("c", 3, {"stall_ms": 0, "play_ms": 9_000, "stall_ratio": 0.0}, node="n1", name="c")
    embedded.work()
    rows = embedded.get(f"/v1/kqi/top?indicator=stall_ratio&dimension=node&least_users=0&{RANGE}").json()[
        "rows"
    ]
    assert [(row["group"]["node"], row["mean"]) for row in rows] == [("n0", 0.1), ("n1", pytest.approx(0.09))]


def test_pages_follow_each_other(embedded: Room) -> None:
    for number in range(7):
        embedded.facts.sample("s_1", -900 * number, {"rtt_ms": number}, node=f"n{number}", name=str(number))
    embedded.work()
    embedded.clock.advance(timedelta(seconds=5))
    embedded.work()
    long = "from=2050-03-01T00:00:00Z&to=2050-03-01T12:15:00Z"
    for path, name in (
        (f"/v1/kqi/series?indicator=rtt_ms&{long}", "mean"),
        (f"/v1/kqi/top?indicator=rtt_ms&dimension=node&least_users=0&{long}", "mean"),
    ):
        seen: list[float] = []
        offset: int | None = 0
        while offset is not None:
            page = embedded.get(f"{path}&limit=3&offset={offset}").json()
            seen += [row[name] for row in page["rows"]]
            offset = page["next_offset"]
        assert seen == [6, 5, 4, 3, 2, 1, 0]
        table = embedded.get(f"{path}&limit=3", headers={"accept": ARROW_TYPE})
        assert table.headers["x-next-offset"] == "3"


@pytest.mark.parametrize(
    "query",
    [
        "series?indicator=failed&step=all",
        "series?indicator=failed&from=2050-01-01T00:00:00Z&to=2050-03-01T00:00:00Z",
        "series?indicator=failed&from=2050-03-01T00:00:00",
        "series?indicator=failed&from=0001-01-01T00:00:00Z",
        "series?indicator=failed&to=9999-12-31T23:59:59Z",
        "series",
        "top?indicator=failed",
        "top?indicator=failed&dimension=password",
        "top?indicator=failed&dimension=rat",
        "top?indicator=failed&dimension=cell,model",
        "top?indicator=failed&dimension=cell&limit=1001",
        "anomalies?level=street",
        "anomalies?from=2050-01-01T00:00:00Z&to=2050-03-01T00:00:00Z",
    ],
)
def test_a_question_that_cannot_be_answered_is_refused(embedded: Room, query: str) -> None:
    answer = embedded.get(f"/v1/kqi/{query}")
    assert answer.status_code == 422, answer.text


@pytest.mark.parametrize(
    "path", ["series?indicator=failed", "top?indicator=failed&dimension=cell", "anomalies"]
)
def test_who_may(embedded: Room, path: str) -> None:
    may = {caller for caller in CALLERS if embedded.get(f"/v1/kqi/{path}", caller).status_code == 200}
    assert may == {"agent", "system"}
