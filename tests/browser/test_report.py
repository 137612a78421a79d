"""Reports in a browser: from a photo to its sheet of paper, to a file, and back."""

from __future__ import annotations

import re
from collections.abc import Callable
from uuid import uuid4

import httpx

from tests.support.extras import needs

needs("playwright", "browser")
needs("typst", "report")
needs("pypdf", "archive")

import pypdf  # noqa: E402
from playwright.sync_api import expect  # noqa: E402

from tests.browser.test_console import STATES_OF_REFUSAL, picture  # noqa: E402
from tests.browser.visitor import LONG_MS, Visitor  # noqa: E402
from tests.support.waiting import eventually  # noqa: E402

Visit = Callable[..., Visitor]


def test_a_photo_has_a_report_to_read_and_to_keep(visit: Visit) -> None:
    user = f"ann-{uuid4()}"
    ann = visit(user, language="zh-CN")
    page = ann.page
    ann.restore(picture("外婆 #1 <b>.png"))
    ann.go("history")
    page.locator(".frame.ok").click()
    page.get_by_role("link", name="报告").click()
    expect(page.locator("article h1")).to_have_text("外婆 #1 <b>.png")
    expect(page.locator("article em")).to_have_text("已修复")
    for shot in page.locator(".shot img").all():
        expect(shot).to_have_js_property("complete", True)
        assert shot.evaluate("image => image.naturalWidth") > 0
    assert page.locator(".shot img").count() == 2
    expect(page.locator(".sums tr")).to_have_count(3)
    with page.expect_download(timeout=LONG_MS) as download:
        page.get_by_role("button", name="导出 PDF").click()
    assert download.value.suggested_filename.endswith("-report.pdf")
    made = pypdf.PdfReader(download.value.path())
    assert made.metadata is not None
    assert made.metadata.title == "外婆 #1 <b>.png"
    assert len(made.pages[0].images) == 2
    page.get_by_role("link", name="返回").click()
    expect(page).to_have_url(re.compile("#/look/task/"))


def test_a_batch_has_a_report_that_leads_to_its_photos(visit: Visit) -> None:
    operator = visit("", tolerated=STATES_OF_REFUSAL)
    settings, page = operator.settings, operator.page
    headers = {"Authorization": f"Bearer {settings.api_key.get_secret_value()}"}
    with httpx.Client(base_url=settings.api_url, headers=headers) as client:
        begun = client.post("/v1/ingests", json={"name": f"Oma & Opa {uuid4()}"}).json()
        where = {"job": begun["job"], "item": 1}
        asked = {"filename": "one.png", "content_type": "image/png", "ingest": where}
        form = client.post("/v1/uploads", json=asked).json()["post"]
        photo = {"file": ("x", picture("one.png")["buffer"], "image/png")}
        httpx.post(form["url"], data=form["fields"], files=photo).raise_for_status()
        client.post(f"/v1/ingests/{begun['job']}/end", json={"sent": 1})
    operator.go(f"report/job/{begun['job']}")
    link = page.get_by_role("link", name="one.png")

    def is_listed() -> bool:
        page.reload()
        expect(page.locator("article h1")).to_have_text(begun["name"])
        return bool(link.count())

    eventually(is_listed, "the audit log knows of the photo")
    with page.expect_download(timeout=LONG_MS) as download:
        page.get_by_role("button", name="Save as PDF").click()
    assert pypdf.PdfReader(download.value.path()).metadata.title == begun["name"]  # type: ignore[union-attr]
    link.click()
    expect(page.locator("article h1")).to_have_text("one.png")
    page.get_by_role("link", name="Back").click()
    expect(page.locator("article h1")).to_have_text(begun["name"])
