"""The protocol of a drill: who, steps, seconds, findings, what to do; as JSON and HTML."""

from __future__ import annotations

import getpass
import html
import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from shared import __version__

RTO_TARGET_S = 30 * 60.0
RPO_TARGET_S = 60 * 60.0


@dataclass
class Step:
    """One step of the drill, and what it told."""

    name: str
    seconds: float = 0.0
    told: str = ""


@dataclass
class Scenario:
    """A fault that was made on purpose. `found`: it was noticed and named."""

    name: str
    found: bool
    finding: str
    to_do: str
    seconds: float = 0.0


@dataclass
class Protocol:
    """A drill from its beginning to its end. Times in seconds."""

    who: str
    host: str
    begun: str
    release: str
    rto_s: float | None = None
    rpo_s: float | None = None
    rto_target_s: float = RTO_TARGET_S
    rpo_target_s: float = RPO_TARGET_S
    checksum_mismatches: int = 0
    reruns: int = 0
    reruns_identical: bool = False
    objects: int = 0
    rows: int = 0
    steps: list[Step] = field(default_factory=list)
    scenarios: list[Scenario] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @classmethod
    def begin(cls) -> Protocol:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(getpass.getuser(), socket.gethostname(), now, __version__)

    @contextmanager
    def step(self, name: str) -> Iterator[Step]:
        """Note a step, also one that fails."""
        step = Step(name)
        self.steps.append(step)
        began_s = time.monotonic()
        try:
            yield step
        finally:
            step.seconds = round(time.monotonic() - began_s, 3)

    @property
    def passed(self) -> bool:
        """Whether the targets are met, nothing is altered, and every fault that was made
        was found.
        """
        in_time = (
            self.rto_s is not None
            and self.rpo_s is not None
            and self.rto_s <= self.rto_target_s
            and self.rpo_s <= self.rpo_target_s
        )
        is_whole = not self.checksum_mismatches and self.reruns_identical
        made = {scenario.finding for scenario in self.scenarios if scenario.found}
        others = set(self.findings) - made
        all_found = all(scenario.found for scenario in self.scenarios)
        return in_time and is_whole and all_found and not others

    def printed(self) -> dict[str, Any]:
        """As JSON has it, on one line."""
        found = asdict(self)
        found["passed"] = self.passed
        return found

    def write(self, folder: Path) -> Path:
        """Write both forms; returns the path of the HTML."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = f"drill-{self.begun[:19].replace(':', '')}"
        (folder / f"{name}.json").write_text(json.dumps(self.printed(), indent=2))
        page = folder / f"{name}.html"
        page.write_text(self.as_html())
        return page

    def as_html(self) -> str:
        """One page without anything from elsewhere."""
        facts = {
            "who": f"{self.who} on {self.host}",
            "begun": self.begun,
            "release": self.release,
            "result": "passed" if self.passed else "NOT passed",
            "RTO": _against(self.rto_s, self.rto_target_s),
            "RPO": _against(self.rpo_s, self.rpo_target_s),
            "objects, rows of the log": f"{self.objects}, {self.rows}",
            "wrong checksums": str(self.checksum_mismatches),
            "photos restored again": f"{self.reruns}, "
            + ("identical" if self.reruns_identical else "NOT identical"),
        }
        steps = [[s.name, f"{s.seconds:.1f}", s.told] for s in self.steps]
        scenarios = [
            [s.name, "yes" if s.found else "NO", s.finding, s.to_do, f"{s.seconds:.1f}"]
            for s in self.scenarios
        ]
        parts = [
            "<!doctype html><html lang=en><meta charset=utf-8><title>Darkroom: drill</title>",
            "<style>body{font:16px sans-serif;max-width:70em;margin:2em auto;padding:0 1em}"
            "td,th{text-align:left;vertical-align:top;padding:.3em 1em .3em 0}</style>",
            "<h1>Protocol of a drill</h1>",
            _table([], [[name, value] for name, value in facts.items()]),
            "<h2>Steps</h2>",
            _table(["step", "s", "told"], steps),
        ]
        if scenarios:
            heads = ["scenario", "found", "finding", "what to do", "s"]
            parts += ["<h2>Scenarios</h2>", _table(heads, scenarios)]
        parts += ["<h2>Findings</h2>", _list(self.findings), "</html>"]
        return "\n".join(parts)


def _against(seconds: float | None, target_s: float) -> str:
    if seconds is None:
        return "not reached"
    word = "within" if seconds <= target_s else "OVER"
    return f"{seconds:.1f} s, {word} {target_s:.0f} s"


def _table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [_row("th", heads)] if heads else []
    lines += [_row("td", row) for row in rows]
    return f"<table>{''.join(lines)}</table>"


def _row(tag: str, cells: list[str]) -> str:
    inner = "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells)
    return f"<tr>{inner}</tr>"


def _list(lines: list[str]) -> str:
    if not lines:
        return "<p>None.</p>"
    return f"<ul>{''.join(f'<li>{html.escape(line)}</li>' for line in lines)}</ul>"
