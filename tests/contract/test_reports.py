"""Reports about photos and jobs on the real store and the real log."""

from __future__ import annotations

import io
import re
from datetime import timedelta
from uuid import uuid4

import pytest

from handlers.reports import pdf
from infra.local.stack import Stack
from shared.uploads import events
from tests.contract.test_api_ingests import Album
from tests.support.api_world import ApiWorld, tenant
from tests.support.extras import needs
from tests.support.upload_world import photo


@pytest.fixture
def world(servers: Stack) -> ApiWorld:
    return ApiWorld(servers.settings)


def words_of(data: bytes) -> str:
    needs("pypdf", "archive")
    import pypdf

    pages = pypdf.PdfReader(io.BytesIO(data)).pages
    text = "".join(page.extract_text() for page in pages)
    return re.sub(r"\s+", "", text.replace("\u200b", ""))


def test_a_report_says_what_the_photo_was_and_what_was_made_of_it(
    world: ApiWorld,
) -> None:
    user = f"ann-{uuid4()}"
    receipt = world.upload(user)
    world.restore(receipt)
    client = world.client(tenant(user, world.settings))
    found = client.get(f"/v1/tasks/{receipt.task_id}/report").json()
    assert found["status"] == "success"
    assert found["photo"]["name"] == "grandma.png"
    assert found["photo"]["sha256"] == receipt.source.sha256
    assert found["workflow"]["name"] == "fast"
    assert found["workflow"]["signature"] == receipt.workflow.signature  # type: ignore[union-attr]
    assert {"name": "scale", "value": 4.0, "default": 4} in found["workflow"]["params"]
    assert found["result"]["sha256"] == "ab" * 32
    assert found["result"]["mask"]
    assert [copy["format"] for copy in found["copies"]] == ["jpeg"]
    order = ["received", "queued", "attempt", "finished"]
    assert [moment["what"] for moment in found["timeline"]] == order
    # Nobody but this machine could follow a link to it.
    assert found["console_url"] is None


def test_a_report_says_why_there_is_no_result(world: ApiWorld) -> None:
    """Of a photo that waits there is one, too, and it says that it waits."""
    user = f"ann-{uuid4()}"
    receipt = world.upload(user)
    client = world.client(tenant(user, world.settings))
    path = f"/v1/tasks/{receipt.task_id}"
    assert client.get(f"{path}/report").json()["status"] == "queued"
    assert client.delete(path).status_code == 200
    found = client.get(f"{path}/report").json()
    assert found["status"] == "failed"
    assert found["error"]["code"] == "cancelled"
    assert found["timeline"][-1]["what"] == "finished"
    assert found["result"] is None


def test_a_report_as_pdf_has_the_photo_and_its_checksums(world: ApiWorld) -> None:
    needs("typst", "report")
    user = f"ann-{uuid4()}"
    receipt = world.upload(user)
    world.restore(receipt, preview=photo())
    client = world.client(tenant(user, world.settings))
    path = f"/v1/tasks/{receipt.task_id}/report.pdf"
    answer = client.get(path, params={"lang": "zh"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/pdf"
    assert "grandma-report.pdf" in answer.headers["content-disposition"]
    words = words_of(answer.content)
    for word in (receipt.task_id, receipt.source.sha256, "ab" * 32, "照片修复报告"):
        assert word
        assert word in words
    assert client.get(path, params={"lang": "de"}).status_code == 422


def test_a_jobs_report_as_pdf_names_what_was_restored_and_what_was_not(
    servers: Stack,
) -> None:
    needs("typst", "report")
    album = Album(servers)
    receipt = album.send(1, photo() + uuid4().bytes, "one.png")
    album.restore(receipt)
    album.send(2, b"no photo", "two.png")
    words = words_of(album.get("/report.pdf").content)
    for word in ("<Oma>&Opa", "one.png", receipt.source.sha256, "unsupported_format"):
        assert word
        assert word in words


def test_where_no_pdf_can_be_made_the_way_out_is_said(
    world: ApiWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pdf, "find_spec", lambda name: None)
    user = f"ann-{uuid4()}"
    receipt = world.upload(user)
    client = world.client(tenant(user, world.settings))
    answer = client.get(f"/v1/tasks/{receipt.task_id}/report.pdf")
    assert answer.status_code == 409
    assert answer.json()["code"] == "report_unavailable"
    assert "report]" in answer.json()["detail"]


def test_the_attempts_stand_in_the_timeline(world: ApiWorld) -> None:
    """Each one, as the audit log has them."""
    user = f"ann-{uuid4()}"
    receipt = world.upload(user)
    now = world.ctx.clock.now()
    for number in (1, 2):
        at = now + timedelta(seconds=number)
        world.audit_log.write([events.of_processing(receipt, number, at)])
    record = world.restore(receipt)
    world.audit_log.write([events.of_record(record, "results")])
    client = world.client(tenant(user, world.settings))
    found = client.get(f"/v1/tasks/{receipt.task_id}/report").json()
    attempts = [each["attempt"] for each in found["timeline"] if each["attempt"]]
    assert attempts == [1, 2]
