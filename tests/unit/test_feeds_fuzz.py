"""Mutated files: a parser raises its own errors and nothing else. `python -m tests.benchmarks.fuzz_feeds` runs long."""

from __future__ import annotations

from contextlib import suppress

from kqi.feeds.errors import BadMapping
from tests.feed_fuzz import mapping_mutants, mutants, outcome


def test_parsers_raise_only_their_own_errors() -> None:
    seen = {"stored": 0, "refused": 0, "error": 0}
    for name, data, mapping in mutants(seed=20261122, count=2_000):
        stored, refused, error = outcome(name, data, mapping)
        seen["stored"] += stored
        seen["refused"] += refused
        seen["error"] += bool(error)
    # a run that refuses everything, or nothing, has not looked
    assert min(seen.values()) > 100


def test_mapping_files_raise_only_their_own_error() -> None:
    read = 0
    for call in mapping_mutants(seed=7, count=500):
        with suppress(BadMapping):
            call()
            read += 1
    assert 0 < read < 500
