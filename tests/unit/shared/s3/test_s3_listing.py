"""A page of a listing says the same to our reader as to the SDK's, and nothing but a
whole page is one.
"""

from __future__ import annotations

import io
import re
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, quote
from xml.sax.saxutils import escape

import pytest
from botocore.awsrequest import AWSResponse
from urllib3 import HTTPConnectionPool, HTTPResponse

from shared.errors import StorageUnavailable
from shared.runtime.settings import Settings
from shared.s3 import listing
from shared.s3.store import ObjectInfo, S3Store

DATE = "Mon, 23 Nov 2026 04:24:01 GMT"
SPACE = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
KEYS = [
    "plain.jpg",
    "a b+c.jpg",
    "100%.jpg",
    "%2F",
    "%252F",
    "a//b",
    "/",
    "a/",
    "&<>\"'",
    "&amp;",
    "&quot;x&#34;",
    "]]>",
    "<Key>x</Key>",
    "</Contents>",
    "<!DOCTYPE a>",
    "<?x?>",
    "中文/照片.jpg",
    "🖼️.jpg",
    "e\u0301",
    "\u0085\u2028",
    "x" * 1024,
    "🖼" * 256,
]
CONTROLS = ["\x01\x1f\x7f", "a\r\nb\tc\r", "\x00"]
"""What XML cannot carry, or only as a reference."""

AMAZON = (
    "<Contents><Key>{key}</Key><LastModified>2026-11-23T04:24:01.000Z</LastModified><ETag>&quot;e-2&quot;</ETag>"
    "<ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><Size>12</Size><StorageClass>STANDARD</StorageClass></Contents>"
)
CEPH = (
    '<Contents><Key>{key}</Key><LastModified>2026-11-23T04:24:01.987Z</LastModified><ETag>"e-2"</ETag><Size>12</Size>'
    "<StorageClass>STANDARD</StorageClass><Owner><ID>d</ID><DisplayName/></Owner><Type>Normal</Type></Contents>"
)
GO = (
    "\n <Contents>\n  <ETag>&#34;e-2&#34;</ETag>\n  <Owner>\n   <ID>&lt;d&gt;</ID>\n   <DisplayName></DisplayName>\n  "
    "</Owner>\n  <Size>12</Size>\n  <LastModified>2026-11-23T05:24:01+01:00</LastModified>\n  <Key>{key}</Key>\n"
    " </Contents>\n"
)
VERSIONS = (
    "<Version><Key>{key}</Key><VersionId>v&amp;1</VersionId><IsLatest>false</IsLatest><LastModified>"
    "2026-11-23T04:24:01Z</LastModified><ETag>&quot;e&quot;</ETag><Size>3</Size><Owner><ID>d</ID></Owner></Version>"
    "<DeleteMarker><Owner><ID>d</ID></Owner><Key>{key}</Key><VersionId>m</VersionId><IsLatest>false</IsLatest>"
    "<LastModified>2026-11-23T04:24:02Z</LastModified></DeleteMarker>"
    "<Version><Key>{key}</Key><VersionId>null</VersionId><IsLatest>true</IsLatest><LastModified>"
    "2026-11-23T04:24:03Z</LastModified><ETag>&quot;f&quot;</ETag><Size>4</Size></Version>"
)


def page(
    entries: str,
    following: str = "<IsTruncated>false</IsTruncated>",
    root: str = "ListBucketResult",
    head: str = "",
) -> bytes:
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n{head}<{root} {SPACE}><Name>b</Name><Prefix></Prefix><Delimiter/>'
        f"<MaxKeys>1000</MaxKeys>{following}{entries}</{root}>"
    ).encode()


URL = "<IsTruncated>false</IsTruncated><EncodingType>url</EncodingType>"


class Door:
    """Answers our client and the SDK's with the same pages, one after the other."""

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, *pages: bytes, **headers: str
    ) -> None:
        self.asked: list[dict[str, str]] = []
        self.pages, self._headers = pages, headers or {"Date": DATE}
        self.store = S3Store(
            Settings(
                s3_endpoint_url="http://127.0.0.1:1",
                s3_access_key="a",
                s3_secret_key="s",
            )
        )
        self.store.client.meta.events.register("before-send.s3", self._answer_sdk)
        self._sdk = iter(pages)
        monkeypatch.setattr(HTTPConnectionPool, "urlopen", self._answer)
        monkeypatch.setattr(
            self.store.client,
            "get_bucket_versioning",
            lambda **_: {"Status": "Enabled"},
        )

    def _answer_sdk(self, request: Any, **_: Any) -> AWSResponse:
        raw = HTTPResponse(io.BytesIO(next(self._sdk)), preload_content=False)
        return AWSResponse(request.url, 200, {"Date": DATE}, raw)

    def _answer(self, method: str, target: str, *_: Any, **__: Any) -> HTTPResponse:
        assert method == "GET"
        self.asked.append(
            dict(parse_qsl(target.partition("?")[2], keep_blank_values=True))
        )
        number = min(len(self.asked), len(self.pages)) - 1
        return HTTPResponse(
            io.BytesIO(self.pages[number]), headers=self._headers, status=200
        )

    def theirs(self, operation: str, *lists: str) -> list[Any]:
        pages = self.store.client.get_paginator(operation).paginate(Bucket="b")
        return [
            entry for page in pages for name in lists for entry in page.get(name, [])
        ]


def _facts(entry: Any) -> tuple[Any, ...]:
    when = entry["LastModified"].replace(microsecond=0)
    return (
        entry["Key"],
        entry.get("ETag", "").strip('"'),
        entry.get("Size", 0),
        when,
        entry.get("VersionId"),
    )


def _ours(info: ObjectInfo) -> tuple[Any, ...]:
    assert info.bucket == "b"
    assert info.served_at is not None
    assert info.served_at.isoformat() == "2026-11-23T04:24:01+00:00"
    return info.key, info.etag, info.bytes, info.last_modified, info.version


@pytest.mark.parametrize("is_encoded", [True, False])
@pytest.mark.parametrize("entry", [AMAZON, CEPH, GO], ids=["amazon", "ceph", "go"])
def test_every_key_is_the_sdks(
    entry: str, is_encoded: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever order, blanks and entities a server uses; percent-encoded, and as XML
    has it where a server only can.
    """
    names = [*KEYS, *CONTROLS] if is_encoded else KEYS
    told = [quote(name, safe="/") if is_encoded else escape(name) for name in names]
    body = page(
        "".join(entry.format(key=key) for key in told),
        URL if is_encoded else URL.partition("<Enc")[0],
    )
    door = Door(monkeypatch, body)
    ours = [_ours(info) for info in door.store.list("b")]
    assert [key for key, *_ in ours] == names
    assert ours == [
        _facts(found) for found in door.theirs("list_objects_v2", "Contents")
    ]


def test_a_blank_may_be_a_plus(monkeypatch: pytest.MonkeyPatch) -> None:
    (info,) = Door(monkeypatch, page(AMAZON.format(key="a+b%2Bc"), URL)).store.list("b")
    assert info.key == "a b+c"


def test_versions_are_the_sdks(monkeypatch: pytest.MonkeyPatch) -> None:
    body = page(
        "".join(VERSIONS.format(key=quote(key)) for key in KEYS),
        URL,
        "ListVersionsResult",
    )
    door = Door(monkeypatch, body)
    ours = [_ours(info) for info in door.store.every_version("b", "")]
    theirs = [
        _facts(found)
        for found in door.theirs("list_object_versions", "Versions", "DeleteMarkers")
    ]
    assert sorted(ours) == sorted(theirs)
    assert [(info.key, info.version) for info in door.store.list_versions("b")] == [
        (key, "null") for key in KEYS
    ]
    assert [info.is_marker for info in door.store.every_version("b", "")][:3] == [
        False,
        True,
        False,
    ]


def test_pages_follow_from_key_to_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind the last key of the one before; behind an empty one by its token, which
    comes back as it was told.
    """
    more = "<IsTruncated>true</IsTruncated><NextContinuationToken>a+b/&amp;%41=</NextContinuationToken>"
    encoded = f"{more}<EncodingType>url</EncodingType>"
    door = Door(
        monkeypatch,
        page(AMAZON.format(key="a+%2B"), encoded),
        page("", more),
        page(AMAZON.format(key="b")),
    )
    assert [info.key for info in door.store.list("b", "p/é", "p/a b")] == ["a +", "b"]
    base = {
        "list-type": "2",
        "encoding-type": "url",
        "max-keys": "1000",
        "prefix": "p/é",
        "start-after": "p/a b",
    }
    assert door.asked == [
        base,
        base | {"start-after": "a +"},
        base | {"continuation-token": "a+b/&%41="},
    ]


def test_pages_of_versions_follow_by_key_and_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    more = (
        "<IsTruncated>true</IsTruncated><NextKeyMarker>a%20b</NextKeyMarker><NextVersionIdMarker>v/1"
        "</NextVersionIdMarker><EncodingType>url</EncodingType>"
    )
    root = "ListVersionsResult"
    without = more.replace(
        "<NextVersionIdMarker>v/1</NextVersionIdMarker>", ""
    ).replace("a%20b", "c")
    door = Door(
        monkeypatch, page("", more, root), page("", without, root), page("", root=root)
    )
    assert list(door.store.every_version("b", "")) == []
    markers = [
        {name: value for name, value in asked.items() if name.endswith("marker")}
        for asked in door.asked
    ]
    assert markers == [
        {},
        {"key-marker": "a b", "version-id-marker": "v/1"},
        {"key-marker": "c"},
    ]
    assert all(asked["versions"] == "" for asked in door.asked)


@pytest.mark.parametrize("told", ["a%2B%252F", "a+%2F"])
def test_the_next_key_may_not_be_encoded(
    told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ceph encodes all keys of a page but that one."""
    more = f"<IsTruncated>true</IsTruncated><NextKeyMarker>{told}</NextKeyMarker><EncodingType>url</EncodingType>"
    root = "ListVersionsResult"
    door = Door(
        monkeypatch,
        page(VERSIONS.format(key="a%2B%252F"), more, root),
        page("", root=root),
    )
    assert [info.key for info in door.store.list_versions("b")] == ["a+%2F"]
    assert door.asked[1]["key-marker"] == "a+%2F"


def test_a_page_that_is_cut_off_anywhere_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is never taken for the end, nor for fewer objects."""
    whole = page(AMAZON.format(key="a") + CEPH.format(key="b"), URL)
    door = Door(monkeypatch, whole)
    assert len(list(door.store.list("b"))) == 2
    for size in range(len(whole)):
        door.pages = (whole[:size],)
        with pytest.raises(StorageUnavailable):
            list(door.store.list("b"))


BOMB = '<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]>\n'
FILE = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>\n'
ENTRY = AMAZON.format(key="a")
BAD = {
    "bomb": page(AMAZON.format(key="&c;"), head=BOMB),
    "file": page(AMAZON.format(key="&b;"), head=FILE),
    "declaration": page(ENTRY, head="<!DOCTYPE a>"),
    "entity": page(AMAZON.format(key="&copy;")),
    "number": page(AMAZON.format(key="&#x99999999999;")),
    "comment": page(f"<!-- {ENTRY} -->"),
    "cdata": page(AMAZON.format(key="<![CDATA[a]]>")),
    "instruction": page(f"<?x {ENTRY}?>"),
    "prefix": page(ENTRY.replace("Contents", "s3:Contents")),
    "attribute": page(ENTRY.replace("<Contents>", "<Contents a='1'>")),
    "loose text": page(f"{ENTRY}text"),
    "not closed": page(ENTRY.replace("</Key>", "")),
    "wrongly nested": page(ENTRY.replace("</ETag>", "</Size>")),
    "no key": page(AMAZON.format(key="")),
    "no time": page(ENTRY.replace("LastModified", "Modified")),
    "no size": page(ENTRY.replace("Size", "Length")),
    "size": page(ENTRY.replace("12", "much")),
    "time": page(ENTRY.replace("2026-11", "2026-13")),
    "no end": page(ENTRY, ""),
    "no token": page("", "<IsTruncated>true</IsTruncated>"),
    "circle": page(
        ENTRY,
        "<IsTruncated>true</IsTruncated><NextContinuationToken>a</NextContinuationToken>",
    ),
    "error": b"<?xml version='1.0'?><Error><Code>InternalError</Code></Error>",
    "html": b"<html><body>Please log in</body></html>",
    "another encoding": page(ENTRY).decode().encode("utf-16"),
    "no text": page(ENTRY).replace(b"STANDARD", b"\xff"),
    "nothing": b"",
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_page_is_an_error(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is at fault, its bucket is named, and no word of a key is."""
    with pytest.raises(StorageUnavailable, match="a listing of bucket 'b'") as raised:
        list(Door(monkeypatch, BAD[name]).store.list("b"))
    assert "copy" not in str(raised.value)


@pytest.mark.parametrize("field", ["VersionId", "IsLatest", "LastModified", "Key"])
def test_a_version_that_is_half_told_is_an_error(
    field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also to a reader who wants the latest only."""
    body = page(
        VERSIONS.format(key="a").replace(field, "Other"), root="ListVersionsResult"
    )
    for listed in (
        lambda store: store.list_versions("b"),
        lambda store: store.every_version("b", ""),
    ):
        with pytest.raises(StorageUnavailable):
            list(listed(Door(monkeypatch, body).store))


@pytest.mark.parametrize("headers", [{"Server": "x"}, {"Date": "yesterday"}])
def test_a_page_without_a_time_is_an_error(
    headers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ages are reckoned by it."""
    with pytest.raises(StorageUnavailable):
        list(Door(monkeypatch, page(ENTRY), **headers).store.list("b"))


def test_entities_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """In keys that a server does not encode, and in ETags of any form."""
    entry = AMAZON.format(key="&amp;lt;&#38;#65;&#x41;&#66;&apos;").replace(
        "e-2", "&#x65;&amp;"
    )
    (info,) = Door(monkeypatch, page(entry)).store.list("b")
    assert replace(info, served_at=None).key == "&lt;&#65;AB'"
    assert info.etag == "e&"


@pytest.mark.parametrize("expression", [listing._ENTRY, listing._FRAME])
def test_no_repeated_group_is_possessive(expression: re.Pattern[str]) -> None:
    """Python before 3.11.5 loses what a group captured that is repeated like that."""
    assert ")*+" not in expression.pattern
    assert ")++" not in expression.pattern
