"""Signing in by a one-time link, and everything by which a stranger might get in."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient

from handlers.http.app import build
from shared import access, sign_in_links
from shared.uploads import identity
from tests.support.access_world import PHOTO, Town

OURS = "127.0.0.1:8080"
SAME = {"host": OURS, "sec-fetch-site": "same-origin"}
ME = "/v1/workflows"


@pytest.fixture(scope="module")
def built() -> Town:
    return Town(api_url="http://photos.example")


@pytest.fixture
def town(built: Town) -> Town:
    """Two days after the last test: nobody is signed in, and nobody guessed wrong."""
    built.world.clock.advance(48 * 3600)
    built.client.cookies.clear()
    return built


def link(town: Town, user: str = "ann", operator: bool = False) -> str:
    token, document = sign_in_links.mint(
        identity.user_hash(user, b"pepper"),
        access.USUAL,
        town.world.clock.now(),
        operator,
    )
    name = sign_in_links.place(document.id)
    town.world.store.put("access", name, document.to_bytes(), "application/json")
    return token


def begin(town: Town, token: str, **headers: str) -> httpx2.Response:
    given = SAME | {name.replace("_", "-"): value for name, value in headers.items()}
    return town.client.post("/console/session", content=token, headers=given)


def signed_in(town: Town, user: str = "ann", operator: bool = False) -> str:
    """The cookie of a new session, as a header has it."""
    answer = begin(town, link(town, user, operator))
    assert answer.status_code == 204, answer.text
    town.client.cookies.clear()
    return answer.headers["set-cookie"].partition(";")[0]


def ask(
    town: Town, cookie: str, method: str = "GET", path: str = ME, **headers: Any
) -> httpx2.Response:
    given = SAME | {"cookie": cookie} | headers
    body = PHOTO if method == "POST" else None
    return town.client.request(method, path, json=body, headers=given)


def test_a_link_gives_a_session_that_no_script_can_read(town: Town) -> None:
    answer = begin(town, link(town))
    header = answer.headers["set-cookie"]
    assert answer.status_code == 204
    for part in ("HttpOnly", "SameSite=Strict", "Path=/", "Max-Age=43200"):
        assert part in header
    town.client.cookies.clear()
    assert ask(town, header.partition(";")[0]).status_code == 200


def test_behind_tls_the_cookie_is_bound_to_this_host_alone() -> None:
    town = Town(trusted_proxies="192.0.2.7")
    answer = begin(town, link(town), x_forwarded_proto="https")
    assert answer.headers["set-cookie"].startswith("__Host-darkroom=drk_")
    assert answer.headers["set-cookie"].endswith("; Secure")


def test_a_link_is_used_once_over_all_processes(town: Town) -> None:
    """Each app is a process of its own, with its own memory, on the same store."""
    token = link(town)
    apps = [TestClient(build(town.world.ctx, checks={})) for _ in range(4)]
    for client in apps:
        # Routes are analysed with the first request, and not by several threads.
        assert client.get("/console/sign-in").status_code == 200

    def use(client: TestClient) -> int:
        answer = client.post("/console/session", content=token, headers=SAME)
        return answer.status_code

    with ThreadPoolExecutor(len(apps)) as pool:
        found = sorted(pool.map(use, apps))
    assert found == [204, 401, 401, 401]
    assert "used already" in begin(town, token).json()["detail"]


def test_to_look_at_a_link_uses_nothing_up(town: Town) -> None:
    """A program that previews links asks for the page, by GET or HEAD."""
    token = link(town)
    for _ in range(3):
        answer = town.client.get("/console/sign-in", headers={"host": OURS})
        assert answer.status_code == 200
        assert "set-cookie" not in answer.headers
    assert begin(town, token).status_code == 204


def test_a_link_is_good_for_ten_minutes(town: Town) -> None:
    token = link(town)
    town.world.clock.advance(601)
    answer = begin(town, token)
    assert answer.status_code == 401
    assert "ten minutes" in answer.json()["detail"]
    assert token.partition(".")[2] not in answer.text


@pytest.mark.parametrize(
    "token", ["", "x", "0" * 16 + "." + "A" * 43, "../../keys/x.y", "é" * 20]
)
def test_an_invented_link_opens_nothing(town: Town, token: str) -> None:
    answer = begin(town, token)
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers


def test_a_wrong_secret_does_not_use_the_link_up(town: Town) -> None:
    token = link(town)
    assert begin(town, token[:-4] + "AAAA").status_code == 401
    assert begin(town, token).status_code == 204


def test_who_tries_many_links_has_to_wait() -> None:
    town = Town(limit_failures_per_min=3)
    answers = [begin(town, "wrong").status_code for _ in range(4)]
    assert answers[0] == 401
    assert answers[-1] == 429
    assert begin(town, link(town)).status_code == 429


def test_a_body_that_is_no_link_is_not_read_to_its_end(town: Town) -> None:
    assert begin(town, "x" * 10_000).status_code == 413


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec-fetch-site": "same-site"}, 403),  # another port of this machine
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "", "origin": "http://127.0.0.1:9999"}, 403),
        ({"sec-fetch-site": "", "origin": "null"}, 403),
        ({"sec-fetch-site": "", "origin": f"http://{OURS}"}, 204),
        ({"sec-fetch-site": ""}, 403),  # not even said
        ({"host": "rebound.attacker.example:8080"}, 421),
        ({"host": "photos.example"}, 204),  # DARKROOM_API_URL
        ({"host": "192.168.1.20:8080"}, 204),  # an address is no name
        ({"host": "localhost:8080"}, 204),
        ({"host": ""}, 421),
    ],
)
def test_only_our_own_page_signs_in(
    town: Town, headers: dict[str, str], status: int
) -> None:
    assert begin(town, link(town), **headers).status_code == status


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ME), ("POST", "/v1/uploads"), ("DELETE", ME)]
)
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "", "origin": "http://127.0.0.1:9999"}, 403),
        ({"host": "rebound.attacker.example"}, 421),
    ],
)
def test_a_cookie_counts_only_where_our_own_page_asks(
    town: Town, method: str, path: str, headers: dict[str, str], status: int
) -> None:
    cookie = signed_in(town)
    assert ask(town, cookie, method, path, **headers).status_code == status


def test_an_unsafe_request_has_to_say_where_it_comes_from(town: Town) -> None:
    cookie = signed_in(town)
    silent = {"sec-fetch-site": ""}
    assert ask(town, cookie, **silent).status_code == 200
    assert ask(town, cookie, "POST", "/v1/uploads", **silent).status_code == 403
    typed = {"sec-fetch-site": "none"}
    assert ask(town, cookie, **typed).status_code == 200
    assert ask(town, cookie, "POST", "/v1/uploads", **typed).status_code == 403


def test_a_cookie_beside_a_key_does_not_count(town: Town) -> None:
    cookie = signed_in(town)
    key, _ = town.key("eve", scopes=("read",))
    wrong = {"authorization": "Bearer wrong"}
    assert ask(town, cookie, **wrong).status_code == 401
    eves = {"authorization": f"Bearer {key}"}
    answer = ask(town, cookie, "POST", "/v1/uploads", **eves)
    assert answer.status_code == 403
    assert "lacks the scope" in answer.json()["detail"]


def test_a_session_is_no_key_and_a_key_is_no_session(town: Town) -> None:
    cookie = signed_in(town)
    credential = cookie.partition("=")[2]
    assert town.ask(credential).status_code == 401
    key, _ = town.key("ann")
    answer = ask(town, f"darkroom={key}")
    assert answer.status_code == 401
    assert answer.json()["code"] == "signed_out"


def test_two_cookies_of_the_name_are_refused(town: Town) -> None:
    """Another server of this machine may have put one of them there."""
    first, second = signed_in(town, "eve"), signed_in(town, "ann")
    assert ask(town, f"{first}; {second}").status_code == 401


def test_a_session_lasts_twelve_hours(town: Town) -> None:
    cookie = signed_in(town)
    town.world.clock.advance(12 * 3600 - 1)
    assert ask(town, cookie).status_code == 200
    town.world.clock.advance(2)
    assert ask(town, cookie).json()["code"] == "signed_out"


def test_signing_out_is_at_once_and_ends_this_session_alone(town: Town) -> None:
    here, there = signed_in(town), signed_in(town)
    assert ask(town, here).status_code == ask(town, there).status_code == 200
    answer = ask(town, here, "DELETE", "/console/session")
    assert answer.status_code == 204
    assert "Max-Age=0" in answer.headers["set-cookie"]
    assert ask(town, here).status_code == 401
    assert ask(town, there).status_code == 200


def test_signing_out_everywhere_ends_all_of_ones_own(town: Town) -> None:
    here, there, other = signed_in(town), signed_in(town), signed_in(town, "eve")
    path = "/console/session?everywhere=true"
    assert ask(town, here, "DELETE", path).status_code == 204
    assert ask(town, here).status_code == ask(town, there).status_code == 401
    assert ask(town, other).status_code == 200


def test_another_page_signs_nobody_out(town: Town) -> None:
    cookie = signed_in(town)
    elsewhere = {"sec-fetch-site": "same-site"}
    answer = ask(town, cookie, "DELETE", "/console/session", **elsewhere)
    assert answer.status_code == 403
    assert ask(town, cookie).status_code == 200


def test_the_store_knows_neither_link_nor_session_nor_name(town: Town) -> None:
    token = link(town)
    cookie = begin(town, token).headers["set-cookie"].partition(";")[0]
    secrets = (token.partition(".")[2], cookie.rpartition("_")[2], "ann")
    for info in list(town.world.store.list("access", "")):
        stored = town.world.store.read("access", info.key).decode() + info.key
        assert not any(secret in stored for secret in secrets)


def test_sessions_that_ran_out_are_deleted_with_the_next_one(town: Town) -> None:
    signed_in(town, "zoe")
    town.world.clock.advance(13 * 3600)
    signed_in(town, "zoe")
    prefix = access.session_place(identity.user_hash("zoe", b"pepper"))
    (mark,) = town.world.store.list("access", prefix)
    (_,) = town.world.store.list("access", access.place(mark.key[len(prefix) :]))
