"""Every refusal at every call that handler, worker and sweep make for one photo: it
costs that photo alone.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.refusal_mill import OTHERS, OURS, Call, Endless, Mill, refused
from tests.support.refusals import BROKEN, BUSY, FORBIDDEN, HANGING, REFUSALS, Refusal

WAYS = {
    "told": {},
    "found by the sweep": {"told": False},
    "no picture": {"broken": True},
}
ROUNDS = 12
"""All attempts of a photo, with the waits between them."""


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
    """The others reach their results while it lasts; ours has its end at the latest
    once it is over.
    """
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
                wrong[call] = "waits without end"
            except Exception as error:
                wrong[call] = repr(error)
    assert not wrong, "\n".join(
        f"{what}: {' '.join(call)}" for call, what in wrong.items()
    )


@pytest.mark.parametrize(
    "refusal",
    [FORBIDDEN, BROKEN, BUSY, HANGING],
    ids=["closed", "full", "busy", "silent"],
)
def test_a_store_that_takes_nothing_is_waited_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, refusal: Refusal
) -> None:
    """It may be full: no attempt counts, and with room again every photo is restored."""
    mill = Mill(monkeypatch, tmp_path)
    mill.tell()
    mill.store.refuse("results", "", refusal, "PUT")
    with pytest.raises(Endless):
        mill.round()
    mill.store.allow()
    assert mill.turn(4, *OTHERS, OURS)
    assert [mill.town.record(mill.ids[key]).attempts for key in (*OTHERS, OURS)] == [
        1,
        1,
        1,
    ]
