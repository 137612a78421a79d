"""What goes out is held against other people's readers: `bagit`, and PREMIS' own schema
by the Library of Congress.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from infra.export import premis
from tests.support.extras import needs
from tests.unit.infra.export.test_export import Job

SCHEMA = Path(__file__).parents[3] / "data" / "premis.xsd"


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


def test_our_events_are_valid_by_the_schema_of_premis() -> None:
    needs("lxml", "test")
    from lxml import etree

    schema = etree.XMLSchema(etree.parse(SCHEMA))
    records = [
        (record, "a.jpg", "b.png")
        for state in Job().states[:2]
        if (record := state.record)
    ]
    document = etree.fromstring(premis.document(records))
    assert schema.validate(document), schema.error_log
    document.remove(document[0])
    document.append(etree.SubElement(document, "unknown"))
    assert not schema.validate(document)
