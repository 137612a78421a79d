"""Pictures of the console for README and documentation: `make pictures`."""

from __future__ import annotations

import io
import os
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import expect, sync_playwright

from shared.runtime.settings import Settings
from tests.browser.conftest import CHROMIUM
from tests.browser.visitor import LONG_MS, Visitor
from tests.conftest import darkroom

PHOTOS = Path(__file__).parents[2] / "infra/demo/photos"
NAMES = {
    "portrait": "宇航员肖像.png",
    "cat": "cat on the sofa.png",
    "photographer": "1943-photographer.png",
    "coffee": "coffee.png",
}
WIDTH = 1280
QUALITY = 78


def main(target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="darkroom-") as folder:
        state = Path(folder)
        up = darkroom("up", "--detach", state_dir=state, DARKROOM_BACKUP_INTERVAL_S="0")
        assert up.returncode == 0, up.stderr
        try:
            _take(Settings.load(state_dir=state), target)
        finally:
            darkroom("down", state_dir=state)


def _take(settings: Settings, target: Path) -> None:
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        ann = Visitor(chromium, settings, "Ann")
        _desk(ann, target)
        phone = Visitor(chromium, settings, "Ann", "zh-CN", "dark", phone=True)
        _save(phone, target / "phone-restore-dark-zh.webp", whole=False)
        phone.go("history")
        expect(phone.page.locator(".frame img").first).to_be_visible()
        _save(phone, target / "phone-history-dark-zh.webp", whole=False)
        operator = Visitor(chromium, settings, "")
        operator.go("operate")
        expect(operator.page.locator(".figures b").nth(3)).not_to_have_text("0")
        expect(operator.page.locator(".wide tbody tr").first).to_be_visible()
        _save(operator, target / "operate-light-en.webp")


def _desk(ann: Visitor, target: Path) -> None:
    photos = [
        {"name": NAMES[path.stem], "mimeType": "image/png", "buffer": path.read_bytes()}
        for path in sorted(PHOTOS.glob("*.png"))
    ]
    ann.restore(*photos[1:])
    letter = {"name": "letter.doc", "mimeType": "text/plain", "buffer": b"Dear Ann"}
    ann.bring(photos[0], letter)
    ann.expect_state(photos[0]["name"], "held")
    ann.choose("auto")
    _save(ann, target / "restore-light-en.webp")

    ann.choose("fast")
    ann.page.get_by_role("button", name="Light or dark").click()
    ann.row(NAMES["portrait"]).get_by_text("Compare").click()
    ann.page.get_by_role("button", name="Try other settings").click()
    match = ann.page.locator(".match:not(.stale)")
    expect(match).to_be_visible(timeout=LONG_MS)
    _save(ann, target / "look-dark-en.webp")

    ann.page.get_by_role("button", name="Side by side").last.click()
    ann.page.locator(".beside").get_by_role("button", name="Enlarge").click()
    expect(ann.page.locator(".try img")).to_have_count(4, timeout=LONG_MS)
    _save(ann, target / "beside-dark-en.webp")

    ann.page.get_by_role("button", name="Light or dark").click()
    ann.page.get_by_role("button", name="中文").click()
    ann.go("history")
    expect(ann.page.locator(".frame.ok")).to_have_count(3, timeout=LONG_MS)
    _save(ann, target / "history-light-zh.webp")
    look = ann.page.locator(".frame.ok").first.get_attribute("href") or ""
    ann.go(look.replace("#/look/task", "report"))
    expect(ann.page.locator(".shot img").first).to_have_js_property("complete", True)
    _save(ann, target / "report-light-zh.webp")


def _save(visitor: Visitor, path: Path, whole: bool = True) -> None:
    visitor.page.evaluate("document.activeElement?.blur()")
    visitor.page.wait_for_load_state("networkidle")
    for image in visitor.page.locator("img").all():
        expect(image).to_have_js_property("complete", True)
    data = visitor.page.screenshot(full_page=whole, animations="disabled")
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    picture.thumbnail((WIDTH, WIDTH * 2))
    picture.save(path, quality=QUALITY, method=6)
    print(path, picture.size, path.stat().st_size)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
