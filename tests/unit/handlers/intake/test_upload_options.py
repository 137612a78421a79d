"""What an uploader may ask for beside the photo."""

from __future__ import annotations

from handlers.intake import upload_options


def test_an_upload_names_its_item_but_never_one_by_ticket() -> None:
    job = "6f1d3f0e-0f3a-5d0c-9a55-64a81b8f0d2e"
    named = upload_options.ingest("incoming/fast/a.jpg", {"ingest": f"{job}/7"})
    assert named is not None
    assert (str(named.job), named.item) == (job, 7)
    by_ticket = upload_options.ingest(
        f"users/{'0' * 64}/t/photo", {"ingest": f"{job}/7"}
    )
    assert by_ticket is None
    for text in ("", "x/7", f"{job}/0", f"{job}/", f"{job}/{10**12}"):
        assert upload_options.ingest("a.jpg", {"ingest": text}) is None
