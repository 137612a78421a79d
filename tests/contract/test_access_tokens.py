"""Tokens of an issuer, on a real key server: the good ones open the door, no forged one
does.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from fastapi.testclient import TestClient

from handlers.http.app import build
from handlers.http.auth import bounded, jwks
from handlers.http.auth.tokens import LEEWAY_S, InvalidToken, Tokens
from shared.access import USUAL
from shared.errors import SettingsError
from shared.runtime.settings import Settings
from shared.s3.clock import Clock, StoreClock
from shared.uploads import identity
from tests.support.fake_clock import FakeClock
from tests.support.issuer import (
    AUDIENCE,
    ISSUER,
    NOW_S,
    Issuer,
    claims,
    encoded,
    public,
)
from tests.support.receivers import trickling
from tests.support.upload_world import World

SECRET = "a secret of at least thirty-two bytes"
OTHERS = rsa.generate_private_key(65537, 2048)


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as issuer:
        yield issuer


def tokens(clock: Clock | None = None, **settings: Any) -> Tokens:
    given = Settings(pepper="p", jwt_issuer=ISSUER, jwt_audience=AUDIENCE, **settings)
    return Tokens(given, clock or FakeClock())


class Door:
    """The whole app, asked with one token."""

    def __init__(self, **settings: Any) -> None:
        given = {
            "jwt_issuer": ISSUER,
            "jwt_audience": AUDIENCE,
            "limit_failures_per_min": 10_000,
        } | settings
        self.world = World(settings=given)
        self._client = TestClient(
            build(self.world.ctx, checks={}), raise_server_exceptions=False
        )

    def ask(self, token: str) -> int:
        answer = self._client.get(
            "/v1/workflows",
            headers={"Authorization": f"Bearer {token}".encode("latin-1")},
        )
        return answer.status_code


@pytest.fixture
def door(issuer: Issuer) -> Door:
    return Door(jwt_jwks_url=issuer.url)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_a_good_token_opens_the_door(
    door: Door, issuer: Issuer, algorithm: str
) -> None:
    assert door.ask(issuer.token(algorithm)) == 200


def test_a_token_of_a_shared_secret_opens_the_door() -> None:
    assert Door(jwt_secret=SECRET).ask(jwt.encode(claims(), SECRET, "HS256")) == 200


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
@pytest.mark.parametrize(
    "named", [True, False], ids=["kid in the set", "no kid anywhere"]
)
def test_a_token_may_name_no_key_where_one_alone_fits(
    issuer: Issuer, algorithm: str, named: bool
) -> None:
    """RFC 7515 makes `kid` optional."""
    if not named:
        issuer.keys = [
            {name: value for name, value in key.items() if name != "kid"}
            for key in issuer.keys
        ]
    issuer.keys.append(public(OTHERS, "enc", use="enc"))
    key = issuer.rsa if algorithm == "RS256" else issuer.ec
    assert (
        Door(jwt_jwks_url=issuer.url).ask(jwt.encode(claims(), key, algorithm)) == 200
    )


@pytest.mark.parametrize("keys", [0, 2])
def test_a_token_that_names_no_key_is_refused_where_not_one_alone_fits(
    issuer: Issuer, keys: int
) -> None:
    issuer.keys = [
        public(issuer.ec, "e1"),
        *[public(issuer.rsa, "r1"), public(OTHERS, "r2")][:keys],
    ]
    asked = tokens(jwt_jwks_url=issuer.url).principal(
        jwt.encode(claims(), issuer.rsa, "RS256")
    )
    with pytest.raises(
        InvalidToken, match=f"names no key .kid., and {keys} of the issuer's set"
    ):
        asyncio.run(asked)


def unsigned(issuer: Issuer, alg: str) -> str:
    head = json.dumps({"alg": alg, "typ": "JWT", "kid": "r1"}).encode()
    return f"{encoded(head)}.{encoded(json.dumps(claims()).encode())}."


def signed_with_the_public_key(issuer: Issuer) -> str:
    """CVE-2022-29217 and its kin: the public key, taken for the secret of an HMAC."""
    pem = issuer.rsa.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    head = encoded(json.dumps({"alg": "HS256", "typ": "JWT", "kid": "r1"}).encode())
    signed = f"{head}.{encoded(json.dumps(claims()).encode())}"
    return (
        f"{signed}.{encoded(hmac.new(pem, signed.encode(), hashlib.sha256).digest())}"
    )


def with_another_body(issuer: Issuer) -> str:
    head, _, signature = issuer.token().split(".")
    return f"{head}.{encoded(json.dumps(claims(sub='eve')).encode())}.{signature}"


def of_others(**header: Any) -> str:
    return jwt.encode(claims(), OTHERS, "RS256", {"kid": "r1"} | header)


FORGED: dict[str, Callable[[Issuer], str]] = {
    "unsigned": lambda issuer: unsigned(issuer, "none"),
    "unsigned, spelled otherwise": lambda issuer: unsigned(issuer, "NoNe"),
    "unsigned, said to be signed": lambda issuer: unsigned(issuer, "RS256"),
    "signed with the public key": signed_with_the_public_key,
    "another body": with_another_body,
    "another key of the same id": lambda _: of_others(),
    "brings its key (jwk)": lambda _: of_others(jwk=public(OTHERS, "r1")),
    "brings its key's address (jku)": lambda issuer: of_others(
        jku=issuer.url, x5u=issuer.url
    ),
    "critical extension": lambda issuer: jwt.encode(
        claims(), issuer.rsa, "RS256", {"kid": "r1", "crit": ["exp2"], "exp2": 1}
    ),
    "algorithm not allowed": lambda issuer: jwt.encode(
        claims(), issuer.rsa, "RS512", {"kid": "r1"}
    ),
    "algorithm of another key": lambda issuer: issuer.token("ES256", kid="r1"),
    "no key named, signed by another": lambda _: jwt.encode(claims(), OTHERS, "RS256"),
    "no key named, algorithm not allowed": lambda issuer: jwt.encode(
        claims(), issuer.rsa, "RS512"
    ),
    "unknown key": lambda issuer: issuer.token(kid="r2"),
    "key is no text": lambda _: encoded(b'{"alg":"RS256","kid":[1]}') + ".e30.AA",
    "path as key": lambda issuer: issuer.token(kid="../../dev/null"),
    "expired": lambda issuer: issuer.token(exp=NOW_S - LEEWAY_S - 5),
    "not yet good": lambda issuer: issuer.token(nbf=NOW_S + LEEWAY_S + 60),
    "issued in the future": lambda issuer: issuer.token(iat=NOW_S + LEEWAY_S + 60),
    "for somebody else": lambda issuer: issuer.token(aud="other"),
    "from somebody else": lambda issuer: issuer.token(iss="https://evil.example"),
    "without exp": lambda issuer: issuer.token(exp=None),
    "without iss": lambda issuer: issuer.token(iss=None),
    "without aud": lambda issuer: issuer.token(aud=None),
    "without sub": lambda issuer: issuer.token(sub=None),
    "empty sub": lambda issuer: issuer.token(sub=""),
    "our anonymous user": lambda issuer: issuer.token(sub="anonymous"),
    "our operator": lambda issuer: issuer.token(sub="operator"),
    "sub that is no text": lambda issuer: issuer.token(sub="\ud800"),
    "endless exp": lambda issuer: issuer.token(exp=float("inf")),
    "deep header": lambda _: f"{encoded(b'[' * 5000)}.e30.AA",
    "deep body": lambda issuer: (
        f"{issuer.token().partition('.')[0]}.{encoded(b'[' * 4000)}.AA"
    ),
    "endless": lambda issuer: issuer.token(sub="a" * 20_000),
    "nothing at all": lambda _: "..",
    "no text": lambda _: "\u00ff.\u00ff.\u00ff",
}


@pytest.mark.parametrize("attack", FORGED)
def test_no_forged_token_opens_the_door(
    door: Door, issuer: Issuer, attack: str
) -> None:
    """Each differs from a good one in one way alone."""
    assert door.ask(FORGED[attack](issuer)) == 401


HOUR_S = 3600
CLAIMS = ("exp", "nbf", "iat")
WRITTEN = [
    f'"{NOW_S}"',
    "true",
    "false",
    "NaN",
    "Infinity",
    "-Infinity",
    "-1",
    "-0.5",
    "1e999",
    "1" + "0" * 400,
    "1" + "0" * 5000,
    str(253_402_300_800),
    f"{NOW_S * 1000}",
    "[]",
    "{}",
    f"[{NOW_S}]",
    "null",
]


def written(name: str, value: str) -> str:
    """A token signed by the issuer's secret, with one claim as text of JSON."""
    rest = json.dumps(claims(**{name: None}))
    body = f'{rest[:-1]}, "{name}": {value}}}'
    signed = ".".join(map(encoded, (b'{"alg":"HS256"}', body.encode())))
    return f"{signed}.{encoded(hmac.new(SECRET.encode(), signed.encode(), hashlib.sha256).digest())}"


@pytest.mark.parametrize("name", CLAIMS)
def test_a_time_is_a_number_of_seconds_since_1970(name: str) -> None:
    """With a fraction, if need be; whatever else an issuer signs is refused, and never
    our fault.
    """
    door, good = Door(jwt_secret=SECRET), NOW_S + (0 if name != "exp" else 60)
    assert [
        door.ask(written(name, text)) for text in (str(good), f"{good}.5", f"{good}e0")
    ] == [200] * 3
    assert {
        value: door.ask(written(name, value)) for value in WRITTEN
    } == dict.fromkeys(WRITTEN, 401)


@pytest.mark.parametrize(
    ("name", "from_now_s", "status"),
    [
        ("exp", -LEEWAY_S + 1, 200),
        ("exp", -LEEWAY_S, 401),
        ("nbf", LEEWAY_S, 200),
        ("nbf", LEEWAY_S + 1, 401),
        ("iat", LEEWAY_S, 200),
        ("iat", LEEWAY_S + 1, 401),
    ],
)
def test_so_much_is_forgiven(name: str, from_now_s: int, status: int) -> None:
    token = jwt.encode(claims(**{name: NOW_S + from_now_s}), SECRET, "HS256")
    assert Door(jwt_secret=SECRET).ask(token) == status


@pytest.mark.parametrize("skew_s", [-HOUR_S, 0, HOUR_S])
def test_a_token_is_good_by_the_stores_clock(skew_s: int) -> None:
    """Once the door has heard the store, whatever its own machine's clock says."""
    own = FakeClock()
    store = StoreClock(own)
    door = tokens(store, jwt_secret=SECRET)
    store.correct(own.now() + timedelta(seconds=skew_s), own.monotonic())
    now_s = NOW_S + skew_s
    asyncio.run(
        door.principal(
            jwt.encode(claims(nbf=now_s, iat=now_s, exp=now_s + 60), SECRET, "HS256")
        )
    )
    for faults, says in (
        ({"exp": now_s - 60}, "expired"),
        ({"nbf": now_s + 60}, "not good yet"),
    ):
        with pytest.raises(InvalidToken, match=says):
            asyncio.run(door.principal(jwt.encode(claims(**faults), SECRET, "HS256")))


@pytest.mark.parametrize(
    "secret", ["another secret of thirty-two bytes or so", "", "None"]
)
def test_another_secret_opens_nothing(secret: str) -> None:
    head = (
        encoded(b'{"alg":"HS256","typ":"JWT"}')
        + "."
        + encoded(json.dumps(claims()).encode())
    )
    token = f"{head}.{encoded(hmac.new(secret.encode(), head.encode(), hashlib.sha256).digest())}"
    assert Door(jwt_secret=SECRET).ask(token) == 401


def test_only_algorithms_that_are_set_are_taken(issuer: Issuer) -> None:
    door = Door(jwt_jwks_url=issuer.url, jwt_algorithms="ES256")
    assert [door.ask(issuer.token(algorithm)) for algorithm in ("ES256", "RS256")] == [
        200,
        401,
    ]


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
def test_a_key_of_the_set_is_used_for_what_it_is_meant_for(issuer: Issuer) -> None:
    """No key for encryption, no symmetric one, no weak one, no other curve: and the
    rest of the set still counts.
    """
    weak, other = (
        rsa.generate_private_key(65537, 1024),
        ec.generate_private_key(ec.SECP384R1()),
    )
    symmetric = {
        "kty": "oct",
        "k": encoded(SECRET.encode()),
        "kid": "s1",
        "alg": "HS256",
    }
    issuer.keys = [
        public(OTHERS, "enc", use="enc"),
        symmetric,
        public(weak, "weak"),
        public(other, "p384"),
        "?",
        {},
        {"kty": "RSA", "n": "!", "e": "AQAB", "kid": "broken"},
        *issuer.keys,
    ]
    door = Door(jwt_jwks_url=issuer.url)
    signers: list[tuple[Any, str, str]] = [
        (OTHERS, "RS256", "enc"),
        (SECRET, "HS256", "s1"),
        (weak, "RS256", "weak"),
        (other, "ES384", "p384"),
    ]
    forged = [
        jwt.encode(claims(), key, algorithm, {"kid": kid})
        for key, algorithm, kid in signers
    ]
    assert [door.ask(token) for token in forged] == [401] * 4
    assert door.ask(issuer.token()) == 200


def test_the_key_set_is_fetched_seldom_whatever_tokens_name(
    door: Door, issuer: Issuer
) -> None:
    """A flood of invented key ids costs the issuer one request a minute; a new key is
    found after that minute.
    """
    assert [
        door.ask(issuer.token(kid=f"invented{number}")) for number in range(50)
    ] == [401] * 50
    assert issuer.asked == 1
    issuer.keys.append(public(OTHERS, "r2"))
    token = jwt.encode(claims(), OTHERS, "RS256", {"kid": "r2"})
    assert door.ask(token) == 401
    door.world.clock.advance(jwks.PAUSE_S)
    assert (door.ask(token), issuer.asked) == (200, 2)


def test_a_withdrawn_key_opens_nothing_once_the_set_is_old(
    door: Door, issuer: Issuer
) -> None:
    assert door.ask(issuer.token()) == 200
    issuer.keys = issuer.keys[1:]
    door.world.clock.advance(jwks.FRESH_S)
    assert door.ask(issuer.token()) == 401


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b""),
        (302, b""),
        (200, b"-"),
        (200, b"[]"),
        (200, b'{"keys":1}'),
        (200, b" " * (bounded.MAX_BYTES + 1)),
    ],
    ids=["failing", "redirecting", "no JSON", "no set", "no keys", "too large"],
)
def test_while_the_issuer_is_away_the_last_set_is_used_for_a_day(
    door: Door, issuer: Issuer, status: int, body: bytes
) -> None:
    """And where there never was one, the answer is 503, not 401: the token may be good."""
    assert door.ask(issuer.token()) == 200
    issuer.status, issuer.body = status, body
    door.world.clock.advance(jwks.FRESH_S)
    assert door.ask(issuer.token()) == 200
    door.world.clock.advance(jwks.STALE_S)
    assert door.ask(issuer.token()) == 503
    assert Door(jwt_jwks_url=issuer.url).ask(issuer.token()) == 503


def trickling_body(handler: BaseHTTPRequestHandler, number: int) -> None:
    handler.send_response(200)
    handler.end_headers()
    trickling(handler, number)


@pytest.mark.parametrize("habit", [trickling, trickling_body])
def test_an_issuer_that_trickles_is_not_waited_for(
    door: Door,
    issuer: Issuer,
    monkeypatch: pytest.MonkeyPatch,
    habit: Callable[[BaseHTTPRequestHandler, int], None],
) -> None:
    """Each byte is a sign of life, but the time for all of them is limited; the others'
    tokens wait no longer.
    """
    monkeypatch.setattr(bounded, "TIMEOUT_S", 0.3)
    issuer.habit = habit
    assert door.ask(issuer.token()) == 503
    issuer.habit = None
    door.world.clock.advance(jwks.PAUSE_S)
    monkeypatch.setattr(bounded, "TIMEOUT_S", 30)
    assert door.ask(issuer.token()) == 200


@pytest.mark.parametrize(
    ("given", "scopes"),
    [
        ({}, set(USUAL)),
        ({"scope": "read"}, {"read"}),
        ({"scope": "openid upload  read"}, {"upload", "read"}),
        ({"scopes": ["delete", 5]}, {"delete"}),
        ({"scope": ""}, set()),
        ({"scope": "admin"}, set()),
        ({"scope": 5}, set()),
        ({"scope": None, "scopes": ["read"]}, {"read"}),
    ],
)
def test_a_token_says_what_it_is_for_and_can_never_be_more_than_a_user(
    given: dict[str, Any], scopes: set[str]
) -> None:
    token = jwt.encode(claims(**given), SECRET, "HS256")
    principal = asyncio.run(tokens(jwt_secret=SECRET).principal(token))
    assert (set(principal.scopes), principal.operator) == (scopes, False)
    assert principal.user_hash == identity.user_hash("ann", b"p")


@pytest.mark.parametrize(
    "settings",
    [
        {"jwt_secret": "short"},
        {"jwt_secret": SECRET, "jwt_jwks_url": "https://id.example/keys"},
        {"jwt_secret": SECRET, "jwt_algorithms": "RS256"},
        {"jwt_secret": SECRET, "jwt_algorithms": "none"},
        {"jwt_jwks_url": "https://id.example/keys", "jwt_algorithms": "RS256,HS256"},
        {"jwt_jwks_url": "http://id.example/keys"},
        {"jwt_jwks_url": "file:///etc/passwd"},
        {"jwt_secret": SECRET, "jwt_audience": ""},
        {"jwt_secret": SECRET, "jwt_issuer": ""},
        {"jwt_algorithms": "RS256"},
        {"jwt_secret": ""},
    ],
)
def test_settings_that_leave_a_gap_are_refused_at_the_start(
    settings: dict[str, Any],
) -> None:
    with pytest.raises(SettingsError):
        Tokens(
            Settings(**{"jwt_issuer": ISSUER, "jwt_audience": AUDIENCE, **settings}),
            FakeClock(),
        )


def test_without_settings_no_token_is_accepted() -> None:
    assert (
        Door(jwt_issuer="", jwt_audience="").ask(jwt.encode(claims(), SECRET, "HS256"))
        == 401
    )
