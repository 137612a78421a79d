"""The files of the console: what they are called, how long they are kept, and what the
page may do.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
from pathlib import Path

import pytest

from handlers import reports
from handlers.http.console.files import STATIC, StaticFiles
from tests.support.access_world import Town

CODE = sorted(STATIC.rglob("*.js"))
REPORTS = sorted(Path(reports.__file__).parent.glob("*.py"))
MAX_BYTES = 150_000


@pytest.fixture(scope="module")
def town() -> Town:
    return Town(s3_public_url="https://store.example:9000")


def test_the_page_names_files_that_are_kept_for_ever(town: Town) -> None:
    page = town.client.get("/console/")
    assert page.headers["cache-control"] == "no-cache"
    names = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert names
    for name in names:
        found = town.client.get(f"/console/{name}")
        assert found.status_code == 200, name
        assert "immutable" in found.headers["cache-control"]
        assert found.headers["x-content-type-options"] == "nosniff"


def test_the_policy_allows_ourselves_and_the_store_and_nothing_unsafe(
    town: Town,
) -> None:
    policy = town.client.get("/console/").headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "connect-src 'self' https://store.example:9000;" in policy
    assert "require-trusted-types-for 'script'" in policy
    assert "unsafe" not in policy
    assert "*" not in policy


@pytest.mark.parametrize(
    "path",
    [
        "static/{version}/../routes.py",
        "static/{version}/%2e%2e/routes.py",
        "static/{version}/vendor/README.md",
        "static/{version}/",
        "static/0000000000000000/app.js",
        "static/app.js",
    ],
)
def test_nothing_else_is_served(town: Town, path: str) -> None:
    address = path.format(version=StaticFiles().version)
    answer = town.client.get(f"/console/{address}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_version_changes_with_any_file(tmp_path: Path) -> None:
    (tmp_path / "a.js").write_text("1")
    (tmp_path / "b.css").write_text("2")
    before = StaticFiles(tmp_path).version
    (tmp_path / "b.css").write_text("3")
    assert StaticFiles(tmp_path).version != before


def test_text_is_sent_compressed_where_the_browser_takes_it(town: Town) -> None:
    address = f"/console/static/{StaticFiles().version}/app.js"
    plain = town.client.get(address, headers={"accept-encoding": "identity"})
    assert "content-encoding" not in plain.headers
    packed = town.client.get(address, headers={"accept-encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert plain.text == packed.text


def test_the_page_is_small() -> None:
    """All code, style and words together, as they are sent, without pictures."""
    sizes = [
        len(gzip.compress(path.read_bytes()))
        for path in STATIC.rglob("*")
        if path.suffix in {".js", ".css", ".json", ".html"}
    ]
    assert sum(sizes) < MAX_BYTES


def test_both_languages_have_the_same_sentences() -> None:
    english, chinese = (
        json.loads((STATIC / "i18n" / f"{name}.json").read_text())
        for name in ("en", "zh")
    )
    assert english.keys() == chinese.keys()
    for key, sentence in english.items():
        places = set(re.findall(r"\{\d\}", sentence))
        assert places == set(re.findall(r"\{\d\}", chinese[key])), key


def test_every_sentence_is_used_and_every_used_one_is_there() -> None:
    """By the page or a report. Keys that code puts together begin with a prefix that is
    named in it.
    """
    keys = json.loads((STATIC / "i18n" / "en.json").read_text()).keys()
    source = "\n".join(path.read_text() for path in (*CODE, *REPORTS))
    used = set(re.findall(r'\bt\(\s*"([^"]+)"', source))
    assert used <= keys, used - keys
    prefixes = tuple(re.findall(r"[`\"]([a-z.]+\.)\$?\{", source))
    quoted = set(re.findall(r'"([a-z][\w.]+)"', source))
    unused = {key for key in keys - quoted if not key.startswith(prefixes)}
    assert unused == set()


def test_the_vendored_part_is_the_one_that_its_note_names() -> None:
    folder = STATIC / "vendor"
    digest = hashlib.sha256((folder / "lit.js").read_bytes()).hexdigest()
    assert f"`{digest}`" in (folder / "README.md").read_text()


def test_nothing_is_written_as_an_inline_style() -> None:
    """The policy forbids it, and the browser would only say so at run time."""
    for path in (*CODE, *STATIC.rglob("*.html")):
        if path.parent.name != "vendor":
            source = path.read_text()
            assert "styleMap" not in source, path
            assert not re.search(r"[\s<]style=", source), path
