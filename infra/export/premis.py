"""PREMIS 3: what was done to each photo, in the words of archives.

An original and a result are objects, each step is an event, the software and each
model are agents; the result derives from the original. Terms are those of the Library of
Congress: https://id.loc.gov/vocabulary/preservation.html
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from uuid import NAMESPACE_URL, uuid5
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from infra.export.handed import Described, Handed, Signed
from shared.uploads.documents import Record, StepTime

NAMESPACE = "http://www.loc.gov/premis/v3"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
SCHEMA = f"{NAMESPACE} https://www.loc.gov/standards/premis/premis.xsd"
VOCABULARY = "http://id.loc.gov/vocabulary/preservation"
PRONOM = {
    "JPEG": ("JPEG File Interchange Format", "fmt/43"),
    "PNG": ("Portable Network Graphics", "fmt/13"),
    "TIFF": ("Tagged Image File Format", "fmt/353"),
    "WEBP": ("WebP", "fmt/567"),
    "BMP": ("Windows Bitmap", "fmt/116"),
    "GIF": ("Graphics Interchange Format", "fmt/4"),
    "HEIC": ("High Efficiency Image File Format", "fmt/1101"),
    "AVIF": ("AV1 Image File Format", "fmt/1828"),
    "JPEG2000": ("JP2 (JPEG 2000 part 1)", "x-fmt/392"),
    "PSD": ("Adobe Photoshop", "x-fmt/92"),
}

_MODIFICATION = ("mod", "modification")
_CREATION = ("cre", "creation")
_SIGNATURE = ("dsg", "digital signature generation")

ElementTree.register_namespace("premis", NAMESPACE)
ElementTree.register_namespace("xsi", XSI)


def document(restored: Iterable[Described]) -> bytes:
    """The XML of records, each with the path of its original, and what is handed out of
    its result.
    """
    found = list(restored)
    root = Element(
        _tag("premis"), {"version": "3.0", f"{{{XSI}}}schemaLocation": SCHEMA}
    )
    # The schema wants all objects first, then all events, then all agents.
    for record, original, result in found:
        root.append(_original(record, original))
        root.append(_result(record, result))
    for record, _, handed in found:
        root.extend(_events(record, handed))
    agents: dict[str, Element] = {}
    for record, _, handed in found:
        agents.update(_agents(record, handed))
    root.extend(agents.values())
    ElementTree.indent(root)
    data: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return data


def _original(record: Record, path: str) -> Element:
    source = record.source
    found = _object(record.upload_id, source.width, source.height)
    characteristics = _characteristics(
        source.sha256 or "", source.bytes, source.format or ""
    )
    found.append(characteristics)
    _text(found, "originalName", path)
    _link_events(found, event_ids(record))
    return found


def _result(record: Record, handed: Handed) -> Element:
    found = _object(handed.identifier, record.width, record.height)
    found.append(_characteristics(handed.sha256, handed.bytes, handed.format))
    _text(found, "originalName", handed.path)
    relationship = _child(found, "relationship")
    _term(relationship, "relationshipType", "relationshipType", "der", "derivation")
    _term(
        relationship, "relationshipSubType", "relationshipSubType", "hss", "has source"
    )
    related = _child(relationship, "relatedObjectIdentifier")
    _text(related, "relatedObjectIdentifierType", "UUID")
    _text(related, "relatedObjectIdentifierValue", record.upload_id)
    for event in event_ids(record):
        related = _child(relationship, "relatedEventIdentifier")
        _text(related, "relatedEventIdentifierType", "UUID")
        _text(related, "relatedEventIdentifierValue", event)
    events = event_ids(record)
    if handed.signed:
        events.append(signing_id(handed))
    _link_events(found, events)
    return found


def _object(identifier: str, width: int | None, height: int | None) -> Element:
    found = Element(_tag("object"), {f"{{{XSI}}}type": "premis:file"})
    _identifier(found, "objectIdentifier", "UUID", identifier)
    for name, value in (("image width", width), ("image height", height)):
        if value is not None:
            properties = _child(found, "significantProperties")
            _text(properties, "significantPropertiesType", name)
            _text(properties, "significantPropertiesValue", str(value))
    return found


def _characteristics(sha256: str, size: int, kind: str) -> Element:
    found = Element(_tag("objectCharacteristics"))
    fixity = _child(found, "fixity")
    _term(
        fixity,
        "messageDigestAlgorithm",
        "cryptographicHashFunctions",
        "sha256",
        "SHA-256",
    )
    _text(fixity, "messageDigest", sha256)
    _text(found, "size", str(size))
    name, key = PRONOM.get(kind.upper(), (kind or "unknown", ""))
    described = _child(found, "format")
    _text(_child(described, "formatDesignation"), "formatName", name)
    if key:
        registry = _child(described, "formatRegistry")
        _text(registry, "formatRegistryName", "PRONOM")
        _text(registry, "formatRegistryKey", key)
    return found


def _events(record: Record, handed: Handed) -> Iterator[Element]:
    models = {model.name: model.sha256 for model in record.models}
    *steps, whole = event_ids(record)
    for step, identifier in zip(record.steps, steps, strict=True):
        event = _event(identifier, _MODIFICATION, record.finished_at, _detail(step))
        _link_agents(event, record.software, models.get(step.model or ""))
        _link_objects(event, record, handed)
        yield event
    event = _event(whole, _CREATION, record.finished_at, _whole(record), record.notes)
    _link_agents(event, record.software)
    _link_objects(event, record, handed)
    yield event
    if handed.signed:
        yield _signing(handed, handed.signed)


def _whole(record: Record) -> str:
    whole = {
        "workflow": record.workflow.name,
        "version": record.workflow.version,
        "signature": record.workflow.signature,
        "params": record.workflow.params,
        "engine": record.engine,
        "device": record.device,
    }
    return json.dumps(whole, ensure_ascii=False)


def _detail(step: StepTime) -> str:
    found = {"step": step.step, "model": step.model, "seconds": step.seconds}
    return json.dumps({**found, **step.detail}, ensure_ascii=False)


def _signing(handed: Handed, signed: Signed) -> Element:
    event = _event(signing_id(handed), _SIGNATURE, signed.at, signing_detail(signed))
    _link_agents(event, signed.software)
    _link_object(event, handed.identifier, "out", "outcome")
    return event


def _event(
    identifier: str,
    kind: tuple[str, str],
    at: datetime,
    detail: str,
    notes: Sequence[str] = (),
) -> Element:
    """An event that went well, without its links. `kind`: its term, and that in words."""
    event = Element(_tag("event"))
    _identifier(event, "eventIdentifier", "UUID", identifier)
    _term(event, "eventType", "eventType", *kind)
    _text(event, "eventDateTime", at.isoformat())
    _text(_child(event, "eventDetailInformation"), "eventDetail", detail)
    outcome = _child(event, "eventOutcomeInformation")
    _term(outcome, "eventOutcome", "eventOutcome", "suc", "success")
    if notes:
        noted = _child(outcome, "eventOutcomeDetail")
        _text(noted, "eventOutcomeDetailNote", "; ".join(notes))
    return event


def _link_agents(event: Element, software: str, model: str | None = None) -> None:
    agents = [("Darkroom", software)]
    if model:
        agents.append(("SHA-256", model))
    for kind, value in agents:
        linked = _child(event, "linkingAgentIdentifier")
        _text(linked, "linkingAgentIdentifierType", kind)
        _text(linked, "linkingAgentIdentifierValue", value)


def _link_objects(event: Element, record: Record, handed: Handed) -> None:
    _link_object(event, record.upload_id, "sou", "source")
    _link_object(event, handed.identifier, "out", "outcome")


def _link_object(event: Element, value: str, term: str, role: str) -> None:
    linked = _child(event, "linkingObjectIdentifier")
    _text(linked, "linkingObjectIdentifierType", "UUID")
    _text(linked, "linkingObjectIdentifierValue", value)
    _term(linked, "linkingObjectRole", "eventRelatedObjectRole", term, role)


def _agents(record: Record, handed: Handed) -> Iterator[tuple[str, Element]]:
    yield record.software, _agent("Darkroom", record.software, "Darkroom")
    if handed.signed:
        software = handed.signed.software
        yield software, _agent("Darkroom", software, "Darkroom")
    for model in record.models:
        yield model.sha256, _agent("SHA-256", model.sha256, model.name)


def _agent(kind: str, value: str, name: str) -> Element:
    found = Element(_tag("agent"))
    _identifier(found, "agentIdentifier", kind, value)
    _text(found, "agentName", name)
    _term(found, "agentType", "agentType", "sof", "software")
    return found


def event_ids(record: Record) -> list[str]:
    """One a step, and one for the whole; the same whenever they are written."""
    numbers = range(len(record.steps) + 1)
    return [
        str(uuid5(NAMESPACE_URL, f"urn:uuid:{record.task_id}#event-{number}"))
        for number in numbers
    ]


def signing_id(handed: Handed) -> str:
    """The event of the signature of a file."""
    return str(uuid5(NAMESPACE_URL, f"urn:uuid:{handed.identifier}#signature"))


def signing_detail(signed: Signed) -> str:
    """Who signed by what, as JSON."""
    found = {
        "kind": "C2PA content credentials",
        "subject": signed.subject,
        "certificate_sha256": signed.fingerprint,
        "algorithm": signed.algorithm,
        "place": signed.place,
    }
    return json.dumps(found, ensure_ascii=False)


def _link_events(found: Element, events: Iterable[str]) -> None:
    for event in events:
        linked = _child(found, "linkingEventIdentifier")
        _text(linked, "linkingEventIdentifierType", "UUID")
        _text(linked, "linkingEventIdentifierValue", event)


def _identifier(parent: Element, name: str, kind: str, value: str) -> None:
    found = _child(parent, name)
    _text(found, f"{name}Type", kind)
    _text(found, f"{name}Value", value)


def _term(parent: Element, name: str, list_: str, term: str, text: str) -> None:
    """A word of one of the Library of Congress' lists."""
    found = _child(parent, name)
    found.text = text
    found.set("authority", list_)
    found.set("authorityURI", f"{VOCABULARY}/{list_}")
    found.set("valueURI", f"{VOCABULARY}/{list_}/{term}")


def _text(parent: Element, name: str, text: str) -> None:
    _child(parent, name).text = _of_xml(text)


def _of_xml(text: str) -> str:
    """The text without characters that XML cannot hold."""
    return "".join(char if char >= " " or char in "\t\n" else "\ufffd" for char in text)


def _child(parent: Element, name: str) -> Element:
    return ElementTree.SubElement(parent, _tag(name))


def _tag(name: str) -> str:
    return f"{{{NAMESPACE}}}{name}"
