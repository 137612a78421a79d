"""The console in a real browser, on the real stack. Not part of `make test`: `make
browser` runs it, and so does CI.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import pytest

from shared.runtime.settings import Settings
from tests.support.extras import without

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def missing() -> str:
    """Why there is no browser here, or nothing."""
    if find_spec("playwright") is None or find_spec("axe_playwright_python") is None:
        return "the extra [browser] is not installed; `make browser` does it"
    return "" if CHROMIUM else "chromium is not installed: apt-get install chromium"


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    if why := missing():
        without(why)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        # Its own sandbox does not start as root; the pages are ours.
        flags = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def visit(chromium: Any, stack: Settings) -> Iterator[Callable[..., Any]]:
    """Opens the page as somebody. At the end nothing may stand on any page's console,
    where a violation of the policy would, and nobody else may have been asked.
    """
    from tests.browser.visitor import Visitor

    visitors = []

    def open_as(user: str, **options: Any) -> Visitor:
        visitor = Visitor(chromium, stack, user, **options)
        visitors.append(visitor)
        return visitor

    yield open_as
    for visitor in visitors:
        visitor.leave()
