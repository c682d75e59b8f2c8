"""The drill-down: what it names on hand-made tables, at the edges, and on simulated quarter hours."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cem.platform.errors import InvalidInput
from kqi.drilldown import drill, drilldown_files, explain
from kqi.drilldown_settings import DrilldownSettings
from kqi.drilldown_table import Table, make_table
from tests.benchmarks.drilldown import make_case, matches

CITIES = ("north", "south", "east", "west")
NODES = ("n1", "n2", "n3", "n4", "n5")
Cell = tuple[str, str, float, float]


def table(cells: list[Cell], period: list[str] | None = None) -> Table:
    return make_table(
        {"city": [c[0] for c in cells], "node": [c[1] for c in cells]},
        [c[2] for c in cells],
        [c[3] for c in cells],
        period,
    )


def grid(
    bad: dict[tuple[str, str], float] | None = None, total: float = 200, normal: float = 2
) -> list[Cell]:
    bad = bad or {}
    return [(c, n, total, bad.get((c, n), normal)) for c in CITIES for n in NODES]


def names(now: list[Cell], before: list[Cell] | None = None) -> list[dict[str, str]]:
    return [dict(f.scope) for f in explain(table(now), table(before if before is not None else grid()))]


def test_same_as_before_names_nothing() -> None:
    assert names(grid()) == []


def test_one_cell() -> None:
    assert names(grid({("north", "n1"): 80})) == [{"city": "north", "node": "n1"}]


def test_parent_where_children_fail_alike() -> None:
    assert names(grid({(c, "n2"): 60 for c in CITIES})) == [{"node": "n2"}]


def test_parent_where_children_fail_unevenly_but_all() -> None:
    failing = dict(zip([(c, "n2") for c in CITIES], (110, 70, 60, 80), strict=True))
    assert names(grid(failing)) == [{"node": "n2"}]


def test_no_parent_where_one_child_fails() -> None:
    named = names(grid({("north", "n2"): 90, ("south", "n2"): 3}))
    assert named == [{"city": "north", "node": "n2"}]


def test_two_of_many_children_are_two_causes() -> None:
    named = names(grid({("north", "n2"): 90, ("west", "n2"): 80}))
    assert named == [{"city": "north", "node": "n2"}, {"city": "west", "node": "n2"}]


def test_causes_in_different_dimensions_ranked_by_excess() -> None:
    bad = {(c, "n5"): 40.0 for c in CITIES} | {("east", "n1"): 60.0}
    result = drill(table(grid(bad)), table(grid()))
    assert [dict(f.scope) for f in result.findings] == [{"node": "n5"}, {"city": "east", "node": "n1"}]
    assert result.findings[0].excess > result.findings[1].excess
    # Found at a rate of 1 %: 4 x (40 - 2) and 60 - 2 of 210 that are beyond the normal ones.
    assert [f.share for f in result.findings] == pytest.approx([152 / 210, 58 / 210], abs=0.05)


def test_everything_fails() -> None:
    assert names(grid(normal=40)) == [{}]


def test_busy_is_no_suspect() -> None:
    busy = [(c, n, t * 20, b * 20) if c == "north" else (c, n, t, b) for c, n, t, b in grid()]
    assert names(busy) == []


def test_few_bad_among_few_beat_many_among_many() -> None:
    """Exposure: 40 of 200 in a small cell are a fault, 400 of 40,000 in a busy one are not."""
    cells = [
        (c, n, 40_000.0, 400.0) if n == "n1" else (c, n, t, b) for c, n, t, b in grid({("west", "n4"): 40})
    ]
    assert names(cells) == [{"city": "west", "node": "n4"}]


def test_never_failed_before() -> None:
    assert names(grid({("east", "n3"): 20}, normal=0), grid(normal=0)) == [{"city": "east", "node": "n3"}]


def test_a_value_never_seen() -> None:
    """A new node that fails everywhere is named; one that fares like the rest is not."""
    fails = [(c, "n9", 100.0, 40.0) for c in CITIES]
    fares = [(c, "n9", 100.0, 1.0) for c in CITIES]
    assert names(grid() + fails) == [{"node": "n9"}]
    assert names(grid() + fares) == []


def test_a_value_that_vanished_is_no_cause() -> None:
    assert names([cell for cell in grid() if cell[1] != "n1"]) == []


def test_all_bad_now() -> None:
    assert names(grid({("south", "n1"): 200})) == [{"city": "south", "node": "n1"}]


def test_all_bad_always() -> None:
    assert names(grid(normal=200), grid(normal=200)) == []


def test_no_bad_at_all() -> None:
    assert names(grid(normal=0)) == []


def test_improvement_is_no_cause() -> None:
    assert names(grid({("south", "n1"): 0}, normal=60), grid(normal=60)) == []


@pytest.mark.parametrize("text", ["", "NaN", "null", "北京", 'a,"b"'])
def test_any_text_is_a_value(text: str) -> None:
    cells = [*grid(), *((c, text, 200.0, 80.0) for c in CITIES)]
    past = [*grid(), *((c, text, 200.0, 2.0) for c in CITIES)]
    assert names(cells, past) == [{"node": text}]


def test_missing_value_is_the_empty_text() -> None:
    before = make_table({"node": [None, "a", "b"]}, [500, 500, 500], [5, 5, 5])
    now = make_table({"node": ["", "a", "b"]}, [500, 500, 500], [200, 5, 5])
    assert [f.scope for f in explain(now, before)] == [(("node", ""),)]


def test_tiny_tables() -> None:
    assert explain(table([("x", "y", 3, 3)]), table([("x", "y", 3, 0)])) == []
    empty = make_table({"city": [], "node": []}, [], [])
    assert explain(empty, table(grid())) == []
    with pytest.raises(InvalidInput, match="no sessions"):
        drill(table(grid()), empty)


def test_rows_of_one_scope_are_added_up_and_order_does_not_matter() -> None:
    cells = grid({("north", "n1"): 80})
    halves = [(c, n, t / 2, b / 2) for c, n, t, b in cells] * 2
    rng = np.random.default_rng(5)
    shuffled = [halves[i] for i in rng.permutation(len(halves))]
    whole, parts = drill(table(cells), table(grid())), drill(table(shuffled), table(grid()))
    assert [f.scope for f in whole.findings] == [f.scope for f in parts.findings]
    assert whole.findings[0].excess == pytest.approx(parts.findings[0].excess)


def test_two_names_of_the_same_sessions() -> None:
    """A gateway that serves one city only: the shorter scope is named, the other told."""
    both = make_table(
        {"city": ["a", "b", "c", "d"], "gateway": ["g-a", "g-b", "g-c", "g-c"]}, [900] * 4, [300, 9, 9, 9]
    )
    past = make_table(
        {"city": ["a", "b", "c", "d"], "gateway": ["g-a", "g-b", "g-c", "g-c"]}, [900] * 4, [9] * 4
    )
    (found,) = explain(both, past)
    assert {found.scope, *found.same_as} >= {(("city", "a"),), (("gateway", "g-a"),)}


def test_an_incident_of_the_past_does_not_become_normal() -> None:
    past = [cell for p in range(4) for cell in grid({(c, "n2"): 100 for c in CITIES} if p == 1 else None)]
    periods = [str(p) for p in range(4) for _ in grid()]
    now = grid({(c, "n2"): 30 for c in CITIES})
    (found,) = explain(table(now), table(past, periods))
    assert found.scope == (("node", "n2"),)
    assert found.expected < 16, "8 are normal; the sum of the periods says 106 / 4 = 26"


def test_a_scope_that_always_strays_is_not_named_for_it() -> None:
    """The same rise is a cause where the past was steady and none where it swung as far."""
    steady = [cell for _ in range(6) for cell in grid(total=2000, normal=20)]
    swings = (0.5, 1.6, 0.7, 1.5, 0.6, 1.4)
    swinging = [
        (c, n, t, b * s if n == "n1" else b) for s in swings for c, n, t, b in grid(total=2000, normal=20)
    ]
    periods = [str(p) for p in range(6) for _ in grid()]
    now = table(grid({(c, "n1"): 32 for c in CITIES}, total=2000, normal=20))
    assert [f.scope for f in explain(now, table(steady, periods))] == [(("node", "n1"),)]
    assert explain(now, table(swinging, periods)) == []


def test_alternatives_are_no_causes_and_bounded() -> None:
    result = drill(table(grid({("north", "n1"): 80})), table(grid()), DrilldownSettings(top=3))
    named = {f.scope for f in result.findings}
    assert 0 < len(result.alternatives) <= 3
    assert named.isdisjoint(f.scope for f in result.alternatives)


@pytest.mark.parametrize("extra", ["now", "before"])
def test_dimensions_must_be_the_same(extra: str) -> None:
    plain, more = make_table({"a": ["x"]}, [9], [1]), make_table({"a": ["x"], "slice": ["y"]}, [9], [1])
    pair = (more, plain) if extra == "now" else (plain, more)
    with pytest.raises(InvalidInput, match=f"column 'slice' is in {extra} but not in"):
        drill(*pair)


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="max_dimensions"):
        DrilldownSettings(max_dimensions=4)
    with pytest.raises(ValueError, match="false_discovery"):
        DrilldownSettings(false_discovery=0)


def test_great_cardinality_in_bounded_memory() -> None:
    """Every row a value of its own in three dimensions of 20,000: 8·10^12 combinations, as many groups as rows."""
    rng = np.random.default_rng(3)
    size = 20_000
    ids = {f"d{i}": [f"{v}" for v in rng.permutation(size)] for i in range(3)} | {
        "city": ["a", "b"] * (size // 2)
    }
    total = np.full(size, 5.0)
    bad = np.where(np.arange(size) % 2 == 0, 1.0, 0.0)
    result = drill(make_table(ids, total, bad), make_table(ids, total, rng.binomial(1, 0.02, size)))
    assert [f.scope for f in result.findings] == [(("city", "a"),)]


def write(path: Path, header: str, lines: list[str]) -> Path:
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def test_files(tmp_path: Path) -> None:
    past = [f"{p},{c},{n},{t:.0f},{b:.0f}" for p in range(4) for c, n, t, b in grid()]
    here = [f"9,{c},{n},{t:.0f},{b:.0f}" for c, n, t, b in grid({("north", "n1"): 80})]
    before = write(tmp_path / "BEFORE.csv", "week,city,node,cnt,bad", past)
    now = write(tmp_path / "NOW.csv", "week,city,node,cnt,bad", here)
    answer = drilldown_files(now, before, total="cnt", bad="bad", periods_column="week", top=2)
    assert json.loads(json.dumps(answer)) == answer
    (first,) = answer["scopes"]
    assert first["scope"] == {"city": "north", "node": "n1"}
    assert (first["rank"], first["total"], first["bad"]) == (1, 200, 80)
    assert first["share"] > 0.95
    assert answer["before"] == {"rows": 80, "periods": 4, "clipped_rows": 0}
    assert len(answer["alternatives"]) == 2
    assert answer["cost_ms"] > 0
    only_node = drilldown_files(
        now, before, total="cnt", bad="bad", periods_column="week", dimensions=["node"]
    )
    assert [s["scope"] for s in only_node["scopes"]] == [{"node": "n1"}]


def test_files_without_the_periods_in_now(tmp_path: Path) -> None:
    before = write(tmp_path / "b.csv", "w,city,cnt,bad", [f"{w},{c},500,5" for w in range(4) for c in CITIES])
    now = write(tmp_path / "n.csv", "city,cnt,bad", [f"{c},500,{200 if c == 'east' else 5}" for c in CITIES])
    answer = drilldown_files(now, before, total="cnt", bad="bad", periods_column="w")
    assert [s["scope"] for s in answer["scopes"]] == [{"city": "east"}]


@pytest.mark.parametrize(
    ("header", "line", "message"),
    [
        ("city,node,cnt", "a,b,1", "no column 'bad'"),
        ("city,cnt,bad", "a,1,1", "column 'node' is in BEFORE.csv but not in NOW.csv"),
        ("city,node,rat,cnt,bad", "a,b,c,1,1", "column 'rat' is in NOW.csv but not in BEFORE.csv"),
        ("city,city,cnt,bad", "a,b,1,1", "two columns named 'city'"),
        ("city,node,cnt,bad", "a,b,,1", "column 'cnt' of row 1 holds ''"),
        ("city,node,cnt,bad", "a,b,many,1", "column 'cnt' of row 1 holds 'many'"),
        ("city,node,cnt,bad", "a,b,3,-1", "column 'bad' of row 1 holds '-1'"),
        ("city,node,cnt,bad", "a,b,inf,1", "column 'cnt' of row 1 holds 'inf'"),
        ("city,node,cnt,bad", "a,b", "cannot be read as CSV"),
        ("cnt,bad", "3,1", "no dimension"),
    ],
)
def test_files_that_cannot_be_used(tmp_path: Path, header: str, line: str, message: str) -> None:
    before = write(tmp_path / "BEFORE.csv", "city,node,cnt,bad", ["a,b,10,1"])
    now = write(tmp_path / "NOW.csv", header, [line])
    with pytest.raises(InvalidInput, match=message):
        drilldown_files(now, before, total="cnt", bad="bad")


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"no file BEFORE\.csv"):
        drilldown_files(tmp_path / "NOW.csv", tmp_path / "BEFORE.csv", total="cnt", bad="bad")


def test_more_bad_than_sessions_is_cut_and_told(tmp_path: Path) -> None:
    before = write(tmp_path / "b.csv", "city,cnt,bad", ["a,100,1", "b,100,1"])
    now = write(tmp_path / "n.csv", "city,cnt,bad", ["a,100,101", "b,100,1"])
    answer = drilldown_files(now, before, total="cnt", bad="bad")
    assert answer["now"]["clipped_rows"] == 1
    assert answer["now"]["bad"] == 101


def test_simulated_quarter_hours() -> None:
    """Of 12 cases with one fault each at least 9 are named exactly and 11 within the first five."""
    exact = near = 0
    for seed in range(12):
        case = make_case(50_000 + seed, (seed % 3 + 1,), sessions=12_000)
        result = drill(case.now, case.before)
        hit, _, within = matches(result, case.faults)
        exact, near = exact + hit, near + within
    assert exact >= 9
    assert near >= 11


def test_simulated_quarter_hours_in_health() -> None:
    """At most one of 10 healthy cases with surges of traffic names anything."""
    alarms = 0
    for seed in range(10):
        case = make_case(60_000 + seed, (), sessions=12_000)
        alarms += bool(drill(case.now, case.before).findings)
    assert alarms <= 1
