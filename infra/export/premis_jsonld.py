"""The same events as JSON-LD, for whoever keeps a graph: PREMIS 3 as an ontology, with
PROV-O. The context lies in the file, so that nothing is fetched to read it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any
from urllib.parse import quote

from infra.export.handed import Described, Handed, Signed
from infra.export.premis import event_ids, signing_detail, signing_id
from shared.uploads.documents import Record

VOCABULARY = "http://id.loc.gov/vocabulary/preservation"
_LINK = {"@type": "@id"}
CONTEXT = {
    "premis": "http://www.loc.gov/premis/rdf/v3/",
    "prov": "http://www.w3.org/ns/prov#",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "rdfs": "http://www.w3.org/2000/01/rdf-schema#",
    "eventType": f"{VOCABULARY}/eventType/",
    "hash": f"{VOCABULARY}/cryptographicHashFunctions/",
    "outcomes": f"{VOCABULARY}/eventOutcome/",
    "relation": f"{VOCABULARY}/relationshipSubType/",
    "label": "rdfs:label",
    "value": "rdf:value",
    "note": "premis:note",
    "version": "premis:version",
    "originalName": "premis:originalName",
    "fixity": "premis:fixity",
    "size": {"@id": "premis:size", "@type": "xsd:long"},
    "hasSource": {"@id": "relation:hss", **_LINK},
    "wasGeneratedBy": {"@id": "prov:wasGeneratedBy", **_LINK},
    "used": {"@id": "prov:used", **_LINK},
    "agents": {"@id": "prov:wasAssociatedWith", **_LINK},
    "informedBy": {"@id": "prov:wasInformedBy", **_LINK},
    "ended": {"@id": "prov:endedAtTime", "@type": "xsd:dateTime"},
    "outcome": {"@id": "premis:outcome", **_LINK},
}


def document(restored: Iterable[Described]) -> bytes:
    """The JSON-LD of records, each with the path of its original, and what is handed out
    of its result.
    """
    nodes: dict[str, dict[str, Any]] = {}
    for record, original, handed in restored:
        for node in _nodes(record, original, handed):
            nodes[node["@id"]] = node
    found = {"@context": CONTEXT, "@graph": list(nodes.values())}
    return json.dumps(found, indent=1, ensure_ascii=False).encode()


def _nodes(record: Record, original: str, handed: Handed) -> Iterator[dict[str, Any]]:
    source = record.source
    yield _file(record.upload_id, original, source.bytes, source.sha256 or "")
    *steps, whole = [_uuid(event) for event in event_ids(record)]
    result = _file(handed.identifier, handed.path, handed.bytes, handed.sha256)
    yield {**result, "hasSource": _uuid(record.upload_id), "wasGeneratedBy": whole}
    software = _software(record.software)
    models = {model.name: f"urn:sha256:{model.sha256}" for model in record.models}
    before: dict[str, str] = {}
    for step, event in zip(record.steps, steps, strict=True):
        used = [models[step.model]] if step.model in models else []
        made = _of_record(record, event, "mod", step.step, [software, *used])
        yield {**made, "note": json.dumps(step.detail, ensure_ascii=False), **before}
        before = {"informedBy": event}
    made = _of_record(record, whole, "cre", record.workflow.name, [software])
    yield {**made, "note": "; ".join(record.notes), **before}
    yield _agent(software, "Darkroom", record.software)
    for name, identifier in models.items():
        yield _agent(identifier, name, "")
    if handed.signed:
        yield from _signing(handed, handed.signed)


def _signing(handed: Handed, signed: Signed) -> Iterator[dict[str, Any]]:
    software = _software(signed.software)
    made = _event(
        _uuid(signing_id(handed)),
        "dsg",
        signed.subject,
        [software],
        handed.identifier,
        signed.at,
    )
    yield {**made, "note": signing_detail(signed)}
    yield _agent(software, "Darkroom", signed.software)


def _file(identifier: str, name: str, size: int, sha256: str) -> dict[str, Any]:
    return {
        "@id": _uuid(identifier),
        "@type": ["premis:File", "prov:Entity"],
        "originalName": name,
        "size": size,
        "fixity": {"@type": ["premis:Fixity", "hash:sha256"], "value": sha256},
    }


def _of_record(
    record: Record, identifier: str, term: str, label: str, agents: list[str]
) -> dict[str, Any]:
    at = record.finished_at
    return _event(identifier, term, label, agents, record.upload_id, at)


def _event(
    identifier: str, term: str, label: str, agents: list[str], used: str, at: datetime
) -> dict[str, Any]:
    return {
        "@id": identifier,
        "@type": ["premis:Event", f"eventType:{term}", "prov:Activity"],
        "label": label,
        "used": _uuid(used),
        "agents": agents,
        "ended": at.isoformat(),
        "outcome": "outcomes:suc",
    }


def _agent(identifier: str, name: str, version: str) -> dict[str, Any]:
    kinds = ["premis:SoftwareAgent", "prov:SoftwareAgent"]
    return {"@id": identifier, "@type": kinds, "label": name, "version": version}


def _software(version: str) -> str:
    # Versions have blanks, which no identifier of a graph may have.
    return f"urn:darkroom:{quote(version)}"


def _uuid(identifier: str) -> str:
    return f"urn:uuid:{identifier}"
