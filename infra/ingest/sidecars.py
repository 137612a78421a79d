"""Sidecars: what another program wrote about a photo into an XMP file beside it."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

SUFFIX = ".xmp"
MOST_BYTES = 1 << 20
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
DC = "{http://purl.org/dc/elements/1.1/}"
PHOTOSHOP = "{http://ns.adobe.com/photoshop/1.0/}"
LANGUAGE = "{http://www.w3.org/XML/1998/namespace}lang"
PROPERTIES = {
    f"{DC}title": "dc.title",
    f"{DC}description": "dc.description",
    f"{DC}creator": "dc.creator",
    f"{DC}subject": "dc.subject",
    f"{DC}coverage": "dc.coverage",
    f"{DC}rights": "dc.rights",
    f"{PHOTOSHOP}DateCreated": "dc.date",
    f"{DC}date": "dc.date",
}
"""The columns of a manifest that say the same."""


class _NoDoctype(ElementTree.TreeBuilder):
    def doctype(self, *_: object) -> None:
        # Entities could be defined there.
        raise ValueError("it has a document type")


def words_of(data: bytes) -> dict[str, str]:
    """What a sidecar says of its photo, in the words of a manifest; several values of one
    property stand apart by `|`. Raises `ValueError` for what is no XMP.
    """
    parser = ElementTree.XMLParser(target=_NoDoctype())  # noqa: S314 - without a document type
    try:
        parser.feed(data.strip(b"\0 \t\r\n"))
        root = parser.close()
    except ElementTree.ParseError as error:
        raise ValueError(str(error)) from error
    words: dict[str, str] = {}
    for description in root.iter(f"{RDF}Description"):
        for name, text in _properties(description):
            if text:
                words.setdefault(PROPERTIES[name], text)
    return words


def _properties(description: Element) -> Iterator[tuple[str, str]]:
    """A plain property may be written as an attribute."""
    for name, text in description.attrib.items():
        if name in PROPERTIES:
            yield name, text.strip()
    for element in description:
        if element.tag in PROPERTIES:
            yield element.tag, _text(element)


def _text(element: Element) -> str:
    items = [*element.iter(f"{RDF}li")]
    usual = [item for item in items if item.get(LANGUAGE) == "x-default"]
    if element.find(f"{RDF}Alt") is not None:
        items = (usual or items)[:1]
    texts = [(item.text or "").strip() for item in items or [element]]
    return "|".join(text for text in texts if text)
