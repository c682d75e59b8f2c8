"""How often the drill-down names the cause, on faults made session by session by a simulation of its own.

python -m tests.benchmarks.drilldown [CASES]

It shares no code and no assumption with the drill-down. Sessions draw a source and one of its nodes, a city and one of
its areas, a phone model (whose maker decides the system), an app version and a radio technique, with very unequal
shares. Every value has a latent strength of failure, some pairs too, and all values stray anew in every quarter hour.
Faults hit a share of the sessions of a scope whatever else they suffer; some multiply what they suffer instead. Every
case has decoys: healthy scopes with several times their usual traffic.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kqi.drilldown import Drilldown, drill
from kqi.drilldown_table import Table, make_table

DIMENSIONS = ("source", "node", "city", "area", "model", "os", "app_version", "rat")
FIRST_SEED = 7_000_000
"""Seeds of the figures in docs/drilldown.md. None of them was looked at while the method was made."""
SESSIONS = 40_000
PERIODS = 4
PLAIN = 150
"""Sessions of a scope now from which on a fault is put there. [1]"""
CLEAR = 40
"""Failures that a fault must add in the mean. [1]"""
INSIDE = 0.75
"""Most that a scope may hold of what is left when one of its values is dropped: else the two are one scope. [1]"""
Scope = tuple[tuple[str, str], ...]


def _shares(rng: np.random.Generator, count: int, power: float) -> np.ndarray:
    weights = np.arange(1, count + 1, dtype=float) ** -power * rng.lognormal(0, 0.3, count)
    return rng.permutation(weights / weights.sum())


class Province:
    """Who watches what where, and how often things fail in health."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.sources = _shares(rng, 5, 0.8)
        self.nodes = [_shares(rng, int(rng.integers(2, 7)), 0.7) for _ in self.sources]
        self.cities = _shares(rng, 12, 0.8)
        self.areas = [_shares(rng, int(rng.integers(2, 6)), 0.5) for _ in self.cities]
        self.models = _shares(rng, 25, 0.9)
        self.maker = rng.integers(0, 3, 25)
        self.versions = _shares(rng, 6, 1.1)
        self.techniques = np.array([0.45, 0.4, 0.15])
        self.near = rng.dirichlet(np.full(5, 2.0), 12)
        """Share of each source in each city: a city watches what is near."""
        self.strength = {name: {} for name in DIMENSIONS}  # type: dict[str, dict[str, float]]
        self.pairs: dict[tuple[str, str], float] = {}
        self.base = float(rng.uniform(0.004, 0.02))

    def sessions(self, count: int, surges: Sequence[Scope] = ()) -> dict[str, np.ndarray]:
        """Dimension values of that many sessions; sessions of surging scopes come several times."""
        rng = self.rng
        city = rng.choice(12, count, p=self.cities)
        level = rng.random(count)
        source = (self.near[city].cumsum(1) * 0.999999 < level[:, None]).sum(1)
        node, area = np.zeros(count, int), np.zeros(count, int)
        for s, shares in enumerate(self.nodes):
            here = source == s
            node[here] = rng.choice(len(shares), here.sum(), p=shares)
        for c, shares in enumerate(self.areas):
            here = city == c
            area[here] = rng.choice(len(shares), here.sum(), p=shares)
        model = rng.choice(25, count, p=self.models)
        drawn = {
            "source": [f"s{v}" for v in source],
            "node": [f"s{s}-n{v}" for s, v in zip(source, node, strict=True)],
            "city": [f"c{v}" for v in city],
            "area": [f"c{c}-a{v}" for c, v in zip(city, area, strict=True)],
            "model": [f"m{v}" for v in model],
            "os": [f"os{v}" for v in self.maker[model]],
            "app_version": [f"v{v}" for v in rng.choice(6, count, p=self.versions)],
            "rat": [("LTE", "NR", "WIFI")[v] for v in rng.choice(3, count, p=self.techniques)],
        }
        columns = {name: np.array(values) for name, values in drawn.items()}
        for scope in surges:
            often = np.where(member(columns, scope), rng.integers(3, 8), 1)
            columns = {name: np.repeat(values, often) for name, values in columns.items()}
        return columns

    def healthy(self, columns: dict[str, np.ndarray], noise: float) -> np.ndarray:
        """Chance of failure of each session in health, in this quarter hour."""
        rng = self.rng
        odds = np.full(len(columns["city"]), np.log(self.base) + rng.normal(0, noise))
        for name in DIMENSIONS:
            values, where = np.unique(columns[name], return_inverse=True)
            lasting = [self.strength[name].setdefault(v, float(rng.normal(0, 0.35))) for v in values]
            odds += (np.array(lasting) + rng.normal(0, noise, len(values)))[where]
        for first, second in (("node", "city"), ("model", "app_version")):
            joined = np.char.add(np.char.add(columns[first], "|"), columns[second])
            values, where = np.unique(joined, return_inverse=True)
            odds += np.array([self.pairs.setdefault((first, v), float(rng.normal(0, 0.2))) for v in values])[
                where
            ]
        return np.clip(np.exp(odds), 0, 0.6)


def member(columns: dict[str, np.ndarray], scope: Scope) -> np.ndarray:
    inside = np.ones(len(next(iter(columns.values()))), dtype=bool)
    for name, value in scope:
        inside &= columns[name] == value
    return inside


def table(columns: dict[str, np.ndarray], failed: np.ndarray, period: np.ndarray | None = None) -> Table:
    """Sessions counted by their values, as a cube would be read."""
    counts: Counter[tuple[str, ...]] = Counter()
    bad: Counter[tuple[str, ...]] = Counter()
    lists = [columns[name].tolist() for name in columns]
    lists.append((period if period is not None else np.zeros(len(failed), int)).astype(str).tolist())
    for key, wrong in zip(zip(*lists, strict=True), failed.tolist(), strict=True):
        counts[key] += 1
        bad[key] += wrong
    keys = list(counts)
    return make_table(
        {name: [key[i] for key in keys] for i, name in enumerate(columns)},
        [counts[key] for key in keys],
        [bad[key] for key in keys],
        None if period is None else [key[-1] for key in keys],
    )


@dataclass
class Case:
    now: Table
    before: Table
    faults: list[Scope]
    same: dict[Scope, set[Scope]]


def _draw_scope(rng: np.random.Generator, columns: dict[str, np.ndarray], length: int) -> Scope | None:
    names = rng.choice(DIMENSIONS, length, replace=False)
    for coarse, fine in (("source", "node"), ("city", "area"), ("os", "model")):
        if coarse in names and fine in names:
            return None
    at = int(rng.integers(len(columns["city"])))
    scope = tuple((str(n), str(columns[n][at])) for n in DIMENSIONS if n in names)
    here = member(columns, scope).sum()
    if here < PLAIN or here > 0.4 * len(columns["city"]):
        return None
    for left in scope:
        rest = tuple(pair for pair in scope if pair != left)
        if rest and here > INSIDE * member(columns, rest).sum():
            return None
    return scope


def make_case(
    seed: int,
    lengths: Sequence[int],
    *,
    sessions: int = SESSIONS,
    noise: float = 0.08,
    periods: int = PERIODS,
    past_incident: bool = False,
) -> Case:
    """A case with one fault per length; no lengths, no fault."""
    rng = np.random.default_rng(seed)
    world = Province(rng)
    surges = [((str(n), f"{'c' if n == 'city' else 'm'}{rng.integers(12)}"),) for n in ("city", "model")]
    past = [world.sessions(sessions) for _ in range(periods)]
    failed = [rng.random(len(c["city"])) < world.healthy(c, noise) for c in past]
    if past_incident:
        hit = member(past[0], (("city", str(past[0]["city"][0])),))
        failed[0] |= hit & (rng.random(len(hit)) < 0.4)
    columns = {name: np.concatenate([c[name] for c in past]) for name in DIMENSIONS}
    before = table(columns, np.concatenate(failed), np.repeat(np.arange(periods), [len(f) for f in failed]))
    now = world.sessions(sessions, surges)
    chance = world.healthy(now, noise)
    faults: list[Scope] = []
    while len(faults) < len(lengths):
        scope = _draw_scope(rng, now, lengths[len(faults)])
        if scope is None:
            continue
        inside = member(now, scope)
        if any(
            (inside & member(now, f)).sum() > 0.3 * min(inside.sum(), member(now, f).sum()) for f in faults
        ):
            continue
        if rng.random() < 0.3:
            added = np.minimum(chance * rng.uniform(4, 12), 0.95)
        else:
            added = 1 - (1 - chance) * (1 - rng.uniform(0.1, 0.8))
        if (added - chance)[inside].sum() < CLEAR:
            continue
        chance = np.where(inside, added, chance)
        faults.append(scope)
    result = table(now, rng.random(len(chance)) < chance)
    return Case(result, before, faults, {})


def matches(result: Drilldown, faults: Sequence[Scope]) -> tuple[bool, int, int]:
    """Exact match of the sets, causes named rightly, and causes within the first five."""
    wanted = set(faults)
    hit = sum(bool(({f.scope} | set(f.same_as)) & wanted) for f in result.findings)
    first = [{f.scope} | set(f.same_as) for f in (*result.findings, *result.alternatives)][
        : 4 + max(len(faults), 1)
    ]
    within = sum(any(fault in names for names in first) for fault in faults)
    return hit == len(wanted) == len(result.findings), hit, within


KINDS: dict[str, tuple[tuple[int, ...], dict[str, object]]] = {
    "one fault of 1 dimension": ((1,), {}),
    "one fault of 2 dimensions": ((2,), {}),
    "one fault of 3 dimensions": ((3,), {}),
    "two faults": ((1, 2), {}),
    "three faults": ((1, 2, 2), {}),
    "one fault, noise doubled": ((2,), {"noise": 0.16}),
    "one fault, one past period": ((2,), {"periods": 1}),
    "one fault, incident in the past": ((1,), {"past_incident": True}),
    "no fault": ((), {}),
    "no fault, noise doubled": ((), {"noise": 0.16}),
    "no fault, one past period": ((), {"periods": 1}),
}


def main() -> None:
    cases = int(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].isdigit() else 20
    print(f"{cases} cases a kind, {SESSIONS} sessions a quarter hour, {len(DIMENSIONS)} dimensions")
    print(
        f"{'kind':34} {'exact':>6} {'recall':>7} {'precision':>9} {'top 5':>6} {'named':>6} {'ms a case':>10}"
    )
    for number, (kind, (lengths, options)) in enumerate(KINDS.items()):
        exact = right = within = named = 0
        spent: list[float] = []
        rows = 0
        for i in range(cases):
            case = make_case(FIRST_SEED + 1000 * number + i, lengths, **options)  # type: ignore[arg-type]
            began = time.perf_counter()
            result = drill(case.now, case.before)
            spent.append(time.perf_counter() - began)
            rows += len(case.now)
            one, hits, near = matches(result, case.faults)
            exact, right, within, named = (
                exact + one,
                right + hits,
                within + near,
                named + len(result.findings),
            )
        wanted = cases * len(lengths)
        share = (
            (f"{right / wanted:.2f}", f"{right / max(named, 1):.2f}", f"{within / wanted:.2f}")
            if wanted
            else ("",) * 3
        )
        print(
            f"{kind:34} {exact / cases:6.2f} {share[0]:>7} {share[1]:>9} {share[2]:>6} {named / cases:6.2f}"
            f" {np.median(spent) * 1e3:10.0f}"
        )
    cost()


def cost() -> None:
    """Cost of one large case: 100,000 leaves now and in each of four periods, six dimensions."""
    rng = np.random.default_rng(7)
    cards = (30, 200, 14, 40, 8, 5)
    rows = 100_000

    def drawn(count: int) -> dict[str, np.ndarray]:
        return {
            f"d{i}": np.char.add(f"v{i}-", (card * rng.random(count) ** 2).astype(int).astype(str))
            for i, card in enumerate(cards)
        }

    now, before = drawn(rows), drawn(4 * rows)
    total, past_total = 1 + rng.geometric(0.2, rows), 1 + rng.geometric(0.2, 4 * rows)
    chance = np.where((now["d1"] == "v1-3") & (now["d4"] == "v4-1"), 0.3, 0.02)
    tables = (
        make_table({k: v.tolist() for k, v in now.items()}, total, rng.binomial(total, chance)),
        make_table(
            {k: v.tolist() for k, v in before.items()},
            past_total,
            rng.binomial(past_total, 0.02),
            [str(p) for p in np.repeat(np.arange(4), rows)],
        ),
    )
    began, used = time.perf_counter(), time.process_time()
    result = drill(*tables)
    wall, cpu = time.perf_counter() - began, time.process_time() - used
    print(
        f"{len(tables[0])} rows now, {len(tables[1])} before, 6 dimensions:"
        f" {wall * 1e3:.0f} ms ({cpu * 1e3:.0f} ms of CPU),"
    )
    print(f"  {result.candidates} scopes looked at; named {[dict(f.scope) for f in result.findings]}")


if __name__ == "__main__":
    main()
