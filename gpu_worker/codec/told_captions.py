"""Captions that came beside a photo, as properties of its metadata."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gpu_worker.codec.xmp_reader import clean
from gpu_worker.photo import Photo, Property


def with_told(photo: Photo, told: Mapping[str, str] | None) -> Photo:
    """The photo with what was told of it, which takes the place of what its file says of
    the same. `told`: as `shared.uploads.told_captions` names it.
    """
    properties = [_KINDS[name](clean(text)) for name, text in (told or {}).items()]
    if not properties:
        return photo
    names = {each.name for each in properties}
    kept = [each for each in photo.meta.captions if each.name not in names]
    replaced = sorted(names & {each.name for each in photo.meta.captions})
    notes = photo.notes
    if replaced:
        told_of = ", ".join(replaced)
        notes = (
            *notes,
            f"what came beside the file says {told_of}; the file's was left out",
        )
    meta = photo.meta.with_captions((*kept, *properties))
    return photo.with_(meta=meta, notes=notes)


def _in_any_language(name: str) -> Callable[[str], Property]:
    return lambda text: Property(
        name=name, kind="Alt", items=(Property(text=text, lang="x-default"),)
    )


def _in_order(name: str) -> Callable[[str], Property]:
    return lambda text: Property(name=name, kind="Seq", items=_items(text))


def _unordered(name: str) -> Callable[[str], Property]:
    return lambda text: Property(name=name, kind="Bag", items=_items(text))


def _items(text: str) -> tuple[Property, ...]:
    return tuple(
        Property(text=each.strip()) for each in text.split("|") if each.strip()
    )


_KINDS: dict[str, Callable[[str], Property]] = {
    "dc.title": _in_any_language("dc:title"),
    "dc.description": _in_any_language("dc:description"),
    "dc.creator": _in_order("dc:creator"),
    "dc.subject": _unordered("dc:subject"),
    "dc.date": lambda text: Property(name="photoshop:DateCreated", text=text),
    "dc.coverage": _unordered("dc:coverage"),
    "dc.rights": _in_any_language("dc:rights"),
}
