"""What is logged is JSON, carries the request's id, and never what a frame's variables hold."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from cem.platform.observe import REQUEST_ID, configure_logging, get_logger


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()
    REQUEST_ID.set(None)


def _fail(secret: str) -> None:
    raise RuntimeError("could not")


@pytest.mark.parametrize("as_json", [True, False])
def test_a_traceback_shows_no_variables(as_json: bool, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", as_json=as_json)
    try:
        _fail("".join(["+86138", "12345678"]))  # in two parts: a source line may be shown, a value may not
    except RuntimeError as error:
        get_logger("test.traceback").error("failed", exc_info=error)
    text = capsys.readouterr().err
    assert "could not" in text
    assert "_fail" in text
    assert "13812345678" not in text


def test_lines_are_json_with_the_request_id(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", as_json=True)
    REQUEST_ID.set("r-1234567")
    get_logger("test.json").info("did", items=3)
    logging.getLogger("other.library").warning("said %s", "so")
    ours, theirs = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (ours["event"], ours["items"], ours["request_id"]) == ("did", 3, "r-1234567")
    assert (theirs["event"], theirs["request_id"], theirs["level"]) == ("said so", "r-1234567", "warning")
