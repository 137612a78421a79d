"""Rules and dashboards name metrics that there are, and each alert has its page and its
case. Real tools judge them in tests/observe.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from shared.runtime.metrics import METRICS

ROOT = Path(__file__).parents[3]
RULES_FILE = ROOT / "infra/prometheus/rules.yml"
RULES = yaml.safe_load(RULES_FILE.read_text())["groups"][0]["rules"]
ALERTS = [rule for rule in RULES if "alert" in rule]
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
DASHBOARDS = sorted((ROOT / "infra/grafana/dashboards").glob("*.json"))
NAME = re.compile(r"[a-z_]*:[a-z0-9_:]+|darkroom_[a-z_]+")
PARTS = re.compile(r"_(bucket|sum|count)$")


def unknown(expression: str) -> set[str]:
    """Names in a query that nobody exposes or records."""
    names = {
        name if ":" in name else PARTS.sub("", name)
        for name in NAME.findall(re.sub(r'"[^"]*"', "", expression))
    }
    return names - METRICS.keys() - RECORDED


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: next(iter(rule.values())))
def test_a_rule_names_metrics_that_there_are(rule: dict[str, str]) -> None:
    assert unknown(rule["expr"]) == set()


@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_a_dashboard_names_metrics_that_there_are(file: Path) -> None:
    """And no two panels share a number."""
    panels = json.loads(file.read_text())["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        for target in panel["targets"]:
            assert unknown(target["expr"]) == set(), panel["title"]


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_has_its_page_and_its_case(alert: dict[str, dict[str, str]]) -> None:
    """The page says what to do, and stands in the list."""
    name = str(alert["alert"])
    page = ROOT / alert["annotations"]["runbook"]
    assert page == ROOT / "docs/runbooks" / f"{name}.md"
    assert "**Do.**" in page.read_text()
    assert f"({name}.md)" in (page.parent / "index.md").read_text()
    tests = yaml.safe_load((ROOT / "tests/observe/alerts.test.yml").read_text())
    cases = [
        case
        for test in tests["tests"]
        for case in test["alert_rule_test"]
        if case["alertname"] == name
    ]
    assert {bool(case.get("exp_alerts")) for case in cases} == {True, False}
