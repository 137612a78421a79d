"""What goes out is held against other people's readers: `bagit`, and PREMIS' own schema
by the Library of Congress.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from infra.export import bag, premis, premis_jsonld
from infra.export.handed import Described, Signed, results_in
from tests.support.export_job import Job
from tests.support.extras import needs

SCHEMA = Path(__file__).parents[3] / "data" / "premis.xsd"


SIGNED = Signed(
    subject="CN=Example Signer",
    fingerprint="ef" * 32,
    algorithm="es256",
    software="darkroom 0.2.0",
    at=datetime(2026, 11, 30, tzinfo=UTC),
    place="embedded",
)


def described() -> list[Described]:
    """Two photos with their results, which are signed."""
    return [
        (record, "a.jpg", replace(handed, path="b.png", signed=SIGNED))
        for state in Job().states[:2]
        if (record := state.record)
        for handed in results_in(record, "png")
    ]


def test_bagit_finds_our_bag_valid_and_a_changed_one_not(tmp_path: Path) -> None:
    needs("bagit", "test")
    import bagit

    Job().export(tmp_path / "bag", "bag")
    found = bagit.Bag(str(tmp_path / "bag"))
    found.validate()
    (result,) = tmp_path.rglob("1931/a.png")
    result.write_bytes(b"resulT")
    with pytest.raises(bagit.BagValidationError):
        found.validate()


def test_a_bag_has_what_its_profile_says(tmp_path: Path) -> None:
    needs("bagit_profile", "test")
    import bagit
    import bagit_profile

    Job().export(tmp_path / "bag", "bag")
    judge = bagit_profile.Profile(bag.PROFILE_ID, profile=bag.profile())
    assert judge.validate(bagit.Bag(str(tmp_path / "bag")))
    info = tmp_path / "bag" / "bag-info.txt"
    lines = info.read_text().splitlines(keepends=True)
    info.write_text("".join(line for line in lines if "Software" not in line))
    assert not judge.validate(bagit.Bag(str(tmp_path / "bag")))


@pytest.mark.parametrize(("is_last", "count"), [(False, "2 of ?"), (True, "2 of 2")])
def test_a_bag_of_a_group_says_which_it_is(
    tmp_path: Path, is_last: bool, count: str
) -> None:
    needs("bagit_profile", "test")
    import bagit
    import bagit_profile

    Job().export(tmp_path / "bag", "bag", bag.Part(2, is_last))
    found = bagit.Bag(str(tmp_path / "bag"))
    found.validate()
    assert bagit_profile.Profile(bag.PROFILE_ID, profile=bag.profile()).validate(found)
    assert found.info["Bag-Group-Identifier"] == "album"
    assert found.info["Bag-Count"] == count
    assert found.info["External-Identifier"] == "album-002"


def test_our_events_are_valid_by_the_schema_of_premis() -> None:
    needs("lxml", "test")
    from lxml import etree

    schema = etree.XMLSchema(etree.parse(SCHEMA))
    document = etree.fromstring(premis.document(described()))
    assert schema.validate(document), schema.error_log
    document.remove(document[0])
    document.append(etree.SubElement(document, "unknown"))
    assert not schema.validate(document)


@pytest.mark.filterwarnings("ignore::DeprecationWarning:rdflib")
def test_a_graph_says_which_models_touched_what_came_of_an_original() -> None:
    """`rdflib` reads it, and follows original, result, event and agent."""
    needs("rdflib", "test")
    import rdflib

    graph = rdflib.Graph()
    restored = described()
    graph.parse(data=premis_jsonld.document(restored), format="json-ld")
    record, _, handed = restored[0]
    asked = """
        PREFIX prov: <http://www.w3.org/ns/prov#>
        PREFIX relation: <http://id.loc.gov/vocabulary/preservation/relationshipSubType/>
        SELECT DISTINCT ?result ?model WHERE {
            ?result relation:hss ?original ; prov:wasGeneratedBy/prov:wasInformedBy* ?event .
            ?event prov:wasAssociatedWith ?model .
            FILTER(STRSTARTS(STR(?model), "urn:sha256:"))
        }"""
    original = rdflib.URIRef(f"urn:uuid:{record.upload_id}")
    found = [*graph.query(asked, initBindings={"original": original})]
    assert [tuple(map(str, row)) for row in found] == [
        (f"urn:uuid:{handed.identifier}", f"urn:sha256:{record.models[0].sha256}")
    ]
