"""Captions as XML: the properties that a photo keeps, in the namespaces that are known
here.

What is written is made anew from checked texts; no XML of a stranger is passed on.
"""

from __future__ import annotations

from collections.abc import Iterable
from xml.sax.saxutils import escape, quoteattr

from gpu_worker.photo import Captions, Property

NAMESPACES = {
    "dc": "http://purl.org/dc/elements/1.1/",
    "photoshop": "http://ns.adobe.com/photoshop/1.0/",
    "Iptc4xmpCore": "http://iptc.org/std/Iptc4xmpCore/1.0/xmlns/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "xmpRights": "http://ns.adobe.com/xap/1.0/rights/",
    "exif": "http://ns.adobe.com/exif/1.0/",
}
"""Of the properties that may stay, by the prefix that they are written with."""

MOST_BYTES = 48_000
"""The most that a photo's captions take as XML: a JPEG has room for 65,000 bytes of
XMP.
"""


def xml(captions: Captions) -> str:
    """The properties as elements of an `rdf:Description`, one a line."""
    return "".join(f"   {_element(each.name, each)}\n" for each in captions)


def prefixes(captions: Captions) -> list[str]:
    """The namespace prefixes that `captions` use, in the order of `NAMESPACES`."""
    used = set(_used(captions))
    return [prefix for prefix in NAMESPACES if prefix in used]


def size(each: Property) -> int:
    """Bytes of one property as XML."""
    return len(xml((each,)).encode())


def _used(captions: Iterable[Property]) -> Iterable[str]:
    for each in captions:
        if each.name:
            yield each.name.partition(":")[0]
        yield from _used(each.items)


def _element(tag: str, each: Property) -> str:
    language = f" xml:lang={quoteattr(each.lang)}" if each.lang else ""
    if each.kind == "text":
        return f"<{tag}{language}>{escape(each.text)}</{tag}>"
    if each.kind == "struct":
        fields = "".join(_element(item.name, item) for item in each.items)
        return f'<{tag} rdf:parseType="Resource">{fields}</{tag}>'
    array = f"rdf:{each.kind}"
    items = "".join(_element("rdf:li", item) for item in each.items)
    return f"<{tag}><{array}>{items}</{array}></{tag}>"
