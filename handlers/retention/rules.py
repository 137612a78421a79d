"""The rules: a TOML file that says what is deleted after how many days, and what is held
whatever a rule says. Without a rule nothing is deleted.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.errors import SettingsError

What = Literal[
    "uploads",
    "quarantine",
    "previews",
    "tiles",
    "callbacks",
    "tickets",
    "receipts",
    "results",
]
TICKET_DAYS = 8
"""A ticket may be good for seven days."""


@dataclass(frozen=True)
class Facts:
    """What is known of an object that may be forgotten; None: not known."""

    key: str | None = None
    user: str | None = None
    upload: str | None = None
    task: str | None = None


class Rule(BaseModel):
    """Deletes one kind of object so many days after it was written; of the uploads whose
    key begins with `prefix`, of the user with this hash.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    what: What
    after_days: float = Field(gt=0)
    prefix: str = ""
    user: str = Field("", pattern="^([0-9a-f]{64})?$")

    def covers(self, facts: Facts, age_s: float) -> bool:
        """Whether it deletes an object of this age. One of which too little is known is
        not covered.
        """
        if age_s < self.after_days * 86_400:
            return False
        if self.prefix and not (facts.key or "").startswith(self.prefix):
            return False
        return not self.user or facts.user == self.user


class Hold(BaseModel):
    """Keeps whatever all of its given fields match, for a reason that people can read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    reason: str = Field(min_length=1)
    prefix: str = ""
    user: str = Field("", pattern="^([0-9a-f]{64})?$")
    upload: str = ""
    task: str = ""

    def keeps(self, facts: Facts) -> bool:
        """Whether it holds an object. One of which too little is known is held."""
        if (
            self.prefix
            and facts.key is not None
            and not facts.key.startswith(self.prefix)
        ):
            return False
        pairs = (
            (self.user, facts.user),
            (self.upload, facts.upload),
            (self.task, facts.task),
        )
        return all(
            not wanted or known is None or known == wanted for wanted, known in pairs
        )


class Rules(BaseModel):
    """The whole file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: list[Rule] = Field(default_factory=list)
    hold: list[Hold] = Field(default_factory=list)

    @classmethod
    def read(cls, path: str) -> Rules:
        """The rules of a file; "": none. Raises `SettingsError` naming the file, the
        place in it and the rule that it breaks.
        """
        if not path:
            return cls()
        try:
            found = cls.model_validate(tomllib.loads(Path(path).read_text("utf-8")))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SettingsError(f"DARKROOM_RETENTION_RULES: {path}: {error}") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise SettingsError(
                f"DARKROOM_RETENTION_RULES: {path}: {where}: {first['msg']}"
            ) from error
        for fault in _faults(found):
            raise SettingsError(f"DARKROOM_RETENTION_RULES: {path}: {fault}")
        return found

    def of(self, what: What) -> list[Rule]:
        return [rule for rule in self.rule if rule.what == what]

    def youngest_s(self, what: What) -> float | None:
        """The least age that some rule asks for; None: there is no rule."""
        ages = [rule.after_days * 86_400 for rule in self.of(what)]
        return min(ages, default=None)

    def delete(self, what: What, facts: Facts, age_s: float) -> bool:
        """Whether some rule covers an object."""
        return any(rule.covers(facts, age_s) for rule in self.of(what))

    def holds(self, facts: Facts) -> bool:
        return any(hold.keeps(facts) for hold in self.hold)


def _faults(rules: Rules) -> Iterator[str]:
    for place, rule in enumerate(rules.rule):
        if rule.what == "tickets" and rule.after_days < TICKET_DAYS:
            yield (
                f"rule.{place}.after_days: tickets may be good for seven days; forget them after {TICKET_DAYS} or more"
            )
        if rule.what == "tickets" and (rule.prefix or rule.user):
            yield f"rule.{place}: a ticket has neither a prefix nor a user to go by"
    for place, hold in enumerate(rules.hold):
        if not (hold.prefix or hold.user or hold.upload or hold.task):
            yield f"hold.{place}: name what it holds: prefix, user, upload or task"
