"""The node that tests break: it does what its fault says, and its log tells it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.origin import Fault, Origin, cloud_samples


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Origin]:
    (tmp_path / "a.ts").write_bytes(b"x" * 9000)
    (tmp_path / "a.m3u8").write_text("#EXTM3U\n")
    with Origin({"/film": tmp_path}) as started:
        yield started


@pytest.fixture
def client(node: Origin) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=node.url, headers={"Connection": "close"}) as started:
        yield started


def test_a_healthy_node_delivers_to_pages_of_any_origin(node: Origin, client: httpx.Client) -> None:
    answer = client.get("/film/a.ts")
    assert (answer.status_code, len(answer.content)) == (200, 9000)
    assert answer.headers["access-control-allow-origin"] == "*"
    assert client.get("/film/none.ts").status_code == 404
    assert client.get("/film/..%2f..%2fetc/passwd").status_code == 404


def test_a_third_of_the_covered_requests_fail_in_a_repeatable_order(
    node: Origin, client: httpx.Client
) -> None:
    with node.broken(Fault(error_ratio=1 / 3, suffixes=(".ts",))):
        seen = [client.get("/film/a.ts").status_code for _ in range(6)]
        assert client.get("/film/a.m3u8").status_code == 200
    assert seen == [200, 200, 503, 200, 200, 503]
    assert client.get("/film/a.ts").status_code == 200


def test_the_first_fault_that_covers_a_path_counts(node: Origin, client: httpx.Client) -> None:
    with node.broken(Fault(error_ratio=1, suffixes=("a.ts",)), Fault(error_ratio=1, status=500)):
        assert client.get("/film/a.ts").status_code == 503
        assert client.get("/film/a.m3u8").status_code == 500


def test_a_node_passes_on_what_its_origin_answers_and_its_log_becomes_samples(
    node: Origin, tmp_path: Path
) -> None:
    query = {"CMCD": 'ot=v,sid="s-1",v=2'}
    with (
        Origin({"/": tmp_path}, host="127.0.0.2", upstream=node) as edge,
        httpx.Client(base_url=edge.url, headers={"Connection": "close"}) as client,
    ):
        with node.broken(Fault(first_byte_delay_s=0.2, error_ratio=0.5)):
            seen = [client.get("/film/a.ts", params=query) for _ in range(2)]
        client.get("/a.ts", params=query)
        client.get("/film/a.ts")
        samples = cloud_samples(edge, source="s", subscribers={"s-1": "+8613800000001"}, run="r")
    assert [(answer.status_code, len(answer.content)) for answer in seen] == [(200, 9000), (503, 0)]
    [sample] = samples
    assert sample["session_id"] == "s-1"
    assert sample["dimensions"] == {"node": "127.0.0.2", "source": "s"}
    assert sample["values"]["http_5xx_ratio"] == pytest.approx(1 / 3)
    assert sample["values"]["cache_hit_ratio"] == pytest.approx(1 / 3)
    assert sample["values"]["origin_ms"] >= 200
