"""Signing in by a real OpenID provider, in a browser: npm's `oidc-provider`. Without npm
this is skipped.
"""

# ruff: noqa: E402 - playwright may not be imported before `needs`

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn

from tests.support.extras import needs, without

needs("playwright", "browser")

from playwright.sync_api import Page, expect

from handlers.context import Context
from handlers.http.app import build
from infra.local.stack import Stack
from shared.uploads import identity
from tests.browser.test_code import ROOT, TOOLS
from tests.support.brokers import free_port
from tests.support.waiting import eventually

SCRIPT = ROOT / "tests/browser/provider.js"


@pytest.fixture(scope="module")
def console(servers: Stack) -> Iterator[str]:
    """The address of a console at which people sign in by the provider."""
    if not TOOLS.exists():
        without("no npm here: `make browser` installs with it")
    own, providers = free_port(), free_port()
    url, issuer = f"http://127.0.0.1:{own}", f"http://127.0.0.1:{providers}"
    # Where Node finds its modules.
    script = shutil.copy(SCRIPT, TOOLS.parent.parent / "provider.mjs")
    back = [f"{url}/console/oidc/callback", f"{url}/console/sign-in"]
    more = {
        "api_url": url,
        "jwt_issuer": issuer,
        "jwt_audience": "darkroom",
        "jwt_jwks_url": f"{issuer}/jwks",
        "oidc_client_id": "console",
        "oidc_operator": "roles=darkroom-operator",
        "api_key_cache_s": 0.0,
    }
    ctx = Context.of(servers.settings.model_copy(update=more))
    app = build(ctx, checks={})
    server = uvicorn.Server(
        uvicorn.Config(app, port=own, log_config=None, access_log=False)
    )
    thread = threading.Thread(target=server.run)
    command = ["node", script, str(providers), *back]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "listens\n"
            thread.start()
            eventually(lambda: server.started, "the server listens")
            yield url
        finally:
            process.terminate()
            server.should_exit = True
            if thread.ident:
                thread.join()


def sign_in(page: Page, url: str, name: str) -> dict[str, Any]:
    """What the API says of whoever has signed in as `name`."""
    page.goto(f"{url}/console/")
    page.get_by_role("link", name="Sign in").click()
    page.locator("input[name=login]").fill(name)
    page.locator("input[name=password]").fill("any")
    page.locator("button[type=submit]").click()
    page.get_by_role("button", name="Continue").click()
    page.wait_for_url(f"{url}/console/")
    expect(page.get_by_text("Drop your photos here")).to_be_visible()
    found: dict[str, Any] = page.evaluate(
        "fetch('/v1/me').then(answer => answer.json())"
    )
    return found


def test_people_sign_in_by_a_real_provider(
    chromium: Any, servers: Stack, console: str
) -> None:
    """With a code, PKCE and a claim that makes an operator; and out, everywhere, at the
    provider, too.
    """
    pepper = servers.settings.pepper.get_secret_value().encode()
    contexts = [chromium.new_context(locale="en") for _ in range(3)]
    here, there, roots = (context.new_page() for context in contexts)
    found = sign_in(here, console, "ann")
    assert found["user"] == identity.user_hash("ann", pepper)
    assert not found["operator"]
    assert here.evaluate("document.cookie") == ""
    assert sign_in(there, console, "ann")["user"] == found["user"]
    assert sign_in(roots, console, "root")["operator"]
    roots.get_by_role("link", name="Operate").click()
    expect(roots.get_by_text("At a glance")).to_be_visible()

    here.locator(".me summary").click()
    here.get_by_role("button", name="Sign out everywhere").click()
    # At the provider, too, which asks: or the next one here would be let in as Ann.
    here.get_by_role("button", name="Yes, sign me out").click()
    here.wait_for_url(f"{console}/console/sign-in")
    expect(here.get_by_text("You are signed out")).to_be_visible()
    here.get_by_role("link", name="Sign in").click()
    expect(here.locator("input[name=login]")).to_be_visible()
    for page in (here, there):
        page.goto(f"{console}/console/")
        expect(page.get_by_role("link", name="Sign in")).to_be_visible()
    roots.reload()
    expect(roots.get_by_text("At a glance")).to_be_visible()

    # An answer that this browser has not asked for.
    here.goto(f"{console}/console/oidc/callback?code=a&state=b")
    expect(here.get_by_text("Signing in did not succeed")).to_be_visible()
    for context in contexts:
        context.close()
