"""What reading a feed raises; nothing else leaves a parser, whatever the bytes are."""

from __future__ import annotations

from cem.platform.errors import InvalidInput, MalformedBody


class UnreadableFeed(MalformedBody):
    """The file as a whole cannot be read, or not beyond the place that the detail names."""

    slug, title = "unreadable-feed", "The feed's file cannot be read"


class BadMapping(InvalidInput):
    """A mapping file does not say what it must."""

    slug, title = "bad-mapping", "The mapping file is not valid"
