"""What a caller asks of a self-check: two forms, read strictly where it says who and leniently where it says what."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cem.platform.errors import InvalidInput, MalformedBody
from demarcation.documentation import PENDING, SELF_CHECK, SNAPSHOT
from demarcation.requests import read_request, snapshot_id
from demarcation.schemas import SelfCheckAnswer, VerdictDetail, VerdictPage
from demarcation.taxonomy import load_taxonomy


def read(document: Any) -> Any:
    return read_request(json.dumps(document).encode())


def test_the_number_is_taken_out_of_what_is_kept() -> None:
    asked = read({"snapshot": {"subscriber": "+8613800000001", "radio": {"rsrp_dbm": -90}}})
    assert asked.number == "+8613800000001"
    assert asked.snapshot == {"radio": {"rsrp_dbm": -90}}


def test_members_that_name_a_person_are_dropped_at_any_depth() -> None:
    asked = read(
        {"device": {"model": "m", "IMEI": "1"}, "app": {"events": [{"kind": "k", "msisdn": "2"}]}, "imsi": 3}
    )
    assert asked.snapshot == {"device": {"model": "m"}, "app": {"events": [{"kind": "k"}]}}


def test_what_is_asked_goes_before_what_the_snapshot_says() -> None:
    shot = {"service": "Video", "symptom": "stall", "id": "x"}
    bare, wrapped = (
        read(shot),
        read({"snapshot": shot, "service": "web", "symptom": "FAILS", "deadline_ms": 900}),
    )
    assert (bare.service, bare.symptom, bare.deadline_ms) == ("video", "stall", None)
    assert (wrapped.service, wrapped.symptom, wrapped.deadline_ms) == ("web", "fails", 900)
    assert snapshot_id(bare.snapshot) == snapshot_id(wrapped.snapshot) == "x"


@pytest.mark.parametrize("value", [None, 3, "", "x" * 129])
def test_a_snapshot_need_not_have_a_usable_id(value: Any) -> None:
    assert snapshot_id({"id": value}) is None


@given(st.binary(max_size=60) | st.text(alphabet='{}[]":,0aé\\', max_size=60).map(str.encode))
def test_any_body_is_read_or_refused_by_name(body: bytes) -> None:
    with contextlib.suppress(MalformedBody, InvalidInput):
        read_request(body)


def test_the_documented_examples_are_true_to_the_models() -> None:
    from demarcation import documentation

    for example in (SELF_CHECK, PENDING):
        SelfCheckAnswer.model_validate(example)
    VerdictDetail.model_validate(documentation.DETAIL)
    VerdictPage.model_validate(documentation.PAGE)
    assert read(SNAPSHOT).service == "video"
    assert documentation.VERDICT["cause"] in load_taxonomy()
