"""The published JSON Schema and the parser agree on what a report is."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdk_ingest.documentation import EXAMPLE_REPORT
from sdk_ingest.parsing import IngestLimits, parse_body
from sdk_ingest.schemas import SCHEMA_VERSION, SCHEMAS, report_schema

NOW = datetime(2026, 11, 22, 7, 41, 12, tzinfo=UTC)
CHECKER = jsonschema.FormatChecker(formats=())


@CHECKER.checks("date-time", raises=ValueError)
def _date_time(value: object) -> bool:
    """RFC 3339 §5.6: a zone is required (independent of the parser's own reading)."""
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


VALIDATOR = jsonschema.Draft202012Validator(report_schema(), format_checker=CHECKER)


def parser_takes(value: Any) -> bool:
    return bool(
        parse_body(
            b"[" + json.dumps(value).encode() + b"]", "application/json", "", IngestLimits(), NOW
        ).items
    )


def full_report() -> dict[str, Any]:
    report = copy.deepcopy(EXAMPLE_REPORT)
    report["iot"] = {"lwm2m": {"/4/0/2": -110, "/3/0/0": "maker", "/3/0/9": 80.5, "/1/0/6": True}}
    report["status"]["nas_cause"] = {"emm": 15, "5gmm": 22}
    report["app"] = {"events": [{"kind": "opened", "at": "2026-11-22T07:30:00Z"}], "figures": {"play_ms": 10}}
    report["subscriber"] = "+8613812345678"
    report["symptom"] = "slow_start"
    return report


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        found += places(inner, (*path, key))
    return found


def with_value(report: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(report)
    holder: Any = changed
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return changed


ODD_VALUES: list[Any] = [
    None, True, 0, -1, 1, 1.5, 3.0, 200, 1e12, -1e12, 1e300, "", "a", "x" * 129, "x" * 2000, "none", "video\n", "LTE",
    "2026-11-22T07:30:00Z", "2026-11-22T07:30:00", [], {}, [None], [{}], [-100], {"a": 1}, {"kind": "ended"},
]  # fmt: skip


def test_schema_is_a_valid_2020_12_schema_with_its_version() -> None:
    jsonschema.Draft202012Validator.check_schema(report_schema())
    assert report_schema()["version"] == SCHEMA_VERSION == "1.0"
    assert SCHEMA_VERSION in SCHEMAS


def test_examples_are_valid_by_both() -> None:
    assert VALIDATOR.is_valid(EXAMPLE_REPORT)
    assert parser_takes(EXAMPLE_REPORT)
    assert VALIDATOR.is_valid(full_report())
    assert parser_takes(full_report())


@pytest.mark.parametrize("path", places(full_report()), ids=lambda path: "/".join(map(str, path)))
def test_both_agree_on_every_odd_value_in_every_place(path: tuple[Any, ...]) -> None:
    disagreements = [
        value
        for value in ODD_VALUES
        if VALIDATOR.is_valid(changed := with_value(full_report(), path, value)) != parser_takes(changed)
    ]
    assert disagreements == []


def test_both_agree_that_id_and_time_are_all_that_is_required() -> None:
    smallest = {"id": "a", "observed_at": "2026-11-22T07:30:00Z"}
    assert VALIDATOR.is_valid(smallest)
    assert parser_takes(smallest)
    for name in smallest:
        less = {key: value for key, value in smallest.items() if key != name}
        assert not VALIDATOR.is_valid(less)
        assert not parser_takes(less)


@given(st.data())
def test_both_agree_on_numbers_near_every_bound(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from([p for p in places(full_report()) if isinstance(p[-1], str)]))
    value = data.draw(
        st.floats(allow_nan=False, allow_infinity=False, width=32)
        | st.integers(-200, 1_000)
        | st.text(max_size=70)
    )
    changed = with_value(full_report(), path, value)
    if path[-1] in {"observed_at", "at"}:
        return  # the times that are taken depend on the clock, not on the form
    assert VALIDATOR.is_valid(changed) == parser_takes(changed)
