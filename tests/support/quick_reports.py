"""Reports as PDF without the time that a real one takes."""

from __future__ import annotations

import pytest

from handlers.reports import pdf


def fake_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every report be a file of nothing, also where Typst is not installed."""
    monkeypatch.setattr(pdf, "need_typst", lambda: None)
    monkeypatch.setattr(pdf, "render", lambda *_: b"%PDF-1.7")
