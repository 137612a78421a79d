"""Reports as PDF: that they are archives' PDF, show what strangers wrote as it is, and
are made by a process that can reach nothing.
"""

from __future__ import annotations

import io
import re
import threading
from datetime import UTC, datetime
from typing import Any

import pytest
from PIL import Image

from handlers.reports import pdf
from handlers.reports.sheet import Fact, Picture, Sheet, Table
from shared.errors import SettingsError, TransientError
from shared.runtime.seccomp import can_refuse_calls
from tests.support.extras import needs, without

needs("typst", "report")
needs("pylopdf_fonts_zh_cn", "report")
needs("pypdf", "archive")

import pypdf  # noqa: E402

AT = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)
IDENT = "0b0e7f1c-2f54-5b0e-8f0a-6c1d2e3f4a5b"
SUM = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
QR = '<svg xmlns="http://www.w3.org/2000/svg" width="8" height="8"><path d="M0 0h8v8z"/></svg>'
HOSTILE = [
    '#read("/etc/passwd") #eval("1+1")',
    "$x^2$ *bold* _thin_ `raw` <label> @ref \\ // /* ] [ #{ 1 + 1 }",
    '"; #panic() //',
    "= heading",
    "- item",
    "奶奶的照片，一九六三年",
]
"""Texts that are markup to Typst, and must come out as they are."""
SHOWN = [
    ("line\nbreak\ttab", "line break tab"),
    ("co\x00nt\x1brol\x7f", "control"),
    ("turned\u202egnp.exe\u2069", "turnedgnp.exe"),
    ("smile 🙂 한 \ud800.png", "smile □ □ .png"),
    ("cafe\u0301", "café"),
]
"""Texts, and what is shown of them."""


def sheet(**changes: Any) -> Sheet:
    made: dict[str, Any] = {
        "language": "zh",
        "kicker": "照片修复报告",
        "title": "宇航员肖像.jpg",
        "ident": IDENT,
        "subtitle": IDENT,
        "status": "已修复",
        "tone": "good",
        "made_at": AT,
        "made": "2026-05-04",
        "foot": "AI",
        "keywords": ["AI-assisted restoration", IDENT],
    }
    return Sheet(**made | changes)


def picture(kind: str = "JPEG", size: tuple[int, int] = (300, 200)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", size, (180, 40, 20)).save(file, kind)
    return file.getvalue()


def render(sheet: Sheet, qr: str, pictures: dict[str, bytes]) -> bytes:
    return pdf.render(sheet, qr, lambda: pictures)


def text_of(data: bytes) -> str:
    """The words of all pages, with one blank between them."""
    pages = pypdf.PdfReader(io.BytesIO(data)).pages
    words = " ".join(page.extract_text() for page in pages).replace("\u200b", "")
    return re.sub(r"\s+", " ", words)


def squeezed(text: str) -> str:
    """Without blanks: a line may break at any of them, and between Chinese letters."""
    return re.sub(r"\s+", "", text)


@pytest.fixture(scope="module")
def full() -> bytes:
    """A sheet with all that one can have."""
    made = sheet(
        url=f"https://darkroom.example/console/#/report/{IDENT}",
        signature="9f2c41d07be85a36",
        signature_title="签名",
        signature_says="同样的参数",
        facts=[Fact("放大", "4 ×"), Fact("设备", "cpu · ncnn")],
        pictures=[
            Picture("before", "修复前", "4 × 3"),
            Picture("after", "修复后", missing="无法显示结果。"),
        ],
        tables=[
            Table("参数", ("名称", "取值", "默认"), [("a", "1", "2")], "half"),
            Table("经过", ("时间", "事件"), [("3:02", "收到")], "half"),
            Table("步骤", ("步骤", "内容", "用时"), [("上色", "b" * 300, "1 s")]),
            Table("校验和", ("文件", "名称", "SHA-256"), [("原图", "a", SUM)], "sums"),
        ],
        notes_title="备注",
        notes=[*HOSTILE, *(text for text, _ in SHOWN), "字" * 1200],
    )
    return render(made, QR, {"before": picture(), "after": b"no picture"})


def test_it_says_that_it_is_for_archives_and_accessible(full: bytes) -> None:
    """The compiler refuses what breaks the standards; that it claims them is seen here."""
    reader = pypdf.PdfReader(io.BytesIO(full))
    metadata = reader.trailer["/Root"]["/Metadata"].get_data().decode()
    assert "<pdfaid:part>2</pdfaid:part>" in metadata
    assert "<pdfaid:conformance>A</pdfaid:conformance>" in metadata
    assert "<pdfuaid:part>1</pdfuaid:part>" in metadata
    assert reader.metadata is not None
    assert reader.metadata.title == "宇航员肖像.jpg"
    assert IDENT in str(reader.metadata["/Keywords"])
    assert reader.metadata.creation_date == AT
    assert reader.trailer["/Root"]["/Lang"] == "zh-CN"
    assert reader.trailer["/Root"]["/MarkInfo"]["/Marked"]


def test_every_font_is_inside(full: bytes) -> None:
    reader = pypdf.PdfReader(io.BytesIO(full))
    names = set()
    for page in reader.pages:
        for font in page["/Resources"]["/Font"].values():
            (inner,) = font.get_object()["/DescendantFonts"]
            descriptor = inner.get_object()["/FontDescriptor"]
            assert {"/FontFile2", "/FontFile3"} & set(descriptor)
            names.add(str(descriptor["/FontName"]).partition("+")[2])
    assert {"NotoSansSC-Regular", "NotoSerifSC-Regular"} <= {
        name.removesuffix("-Identity-H") for name in names
    }


def test_what_strangers_wrote_is_shown_and_never_read_as_markup(full: bytes) -> None:
    found = squeezed(text_of(full))
    for text in [*HOSTILE, *(shown for _, shown in SHOWN), "b" * 300]:
        assert squeezed(text) in found
    # A page may end between them.
    assert found.count("字") == 1200
    assert "root:" not in found


def test_ids_and_checksums_can_be_copied_whole(full: bytes) -> None:
    pages = pypdf.PdfReader(io.BytesIO(full)).pages
    words = "".join(page.extract_text() for page in pages)
    assert IDENT in words
    assert SUM in words


def test_a_picture_that_cannot_be_read_costs_itself_alone(full: bytes) -> None:
    reader = pypdf.PdfReader(io.BytesIO(full))
    assert len(reader.pages[0].images) == 1
    assert "无法显示结果" in squeezed(text_of(full))


@pytest.mark.parametrize("title", ["\u202e\x00\n", "長🙂" + "W" * 240])
def test_any_name_makes_a_title(title: str) -> None:
    made = render(sheet(title=title), "", {"before": picture("GIF")})
    assert pypdf.PdfReader(io.BytesIO(made)).metadata.title  # type: ignore[union-attr]


def test_a_picture_that_is_a_bomb_is_left_out() -> None:
    file = io.BytesIO()
    Image.new("1", (15_000, 12_500)).save(file, "PNG")
    shown = [Picture("before", "修复前", missing="无")]
    made = render(sheet(pictures=shown), "", {"before": file.getvalue()})
    assert not pypdf.PdfReader(io.BytesIO(made)).pages[0].images


def test_whatever_takes_the_process_over_reaches_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No file, no network, no program: each try gets an error, or the child would end
    with a status of its own.
    """
    if not can_refuse_calls():
        without("this system has no filters of calls")
    monkeypatch.setattr(pdf, "CHILD", "tests.support.hostile_typesetter")
    acts = (b"read", b"write", b"connect", b"socket", b"program", b"fork")
    assert render(sheet(), "", {act.decode(): act for act in acts})


def test_it_has_no_secret_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Any] = {}
    run = pdf.subprocess.run  # type: ignore[attr-defined]

    def watched(*args: Any, **kwargs: Any) -> Any:
        seen.update(kwargs["env"])
        return run(*args, **kwargs)

    monkeypatch.setattr(pdf.subprocess, "run", watched)  # type: ignore[attr-defined]
    monkeypatch.setenv("DARKROOM_PEPPER", "secret")
    render(sheet(), "", {})
    assert set(seen) == {"PYTHONPATH", "RAYON_NUM_THREADS"}


def test_one_that_never_ends_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pdf, "CHILD", "tests.support.hostile_typesetter")
    monkeypatch.setattr(pdf, "LIMIT_S", 0.5)
    with pytest.raises(TransientError, match=r"within 0\.5 s"):
        render(sheet(), "", {"before": b"spin"})


@pytest.mark.parametrize("which", ["_turns", "_places"])
def test_those_that_find_no_turn_are_asked_to_come_again(
    which: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those that find no place to wait, and they at once."""
    turns = threading.BoundedSemaphore(1)
    turns.acquire()
    monkeypatch.setattr(pdf, which, turns)
    monkeypatch.setattr(pdf, "WAIT_S", 0.01)
    with pytest.raises(TransientError, match="being made already"):
        render(sheet(), "", {})


def test_without_typst_the_command_that_brings_it_is_said(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pdf, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"typst, which is not installed; .*report"):
        render(sheet(), "", {})
