"""The two peers that the ingest route is measured beside: a bare endpoint, and the way it is usually written.

python -m tests.benchmarks.peers bare PORT
python -m tests.benchmarks.peers ordinary PORT FOLDER
"""

from __future__ import annotations

import sys
from datetime import datetime
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from sqlalchemy import JSON, DateTime, create_engine, event
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from starlette.types import Receive, Scope, Send


async def bare(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the body and answers; parses nothing, stores nothing."""
    if scope["type"] != "http":
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    answer = b'{"accepted":%d}' % len(body)
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


class _Base(DeclarativeBase):
    pass


class _StoredReport(_Base):
    __tablename__ = "reports"
    id: Mapped[str] = mapped_column(primary_key=True)
    observed_at: Mapped[datetime] = mapped_column(DateTime(timezone=True))
    subscriber: Mapped[str]
    service: Mapped[str]
    session_id: Mapped[str]
    place: Mapped[dict[str, Any]] = mapped_column(JSON)
    device: Mapped[dict[str, Any]] = mapped_column(JSON)
    rest: Mapped[dict[str, Any]] = mapped_column(JSON)


class _Report(BaseModel):
    id: str
    observed_at: datetime
    subscriber: str
    service: str
    session_id: str
    place: dict[str, str]
    device: dict[str, str]
    settings: dict[str, Any]
    status: dict[str, Any]
    radio: dict[str, Any]
    probes: list[dict[str, Any]]
    player: dict[str, Any]


def ordinary(folder: str) -> FastAPI:
    """FastAPI, pydantic models, one ORM object per report, one durable transaction per request."""
    engine = create_engine(f"sqlite:///{folder}/ordinary.sqlite3", connect_args={"timeout": 60})

    @event.listens_for(engine, "connect")
    def _durable(connection: Any, _: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    _Base.metadata.create_all(engine)
    app = FastAPI()

    @app.post("/v1/reports")
    def reports(items: list[_Report]) -> dict[str, int]:
        with Session(engine) as session:
            for item in items:
                session.add(
                    _StoredReport(
                        id=item.id,
                        observed_at=item.observed_at,
                        subscriber=item.subscriber,
                        service=item.service,
                        session_id=item.session_id,
                        place=item.place,
                        device=item.device,
                        rest=item.model_dump(include={"settings", "status", "radio", "probes", "player"}),
                    )
                )
            session.commit()
        return {"accepted": len(items)}

    return app


if __name__ == "__main__":
    chosen: Any = bare if sys.argv[1] == "bare" else ordinary(sys.argv[3])
    lifespan = "off" if sys.argv[1] == "bare" else "on"
    uvicorn.run(
        chosen,
        host="127.0.0.1",
        port=int(sys.argv[2]),
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
        lifespan=lifespan,  # type: ignore[arg-type]
    )
