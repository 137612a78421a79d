"""`python -m tests.bench.look [FOLDER]`: the gates' decisions on photos with known
damage, as confusion tables. Without a folder the photos are the demo's.

Ends with exit status 1 where a photo in colour would be coloured, or less than 95 % of
all decisions are right.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from gpu_worker import gates as rules_of
from gpu_worker.look import look
from gpu_worker.photo import Photo
from shared.workflows import gates
from tests.support.damage import DEMO, Variant, photos, variants

LEAST_RIGHT = 0.95

Table = Counter[tuple[str, str]]


def tables(found: Iterable[Variant]) -> dict[str, Table]:
    """What is true and what was decided, counted, for each question."""
    counted: dict[str, Table] = {}
    for variant in found:
        for question, pair in decisions(variant).items():
            counted.setdefault(question, Counter())[pair] += 1
            if pair[0] != pair[1]:
                print(f"  {variant.name}: {question}: {pair[0]}, decided {pair[1]}")
    return counted


def decisions(variant: Variant) -> dict[str, tuple[str, str]]:
    """By question: what is true of the photo, and what the gates decide."""
    rules = gates()
    seen = look(Photo(variant.pixels))
    is_clean = rules_of.is_clean(seen, rules)
    answers = {
        "colour": (variant.colour, rules_of.kind_of_colour(seen, rules)),
        "noise and blocks": _words(variant.is_clean, is_clean, "clean", "damaged"),
        "sharpness": _words(
            variant.is_sharp, seen.sharpness >= rules.sharp_from, "sharp", "soft"
        ),
    }
    if variant.colour == "coloured":
        is_hazy = seen.haze >= rules.hazy_from
        answers["haze"] = _words(variant.is_hazy, is_hazy, "hazy", "clear")
    return answers


def _words(truth: bool, decided: bool, yes: str, no: str) -> tuple[str, str]:
    return (yes if truth else no, yes if decided else no)


def shown(question: str, table: Table) -> str:
    """The confusion table: a row for each truth, a column for each decision."""
    words = sorted({word for pair in table for word in pair})
    lines = [f"{question:18}" + "".join(f"{word:>10}" for word in words)]
    for truth in words:
        cells = "".join(f"{table[truth, decided]:>10}" for decided in words)
        lines.append(f"{truth:18}{cells}")
    return "\n".join(lines)


def right(counted: dict[str, Table]) -> float:
    """Share of the decisions that are right."""
    pairs = sum(counted.values(), Counter[tuple[str, str]]())
    agreed = sum(count for (truth, decided), count in pairs.items() if truth == decided)
    return agreed / pairs.total()


def wrongly_coloured(counted: dict[str, Table]) -> int:
    """How many photos in colour the gates would colour."""
    return sum(
        count
        for (truth, decided), count in counted["colour"].items()
        if truth == "coloured" and decided != "coloured"
    )


def main() -> int:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else DEMO
    found = [
        variant
        for name, pixels in photos(folder).items()
        for variant in variants(name, pixels)
    ]
    counted = tables(found)
    for question, table in counted.items():
        print("\n" + shown(question, table))
    coloured, share = wrongly_coloured(counted), right(counted)
    print(
        f"\n{len(found)} variants, gates version {gates().version}: "
        f"{share:.1%} of the decisions are right; photos in colour that would be coloured: {coloured}"
    )
    return 0 if coloured == 0 and share >= LEAST_RIGHT else 1


if __name__ == "__main__":
    sys.exit(main())
