"""What a sidecar says of its photo, and how that comes to the upload."""

from __future__ import annotations

from pathlib import Path

import pytest

from handlers.intake import upload_options
from infra.ingest import inventory, sidecars, sources
from shared.errors import Code, PermanentError
from shared.uploads import identity, told_captions

XMP = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description
 xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/" photoshop:DateCreated="1931-05">
 <dc:title><rdf:Alt><rdf:li xml:lang="de">Oma</rdf:li>
 <rdf:li xml:lang="x-default">Grandma, 50% =?祖母</rdf:li></rdf:Alt></dc:title>
 <dc:subject><rdf:Bag><rdf:li>family</rdf:li><rdf:li>Köln</rdf:li></rdf:Bag></dc:subject>
</rdf:Description></rdf:RDF></x:xmpmeta>"""
SAID = {
    "dc.date": "1931-05",
    "dc.title": "Grandma, 50% =?祖母",
    "dc.subject": "family|Köln",
}


def test_a_sidecar_says_what_other_programs_wrote() -> None:
    assert sidecars.words_of(XMP.encode()) == SAID


@pytest.mark.parametrize(
    "text", ["", "<a", '<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "\udcff"]
)
def test_what_is_no_sidecar_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        sidecars.words_of(text.encode("utf-8", "surrogateescape"))


def test_sidecars_are_found_under_both_of_their_names(tmp_path: Path) -> None:
    """A row of the manifest says more; a broken one is told, and costs nothing else."""
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (tmp_path / name).write_bytes(b"photo")
    (tmp_path / "a.jpg.xmp").write_text(XMP)
    (tmp_path / "b.XMP").write_text(XMP)
    (tmp_path / "c.xmp").write_text("<a")
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata" / "metadata.csv").write_text(
        "filename,dc.title\nb.jpg,Mine\n"
    )
    found = inventory.taken(sources.opened(tmp_path))
    assert found.words_of("a.jpg") == SAID
    assert found.words_of("b.jpg") == {**SAID, "filename": "b.jpg", "dc.title": "Mine"}
    assert found.words_of("c.jpg") == {}
    assert found.skipped["c.xmp"].startswith("sidecar that cannot be read")


def test_captions_come_through_the_metadata_of_an_object() -> None:
    """In ASCII; what is too long is left out, the longest first; none come by ticket."""
    text = told_captions.written(SAID)
    assert text.isascii()
    assert "=?" not in text
    metadata = {"captions": text}
    assert upload_options.captions("incoming/fast/a.jpg", metadata) == SAID
    assert upload_options.captions(f"users/{'0' * 64}/t/photo", metadata) is None
    long = {**SAID, "dc.description": "祖" * 500, "other": "x"}
    assert told_captions.fitting(long) == SAID


@pytest.mark.parametrize(
    "text", ["[]", '{"dc.title": 1}', '{"x": "y"}', "{", "[" * 2000]
)
def test_other_captions_are_refused(text: str) -> None:
    with pytest.raises(PermanentError) as refused:
        upload_options.captions("a.jpg", {"captions": text})
    assert refused.value.code == Code.BAD_METADATA


def test_other_captions_are_another_task() -> None:
    """Without any it is the task that it always was."""
    plain = identity.task_id("ann", "ab", "signature")
    assert identity.task_id("ann", "ab", "signature", captions={}) == plain
    assert identity.task_id("ann", "ab", "signature", captions=SAID) != plain
