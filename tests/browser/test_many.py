"""Many photos at once, and how soon the page is there."""

# ruff: noqa: E402 - playwright may not be imported before `needs`

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest
from PIL import Image

from tests.support.extras import needs

needs("playwright", "browser")

from playwright.sync_api import expect

from tests.browser.test_console import Visit
from tests.browser.visitor import LONG_MS

MANY = 500
SHOWN, MORE = 40, 100
LONGEST_MS = 200
MOST_HEAP_BYTES = 60e6
WATCH = """() => {
  window.tasks = [];
  window.stall = 0;
  new PerformanceObserver((list) => {
    for (const task of list.getEntries()) window.tasks.push(Math.round(task.duration));
  }).observe({ type: "longtask" });
  // Two milliseconds of work: what it takes beyond them, the machine was busy elsewhere.
  setInterval(() => {
    const begun = performance.now();
    while (performance.now() - begun < 2);
    window.stall = Math.max(window.stall, performance.now() - begun - 2);
  }, 25);
}"""
HEAP = "performance.memory.usedJSHeapSize"


def small(folder: Path, number: int) -> Path:
    path = folder / f"{number:03}.png"
    Image.new("RGB", (64, 48), (number % 256, number // 256, 128)).save(path)
    return path


def test_five_hundred_photos_in_one_go(
    visit: Visit, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page never stands still for long, and shows only as many rows as a person can
    look at. Where the machine itself stood still, that is no fault of the page.
    """
    ann = visit(f"ann-{uuid4()}")
    page = ann.page
    photos = [small(tmp_path, number) for number in range(MANY)]
    before = page.evaluate(HEAP)
    page.evaluate(WATCH)
    ann.bring(*photos)
    expect(page.get_by_text(f"of {MANY} finished")).to_be_visible(timeout=LONG_MS)
    expect(page.locator("li.photo")).to_have_count(SHOWN)
    page.get_by_role("button", name="Show 100 more").click()
    expect(page.locator("li.photo")).to_have_count(SHOWN + MORE)
    sent = page.locator("li.photo:is(.arrived, .held)")
    expect(sent.nth(SHOWN)).to_be_visible(timeout=2 * LONG_MS)
    tasks = sorted(page.evaluate("window.tasks"), reverse=True)
    stall = page.evaluate("window.stall")
    grown = page.evaluate(HEAP) - before
    with capsys.disabled():
        longest = ", ".join(f"{task} ms" for task in tasks[:3]) or "none"
        print(
            f"\n{MANY} photos: longest tasks {longest}; the machine's own longest stall "
            f"{stall:.0f} ms; heap {grown / 1e6:+.1f} MB"
        )
    assert max(tasks, default=0) < LONGEST_MS + 2 * stall
    assert grown < MOST_HEAP_BYTES


def test_the_page_is_there_at_once(
    visit: Visit, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its figures are printed, and judged by a person: the machine may be busy."""
    ann = visit(f"ann-{uuid4()}")
    page = ann.page
    page.reload()
    expect(page.locator("h1").first).to_be_visible()
    paints = page.evaluate(
        "performance.getEntriesByType('paint').map(entry => [entry.name, entry.startTime])"
    )
    sent = page.evaluate(
        "performance.getEntriesByType('resource').filter(entry => !entry.name.endsWith('.webp'))"
        ".reduce((sum, entry) => sum + entry.encodedBodySize, 0)"
    )
    said = ", ".join(f"{name} {at_ms:.0f} ms" for name, at_ms in paints)
    with capsys.disabled():
        print(f"\nthe page: {said}; {sent / 1e3:.0f} kB without pictures")
    assert dict(paints)["first-contentful-paint"] < 10_000
