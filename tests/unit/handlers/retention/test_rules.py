"""The file of rules: what it may say, and what a fault in it is told as."""

from __future__ import annotations

from pathlib import Path

import pytest

from handlers.retention.lifecycle import lifecycle
from handlers.retention.rules import Facts, Hold, Rule, Rules
from shared.errors import SettingsError
from shared.runtime.settings import Settings

DAY_S = 86_400.0
ANN = "ab" * 32


def read(tmp_path: Path, text: str) -> Rules:
    path = tmp_path / "rules.toml"
    path.write_text(text)
    return Rules.read(str(path))


def test_without_a_file_there_is_no_rule() -> None:
    assert Rules.read("") == Rules()


def test_a_rule_is_about_a_kind_a_prefix_a_user_and_an_age(tmp_path: Path) -> None:
    text = f'[[rule]]\nwhat = "uploads"\nafter_days = 2\nprefix = "in/"\nuser = "{ANN}"'
    rules = read(tmp_path, text)
    own = Facts(key="in/a.png", user=ANN)
    assert rules.delete("uploads", own, 2 * DAY_S)
    assert not rules.delete("uploads", own, 2 * DAY_S - 1)
    assert not rules.delete("previews", own, 9 * DAY_S)
    assert not rules.delete("uploads", Facts(key="out/a.png", user=ANN), 9 * DAY_S)
    assert not rules.delete("uploads", Facts(key="in/a.png"), 9 * DAY_S)


@pytest.mark.parametrize(
    ("hold", "facts", "keeps"),
    [
        ({"user": ANN}, Facts(user=ANN), True),
        ({"user": ANN}, Facts(user="cd" * 32), False),
        ({"user": ANN}, Facts(), True),
        ({"prefix": "case/"}, Facts(key="case/1.png"), True),
        ({"prefix": "case/"}, Facts(key="other.png"), False),
        ({"user": ANN, "task": "t"}, Facts(user=ANN, task="u"), False),
    ],
)
def test_a_hold_keeps_what_matches_and_what_is_not_known(
    hold: dict[str, str], facts: Facts, keeps: bool
) -> None:
    assert Hold(reason="court", **hold).keeps(facts) is keeps


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[[rule]", "rules.toml"),
        ('[[rule]]\nwhat = "claims"\nafter_days = 1', "rule.0.what"),
        ('[[rule]]\nwhat = "uploads"', "rule.0.after_days"),
        ('[[rule]]\nwhat = "uploads"\nafter_days = 0', "rule.0.after_days"),
        ('[[rule]]\nwhat = "uploads"\nafter_days = 1\nuser = "ann"', "rule.0.user"),
        ('[[rule]]\nwhat = "uploads"\nafter_days = 1\nage = 2', "rule.0.age"),
        ('[[rule]]\nwhat = "tickets"\nafter_days = 1', "8 or more"),
        ('[[hold]]\nreason = "court"', "hold.0"),
        (f'[[hold]]\nuser = "{ANN}"', "hold.0.reason"),
    ],
)
def test_a_fault_names_file_place_and_rule(
    tmp_path: Path, text: str, named: str
) -> None:
    with pytest.raises(SettingsError, match=named) as caught:
        read(tmp_path, text)
    assert "DARKROOM_RETENTION_RULES" in caught.value.detail


def test_a_store_is_told_only_of_what_it_may_delete_by_itself() -> None:
    rules = Rules(
        rule=[
            Rule(what="previews", after_days=90),
            Rule(what="previews", after_days=9, prefix="in/"),
            Rule(what="uploads", after_days=400),
            Rule(what="results", after_days=9),
        ]
    )
    made = lifecycle(rules, Settings(pepper="p"))
    assert set(made) == {"uploads", "results"}
    (previews,) = made["results"]["Rules"]
    assert previews["Filter"] == {"Prefix": "previews/"}
    assert previews["Expiration"] == {"Days": 90}
    _parts, earlier = made["uploads"]["Rules"]
    assert earlier["NoncurrentVersionExpiration"] == {"NoncurrentDays": 400}
    held = rules.model_copy(update={"hold": [Hold(reason="court", prefix="x")]})
    (only,) = lifecycle(held, Settings(pepper="p"))["uploads"]["Rules"]
    assert "AbortIncompleteMultipartUpload" in only
    assert lifecycle(Rules(), Settings(pepper="p")).keys() == {"uploads"}
