"""The words of reports, in the languages of the console: what its page says, they say."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

Language = Literal["en", "zh"]
FOLDER = Path(__file__).parents[1] / "http" / "console" / "static" / "i18n"


@dataclass(frozen=True)
class Words:
    """The sentences of one language, by their keys."""

    language: Language
    sentences: dict[str, str]

    def __call__(self, key: str, *values: object) -> str:
        """The sentence for a key, with {0}, {1} … filled in."""
        sentence = self.sentences[key]
        for place, value in enumerate(values):
            sentence = sentence.replace(f"{{{place}}}", str(value))
        return sentence

    def find(self, key: str, otherwise: str) -> str:
        """The sentence for a key; `otherwise` where there is none."""
        return self.sentences.get(key, otherwise)


@cache
def words(language: Language) -> Words:
    sentences = json.loads((FOLDER / f"{language}.json").read_text(encoding="utf-8"))
    return Words(language, sentences)
