"""The history of both stores: Alembic for the operational one, numbered SQL (kqi/) for the KQI store."""
