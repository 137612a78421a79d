"""Pictures that a browser cannot show whole: by the page, and by a viewer of others.

The large result is a stand-in: what the bucket says of a restored photo is written anew
with a picture of 400 megapixels.
"""

# ruff: noqa: E402 - playwright may not be imported before `needs`

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile
from threading import Thread
from typing import Any
from uuid import uuid4

import httpx
import numpy as np
import pytest
from PIL import Image

from gpu_worker.codec.pyramid import BAND_PX, write_pyramid
from gpu_worker.photo import Photo
from shared.runtime.settings import Settings
from shared.s3.store import S3Store
from shared.uploads.pyramids import PyramidStore
from shared.uploads.store import UploadStore
from tests.support.extras import needs, without

needs("playwright", "browser")

from playwright.sync_api import expect

from tests.browser.visitor import LONG_MS, Visitor

Visit = Callable[..., Visitor]
SIDE_PX = 20_000
READS = "Canvas2D: Multiple readback"
"""What the browser says of a test that looks at pixels."""
SCRIPT = (
    Path(__file__).parents[2]
    / ".venv/page/node_modules/openseadragon/build/openseadragon/openseadragon.min.js"
)
MIDDLE = """
canvas => {
  const { width, height } = canvas;
  return [...canvas.getContext("2d").getImageData(width * 0.75, height / 2, 1, 1).data];
}
"""


def scan(kind: str) -> dict[str, Any]:
    """A photo that nobody brought before."""
    rng = np.random.default_rng()
    pixels = rng.integers(0, 255, (60, 80, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind)
    name = f"scan.{kind.lower()}"
    return {"name": name, "mimeType": f"image/{kind}", "buffer": file.getvalue()}


def task_of(visitor: Visitor) -> str:
    href = visitor.page.get_by_text("Download PNG").get_attribute("href") or ""
    found = re.search(r"tasks/([^/]+)/", href)
    assert found
    return found[1]


def bands() -> Iterator[Photo]:
    """A picture that is red on the left and green on the right."""
    rows = np.zeros((BAND_PX, SIDE_PX, 3), np.uint8)
    rows[:, : SIDE_PX // 2, 0] = 200
    rows[:, SIDE_PX // 2 :, 1] = 200
    for top in range(0, SIDE_PX, BAND_PX):
        yield Photo(rows[: SIDE_PX - top])


def enlarge(settings: Settings, task_id: str) -> None:
    """Write the stand-in in the place of a result."""
    store = S3Store(settings)
    uploads = UploadStore(store, settings)
    record = uploads.record(task_id)
    size = {"width": SIDE_PX, "height": SIDE_PX}
    uploads.write_record(record.model_copy(update=size))
    with TemporaryFile() as file:
        write_pyramid((SIDE_PX, SIDE_PX), bands(), file, task_id, None)
        PyramidStore(store, settings).put(task_id, "result", file, (SIDE_PX, SIDE_PX))


def restored(visitor: Visitor, kind: str = "PNG") -> str:
    photo = scan(kind)
    visitor.restore(photo)
    visitor.row(photo["name"]).get_by_text("Compare").click()
    return task_of(visitor)


@contextmanager
def another_server(html: str) -> Iterator[str]:
    """A page of somebody else's: of another origin."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(html.encode())

        def log_message(self, *_: object) -> None:
            """Stay silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_four_hundred_megapixels_are_seen_one_to_one(
    visit: Visit, stack: Settings
) -> None:
    someone = visit(f"ann-{uuid4()}", tolerated=READS)
    task = restored(someone)
    enlarge(stack, task)
    someone.go("history")
    someone.go(f"look/task/{task}")
    canvas = someone.page.locator(".after canvas")

    def is_green() -> None:
        someone.page.wait_for_function(
            f"canvas => ({MIDDLE})(canvas)[1] > 150", arg=canvas.element_handle()
        )

    expect(canvas).to_be_visible()
    is_green()
    someone.page.locator("dr-compare .tools button", has_text="1:1").click()
    is_green()
    expect(someone.page.locator("dr-compare output")).to_have_text("100 %")
    someone.page.wait_for_load_state("networkidle")
    read = [url for _, url in someone.asked if f"{task}.zip" in url]
    # Two for the directory; with CORS each may be asked about before.
    assert 5 <= len(read) <= 40
    someone.page.keyboard.press("Shift+ArrowLeft")
    someone.page.keyboard.press("0")
    expect(someone.page.locator("dr-compare .stage")).not_to_have_class(
        re.compile("zoomed")
    )
    # Two of them under the line, too.
    someone.go(f"pair/{task}/{task}")
    for side in (".before", ".after"):
        canvas = someone.page.locator(f"{side} canvas")
        expect(canvas).to_be_visible()
        is_green()


def test_an_original_that_no_browser_shows_is_drawn_of_tiles(visit: Visit) -> None:
    someone = visit(f"ann-{uuid4()}", phone=True, tolerated=READS)
    restored(someone, "TIFF")
    canvas = someone.page.locator(".before canvas")
    expect(canvas).to_be_visible(timeout=LONG_MS)
    someone.page.wait_for_function(
        f"canvas => ({MIDDLE})(canvas)[3] === 255", arg=canvas.element_handle()
    )


def test_a_viewer_of_another_page_shows_it_with_a_few_tiles(
    visit: Visit, stack: Settings
) -> None:
    if not SCRIPT.exists():
        without("no npm here: `make browser` installs OpenSeadragon with it")
    someone = visit(f"ann-{uuid4()}", tolerated=READS)
    task = restored(someone)
    enlarge(stack, task)
    key = stack.api_key.get_secret_value()
    headers = {"Authorization": f"Bearer {key}"}
    address = f"{stack.api_url}/v1/tasks/{task}/viewer-link"
    link = httpx.post(address, json={}, headers=headers).json()["url"]
    manifest = httpx.get(link, timeout=60).json()
    _accepted(manifest)
    image = manifest["items"][0]["items"][0]["items"][0]["body"]["service"][0]["id"]
    page = someone.context.new_page()
    tiles: list[str] = []
    page.on("response", lambda got: tiles.append(got.url) if got.ok else None)
    html = f"""<!doctype html><div id="v" style="width:1000px;height:700px"></div>
      <script>{SCRIPT.read_text()}</script>
      <script>window.v = OpenSeadragon({{ id: "v", tileSources: "{image}/info.json",
        crossOriginPolicy: "Anonymous", showNavigationControl: false }});</script>"""
    with another_server(html) as library:
        page.goto(library)
        page.wait_for_function(
            "window.v.world.getItemAt(0)?.getFullyLoaded()", timeout=LONG_MS
        )
        page.close()
    shown = [url for url in tiles if url.endswith("default.jpg")]
    assert 1 <= len(shown) <= 20


def _accepted(manifest: dict[str, Any]) -> None:
    """By the judge of manifests, where it is installed: it asks for an older Pillow, so
    that `make browser` alone installs it, without what it asks for.
    """
    if find_spec("iiif_prezi3") is None:
        without("iiif-prezi3 is not installed; `make browser` does it")
    prezi = import_module("iiif_prezi3")
    prezi.Manifest(**manifest)
    with pytest.raises(ValueError, match="label"):
        prezi.Manifest(**{**manifest, "label": None})
