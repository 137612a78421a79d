"""Many photos at once, and how soon the page is there."""

# ruff: noqa: E402 - playwright may not be imported before `needs`

from __future__ import annotations

import json
from bisect import bisect_left
from pathlib import Path
from typing import Any
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
TRACED = ["toplevel", "devtools.timeline"]
DRIVER = "DevToolsSession"
TASK = "ThreadControllerImpl::RunTask"
HEAP = "performance.memory.usedJSHeapSize"


def small(folder: Path, number: int) -> Path:
    path = folder / f"{number:03}.png"
    Image.new("RGB", (64, 48), (number % 256, number // 256, 128)).save(path)
    return path


def longest_ms(trace: bytes, most: int = 3) -> list[float]:
    """How long the page's longest tasks had the processor.

    What the machine did meanwhile is no fault of the page's, nor is the work of the
    test's own driver on the page's thread, but for the events that it causes.
    """
    events = json.loads(trace)["traceEvents"]
    threads = [event for event in events if event["name"] == "thread_name"]
    main = {
        (event["pid"], event["tid"])
        for event in threads
        if event["args"]["name"] == "CrRendererMain"
    }
    ours = [event for event in events if (event["pid"], event["tid"]) in main]
    messages = [event for event in ours if event["name"] == "Receive mojo message"]
    driven = sorted(
        event["ts"] for event in messages if DRIVER in json.dumps(event["args"])
    )
    took_us = [
        event.get("tdur", 0)
        for event in ours
        if event["name"] == "EventDispatch"
        or (event["name"] == TASK and not _is_driven(event, driven))
    ]
    assert len(took_us) > most, "nothing was traced"
    return [us / 1000 for us in sorted(took_us, reverse=True)[:most]]


def _is_driven(task: dict[str, Any], driven: list[float]) -> bool:
    ended = task["ts"] + task.get("dur", 0)
    return bisect_left(driven, task["ts"]) < bisect_left(driven, ended)


def test_five_hundred_photos_in_one_go(
    visit: Visit, chromium: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The page never stands still for long, and shows only as many rows as a person can
    look at.
    """
    ann = visit(f"ann-{uuid4()}")
    page = ann.page
    photos = [small(tmp_path, number) for number in range(MANY)]
    before = page.evaluate(HEAP)
    chromium.start_tracing(page=page, categories=TRACED)
    ann.bring(*photos)
    expect(page.get_by_text(f"of {MANY} finished")).to_be_visible(timeout=LONG_MS)
    expect(page.locator("li.photo")).to_have_count(SHOWN)
    page.get_by_role("button", name="Show 100 more").click()
    expect(page.locator("li.photo")).to_have_count(SHOWN + MORE)
    sent = page.locator("li.photo:is(.arrived, .held)")
    expect(sent.nth(SHOWN)).to_be_visible(timeout=2 * LONG_MS)
    tasks = longest_ms(chromium.stop_tracing())
    grown = page.evaluate(HEAP) - before
    with capsys.disabled():
        longest = ", ".join(f"{task:.0f} ms" for task in tasks)
        print(f"\n{MANY} photos: longest tasks {longest}; heap {grown / 1e6:+.1f} MB")
    assert tasks[0] < LONGEST_MS
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
