"""The operator's view in a browser, with the figures of a real stack."""

# ruff: noqa: E402 - playwright may not be imported before `needs`

from __future__ import annotations

from uuid import uuid4

from tests.support.extras import needs

needs("playwright", "browser")

from playwright.sync_api import expect

from shared.broker.dead_letter import DeadLetter
from shared.broker.publisher import Publisher
from shared.broker.topology import CALLBACKS
from shared.s3.clock import SystemClock
from tests.browser.test_console import Visit, picture
from tests.browser.visitor import LONG_MS


def test_the_operator_sees_the_whole_and_puts_a_dead_letter_back(visit: Visit) -> None:
    operator = visit("")
    page = operator.page
    operator.restore(picture("one.png"))
    now = SystemClock().now()
    body = f"no message {uuid4()}".encode()
    letter = DeadLetter.of(CALLBACKS, body, {}, "bad_message", "no JSON", now)
    letter.publish(Publisher(operator.settings))
    operator.go("operate")
    workers = page.get_by_role("region", name="Who works?")
    expect(workers.locator("tbody tr").first).to_contain_text("ncnn")
    devices = page.get_by_role("region", name="Of the last 24 hours")
    expect(devices).to_contain_text("cpu", timeout=LONG_MS)
    expect(page.get_by_text("Last look at new uploads")).to_be_visible()
    letters = page.get_by_role("region", name="Dead letters")
    expect(letters).to_contain_text("no JSON", timeout=LONG_MS)
    assert operator.violations() == []
    with page.expect_response("**/v1/dead/retry") as answered:
        letters.get_by_role("button", name="Put back").first.click()
    # It may die again, and be put back once more, while the queue is looked through.
    assert answered.value.json()["retried"] >= 1


def test_a_user_is_told_nothing_of_the_whole(visit: Visit) -> None:
    ann = visit(f"ann-{uuid4()}", tolerated="status of 403")
    status = ann.page.evaluate("fetch('/v1/status').then(answer => answer.status)")
    assert status == 403
    expect(ann.page.get_by_role("link", name="Operate")).to_have_count(0)
