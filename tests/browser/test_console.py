"""The console in a browser: the whole way of a photo, and everything that goes wrong on
it.
"""

# ruff: noqa: E402 - playwright may not be imported before `needs`

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from PIL import Image

from tests.support.extras import needs

needs("playwright", "browser")

from playwright.sync_api import expect

from tests.browser.visitor import LONG_MS, OFFLINE, Visitor

Visit = Callable[..., Visitor]
PHOTOS = Path(__file__).parents[2] / "infra/demo/photos"
STATES_OF_REFUSAL = "status of (401|403|404|409)"


def picture(name: str, file: str = "portrait.png") -> dict[str, Any]:
    """A photo that nobody brought before: a pixel of it is new."""
    with Image.open(PHOTOS / file) as opened:
        image = opened.convert("RGB")
    image.putpixel((0, 0), tuple(uuid4().bytes[:3]))
    return _file(name, image)


def large(name: str, side_px: int = 1000) -> dict[str, Any]:
    """A photo of some 3 MB, which takes its time on a slow line; with other sides of
    another size.
    """
    shape = (side_px, side_px, 3)
    noise = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    return _file(name, Image.fromarray(noise))


def on_disk(folder: Path, photo: dict[str, Any]) -> Path:
    path = folder / photo["name"]
    path.write_bytes(photo["buffer"])
    return path


def _file(name: str, image: Image.Image) -> dict[str, Any]:
    sink = io.BytesIO()
    image.save(sink, "PNG", compress_level=1)
    return {"name": name, "mimeType": "image/png", "buffer": sink.getvalue()}


def test_the_whole_way_of_a_photo(visit: Visit) -> None:
    ann = visit(f"ann-{uuid4()}")
    page = ann.page
    ann.bring(picture("外婆 1958.png"), picture("cat.png", "cat.png"))
    ann.expect_state("外婆 1958.png", "held")
    small = ann.row("外婆 1958.png").locator("img")
    expect(small).to_have_js_property("naturalWidth", 160)
    ann.choose("fast")
    page.get_by_role("button", name="Preview").click()
    match = page.locator(".match:not(.stale) code")
    expect(match).to_have_text(re.compile("^[0-9a-f]{16}$"), timeout=LONG_MS)
    first = match.inner_text()
    shown = page.locator(".after img").get_attribute("src")

    page.get_by_role("radio", name="2×").check()
    # The earlier picture stays, and says so; nothing can be started meanwhile.
    expect(page.locator(".notice")).to_contain_text("Earlier picture")
    expect(page.get_by_role("button", name="Restore the whole photo")).to_be_disabled()
    expect(page.locator(".after img")).to_have_attribute("src", shown)
    expect(match).not_to_have_text(first, timeout=LONG_MS)

    second = match.inner_text()
    page.get_by_role("button", name="Restore the whole photo").click()
    expect(page.get_by_text("Download PNG")).to_be_visible(timeout=LONG_MS)
    expect(page.locator(".match code")).to_have_text(second)
    expect(page.locator("header small")).to_have_text("256 × 256 → 512 × 512")
    with page.expect_download() as download:
        page.get_by_text("Download PNG").click()
    assert download.value.suggested_filename == "外婆 1958-restored.png"
    with Image.open(download.value.path()) as restored:
        assert restored.size == (512, 512)

    ann.go("history")
    frame = page.locator(".frame.ok")
    expect(frame).to_have_count(1, timeout=LONG_MS)
    expect(frame).to_contain_text("外婆 1958.png")
    expect(frame.locator("img")).to_have_js_property("complete", True)
    page.get_by_role("searchbox").fill("nobody")
    expect(page.get_by_text("Nothing here yet")).to_be_visible()
    page.get_by_role("searchbox").fill("1958")
    frame.click()
    expect(page.get_by_text("Download PNG")).to_be_visible()
    # From the history both pictures come from the store.
    for layer in (".before img", ".after img"):
        expect(page.locator(layer)).to_have_js_property("complete", True)
        assert page.locator(layer).evaluate("image => image.naturalWidth") > 0


def test_what_is_no_photo_is_refused_before_a_byte_of_it_is_sent(visit: Visit) -> None:
    ann = visit(f"ann-{uuid4()}")
    empty = {"name": "empty.png", "mimeType": "image/png", "buffer": b""}
    letter = {"name": "letter.txt", "mimeType": "text/plain", "buffer": b"Dear Ann"}
    ann.bring(empty, letter)
    expect(ann.row("empty.png")).to_contain_text("The file is empty.")
    expect(ann.row("letter.txt")).to_contain_text("is no photo that can be restored")
    assert ann.uploads_begun() == 0
    # And what only a look inside can tell costs only itself.
    liar = {"name": "liar.png", "mimeType": "image/png", "buffer": b"no photo" * 9}
    ann.bring(liar, picture("good.png"))
    ann.expect_state("liar.png", "refused")
    ann.expect_state("good.png", "held")


def test_a_lost_connection_is_said_and_mended(visit: Visit) -> None:
    ann = visit(f"ann-{uuid4()}", tolerated=OFFLINE.pattern)
    store = f"{ann.settings.s3_endpoint_url}/**"
    ann.page.route(store, lambda route: route.abort("connectionreset"))
    ann.bring(picture("long.png"))
    ann.expect_state("long.png", "lost")
    expect(ann.row("long.png")).to_contain_text(re.compile(r"Connection lost at \d+ %"))
    ann.page.unroute(store)
    ann.page.get_by_role("button", name="Try long.png again").click()
    ann.expect_state("long.png", "held")
    ann.context.set_offline(True)
    expect(ann.page.get_by_text("No connection.")).to_be_visible()
    ann.context.set_offline(False)
    expect(ann.page.get_by_text("No connection.")).to_be_hidden()


def test_what_was_sent_survives_a_reload(visit: Visit, tmp_path: Path) -> None:
    ann = visit(f"ann-{uuid4()}")
    # Files of a disk: chosen again they have the same time.
    photo, sent = (
        on_disk(tmp_path, file) for file in (large("half.png"), picture("whole.png"))
    )
    ann.bring(sent)
    ann.expect_state("whole.png", "held")
    ann.line(300_000)
    ann.bring(photo)
    expect(ann.row("half.png")).to_contain_text(re.compile(r"Sending, [1-9]"))
    ann.page.reload()
    expect(ann.row("half.png")).to_contain_text("Choose the file again")
    ann.expect_state("whole.png", "held")
    ann.line()
    puts = [url for method, url in ann.asked if method == "PUT"]
    ann.bring(photo, sent)
    ann.expect_state("half.png", "held")
    expect(ann.page.locator("li.photo")).to_have_count(2)
    again = [url for method, url in ann.asked if method == "PUT"][len(puts) :]
    # The other was there already: not a byte of it is sent once more.
    assert len(again) == 1


def test_a_photo_pauses_and_goes_on(visit: Visit) -> None:
    ann = visit(f"ann-{uuid4()}")
    ann.line(500_000)
    ann.bring(large("long.png"))
    expect(ann.row("long.png")).to_contain_text(re.compile(r"Sending, [1-9]"))
    ann.page.get_by_role("button", name="Pause long.png").click()
    ann.expect_state("long.png", "paused")
    ann.line()
    ann.page.get_by_role("button", name="Go on with long.png").click()
    ann.expect_state("long.png", "held")


def test_a_picture_of_other_settings_is_never_shown(visit: Visit) -> None:
    """However it comes about: here the record says another signature."""
    ann = visit(f"ann-{uuid4()}")

    def other(route: Any) -> None:
        record = route.fetch().json()
        record["workflow"]["signature"] = "0" * 16
        route.fulfill(body=json.dumps(record), content_type="application/json")

    ann.page.route("**/v1/tasks/*/record", other)
    ann.bring(picture("one.png"))
    ann.expect_state("one.png", "held")
    ann.choose("fast")
    ann.page.get_by_role("button", name="Preview").click()
    notice = ann.page.locator(".notice.problem")
    expect(notice).to_contain_text("it is not shown", timeout=LONG_MS)
    expect(ann.page.locator(".after img")).to_have_count(0)
    ann.page.unroute("**/v1/tasks/*/record")
    notice.get_by_role("button", name="Try again").click()
    expect(ann.page.locator(".match:not(.stale)")).to_be_visible(timeout=LONG_MS)


def test_another_tenants_photo_is_not_shown(visit: Visit) -> None:
    ann = visit(f"ann-{uuid4()}")
    ann.restore(picture("private.png"))
    ann.row("private.png").get_by_text("Compare").click()
    href = ann.page.get_by_text("Download PNG").get_attribute("href") or ""
    task = re.search(r"tasks/([^/]+)/", href)
    assert task
    eve = visit(f"eve-{uuid4()}", tolerated=STATES_OF_REFUSAL)
    eve.go(f"look/task/{task[1]}")
    expect(eve.page.locator(".notice.problem")).to_be_visible()
    expect(eve.page.locator(".after img")).to_have_count(0)
    widths = eve.page.locator(".layer img").evaluate_all(
        "images => images.map(image => image.naturalWidth)"
    )
    assert not any(widths)
    eve.go("history")
    expect(eve.page.get_by_text("Nothing here yet")).to_be_visible()


def test_a_brush_says_what_to_repair(visit: Visit) -> None:
    ann = visit(f"ann-{uuid4()}")
    page = ann.page
    ann.bring(picture("scratched.png"))
    ann.expect_state("scratched.png", "held")
    ann.choose("repair")
    page.get_by_role("button", name="Preview").click()
    expect(page.locator(".match:not(.stale)")).to_be_visible(timeout=LONG_MS)
    page.get_by_role("button", name="Brush").click()
    box = page.locator(".stage").bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y + 40, steps=5)
    page.mouse.up()
    expect(page.locator(".sheet polyline")).to_have_count(1)
    with page.expect_request("**/v1/previews") as asked:
        pass
    strokes = asked.value.post_data_json["params"]["mask"]
    assert re.fullmatch(r"\d+( \d+,\d+)+", strokes)
    # In pixels of the photo, which has 256 of them: the middle of the stage is its own.
    assert strokes.split()[1] in {
        f"{a},{b}" for a in range(126, 131) for b in range(126, 131)
    }
    expect(page.locator(".match:not(.stale)")).to_be_visible(timeout=LONG_MS)


def test_a_long_painting_is_sent_as_a_picture(visit: Visit) -> None:
    """By the keyboard alone; the API takes it for this photo, and the signature shows
    that the preview was made with it.
    """
    ann = visit(f"ann-{uuid4()}")
    page = ann.page
    ann.bring(picture("painted.png"))
    ann.expect_state("painted.png", "held")
    ann.choose("repair")
    page.get_by_role("button", name="Preview").click()
    expect(page.locator(".match:not(.stale)")).to_be_visible(timeout=LONG_MS)
    plain = page.locator(".match code").inner_text()
    page.get_by_role("button", name="Brush").click()
    sheet = page.locator("svg.sheet")
    sheet.focus()
    for key in (" ", "ArrowRight", " ", "]", " ", "ArrowDown"):
        page.keyboard.press(key)
    expect(sheet.locator("polyline")).to_have_count(2)
    page.keyboard.press("Control+z")
    expect(sheet.locator("polyline")).to_have_count(1)
    page.keyboard.press(" ")
    with page.expect_request(
        lambda request: "ticket:" in (request.post_data or "")
    ) as asked:
        for number in range(300):
            page.keyboard.press(("ArrowLeft", "ArrowDown")[number // 40 % 2])
        page.keyboard.press(" ")
    assert asked.value.url.endswith("/v1/previews")
    expect(page.locator(".match:not(.stale)")).to_be_visible(timeout=LONG_MS)
    assert page.locator(".match code").inner_text() != plain


def test_without_a_mouse(visit: Visit) -> None:
    ann = visit(f"ann-{uuid4()}")
    page = ann.page
    ann.restore(picture("keys.png"))
    page.locator("input[name=scene]:checked").focus()
    page.keyboard.press("ArrowUp")
    expect(page.locator("input[name=scene]:checked")).not_to_have_value("fast")
    ann.row("keys.png").get_by_text("Compare").focus()
    page.keyboard.press("Enter")
    slider = page.get_by_role("slider", name="Show more of the original")
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(slider).to_have_value("51")
    page.keyboard.press("Home")
    expect(slider).to_have_value("0")
    zoom = page.get_by_role("button", name="Zoom in")
    zoom.focus()
    before = page.locator(".tools output").inner_text()
    page.keyboard.press("Enter")
    expect(page.locator(".tools output")).not_to_have_text(before)


def test_a_link_opens_once_and_signing_out_everywhere_ends_both(visit: Visit) -> None:
    user = f"ann-{uuid4()}"
    ann, again = (visit(user, tolerated=STATES_OF_REFUSAL) for _ in range(2))
    link = ann.sign_in(user)
    assert "#" not in ann.page.url
    assert ann.page.evaluate("document.cookie") == ""
    again.page.goto(link)
    expect(again.page.get_by_text("This link does not open anything")).to_be_visible()
    ann.page.locator(".me summary").click()
    ann.page.get_by_role("button", name="Sign out everywhere").click()
    expect(ann.page.get_by_text("You are signed out").first).to_be_visible()
    again.page.goto(link.partition("sign-in")[0])
    expect(again.page.get_by_text("You are signed out").first).to_be_visible()


@pytest.mark.parametrize("phone", [False, True], ids=["desk", "phone"])
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en", "zh-CN"])
def test_nobody_is_shut_out(
    visit: Visit, language: str, theme: str, phone: bool
) -> None:
    """Every view by axe, in both languages and themes, and nothing wider than a phone."""
    visitor = visit("", language=language, theme=theme, phone=phone)
    visitor.restore(picture(f"{language} {theme} {phone}.png"))
    visitor.go("history")
    expect(visitor.page.locator(".frame").first).to_be_visible(timeout=LONG_MS)
    look = visitor.page.locator(".frame.ok").first.get_attribute("href") or ""
    report = look.replace("look/task", "report")
    views = (
        "",
        "history",
        "batches",
        "operate",
        look.removeprefix("#/"),
        report.removeprefix("#/"),
    )
    for view in views:
        visitor.go(view)
        expect(visitor.page.locator(".spinner")).to_have_count(0, timeout=LONG_MS)
        assert visitor.violations() == [], view
        assert visitor.page.evaluate(
            "document.documentElement.scrollWidth <= innerWidth"
        ), view
