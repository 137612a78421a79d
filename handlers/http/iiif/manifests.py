"""Documents of the IIIF Presentation API 3: what a viewer is told about the two pictures
of a task, and about the tasks of a job.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from handlers.http.iiif.addresses import Addresses
from shared.uploads.documents import Record
from shared.uploads.keys import Picture
from shared.uploads.pyramids import Pyramid

CONTEXT = "http://iiif.io/api/presentation/3/context.json"
SUMMARY = "AI-assisted restoration of a photograph"
SMALL_PX = 512
"""Longer side of the scale that is a picture's thumbnail, at most."""
TITLES: dict[Picture, str] = {
    "result": "Restored (AI-assisted)",
    "original": "Original",
}
Json = dict[str, Any]


def manifest(
    at: Addresses,
    record: Record,
    name: str,
    notice: str,
    pictures: dict[Picture, Pyramid],
    record_url: str | None,
) -> Json:
    """A task: a canvas for each of its pictures, the restored one first.

    `notice`: what viewers must show; `record_url`: where the record is, for those who
    may read it.
    """
    where = at.manifest(record.task_id)
    found: Json = {
        "@context": CONTEXT,
        "id": where,
        "type": "Manifest",
        "label": _plain(name),
        "summary": _english(SUMMARY),
        "behavior": ["individuals"],
        "metadata": [
            _pair("Workflow", f"{record.workflow.name} {record.workflow.version}"),
            _pair("Signature", record.workflow.signature),
            _pair("Restored", record.finished_at.date().isoformat()),
        ],
        "requiredStatement": {
            "label": _english("Notice"),
            "value": _plain(notice),
        },
        "items": [
            _canvas(at, where, record.task_id, of, found)
            for of, found in pictures.items()
        ],
    }
    if record_url:
        found["seeAlso"] = [
            {
                "id": record_url,
                "type": "Dataset",
                "format": "application/json",
                "label": _english("Record of the restoration"),
            }
        ]
    return found


def collection(where: str, name: str, manifests: Iterable[tuple[str, str]]) -> Json:
    """A job: the addresses and names of the manifests of its restored photos."""
    return {
        "@context": CONTEXT,
        "id": where,
        "type": "Collection",
        "label": _plain(name),
        "items": [
            {"id": address, "type": "Manifest", "label": _plain(label)}
            for address, label in manifests
        ],
    }


def _canvas(
    at: Addresses, where: str, task_id: str, of: Picture, pyramid: Pyramid
) -> Json:
    canvas = f"{where.rpartition('/')[0]}/canvas/{of}"
    image = _image(at.picture(task_id, of))
    size = {"width": pyramid.width, "height": pyramid.height}
    painting = {
        "id": f"{canvas}/painting",
        "type": "Annotation",
        "motivation": "painting",
        "target": canvas,
        "body": {**image, **size},
    }
    page = {"id": f"{canvas}/page", "type": "AnnotationPage", "items": [painting]}
    return {
        "id": canvas,
        "type": "Canvas",
        "label": _english(TITLES[of]),
        **size,
        "thumbnail": [_thumbnail(image, pyramid)],
        "items": [page],
    }


def _image(service: str) -> Json:
    return {
        "id": f"{service}/full/max/0/default.jpg",
        "type": "Image",
        "format": "image/jpeg",
        "service": [{"id": service, "type": "ImageService3", "profile": "level0"}],
    }


def _thumbnail(image: Json, pyramid: Pyramid) -> Json:
    width, height = pyramid.width, pyramid.height
    while max(width, height) > SMALL_PX:
        width, height = -(-width // 2), -(-height // 2)
    service = image["service"][0]["id"]
    return {
        **image,
        "id": f"{service}/full/{width},{height}/0/default.jpg",
        "width": width,
        "height": height,
    }


def _plain(text: str) -> Json:
    return {"none": [text]}


def _english(text: str) -> Json:
    return {"en": [text]}


def _pair(label: str, value: str) -> Json:
    return {"label": _english(label), "value": _plain(value)}
