"""One Alembic history for both dialects, in step with the models, safe to repeat and to run at once."""

import threading

import sqlalchemy as sa

from cem.platform.db import Database
from migrations import operational
from migrations.tables import whole_metadata


def test_migrated_store_and_models_are_in_step(database_url: str) -> None:
    store = Database(database_url)
    operational.upgrade(store)
    assert operational.differences(store) == []
    at, head = operational.current_and_head(store)
    assert at == head
    store.close()


def test_partial_indexes_are_as_in_the_models(database_url: str) -> None:
    """Alembic compares columns and names, not the condition of an index: "one open order" hangs on it."""
    store = Database(database_url)
    operational.upgrade(store)
    found = {
        (table, index["name"]): index["dialect_options"].get(f"{store.dialect}_where")
        for table in sa.inspect(store.engine).get_table_names()
        for index in sa.inspect(store.engine).get_indexes(table)
    }
    for table in whole_metadata().tables.values():
        for index in table.indexes:
            wanted = index.dialect_options[store.dialect].get("where")
            condition = found[table.name, index.name]
            assert (wanted is None) == (condition is None), index.name
            if wanted is not None:
                assert _words(str(wanted)) == _words(str(condition)), index.name
    store.close()


def _words(condition: str) -> str:
    """A condition without what a dialect adds when it gives it back."""
    for added in ("(", ")", "::text", "::character varying", '"', " "):
        condition = condition.replace(added, "")
    return condition.lower()


def test_a_difference_would_be_found(database_url: str) -> None:
    store = Database(database_url)
    operational.upgrade(store)
    with store.write() as session:
        session.execute(sa.text("ALTER TABLE job_leases DROP COLUMN holder"))
    assert any("holder" in item for item in operational.differences(store))
    store.close()


def test_back_to_nothing_and_forward_again(database_url: str) -> None:
    store = Database(database_url)
    operational.upgrade(store)
    operational.downgrade(store, "base")
    assert set(sa.inspect(store.engine).get_table_names()) <= {"alembic_version"}
    operational.upgrade(store)
    assert operational.differences(store) == []
    store.close()


def test_many_at_once_migrate_once(database_url: str) -> None:
    failures: list[BaseException] = []

    def migrate() -> None:
        store = Database(database_url)
        try:
            operational.upgrade(store)
        except BaseException as error:
            failures.append(error)
        finally:
            store.close()

    threads = [threading.Thread(target=migrate) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    store = Database(database_url)
    assert operational.differences(store) == []
    store.close()
