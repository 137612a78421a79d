"""Signing in by an OpenID provider, and everything by which a stranger might get in."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from shared.errors import SettingsError
from shared.uploads import identity
from tests.support.access_world import Town
from tests.support.issuer import NOW_S
from tests.support.openid_provider import Provider

OURS = "127.0.0.1:8080"
CALLBACK = "/console/oidc/callback"
STRANGER = rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="module")
def running() -> Iterator[Provider]:
    provider = Provider()
    yield provider
    provider.close()


@pytest.fixture
def provider(running: Provider) -> Provider:
    running.reset()
    return running


def town_of(provider: Provider, **settings: Any) -> Town:
    given = {
        "api_url": f"http://{OURS}",
        "jwt_issuer": provider.url,
        "jwt_audience": "darkroom",
        "jwt_jwks_url": f"{provider.url}/keys",
        "oidc_client_id": "console",
        "oidc_operator": "roles=darkroom-operator",
    }
    town = Town(**(given | settings))
    town.client.follow_redirects = False
    return town


@pytest.fixture(scope="module")
def built(running: Provider) -> Town:
    return town_of(running)


@pytest.fixture
def town(built: Town, provider: Provider) -> Town:
    """A minute after the last test, whose wrong guesses do not count any more."""
    built.world.clock.advance(61)
    built.client.cookies.clear()
    return built


class Try:
    """A sign-in that a browser has begun: `query` is what it asks the provider."""

    def __init__(self, town: Town, provider: Provider) -> None:
        self.town = town
        begun = town.client.get("/console/oidc", headers={"host": OURS})
        assert begun.status_code == 303, begun.text
        asked = urlsplit(begun.headers["location"])
        self.query = {name: one for name, (one,) in parse_qs(asked.query).items()}
        self.address = begun.headers["location"]
        self.set_cookie = begun.headers["set-cookie"]
        self.cookie = self.set_cookie.partition(";")[0]
        provider.nonce = self.query["nonce"]
        self.answer = {"code": "c", "state": self.query["state"], "iss": provider.url}
        town.client.cookies.clear()

    def end(self, query: str | None = None, **headers: str) -> httpx2.Response:
        """The browser comes back, led by a page of the provider."""
        usual = {"host": OURS, "sec-fetch-site": "cross-site", "cookie": self.cookie}
        asked = urlencode(self.answer) if query is None else query
        answer = self.town.client.get(f"{CALLBACK}?{asked}", headers=usual | headers)
        self.town.client.cookies.clear()
        return answer


def session_of(answer: httpx2.Response) -> str:
    """The session's cookie, as a header has it; empty where nobody was signed in."""
    for cookie in answer.headers.get_list("set-cookie"):
        name, _, content = cookie.partition(";")[0].partition("=")
        if name in ("darkroom", "__Host-darkroom") and content:
            return f"{name}={content}"
    return ""


def me(town: Town, cookie: str) -> dict[str, Any]:
    headers = {"host": OURS, "sec-fetch-site": "same-origin", "cookie": cookie}
    answer = town.client.get("/v1/me", headers=headers)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def assert_refused(answer: httpx2.Response) -> None:
    """Nobody is signed in, the try is over, and the address bar says no more."""
    assert session_of(answer) == ""
    assert answer.status_code == 303
    assert answer.headers["location"] == "/console/sign-in?refused"
    assert "darkroom-sign-in=;" in answer.headers["set-cookie"]


def test_who_signs_in_there_is_the_user_of_the_same_tokens(
    town: Town, provider: Provider
) -> None:
    answer = Try(town, provider).end()
    assert (answer.status_code, answer.headers["location"]) == (303, "/console/")
    found = me(town, session_of(answer))
    assert found["user"] == identity.user_hash("ann", b"pepper")
    assert not found["operator"]
    assert "admin" not in found["scopes"]


def test_what_is_asked_is_what_the_rules_ask_for(
    town: Town, provider: Provider
) -> None:
    """PKCE by S256, our own exact address, and nothing that repeats."""
    first, second = Try(town, provider), Try(town, provider)
    assert first.address.startswith(f"{provider.url}/authorize?")
    assert first.query["redirect_uri"] == f"http://{OURS}{CALLBACK}"
    assert first.query["response_type"] == "code"
    assert first.query["code_challenge_method"] == "S256"
    for name in ("state", "nonce", "code_challenge"):
        assert len(first.query[name]) >= 43
        assert first.query[name] != second.query[name]
    for part in ("HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=600"):
        assert part in first.set_cookie
    second.end()
    (form,) = provider.asked
    digest = hashlib.sha256(form["code_verifier"].encode()).digest()
    challenge = urlsafe_b64encode(digest).rstrip(b"=").decode()
    assert challenge == second.query["code_challenge"]
    assert form["redirect_uri"] == second.query["redirect_uri"]
    assert form["client_id"] == "console"


def test_a_secret_goes_to_the_token_endpoint_alone(provider: Provider) -> None:
    town = town_of(provider, oidc_client_secret="s3cr:t")
    begun = Try(town, provider)
    assert session_of(begun.end())
    assert "s3cr" not in begun.address + begun.set_cookie
    assert provider.basic.startswith("Basic ")
    assert "client_id" not in provider.asked[0]


def test_behind_tls_both_cookies_are_bound_to_this_host(provider: Provider) -> None:
    town = town_of(provider, trusted_proxies="192.0.2.7")
    secure = {"host": OURS, "x-forwarded-proto": "https"}
    cookie = town.client.get("/console/oidc", headers=secure).headers["set-cookie"]
    assert cookie.startswith("__Host-darkroom-sign-in=")
    assert cookie.endswith("; Secure")


@pytest.mark.parametrize(
    ("roles", "operator"),
    [
        (["user", "darkroom-operator"], True),
        ("darkroom-operator", True),
        (["darkroom-operators", "not darkroom-operator"], False),
        ("user darkroom-operator", False),
        ({"darkroom-operator": True}, False),
        (None, False),
    ],
)
def test_a_claim_makes_an_operator(
    town: Town, provider: Provider, roles: Any, operator: bool
) -> None:
    provider.claims = {"roles": roles}
    assert me(town, session_of(Try(town, provider).end()))["operator"] is operator


def test_without_the_setting_nobody_is_an_operator(provider: Provider) -> None:
    town = town_of(provider, oidc_operator="")
    provider.claims = {"roles": ["darkroom-operator"], "": "", "admin": True}
    assert not me(town, session_of(Try(town, provider).end()))["operator"]


@pytest.mark.parametrize(
    "claims",
    [
        {"nonce": "of another sign-in"},
        {"nonce": None},
        {"nonce": ["a list"]},
        {"aud": "darkroom"},
        {"aud": ["console", "other"]},
        {"aud": ["console", "other"], "azp": "other"},
        {"azp": "other"},
        {"iss": "https://other.example"},
        {"exp": NOW_S - 86_400},
        {"exp": None},
        {"sub": "operator"},
        {"sub": "anonymous"},
        {"sub": None},
    ],
    ids=str,
)
def test_an_id_token_that_was_not_made_for_this_sign_in_opens_nothing(
    town: Town, provider: Provider, claims: dict[str, Any]
) -> None:
    begun = Try(town, provider)
    provider.claims = claims
    assert_refused(begun.end())


@pytest.mark.parametrize("made", ["by a stranger", "by nobody", "by our secret"])
def test_an_id_token_that_the_provider_did_not_sign_opens_nothing(
    town: Town, provider: Provider, made: str
) -> None:
    begun = Try(town, provider)
    claims = jwt.decode(provider.token(), options={"verify_signature": False})
    tokens = {
        "by a stranger": jwt.encode(claims, STRANGER, "RS256", {"kid": "r1"}),
        "by nobody": jwt.encode(claims, None, "none", {"kid": "r1"}),
        "by our secret": jwt.encode(claims, "x" * 32, "HS256", {"kid": "r1"}),
    }
    provider.answer = lambda: (200, {"id_token": tokens[made]})
    assert_refused(begun.end())


@pytest.mark.parametrize(
    "changes",
    [
        {"state": "of another sign-in"},
        {"state": ""},
        {"state": None},
        {"iss": "https://other.example"},
        {"iss": None},
        {"code": None},
        {"code": "c" * 5000},
        {"error": "access_denied"},
    ],
    ids=lambda changes: str(changes)[:40],
)
def test_an_answer_to_something_else_is_not_even_exchanged(
    town: Town, provider: Provider, changes: dict[str, Any]
) -> None:
    begun = Try(town, provider)
    answer = begun.answer | changes
    begun.answer = {name: one for name, one in answer.items() if one is not None}
    assert_refused(begun.end())
    assert provider.asked == []


def test_what_is_said_twice_is_said_by_two(town: Town, provider: Provider) -> None:
    begun = Try(town, provider)
    assert_refused(begun.end(f"{urlencode(begun.answer)}&code=another"))
    assert_refused(begun.end(f"{urlencode(begun.answer)}&state=another"))
    assert provider.asked == []


def test_a_code_opens_nothing_in_another_browser(
    town: Town, provider: Provider
) -> None:
    """Whoever is led to an attacker's answer would be signed in as the attacker."""
    attacker, victim = Try(town, provider), Try(town, provider)
    attackers = urlencode(attacker.answer)
    assert_refused(victim.end(attackers))
    assert_refused(victim.end(attackers, cookie=""))
    assert_refused(victim.end(attackers, cookie=f"{victim.cookie}; {attacker.cookie}"))
    assert_refused(victim.end(attackers, cookie="darkroom-sign-in=.."))
    assert provider.asked == []


def test_another_host_is_not_signed_in_to(town: Town, provider: Provider) -> None:
    begun = Try(town, provider)
    assert begun.end(host="rebound.attacker.example").status_code == 421
    headers = {"host": "rebound.attacker.example"}
    asked = town.client.get("/console/oidc", headers=headers)
    # Wherever it begins, it comes back to our own address.
    assert (
        f"//{OURS}{CALLBACK}"
        in parse_qs(urlsplit(asked.headers["location"]).query)["redirect_uri"][0]
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "https://other.example"},
        {"issuer": None},
        {"token_endpoint": "http://other.example/token"},
        {"token_endpoint": None},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": ["https://id.example"]},
    ],
    ids=str,
)
def test_a_discovery_document_of_another_is_not_followed(
    provider: Provider, changes: dict[str, Any]
) -> None:
    provider.document = provider.document | changes
    answer = town_of(provider).client.get("/console/oidc", headers={"host": OURS})
    assert_refused(answer)


@pytest.mark.parametrize(
    "answer",
    [
        (400, {"error": "invalid_grant"}),
        (302, {}),
        (200, {}),
        (200, {"id_token": 5}),
        (200, []),
        (200, b"no JSON"),
        (200, b'{"id_token": "' + b"x" * 300_000 + b'"}'),
    ],
    ids=lambda answer: f"{answer[0]} {str(answer[1])[:20]}",
)
def test_a_provider_that_gives_no_token_signs_nobody_in(
    town: Town, provider: Provider, answer: tuple[int, Any]
) -> None:
    provider.answer = lambda: answer
    assert_refused(Try(town, provider).end())


def test_an_id_token_is_no_key_to_the_api(town: Town, provider: Provider) -> None:
    Try(town, provider)
    assert town.ask(provider.token()).status_code == 401


def test_who_tries_many_answers_has_to_wait(provider: Provider) -> None:
    town = town_of(provider, limit_failures_per_min=3)
    begun = Try(town, provider)
    begun.answer["state"] = "wrong"
    statuses = [begun.end().status_code for _ in range(4)]
    assert statuses[0] == 303
    assert statuses[-1] == 429


def test_signing_out_everywhere_ends_every_session_of_the_user(
    town: Town, provider: Provider
) -> None:
    here, there = (session_of(Try(town, provider).end()) for _ in range(2))
    headers = {"host": OURS, "sec-fetch-site": "same-origin"}
    path = "/console/session?everywhere=true"
    done = town.client.delete(path, headers=headers | {"cookie": here})
    assert done.status_code == 204
    for cookie in (here, there):
        answer = town.client.get("/v1/me", headers=headers | {"cookie": cookie})
        assert answer.status_code == 401


def signed_out(town: Town, signed_in: httpx2.Response, **more: str) -> httpx2.Response:
    """Where the page leads the browser after it has signed out."""
    cookies = signed_in.headers.get_list("set-cookie")
    kept = [cookie.partition(";")[0] for cookie in cookies]
    own = {"host": OURS, "sec-fetch-site": "same-origin", "cookie": "; ".join(kept)}
    town.client.cookies.clear()
    return town.client.get("/console/oidc/sign-out", headers=own | more)


def test_signing_out_leads_to_the_provider_too(provider: Provider) -> None:
    """With the ID token, which no script reads and nothing else is sent, and back here;
    the browser forgets it.
    """
    provider.document["end_session_endpoint"] = f"{provider.url}/end?of=all"
    town = town_of(provider)
    signed_in = Try(town, provider).end()
    cookie = signed_in.headers.get_list("set-cookie")[2]
    assert cookie.startswith("darkroom-id-token=ey")
    assert "; Path=/console/oidc; HttpOnly; SameSite=Strict" in cookie
    answer = signed_out(town, signed_in)
    address = urlsplit(answer.headers["location"])
    assert (answer.status_code, address.path) == (303, "/end")
    assert parse_qs(address.query) == {
        "of": ["all"],
        "client_id": ["console"],
        "post_logout_redirect_uri": [f"http://{OURS}/console/sign-in"],
        "id_token_hint": [cookie.partition(";")[0].partition("=")[2]],
    }
    assert "darkroom-id-token=; Max-Age=0" in answer.headers["set-cookie"]
    stranger = {"sec-fetch-site": "cross-site"}
    assert signed_out(town, signed_in, **stranger).status_code == 403


@pytest.mark.parametrize(
    "end",
    [
        None,
        1,
        "http://id.example/end",
        "javascript:alert(1)//",
        "https:id.example",
        "https://id.example/\r\nSet-Cookie: a=b",
        "https://[",
    ],
)
def test_a_provider_without_a_place_to_sign_out_is_left_alone(
    provider: Provider, end: object
) -> None:
    """So is one by which this browser has not signed in."""
    provider.document["end_session_endpoint"] = end
    town = town_of(provider)
    signed_in = Try(town, provider).end()
    for more in ({}, {"cookie": "a=b"}):
        answer = signed_out(town, signed_in, **more)
        assert answer.headers["location"] == "/console/sign-in"


@pytest.mark.parametrize(
    ("settings", "claims"),
    [
        ({"jwt_audience": "console"}, {}),
        ({}, {"aud": ["console", "darkroom"], "azp": "console"}),
        ({}, {"groups": "g" * 4000}),
    ],
    ids=["key to the API", "key to the API, too", "too long"],
)
def test_not_every_id_token_comes_into_an_address(
    provider: Provider, settings: dict[str, str], claims: dict[str, Any]
) -> None:
    provider.document["end_session_endpoint"] = f"{provider.url}/end"
    provider.claims = claims
    town = town_of(provider, **settings)
    location = signed_out(town, Try(town, provider).end()).headers["location"]
    assert location.startswith(f"{provider.url}/end?client_id=console")
    assert "id_token_hint" not in location


def test_without_the_setting_there_is_no_such_way_in() -> None:
    client = Town().client
    for path in ("/console/oidc", CALLBACK, "/console/oidc/sign-out"):
        assert client.get(path, headers={"host": OURS}).status_code == 404
    assert 'name="oidc" content="no"' in client.get("/console/").text


@pytest.mark.parametrize(
    "settings",
    [
        {"jwt_jwks_url": "", "jwt_secret": "s" * 32},
        {"jwt_issuer": "http://id.example"},
        {"api_url": ""},
        {"api_url": "http://photos.example"},
        {"oidc_operator": "roles"},
        {"oidc_operator": "=x"},
    ],
    ids=str,
)
def test_settings_that_leave_anything_open_are_refused(
    provider: Provider, settings: dict[str, str]
) -> None:
    with pytest.raises(SettingsError, match="DARKROOM_"):
        town_of(provider, **settings)
