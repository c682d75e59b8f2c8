"""Sessions as lines of JSON, and their scores."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kqi.experience import MAX_LINE_BYTES, score_stream


def answers(*lines: bytes) -> list[dict[str, object]]:
    return [json.loads(line) for line in score_stream(lines)]


def test_a_line_of_everything() -> None:
    line = {
        "session_id": "a1", "start_delay_ms": 5000, "play_ms": 60000, "extra": [1],
        "stalls": [{"at_ms": 30000, "length_ms": 3000}],
        "segments": [{"length_ms": 60000, "bitrate_kbps": 3000, "width": 1280, "height": 720}],
        "display": {"width": 1920, "height": 1080},
    }  # fmt: skip
    (found,) = answers(json.dumps(line).encode() + b"\n")
    # worked by hand in test_experience_curves: 1 + 4 · 0.93664 · 0.586381 · 0.81549
    assert found["score"] == pytest.approx(2.792, abs=2e-3)
    assert found["line"] == 1
    assert found["session_id"] == "a1"
    assert found["known"] == ["start", "stalls", "quality"]
    assert found["factors"] == {
        "start": pytest.approx(0.9366, abs=1e-4),
        "stalls": pytest.approx(0.5864, abs=1e-4),
        "quality": pytest.approx(0.8155, abs=2e-4),
    }


def test_failed_or_without_a_picture_is_one() -> None:
    found = answers(b'{"failed": true}', b'{"play_ms": 0}', b'{"segments": [{"length_ms": 0}]}')
    assert [one["score"] for one in found] == [1, 1, 1]


def test_without_play_time_the_segments_are_added() -> None:
    # two minutes: the two stalls count half; (3.5 · exp(−0.49) + 0.5) / 4 = 0.66105
    stalls = b'"stalls": [{"length_ms": 2000}, {"length_ms": 2000}]'
    (found,) = answers(b'{"segments": [{"length_ms": 90000}, {"length_ms": 30000}], ' + stalls + b"}")
    assert found["score"] == pytest.approx(1 + 4 * 0.66105, abs=1e-3)
    assert found["known"] == ["stalls"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        (b"nope", "malformed"),
        (b"\xff\xfe", "malformed"),
        (b"[]", "object"),
        (b"{}", "Nothing is known"),
        (b'{"session_id": "x"}', "Nothing is known"),
        (b'{"stalls": [{"length_ms": -1}]}', "$.stalls[0].length_ms"),
        (b'{"stalls": [{"at_ms": 1}]}', "length_ms"),
        (b'{"segments": [{"length_ms": 1, "bitrate_kbps": "fast"}]}', "$.segments[0].bitrate_kbps"),
        (b'{"segments": [{"length_ms": 1, "width": 0, "height": 1}]}', "width"),
        (b'{"play_ms": 1e400}', "play_ms"),
        (b'{"start_delay_ms": NaN}', "malformed"),
        (b'{"start_delay_ms": 1e12}', "start_delay_ms"),
        (b'{"session_id": "' + b"x" * 200 + b'"}', "session_id"),
        (b" " * MAX_LINE_BYTES + b"{}", "longer"),
        (b"[" * 100_000, ""),
    ],
)
def test_a_bad_line_becomes_one_that_says_why_and_the_next_goes_on(line: bytes, says: str) -> None:
    bad, good = answers(line, b'{"start_delay_ms": 0}')
    assert bad["line"] == 1
    assert says in str(bad["error"])
    assert "score" not in bad
    assert (good["line"], good["score"]) == (2, 5)


def test_blank_lines_pass_and_are_counted() -> None:
    assert [one["line"] for one in answers(b"", b"\n", b'{"failed": true}', b"  \r\n")] == [3]


@settings(deadline=None)
@given(st.binary(max_size=60) | st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=4) | st.integers(),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(["stalls", "segments", "length_ms", "at_ms", "play_ms", "display", "width", "height",
                         "bitrate_kbps", "failed", "start_delay_ms", "session_id"]), inner, max_size=5),
    max_leaves=12,
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_whatever_comes_is_answered_in_one_line(line: bytes) -> None:
    found = list(score_stream([line]))
    assert len(found) == (1 if line.strip() else 0)
    for one in found:
        answer = json.loads(one)
        assert one.endswith(b"\n")
        assert ("error" in answer) != (1 <= answer.get("score", 0) <= 5)


def test_the_example_of_the_page_is_true() -> None:
    page = (Path(__file__).parents[2] / "docs" / "experience.md").read_text("utf-8")
    told, answer = re.findall(r"```json\n(.*?)\n```", page, re.DOTALL)
    assert list(score_stream([told.encode()])) == [answer.encode() + b"\n"]
