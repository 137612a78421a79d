"""XMP of strangers → properties. It runs in the decoder's process only.

XMP is a small part of RDF in XML. No document type is read, so there are no entities
but XML's own five, and depth and number of elements are bounded.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal, cast
from xml.parsers import expat

from gpu_worker.photo import Property

RDF = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
XML = "http://www.w3.org/XML/1998/namespace"
MAX_DEPTH = 32
MAX_ELEMENTS = 10_000

_UTF8, _WINDOWS_LATIN = codecs.lookup("utf-8"), codecs.lookup("cp1252")
"""Looked up here: their tables are files, and a confined process opens none."""
_LANGUAGE = re.compile(r"[A-Za-z0-9-]{0,40}")
_PADDING = b"\0 \t\r\n"
_ARRAYS = ("Bag", "Seq", "Alt")

Name = tuple[str, str]
"""Namespace and local name."""
Naming = Callable[[Name], str]
"""The name under which a property is kept, as `Property` has it; empty for one that is
left out.
"""


@dataclass
class _Element:
    name: Name
    attributes: dict[Name, str]
    children: list[_Element] = field(default_factory=list)
    text: str = ""

    def child(self, name: Name) -> _Element | None:
        return next((each for each in self.children if each.name == name), None)


def read(data: bytes, naming: Naming) -> list[Property]:
    """The properties of a packet that `naming` keeps, in the packet's order.

    Raises `ValueError` for what is no well-formed XML, has a document type, or is too
    deep or too long.
    """
    found = []
    for description in _descriptions(_tree(data)):
        for element in _members(description):
            name = naming(element.name)
            if name:
                found.append(_property(element, name, naming))
    return [each for each in found if each.items or each.text]


def _descriptions(root: _Element) -> Iterator[_Element]:
    if root.name == (RDF, "RDF"):
        yield from (each for each in root.children if each.name == (RDF, "Description"))
        return
    for child in root.children:
        yield from _descriptions(child)


def _members(element: _Element) -> Iterator[_Element]:
    """The properties of a description or the fields of a structure; a plain one may be
    written as an attribute.
    """
    for name, value in element.attributes.items():
        if name[0] not in ("", RDF, XML):
            yield _Element(name, {}, text=value)
    for child in element.children:
        if child.name[0] != RDF:
            yield child


def _property(element: _Element, name: str, naming: Naming) -> Property:
    for kind in _ARRAYS:
        array = element.child((RDF, kind))
        if array:
            items = [
                _property(each, "", naming)
                for each in array.children
                if each.name == (RDF, "li")
            ]
            return Property(
                name=name,
                kind=cast(Literal["Bag", "Seq", "Alt"], kind),
                items=tuple(each for each in items if each.items or each.text),
            )
    inner = element.child((RDF, "Description")) or element
    value = inner.child((RDF, "value"))
    if value:  # with qualifiers, which say nothing about the photo
        return _property(value, name, naming)
    fields = []
    for each in _members(inner):
        field_name = naming(each.name)
        if field_name:
            fields.append(_property(each, field_name, naming))
    if fields:
        return Property(name=name, kind="struct", items=tuple(fields))
    return _text(element, name)


def _text(element: _Element, name: str) -> Property:
    text = element.attributes.get((RDF, "resource"), element.text)
    language = element.attributes.get((XML, "lang"), "")
    if not _LANGUAGE.fullmatch(language):
        language = ""
    return Property(name=name, text=clean(text), lang=language)


def text_of(value: bytes, is_utf8: bool = False) -> str:
    """What stands in an old field, `clean`: UTF-8 where that is known or where it can be
    nothing else, and otherwise Windows' Latin.
    """
    try:
        return clean(value.decode())
    except UnicodeDecodeError:
        legacy = _UTF8 if is_utf8 else _WINDOWS_LATIN
        return clean(legacy.decode(value, "replace")[0])


def clean(text: str) -> str:
    """The text without what XML cannot hold, and without blanks at its ends."""
    kept = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", "", text)
    return kept.encode("utf-8", "replace").decode().strip()


def _tree(data: bytes) -> _Element:
    builder = _Builder()
    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _refuse_doctype
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.add_text
    try:
        parser.Parse(data.strip(_PADDING), True)
    except expat.ExpatError as error:
        raise ValueError(f"no well-formed XML: {error}") from error
    return builder.root


def _refuse_doctype(*_: object) -> None:
    raise ValueError("a document type in XMP")


class _Builder:
    """Makes a tree out of the parser's calls."""

    def __init__(self) -> None:
        self.root = _Element(("", ""), {})
        self._open = [self.root]
        self._count = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        self._count += 1
        if self._count > MAX_ELEMENTS or len(self._open) > MAX_DEPTH:
            raise ValueError("too many or too deep elements in XMP")
        named = {_split(each): value for each, value in attributes.items()}
        element = _Element(_split(name), named)
        self._open[-1].children.append(element)
        self._open.append(element)

    def end(self, _: str) -> None:
        self._open.pop()

    def add_text(self, text: str) -> None:
        self._open[-1].text += text


def _split(name: str) -> Name:
    namespace, _, local = name.rpartition("}")
    return namespace, local
