"""Every refusal at every call that handler, worker and sweep make for one photo: it costs that photo alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.refusals import REFUSALS
from tests.unit.refusal_mill import OTHERS, OURS, Call, Endless, Mill, refused

WAYS = {
    "told": {},
    "found by the sweep": {"told": False},
    "no picture": {"broken": True},
}
ROUNDS = 12
"""All attempts of a photo, with the waits between them."""


def is_the_stores(kind: str, call: Call) -> bool:
    """Whether the store is said to be busy, or a write is refused that a store which is full or closed refuses, too.

    A worker takes both for an outage, whatever the key, and waits: nothing counts as an attempt meanwhile.
    """
    return kind == "busy" or (call[0] in ("PUT", "DELETE") and kind in ("forbidden", "archived", "broken", "hanging"))


def calls(patch: pytest.MonkeyPatch, folder: Path, way: dict[str, bool]) -> list[Call]:
    mill = Mill(patch, folder, **way)
    assert mill.turn(4, *OTHERS, OURS)
    assert [mill.end(key) for key in OTHERS] == ["results", "results"]
    assert mill.end(OURS) == ("quarantine" if mill.broken else "results")
    return list(mill.calls_about_ours())


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS.keys())
@pytest.mark.parametrize("kind", REFUSALS)
def test_one_key_that_is_refused_costs_its_photo_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, kind: str, way: dict[str, bool]
) -> None:
    """The others reach their results while it lasts; ours has its end at the latest once it is over."""
    wrong = {}
    for call in calls(monkeypatch, tmp_path, way):
        with monkeypatch.context() as patch:
            mill = Mill(patch, tmp_path, **way)
            refused(mill, call, REFUSALS[kind])
            try:
                if not mill.turn(ROUNDS, *OTHERS):
                    wrong[call] = "others wait"
                mill.store.allow()
                if not mill.turn(ROUNDS, OURS):
                    wrong[call] = "no end, ever"
            except Endless:
                if not is_the_stores(kind, call):
                    wrong[call] = "waits without end"
            except Exception as error:
                wrong[call] = repr(error)
    assert not wrong, "\n".join(f"{what}: {' '.join(call)}" for call, what in wrong.items())
