"""What people call the places and sources of the demo province, for pages that show ids otherwise."""

from __future__ import annotations

from collections.abc import Mapping

from cem.demo.world import PROVINCE, PROVINCE_NAME, World


def spoken_names(world: World) -> Mapping[tuple[str, str], tuple[str, str]]:
    """Give Chinese and English names by dimension and value."""
    names = {("province", PROVINCE): (PROVINCE_NAME, "Yunze")}
    names |= {("city", city.id): (city.name_zh, city.name_en) for city in world.cities}
    names |= {("source", source.id): (source.name_zh, source.id) for source in world.sources}
    return names
