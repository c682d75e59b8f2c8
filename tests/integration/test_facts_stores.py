"""Both engines behind the one interface: the same SQL, the same answers."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cem.platform.errors import ConfigurationError, FactStoreError
from cem.platform.facts import FactStore, open_facts
from cem.platform.facts_migrate import Migration, fill, migrate, read_migrations, status
from tests.clickhouse_server import serving

NOW = dt.datetime(2026, 11, 22, 7, 41, 12, 345_000, tzinfo=dt.UTC)
WINDOW = dt.datetime(2026, 11, 22, 7, 30, tzinfo=dt.UTC)


@pytest.fixture(params=["chdb", "clickhouse"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FactStore]:
    if request.param == "chdb":
        opened = open_facts(f"chdb:///{tmp_path}/kqi")
        yield opened
        opened.close()
        return
    with serving(tmp_path / "kqi", credentials="cem:p@ss/word") as server:
        opened = open_facts(f"clickhouse://cem:p%40ss%2Fword@127.0.0.1:{server.port}/cem")
        yield opened
        opened.close()


def _sample(key: str, version: int = 1, **values: float) -> dict[str, object]:
    return {
        "window": WINDOW,
        "vantage": "device",
        "service": "video",
        "subscriber_id": "s_1",
        "item_key": key * 32,
        "version": version,
        "observed_at": NOW,
        "received_at": NOW,
        "city": "杭州",
        "values": values,
        "labels": {"source": "o'neil\\tab\there"},
    }


def _lines(*rows: dict[str, object]) -> bytes:
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)


def test_insert_is_read_back_with_times_maps_and_odd_text(store: FactStore) -> None:
    migrate(store, NOW)
    store.insert("samples", _lines(_sample("a", stall_ratio=0.25, play_ms=9_000)), "JSONEachRow")
    (row,) = store.rows(
        "SELECT window, observed_at, item_key, city, values, labels, version FROM samples FINAL"
    )
    assert row == {
        "window": WINDOW,
        "observed_at": NOW,
        "item_key": "a" * 32,
        "city": "杭州",
        "values": {"stall_ratio": 0.25, "play_ms": 9_000.0},
        "labels": {"source": "o'neil\\tab\there"},
        "version": 1,
    }
    assert row["observed_at"].tzinfo is dt.UTC


def test_arrow_stream_goes_in_as_json_does(store: FactStore) -> None:
    migrate(store, NOW)
    table = pa.table(
        {
            "window": pa.array([WINDOW], pa.timestamp("s", "UTC")),
            "vantage": ["pipe"],
            "service": ["web"],
            "subscriber_id": ["s_2"],
            "item_key": ["b" * 32],
            "version": pa.array([7], pa.uint64()),
            "observed_at": pa.array([NOW], pa.timestamp("ms", "UTC")),
            "received_at": pa.array([NOW], pa.timestamp("ms", "UTC")),
            "values": pa.array([[("rtt_ms", 31.5)]], pa.map_(pa.string(), pa.float64())),
        }
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    store.insert("samples", sink.getvalue().to_pybytes(), "ArrowStream")
    assert store.rows("SELECT window, values['rtt_ms'] AS rtt_ms, version, city FROM samples") == [
        {"window": WINDOW, "rtt_ms": 31.5, "version": 7, "city": ""}
    ]


@pytest.mark.parametrize(
    "text", ["plain", "o'neil", 'a"b', "back\\slash", "tab\tline\nend", "{x:String}", "\\N", "中", ""]
)
def test_parameters_are_bound_by_the_engine(store: FactStore, text: str) -> None:
    (row,) = store.rows(
        "SELECT {text:String} AS text, {several:Array(String)} AS several, {at:DateTime64(3, 'UTC')} AS at, "
        "{count:UInt32} + 1 AS count, {ratio:Float64} AS ratio, {no:Array(String)} AS no",
        {"text": text, "several": [text, "x"], "at": NOW, "count": 41, "ratio": 0.5, "no": []},
    )
    assert row == {"text": text, "several": [text, "x"], "at": NOW, "count": 42, "ratio": 0.5, "no": []}


def test_many_parameters_do_not_meet_the_length_limit_of_a_url(store: FactStore) -> None:
    keys = [f"{number:032x}" for number in range(2_000)]
    assert store.rows("SELECT length({keys:Array(String)}) AS n", {"keys": keys}) == [{"n": 2_000}]


def test_an_empty_result_keeps_its_columns(store: FactStore) -> None:
    migrate(store, NOW)
    assert store.query("SELECT window, values FROM samples").schema.names == ["window", "values"]
    assert store.rows("SELECT window FROM samples") == []


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b'{"no_such_column":1}\n', id="unknown column"),
        pytest.param(b'{"version":"seven"}\n', id="wrong type"),
        pytest.param(b'{"version":1', id="cut off"),
    ],
)
def test_a_wrong_insert_leaves_nothing(store: FactStore, body: bytes) -> None:
    migrate(store, NOW)
    with pytest.raises(FactStoreError) as raised:
        store.insert("samples", _lines(_sample("a"), _sample("b")) + body, "JSONEachRow")
    assert "s_1" not in raised.value.detail  # what was sent is not told
    assert store.rows("SELECT count() AS n FROM samples") == [{"n": 0}]
    store.insert("samples", _lines(_sample("a")), "JSONEachRow")  # and the connection still works
    assert store.rows("SELECT count() AS n FROM samples") == [{"n": 1}]


def test_a_later_version_replaces_and_a_repetition_collapses(store: FactStore) -> None:
    migrate(store, NOW)
    for version, stalls in ((2, 5.0), (1, 9.0), (2, 5.0)):
        store.insert("samples", _lines(_sample("a", version, stall_count=stalls)), "JSONEachRow")
    assert store.rows("SELECT values['stall_count'] AS n FROM samples FINAL") == [{"n": 5.0}]


def test_a_read_that_takes_too_long_is_ended(store: FactStore) -> None:
    with pytest.raises(FactStoreError, match="TIMEOUT_EXCEEDED"):
        store.rows(
            "SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number) % 3 = 1", timeout_s=0.2
        )
    assert store.rows("SELECT 1 AS one") == [{"one": 1}]


def test_only_our_tables_and_formats_are_inserted(store: FactStore) -> None:
    with pytest.raises(FactStoreError):
        store.insert("samples; DROP TABLE samples", b"", "JSONEachRow")
    with pytest.raises(FactStoreError):
        store.insert("samples", b"", "CSV")  # type: ignore[arg-type]


def test_instants_and_maps_come_back_exactly(store: FactStore) -> None:
    (row,) = store.rows(
        "SELECT toDateTime64('2299-12-31 23:59:59.999', 3, 'UTC') AS late,"
        " toDateTime64('1969-12-31 23:59:59.250', 3, 'UTC') AS early, map('a', 0.1, 'b', -0.0) AS two,"
        " CAST(map(), 'Map(String, Float64)') AS none, [map('x', 'y')] AS nested,"
        " CAST(NULL, 'Nullable(Float64)') AS nil"
    )
    assert row == {
        "late": dt.datetime(2299, 12, 31, 23, 59, 59, 999_000, tzinfo=dt.UTC),
        "early": dt.datetime(1969, 12, 31, 23, 59, 59, 250_000, tzinfo=dt.UTC),
        "two": {"a": 0.1, "b": 0.0},
        "none": {},
        "nested": [{"x": "y"}],
        "nil": None,
    }
    assert store.rows(
        "SELECT toDateTime64(0, 3, 'UTC') AS t, map('n', number) AS m FROM numbers(3) WHERE number > 0"
    ) == [
        {"t": dt.datetime(1970, 1, 1, tzinfo=dt.UTC), "m": {"n": 1}},
        {"t": dt.datetime(1970, 1, 1, tzinfo=dt.UTC), "m": {"n": 2}},
    ]


def test_threads_share_the_store(store: FactStore) -> None:
    migrate(store, NOW)
    failed: list[BaseException] = []

    def write(number: int) -> None:
        try:
            for turn in range(5):
                row = _sample("a") | {"item_key": f"{number:016x}{turn:016x}"}
                store.insert("samples", _lines(row), "JSONEachRow")
                store.rows("SELECT count() AS n FROM samples FINAL")
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert store.rows("SELECT count() AS n FROM samples FINAL") == [{"n": 40}]


def test_a_closed_store_refuses(tmp_path: Path) -> None:
    opened = open_facts(f"chdb:///{tmp_path}/kqi")
    opened.close()
    with pytest.raises(FactStoreError, match="closed"):
        opened.rows("SELECT 1")


def test_migrations_run_once_in_order_and_say_where_they_stand(store: FactStore) -> None:
    wanted = read_migrations()
    assert status(store).pending == tuple(m.version for m in wanted)
    assert migrate(store, NOW) == [m.version for m in wanted]
    assert migrate(store, NOW) == []
    assert status(store).current
    assert status(store).applied == tuple(m.version for m in wanted)


def test_a_migration_that_was_killed_is_started_again(store: FactStore) -> None:
    broken = Migration(1, "first", "CREATE TABLE IF NOT EXISTS one (a Int8) ENGINE = Memory\n;\nNOT SQL\n;\n")
    with pytest.raises(FactStoreError):
        migrate(store, NOW, [broken])
    assert status(store, [broken]).pending == (1,)
    mended = Migration(1, "first", "CREATE TABLE IF NOT EXISTS one (a Int8) ENGINE = Memory\n;\n")
    assert migrate(store, NOW, [mended]) == [1]


def test_a_changed_or_unknown_migration_is_refused(store: FactStore) -> None:
    first = Migration(1, "first", "CREATE TABLE IF NOT EXISTS one (a Int8) ENGINE = Memory\n;\n")
    migrate(store, NOW, [first])
    with pytest.raises(ConfigurationError, match=r"0001_first\.sql: changed"):
        status(store, [Migration(1, "first", first.text + "-- changed\n")])
    with pytest.raises(ConfigurationError, match="newer"):
        status(store, [])


def test_names_for_a_cluster_are_filled_in() -> None:
    text = "CREATE TABLE IF NOT EXISTS a{on_cluster} (x Int8) ENGINE = {replicated}ReplacingMergeTree(x)"
    assert fill(text, "") == "CREATE TABLE IF NOT EXISTS a (x Int8) ENGINE = ReplacingMergeTree(x)"
    assert fill(text, "main") == (
        "CREATE TABLE IF NOT EXISTS a ON CLUSTER 'main' (x Int8) ENGINE = ReplicatedReplacingMergeTree(x)"
    )
    for migration in read_migrations():
        for statement in migration.statements("main"):
            if statement.lstrip("-").startswith("CREATE TABLE"):
                assert "ON CLUSTER 'main'" in statement
                assert "ENGINE = Replicated" in statement
    with pytest.raises(ConfigurationError):
        fill(text, "x' SYNC")


def test_a_second_process_is_told_who_holds_the_folder(tmp_path: Path) -> None:
    opened = open_facts(f"chdb:///{tmp_path}/kqi")
    code = (
        "import sys\nfrom cem.platform.errors import FactStoreError\nfrom cem.platform.facts import open_facts\n"
        "try:\n    open_facts(sys.argv[1])\nexcept FactStoreError as error:\n    print(error.detail)\n"
    )
    try:
        done = subprocess.run(
            [sys.executable, "-c", code, f"chdb:///{tmp_path}/kqi"],
            capture_output=True,
            text=True,
            check=True,
        )
        with pytest.raises(FactStoreError, match="already holds another"):
            open_facts(f"chdb:///{tmp_path}/other")
    finally:
        opened.close()
    assert f"is held by process {os.getpid()}." in done.stdout


@pytest.mark.parametrize(
    "url",
    ["", "chdb://", "chdb:///", "chdb://host/x", "sqlite:///x", "clickhouse:///db", "clickhouse://h:99999/x"],
)
def test_a_url_that_names_no_store_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        open_facts(url)


def test_a_server_that_is_away_or_does_not_know_us_is_an_error_of_the_store(tmp_path: Path) -> None:
    with serving(tmp_path / "kqi", credentials="cem:secret") as server:
        port = server.port
        with pytest.raises(FactStoreError, match="516"):
            open_facts(f"clickhouse://cem:wrong@127.0.0.1:{port}/cem")
        opened = open_facts(f"clickhouse://cem:secret@127.0.0.1:{port}/cem")
    with pytest.raises(FactStoreError):
        opened.rows("SELECT 1")
    opened.close()


def test_tls_with_the_operators_own_authority(tmp_path: Path) -> None:
    certificate, key = _self_signed(tmp_path)
    with serving(tmp_path / "kqi", certificate=(certificate, key)) as server:
        opened = open_facts(f"clickhouses://default@127.0.0.1:{server.port}/cem?ca_cert={certificate}")
        assert opened.rows("SELECT 1 AS one") == [{"one": 1}]
        opened.close()
        with pytest.raises(FactStoreError):
            open_facts(f"clickhouses://default@127.0.0.1:{server.port}/cem")


def _self_signed(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "server.pem"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret = folder / "server.key"
    secret.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return pem, secret
