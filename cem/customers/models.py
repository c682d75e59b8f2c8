"""The table of subscribers. The number in clear exists nowhere; encrypted, in one column of this table."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from cem.platform.db import Base


class Subscriber(Base):
    """A customer's line."""

    __tablename__ = "subscribers"

    subscriber_id: Mapped[str] = mapped_column(String(34), primary_key=True)
    number_encrypted: Mapped[bytes] = mapped_column(LargeBinary)
    number_masked: Mapped[str] = mapped_column(String(20))
    key_id: Mapped[str] = mapped_column(String(8), index=True)
    attributes: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
