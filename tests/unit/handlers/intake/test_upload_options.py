"""What an uploader may ask for beside the photo."""

from __future__ import annotations

from handlers.intake import upload_options


def test_an_upload_names_its_item() -> None:
    job = "6f1d3f0e-0f3a-5d0c-9a55-64a81b8f0d2e"
    named = upload_options.ingest({"ingest": f"{job}/7"})
    assert named is not None
    assert (str(named.job), named.item) == (job, 7)
    for text in (
        "",
        upload_options.NO_INGEST,
        "x/7",
        f"{job}/0",
        f"{job}/",
        f"{job}/{10**12}",
    ):
        assert upload_options.ingest({"ingest": text}) is None
