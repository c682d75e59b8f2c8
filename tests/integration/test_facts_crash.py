"""What an insert acknowledged survives kill -9 at any moment, and what it did not is whole or absent."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cem.platform.facts import open_facts

WRITER = """
import sys
from datetime import UTC, datetime
import msgspec
from cem.platform.facts import open_facts
from cem.platform.facts_migrate import migrate

store = open_facts(sys.argv[1])
now = datetime.now(UTC)
migrate(store, now)
batch = int(sys.argv[2])
while True:
    rows = [
        {"window": now.replace(minute=0, second=0, microsecond=0), "vantage": "pipe", "service": "video",
         "subscriber_id": "s", "item_key": f"{batch:016x}{number:016x}", "version": 1, "observed_at": now,
         "received_at": now, "values": {"rtt_ms": 1.0}}
        for number in range(50)
    ]
    store.insert("samples", b"\\n".join(msgspec.json.encode(row) for row in rows), "JSONEachRow")
    print(batch, flush=True)
    batch += 1
"""


@pytest.mark.crash
def test_acknowledged_inserts_survive_being_killed(tmp_path: Path) -> None:
    url = f"chdb:///{tmp_path}/kqi"
    acknowledged: set[int] = set()
    for turn in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, url, str(turn * 100_000)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        for line in process.stdout:
            acknowledged.add(int(line))
            if len(acknowledged) >= (turn + 1) * 7:
                break
        time.sleep(0.003 * turn)  # somewhere inside the next insert
        process.send_signal(signal.SIGKILL)
        acknowledged |= {int(line) for line in process.stdout if line.endswith("\n")}
        process.wait()
        process.stdout.close()
    store = open_facts(url)
    rows = store.rows(
        "SELECT reinterpretAsUInt64(reverse(unhex(substring(toString(item_key), 1, 16)))) AS batch, count() AS n"
        " FROM samples GROUP BY batch"
    )
    store.close()
    stored = {row["batch"]: row["n"] for row in rows}
    assert acknowledged <= set(stored)
    assert set(stored.values()) == {50}  # whole or absent
    assert len(stored) - len(acknowledged) <= 3  # one unanswered insert a turn at most
