"""Somebody before the console."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import expect

from infra.sign_in import new_link
from shared.runtime.settings import Settings

LONG_MS = 90_000
"""For what the whole pipeline does on a busy machine; it judges no speed."""
OFFLINE = re.compile(r"ERR_(INTERNET_DISCONNECTED|CONNECTION_RESET|NETWORK_CHANGED)")
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "is_mobile": True,
    "has_touch": True,
    "device_scale_factor": 2,
}
DESK = {"viewport": {"width": 1280, "height": 900}}

expect.set_options(timeout=30_000)


class Visitor:
    """Signed in by a link of their own, with a browser of their own.

    An empty `user` is the operator. `tolerated`: what the browser may say on its
    console, such as of a request that the test wants refused.
    """

    def __init__(
        self,
        chromium: Any,
        settings: Settings,
        user: str,
        language: str = "en",
        theme: str = "light",
        phone: bool = False,
        tolerated: str = "(?!)",
    ) -> None:
        self.settings = settings
        self._tolerated = re.compile(tolerated)
        self._own = {
            urlsplit(url).netloc for url in (settings.api_url, settings.s3_endpoint_url)
        }
        self.said: list[str] = []
        self.asked: list[tuple[str, str]] = []
        # In a transition a button is half as strong, and axe would call it too weak.
        self.context = chromium.new_context(
            **(PHONE if phone else DESK),
            color_scheme=theme,
            locale=language,
            reduced_motion="reduce",
        )
        self.page = self.context.new_page()
        self.page.on("console", lambda line: self.said.append(line.text))
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on(
            "request", lambda asked: self.asked.append((asked.method, asked.url))
        )
        self._devtools = self.context.new_cdp_session(self.page)
        self._devtools.send("Network.enable")
        self.sign_in(user)

    def sign_in(self, user: str) -> str:
        link = new_link(self.settings, user, self.settings.api_url)
        self.page.goto(link)
        self.page.wait_for_url("**/console/")
        expect(self.page.locator("h1").first).to_be_visible()
        return link

    def go(self, view: str) -> None:
        self.page.evaluate("view => { location.hash = `#/${view}`; }", view)
        expect(self.page.locator("h1").first).to_be_visible()

    def bring(self, *photos: dict[str, Any] | Path) -> None:
        self.page.set_input_files("#files", list(photos))

    def line(self, bytes_a_second: int = -1) -> None:
        """How fast the line to the network takes what is sent, from now on."""
        self._devtools.send(
            "Network.emulateNetworkConditions",
            {
                "offline": False,
                "latency": 0,
                "downloadThroughput": -1,
                "uploadThroughput": bytes_a_second,
            },
        )

    def row(self, name: str) -> Any:
        return self.page.locator("li.photo", has=self.page.get_by_text(name))

    def choose(self, scene: str) -> None:
        self.page.locator(f"input[name=scene][value={scene}]").check(force=True)

    def expect_state(self, name: str, state: str) -> None:
        pattern = re.compile(rf"\b{state}\b")
        expect(self.row(name)).to_have_class(pattern, timeout=LONG_MS)

    def restore(self, *photos: dict[str, Any]) -> None:
        """Bring photos, and have them restored by the quickest scene."""
        self.bring(*photos)
        for photo in photos:
            self.expect_state(photo["name"], "held")
        self.choose("fast")
        self.page.locator(".go button:not(.main)").click()
        for photo in photos:
            self.expect_state(photo["name"], "success")

    def uploads_begun(self) -> int:
        return sum(
            method == "POST" and url.endswith("/v1/uploads")
            for method, url in self.asked
        )

    def violations(self) -> list[tuple[str, list[str]]]:
        """What axe finds: rule and places."""
        source = files("axe_playwright_python").joinpath("axe.min.js").read_text()
        self.page.evaluate(source)
        found = self.page.evaluate("axe.run()")["violations"]
        return [
            (each["id"], [str(node["target"]) for node in each["nodes"]])
            for each in found
        ]

    def leave(self) -> None:
        self.context.close()
        said = [line for line in self.said if not self._tolerated.search(line)]
        assert said == []
        others = [
            url
            for _, url in self.asked
            if not url.startswith("blob:") and urlsplit(url).netloc not in self._own
        ]
        assert others == []
