"""XML as a stream of elements' starts and ends, without anything that makes XML dangerous.

A document type declaration is refused, and with it every entity, internal or external, and the billion laughs.
Depth, attributes, texts and tokens are bounded. Prefixes are cut off: vendors write one vocabulary under several
namespaces and now and then under none. Encodings: UTF-8, UTF-16, ISO-8859-1, US-ASCII.

Why not `xml.etree`: it builds trees, and its parser cannot be told to refuse a declaration. This is expat itself
(the standard library's `pyexpat`), with handlers that refuse. References: XML 1.0 (fifth edition) clauses 2.8, 4;
OWASP, XML External Entity Prevention.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO
from xml.parsers import expat  # nosec - this module is the safe wrapper

from kqi.feeds.errors import UnreadableFeed
from kqi.feeds.items import FeedLimits
from kqi.feeds.streams import PIECE_BYTES

MAX_DEPTH = 32
MAX_ATTRIBUTES = 64
"""Bounds of one element. [1] Chosen here: measurement files have depth 5 and 4 attributes."""
_ENCODINGS = frozenset({"utf-8", "utf8", "utf-16", "utf-16le", "utf-16be", "iso-8859-1", "us-ascii", "ascii"})


@dataclass(frozen=True, slots=True)
class Start:
    """An element begins: its name and attributes without prefixes, and its line. [1]"""

    name: str
    attributes: Mapping[str, str]
    line: int


@dataclass(frozen=True, slots=True)
class End:
    """An element ends: its name, and its own text (not that of elements in it)."""

    name: str
    text: str


def elements(stream: BinaryIO, limits: FeedLimits) -> Iterator[Start | End]:
    """Starts and ends of elements in the order of the document.

    Raises
    ------
    UnreadableFeed
        Not well-formed, cut off, beyond a bound, or with a document type declaration.
    """
    return _Reader(limits).read(stream)


class _Reader:
    def __init__(self, limits: FeedLimits) -> None:
        self._limits = limits
        self._found: list[Start | End] = []
        self._texts: list[list[str]] = []
        self._sizes: list[int] = []
        self._moved = False
        parser = expat.ParserCreate()
        parser.buffer_text = False
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        parser.XmlDeclHandler = self._declared
        parser.StartDoctypeDeclHandler = self._refuse
        parser.EntityDeclHandler = self._refuse
        parser.UnparsedEntityDeclHandler = self._refuse
        parser.NotationDeclHandler = self._refuse
        parser.ExternalEntityRefHandler = self._refuse
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        parser.DefaultHandler = self._other
        self._parser = parser

    def read(self, stream: BinaryIO) -> Iterator[Start | End]:
        still = 0
        while piece := stream.read(PIECE_BYTES):
            self._feed(piece, final=False)
            # A token that never ends would be kept, and looked at again with every piece.
            still = 0 if self._moved else still + len(piece)
            if still > self._limits.max_item_bytes:
                raise UnreadableFeed(f"Line {self._line()}: a tag, comment or text is longer than allowed.")
            self._moved = False
            yield from self._found
            self._found.clear()
        self._feed(b"", final=True)
        yield from self._found

    def _feed(self, piece: bytes, *, final: bool) -> None:
        try:
            self._parser.Parse(piece, final)
        except expat.ExpatError as error:
            why = expat.ErrorString(error.code) or "not well-formed"
            raise UnreadableFeed(f"Line {error.lineno}: the XML is broken ({why}).") from None
        except (LookupError, ValueError):
            raise UnreadableFeed("The XML's encoding is not one that is read.") from None

    def _line(self) -> int:
        return self._parser.CurrentLineNumber

    def _declared(self, _version: str, encoding: str | None, _standalone: int) -> None:
        self._moved = True
        if encoding is not None and encoding.lower() not in _ENCODINGS:
            raise UnreadableFeed("The XML's encoding is not UTF-8, UTF-16, ISO-8859-1 or US-ASCII.")

    def _refuse(self, *_arguments: object) -> int:
        raise UnreadableFeed(
            f"Line {self._line()}: document type declarations and entities are not read; remove them."
        )

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._moved = True
        if len(self._texts) >= MAX_DEPTH:
            raise UnreadableFeed(f"Line {self._line()}: nested deeper than {MAX_DEPTH}.")
        if len(attributes) > MAX_ATTRIBUTES:
            raise UnreadableFeed(f"Line {self._line()}: more than {MAX_ATTRIBUTES} attributes.")
        self._texts.append([])
        self._sizes.append(0)
        bare = {_bare(key): value for key, value in attributes.items()}
        self._found.append(Start(_bare(name), bare, self._line()))

    def _end(self, name: str) -> None:
        self._moved = True
        self._sizes.pop()
        self._found.append(End(_bare(name), "".join(self._texts.pop())))

    def _text(self, text: str) -> None:
        self._moved = True
        if not self._texts:
            return
        self._sizes[-1] += len(text)
        if self._sizes[-1] > self._limits.max_item_bytes:
            raise UnreadableFeed(f"Line {self._line()}: a text is longer than allowed.")
        if not text.isspace() or self._texts[-1]:
            self._texts[-1].append(text)

    def _other(self, _data: str) -> None:
        self._moved = True


def _bare(name: str) -> str:
    return name.rpartition(":")[2]
