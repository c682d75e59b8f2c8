"""The demo province: who lives there, with what phones, under which cells, watching what from where.

Pure and seeded: the same seed gives the same province, to the last subscriber. Nothing here knows of time or of
faults. Every name is invented. Phone numbers lie under the prefix 154 and those of things under 1000, both of which
have been given to no Chinese network.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random

from cem.demo.chance import seeded

PROVINCE = "yunze"
PROVINCE_NAME = "云泽省"
APN = "cmnet"
IOT_APN = "cmnbiot"
NUMBER_BASE = 15_400_000_000  # 11 digits, prefix 154: not given to any network
IOT_NUMBER_BASE = 1_000_000_000_000  # 13 digits, prefix 1000: not given to any network


class Rat(StrEnum):
    """Radio technologies of the province, written as reports write them."""

    LTE = "LTE"
    NR = "NR"
    NB_IOT = "NB-IoT"


@dataclass(frozen=True, slots=True)
class City:
    """A city: pinyin id, Chinese and English name, weight by inhabitants, and the gateway that serves it."""

    id: str
    name_zh: str
    name_en: str
    weight: int
    gateway: str


@dataclass(frozen=True, slots=True)
class Cell:
    """A radio cell. `power_dbm` is per resource element, `radius_km` the reach its planners gave it."""

    id: str
    city: str
    area: str
    gateway: str
    rat: Rat
    bandwidth_mhz: float
    power_dbm: float
    radius_km: float
    load: float  # usual share of resource blocks in use, 0–1


@dataclass(frozen=True, slots=True)
class Source:
    """A programme source. `live_share` of its requests miss the cache, because live edges are young."""

    id: str
    name_zh: str
    nodes: tuple[str, ...]
    miss_share: float
    weight: int


@dataclass(frozen=True, slots=True)
class Node:
    """A CDN node and the city it stands in. `utilisation` is its usual load, 0–1."""

    id: str
    city: str
    utilisation: float


@dataclass(frozen=True, slots=True)
class PhoneModel:
    """A phone model with the systems it runs. `speed` scales how quick it starts a player (1 = usual)."""

    id: str
    os: str
    os_versions: tuple[str, ...]
    speed: float
    nr: bool
    weight: int


@dataclass(frozen=True, slots=True)
class Subscriber:
    """A line with its phone, its two usual places and how far from the mast they lie."""

    index: int
    number: str
    install_id: str
    city: str
    cells: tuple[str, ...]
    distance: float  # share of the cell's radius, 0–1
    indoor_loss_db: float
    model: str
    os: str
    os_version: str
    app_version: str


@dataclass(frozen=True, slots=True)
class IotDevice:
    """A thing with a line: what it is, where it stands, and how it reaches the network."""

    index: int
    number: str
    device_type: str
    city: str
    cell: str
    rat: Rat
    distance: float
    indoor_loss_db: float
    firmware: str
    period_s: int
    battery_pct: float


@dataclass(frozen=True)
class World:
    """The province as one value, with the look-ups that generation needs."""

    seed: int
    cities: tuple[City, ...]
    cells: tuple[Cell, ...]
    sources: tuple[Source, ...]
    nodes: tuple[Node, ...]
    models: tuple[PhoneModel, ...]
    app_versions: tuple[str, ...]
    subscribers: tuple[Subscriber, ...]
    iot_devices: tuple[IotDevice, ...]
    cell_by_id: dict[str, Cell] = field(repr=False)
    node_by_id: dict[str, Node] = field(repr=False)
    source_by_id: dict[str, Source] = field(repr=False)
    model_by_id: dict[str, PhoneModel] = field(repr=False)
    busy_cells: tuple[str, ...] = field(repr=False)
    _nodes_of: dict[tuple[str, str], tuple[str, ...]] = field(repr=False)
    _source_weights: tuple[int, ...] = field(repr=False)

    def pick_source(self, rng: Random) -> Source:
        """Give the source of one viewing, by popularity."""
        return rng.choices(self.sources, weights=self._source_weights)[0]

    def pick_node(self, rng: Random, source: Source, city: str) -> Node:
        """Give the node that serves a viewing: mostly the nearest of the source's nodes, at times another."""
        near = self._nodes_of[(source.id, city)]
        chosen = near[0] if rng.random() < 0.85 or len(near) == 1 else rng.choice(near[1:])
        return self.node_by_id[chosen]


# id, Chinese name, English name, weight, gateway
_CITIES = (
    ("yunze", "云泽", "Yunze", 16, "gw-yunze-1"),
    ("qingdu", "青渡", "Qingdu", 13, "gw-yunze-1"),
    ("wangchuan", "望川", "Wangchuan", 11, "gw-wangchuan-1"),
    ("fengling", "枫岭", "Fengling", 9, "gw-wangchuan-1"),
    ("lanwan", "澜湾", "Lanwan", 9, "gw-lanwan-1"),
    ("baihe", "白荷", "Baihe", 8, "gw-lanwan-1"),
    ("haitang", "海棠", "Haitang", 7, "gw-lanwan-1"),
    ("jinlu", "金麓", "Jinlu", 7, "gw-jinghu-1"),
    ("songlan", "松岚", "Songlan", 6, "gw-jinghu-1"),
    ("jinghu", "镜湖", "Jinghu", 6, "gw-jinghu-1"),
    ("dongli", "东篱", "Dongli", 5, "gw-wangchuan-1"),
    ("nanpu", "南浦", "Nanpu", 5, "gw-yunze-1"),
)

# id, Chinese name, cache-miss share, weight, number of nodes
_SOURCES = (
    ("yunying", "云影视频", 0.06, 22, 12),
    ("hetang", "荷塘直播", 0.22, 16, 8),
    ("qianfan", "千帆影院", 0.08, 14, 8),
    ("luming", "鹿鸣短视频", 0.10, 18, 10),
    ("xinghuo", "星火体育", 0.20, 9, 6),
    ("muke", "木刻公开课", 0.07, 7, 5),
    ("zhuyin", "竹音少儿", 0.06, 7, 5),
    ("shanhai", "山海纪录", 0.09, 7, 5),
)

_MODELS = (
    PhoneModel("Lark P9", "Android", ("14", "15"), 1.0, True, 16),
    PhoneModel("Lark P9 Pro", "Android", ("15", "16"), 0.85, True, 12),
    PhoneModel("Lark Y3", "Android", ("12", "13"), 1.6, False, 11),
    PhoneModel("Kestrel X2", "Android", ("14", "15"), 1.0, True, 13),
    PhoneModel("Kestrel X2 Lite", "Android", ("13", "14"), 1.35, True, 10),
    PhoneModel("Wren 12", "iOS", ("18.6", "26.1"), 0.8, True, 14),
    PhoneModel("Wren 10", "iOS", ("17.7", "18.6"), 1.05, True, 9),
    PhoneModel("Heron S", "HarmonyOS", ("4.2", "5.0"), 0.95, True, 11),
    PhoneModel("Plover A1", "Android", ("11", "12"), 1.9, False, 4),
)

_APP_VERSIONS = (("8.1.6", 8), ("8.2.4", 22), ("8.3.1", 44), ("8.4.0", 26))
_IOT_TYPES = (
    ("smoke_sensor", Rat.NB_IOT, 900, 5),
    ("meter", Rat.NB_IOT, 1800, 4),
    ("shared_bike", Rat.LTE, 300, 6),
)

LTE_CELLS_SHARE = 0.55
CELLS = 252
NB_CELLS_PER_CITY = 3
SUBSCRIBERS = 3600
IOT_DEVICES = 900
NODES = 20
BUSY_CELLS = 40


def build_world(seed: int = 20260) -> World:
    """Build the province of a seed. Takes about 50 ms; the value may be shared between threads."""
    rng = seeded(seed, "world")
    cities = tuple(City(*row) for row in _CITIES)
    cells = _cells(rng, cities)
    nodes = _nodes(rng, cities)
    subscribers = _subscribers(rng, cities, cells)
    sources, nodes_of = _sources(rng, cities, nodes)
    return World(
        seed=seed,
        cities=cities,
        cells=cells,
        sources=sources,
        nodes=nodes,
        models=_MODELS,
        app_versions=tuple(version for version, _ in _APP_VERSIONS),
        subscribers=subscribers,
        iot_devices=_iot_devices(rng, cities, cells),
        cell_by_id={cell.id: cell for cell in cells},
        node_by_id={node.id: node for node in nodes},
        source_by_id={source.id: source for source in sources},
        model_by_id={model.id: model for model in _MODELS},
        busy_cells=_busiest(subscribers),
        _nodes_of=nodes_of,
        _source_weights=tuple(source.weight for source in sources),
    )


def _cells(rng: Random, cities: Sequence[City]) -> tuple[Cell, ...]:
    total = sum(city.weight for city in cities)
    made: list[Cell] = []
    for order, city in enumerate(cities, start=1):
        count = round(CELLS * city.weight / total)
        areas = max(2, count // 7)
        for number in range(1, count + 1):
            rat = Rat.LTE if rng.random() < LTE_CELLS_SHARE else Rat.NR
            made.append(
                Cell(
                    id=f"{city.id}-{order:02d}{number:03d}",
                    city=city.id,
                    area=f"{city.id}-ta{(number - 1) % areas + 1}",
                    gateway=city.gateway,
                    rat=rat,
                    bandwidth_mhz=20.0 if rat is Rat.LTE else 60.0,
                    power_dbm=18.0 if rat is Rat.LTE else 21.0,
                    radius_km=rng.uniform(0.22, 0.42),
                    load=rng.uniform(0.18, 0.55),
                )
            )
        for number in range(1, NB_CELLS_PER_CITY + 1):
            made.append(
                Cell(
                    id=f"{city.id}-{order:02d}9{number:02d}",
                    city=city.id,
                    area=f"{city.id}-ta{(number - 1) % areas + 1}",
                    gateway=city.gateway,
                    rat=Rat.NB_IOT,
                    bandwidth_mhz=0.18,
                    power_dbm=32.0,
                    radius_km=rng.uniform(0.8, 1.5),
                    load=rng.uniform(0.1, 0.4),
                )
            )
    return tuple(made)


def _nodes(rng: Random, cities: Sequence[City]) -> tuple[Node, ...]:
    made = [Node(f"node-{city.id}-1", city.id, rng.uniform(0.25, 0.6)) for city in cities]
    for city in cities[: NODES - len(made)]:
        made.append(Node(f"node-{city.id}-2", city.id, rng.uniform(0.25, 0.6)))
    return tuple(made)


def _sources(
    rng: Random, cities: Sequence[City], nodes: Sequence[Node]
) -> tuple[tuple[Source, ...], dict[tuple[str, str], tuple[str, ...]]]:
    made: list[Source] = []
    nodes_of: dict[tuple[str, str], tuple[str, ...]] = {}
    for source_id, name, miss_share, weight, count in _SOURCES:
        chosen = tuple(sorted(rng.sample(nodes, count), key=lambda node: node.id))
        made.append(Source(source_id, name, tuple(node.id for node in chosen), miss_share, weight))
        for city in cities:
            ranked = sorted(
                chosen,
                key=lambda node: (node.city != city.id, _same_region(cities, node.city, city), rng.random()),
            )
            nodes_of[(source_id, city.id)] = tuple(node.id for node in ranked[:3])
    return tuple(made), nodes_of


def _same_region(cities: Sequence[City], city_id: str, of: City) -> bool:
    gateway = next(city.gateway for city in cities if city.id == city_id)
    return gateway != of.gateway


def _subscribers(rng: Random, cities: Sequence[City], cells: Sequence[Cell]) -> tuple[Subscriber, ...]:
    by_city = {
        city.id: [cell for cell in cells if cell.city == city.id and cell.rat is not Rat.NB_IOT]
        for city in cities
    }
    lte_only = {city: [cell for cell in members if cell.rat is Rat.LTE] for city, members in by_city.items()}
    weights = [city.weight for city in cities]
    model_weights = [model.weight for model in _MODELS]
    versions = [version for version, _ in _APP_VERSIONS]
    version_weights = [share for _, share in _APP_VERSIONS]
    made: list[Subscriber] = []
    for index in range(SUBSCRIBERS):
        city = rng.choices(cities, weights=weights)[0]
        model = rng.choices(_MODELS, weights=model_weights)[0]
        reachable = by_city[city.id] if model.nr else lte_only[city.id]
        made.append(
            Subscriber(
                index=index,
                number=f"+86{NUMBER_BASE + index}",
                install_id=f"{rng.getrandbits(64):016x}",
                city=city.id,
                cells=_usual_cells(rng, reachable),
                distance=rng.random() ** 0.5,
                indoor_loss_db=rng.choice((0.0, 0.0, 4.0, 8.0, 12.0)),
                model=model.id,
                os=model.os,
                os_version=rng.choice(model.os_versions),
                app_version=rng.choices(versions, weights=version_weights)[0],
            )
        )
    return tuple(made)


def _usual_cells(rng: Random, reachable: Sequence[Cell]) -> tuple[str, ...]:
    """Two different cells, the first of a list likelier by far: people live close together."""
    weights = [1.0 / (position + 1.5) for position in range(len(reachable))]
    first = rng.choices(reachable, weights=weights)[0]
    second = rng.choice([cell for cell in reachable if cell is not first])
    return (first.id, second.id)


def _busiest(subscribers: Sequence[Subscriber]) -> tuple[str, ...]:
    """Cells that are usual to most subscribers, the busiest first."""
    return tuple(
        cell
        for cell, _ in Counter(cell for line in subscribers for cell in line.cells).most_common(BUSY_CELLS)
    )


def _iot_devices(rng: Random, cities: Sequence[City], cells: Sequence[Cell]) -> tuple[IotDevice, ...]:
    weights = [city.weight for city in cities]
    type_weights = [weight for *_, weight in _IOT_TYPES]
    made: list[IotDevice] = []
    for index in range(IOT_DEVICES):
        city = rng.choices(cities, weights=weights)[0]
        device_type, rat, period_s, _ = rng.choices(_IOT_TYPES, weights=type_weights)[0]
        cell = rng.choice([cell for cell in cells if cell.city == city.id and cell.rat is rat])
        made.append(
            IotDevice(
                index=index,
                number=f"+86{IOT_NUMBER_BASE + index}",
                device_type=device_type,
                city=city.id,
                cell=cell.id,
                rat=rat,
                distance=rng.random() ** 0.5,
                indoor_loss_db=rng.choice((0.0, 6.0, 12.0, 20.0)) if rat is Rat.NB_IOT else 0.0,
                firmware=rng.choice(("2.1.0", "2.1.3", "2.2.0")),
                period_s=period_s,
                battery_pct=rng.uniform(35.0, 100.0),
            )
        )
    return tuple(made)
