"""More of the console in a browser: settings beside each other, two results of one photo,
batches, and what is sent in parts.
"""

# ruff: noqa: E402 - playwright may not be imported before `needs`

from __future__ import annotations

import json
import re
from base64 import b64encode
from pathlib import Path
from typing import Any
from uuid import uuid4
from zipfile import ZipFile

from tests.support.extras import needs

needs("playwright", "browser")

from playwright.sync_api import expect

from tests.browser.test_console import Visit, large, on_disk, picture
from tests.browser.visitor import LONG_MS, OFFLINE, Visitor

SEND = """async ([job, item, filename, base64]) => {
  const body = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const asked = { filename, content_type: "image/png", bytes: body.length, ingest: { job, item } };
  const headers = { "Content-Type": "application/json" };
  const drawn = await fetch("/v1/uploads", { method: "POST", headers, body: JSON.stringify(asked) });
  const { post } = await drawn.json();
  const form = new FormData();
  for (const [name, value] of Object.entries(post.fields)) form.append(name, value);
  form.append("file", new Blob([body]));
  await fetch(post.url, { method: "POST", body: form });
}"""
POST = """async ([path, body]) => {
  const headers = { "Content-Type": "application/json" };
  const answer = await fetch(path, { method: "POST", headers, body: JSON.stringify(body) });
  return answer.json();
}"""


def test_a_setting_is_chosen_among_several_beside_each_other(visit: Visit) -> None:
    ann = visit(f"ann-{uuid4()}")
    page = ann.page
    ann.bring(picture("grid.png"))
    ann.expect_state("grid.png", "held")
    ann.choose("fast")
    page.get_by_role("button", name="Preview").click()
    page.get_by_role("button", name="Side by side").last.click()
    which = page.get_by_role("group", name="Which setting")
    which.get_by_role("button", name="Enlarge").click()
    expect(page.locator(".try img")).to_have_count(4, timeout=LONG_MS)
    widths = page.locator(".try img").evaluate_all(
        "images => Promise.all(images.map(image => image.decode().then(() => image.naturalWidth)))"
    )
    assert widths == [256, 512, 768, 1024]
    assert ann.violations() == []
    page.get_by_role("button", name="Take 2×").click()
    expect(page.locator(".tries")).to_have_count(0)
    expect(page.get_by_role("radio", name="2×")).to_be_checked()
    expect(page.locator(".match:not(.stale)")).to_be_visible(timeout=LONG_MS)


def test_two_results_of_one_photo_are_compared(visit: Visit) -> None:
    ann = visit(f"ann-{uuid4()}", tolerated="status of 404")
    page = ann.page
    ann.restore(picture("two.png"), picture("other.png"))
    ann.row("two.png").get_by_text("Compare").click()
    page.get_by_role("button", name="Try other settings").click()
    page.get_by_role("radio", name="2×").check()
    page.locator(".submit .main:not([disabled])").click(timeout=LONG_MS)
    expect(page.locator("header small")).to_have_text(
        "256 × 256 → 512 × 512", timeout=LONG_MS
    )
    page.get_by_text("Compare with another result").click()
    two = page.locator(".frame", has_text="two.png")
    expect(two).to_have_count(2, timeout=LONG_MS)
    # Never two photos over each other.
    expect(page.locator(".frame", has_text="other.png")).to_be_disabled()
    page.locator(".frame[aria-pressed=false]:not([disabled])").focus()
    page.keyboard.press("Enter")
    differ = page.get_by_role("region", name="In what they differ")
    expect(differ).to_contain_text("512 × 512")
    expect(page.locator(".tag.left")).to_have_text("A: Quick look")
    for image in page.locator(".layer img").all():
        assert image.evaluate("image => image.decode().then(() => image.naturalWidth)")
    assert ann.violations() == []
    address = page.url.rpartition("/")[0]
    page.goto(f"{address}/{uuid4()}")
    expect(page.get_by_role("alert")).to_be_visible()


def test_a_batch_is_watched_begun_anew_and_taken_as_one(visit: Visit) -> None:
    ann = visit(f"ann-{uuid4()}")
    page = ann.page
    wanted = {"name": "Grandma's album", "workflow": "fast", "params": {"scale": 2}}
    job = page.evaluate(POST, ["/v1/ingests", wanted])["job"]
    good = picture("good.png")
    middle = len(good["buffer"]) // 2
    # Only whoever decodes it can see that it is damaged.
    broken = good["buffer"][:middle] + bytes(999) + good["buffer"][middle + 999 :]
    for item, name, data in ((1, "好 one.png", good["buffer"]), (2, "bad.png", broken)):
        page.evaluate(SEND, [job, item, name, b64encode(data).decode()])
    page.evaluate(POST, [f"/v1/ingests/{job}/end", {"sent": 2}])
    ann.go("batches")
    page.get_by_text("Grandma's album").click()
    expect(page.get_by_text("All have ended.")).to_be_visible(timeout=LONG_MS)
    expect(page.locator("li.photo.failed")).to_contain_text("bad.png")
    assert ann.violations() == []
    with page.expect_download() as download:
        page.get_by_text("All results as ZIP").click()
    with ZipFile(download.value.path()) as archive:
        assert sorted(archive.namelist()) == ["failed.csv", "好 one.png"]
    page.get_by_role("button", name="Try failed again").click()
    expect(page.get_by_role("status").first).to_contain_text("1 begun anew.")
    page.get_by_role("link", name="Report").click()
    expect(page.locator("article")).to_contain_text("bad.png")


def test_what_is_done_so_far_is_seen_over_the_original(
    visit: Visit, tmp_path: Path
) -> None:
    """And never what was made with other settings. The answers are stand-ins: a photo
    that takes long would take long.
    """
    ann = visit(f"ann-{uuid4()}")
    page = ann.page
    path = on_disk(tmp_path, picture("slow.png"))
    work = {"task_id": str(uuid4()), "status": "processing", "signature": "a" * 16}
    said = {**work, "progress": 0.5, "draft": {"number": 1, "signature": "a" * 16}}
    page.route("**/v1/tasks", lambda route: route.fulfill(json=work))
    page.route(
        "**/v1/events",
        lambda route: route.fulfill(
            content_type="text/event-stream",
            body=f"retry: 100\n\nevent: progress\ndata: {json.dumps(said)}\n\n",
        ),
    )
    page.route(
        f"**/v1/tasks/{work['task_id']}/draft?number=*",
        lambda route: route.fulfill(path=path, content_type="image/png"),
    )
    ann.bring(path)
    ann.expect_state("slow.png", "held")
    # What was connected before is not routed.
    page.reload()
    ann.bring(path)
    page.route("**/v1/uploads/*", lambda route: route.fulfill(json=work))
    href = ann.row("slow.png").get_by_role("link").get_attribute("href") or ""
    page.locator(".go button:not(.main)").click()
    ann.expect_state("slow.png", "processing")
    ann.go(href.removeprefix("#/"))
    stage = page.locator(".stage.drafted")
    expect(stage).to_contain_text("A draft: done so far")
    drawn = stage.locator(".layer img").last
    expect(drawn).to_have_js_property("naturalWidth", 256)
    assert ann.violations() == []
    said["draft"] = {"number": 2, "signature": "b" * 16}
    expect(stage).to_have_count(0)
    expect(page.locator(".before img")).to_be_visible()


def test_photos_brought_together_are_one_batch(visit: Visit, tmp_path: Path) -> None:
    """Also where the page was loaded anew between the two, and one was started before
    the other; what is brought alone is none.
    """
    ann = visit(f"ann-{uuid4()}")
    page = ann.page
    one, two, alone = (
        on_disk(tmp_path, picture(name)) for name in ("一.png", "two.png", "alone.png")
    )
    ann.bring(one, two)
    for name in ("一.png", "two.png"):
        ann.expect_state(name, "held")
    page.reload()
    ann.expect_state("一.png", "held")
    ann.bring(alone)
    ann.expect_state("alone.png", "held")
    ann.choose("fast")
    ann.row("two.png").get_by_role("link", name="Preview").click()
    page.locator(".submit .main:not([disabled])").click(timeout=LONG_MS)
    ann.go("")
    ann.expect_state("two.png", "success")
    page.reload()
    page.locator(".go button:not(.main)").click()
    for name in ("一.png", "alone.png"):
        ann.expect_state(name, "success")
    assert ann.violations() == []
    page.get_by_role("link", name="ZIP and report").click()
    expect(page.locator("h1")).to_contain_text("· 2 photos")
    expect(page.get_by_text("All have ended.")).to_be_visible(timeout=LONG_MS)
    with page.expect_download() as download:
        page.get_by_text("All results as ZIP").click()
    with ZipFile(download.value.path()) as archive:
        assert sorted(archive.namelist()) == ["two.png", "一.png"]
    page.get_by_role("button", name="中文").click()
    expect(page.locator("h1")).to_contain_text("· 2 张照片")


def _parts(ann: Visitor) -> list[str]:
    """The numbers of the parts that were begun to be sent, in their order."""
    found = (re.search(r"partNumber=(\d+)", url) for _, url in ann.asked)
    return [number[1] for number in found if number]


def test_of_what_is_sent_in_parts_only_the_rest_is_sent_again(
    visit: Visit, tmp_path: Path
) -> None:
    """After a lost connection at 48 %, and after a reload in the middle."""
    ann = visit(f"ann-{uuid4()}", tolerated=OFFLINE.pattern)
    page = ann.page
    photo: dict[str, Any] = large("parts.png", 3400)
    path = on_disk(tmp_path, photo)
    assert len(photo["buffer"]) > 2 * 16_777_216
    ann.line(12_000_000)
    ann.bring(path)
    share = page.locator("li.photo progress")
    expect(share).to_have_js_property("max", 1)
    _until(share, 0.49)
    ann.context.set_offline(True)
    ann.expect_state("parts.png", "lost")
    ann.context.set_offline(False)
    ann.line(12_000_000)
    _until(share, 0.55)
    before = _parts(ann)
    assert before == ["1", "2", "2"]
    page.reload()
    expect(ann.row("parts.png")).to_contain_text("Choose the file again")
    ann.line()
    ann.bring(path)
    ann.expect_state("parts.png", "held")
    assert _parts(ann)[len(before) :] == ["2", "3"]


def _until(share: Any, least: float) -> None:
    """Wait until a photo is sent so far."""
    share.evaluate(
        """(bar, least) => new Promise((go) => {
          const look = () => (bar.value >= least ? go() : setTimeout(look, 20));
          look();
        })""",
        least,
    )
