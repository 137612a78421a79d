"""The files that Prometheus and Alertmanager read, judged by their own tools."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "infra/prometheus"


@pytest.mark.parametrize(
    "command",
    [
        ["promtool", "check", "rules", FOLDER / "rules.yml"],
        ["promtool", "test", "rules", ROOT / "tests/observe/alerts.test.yml"],
        ["amtool", "check-config", FOLDER / "alertmanager.yml"],
    ],
    ids=lambda command: " ".join(map(str, command[:3])),
)
def test_the_tools_take_the_files(command: list[str]) -> None:
    """And every alert fires when it should, and is quiet before."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_configuration_is_one(tmp_path: Path) -> None:
    """With the rules where compose.yaml mounts them."""
    config = yaml.safe_load((FOLDER / "prometheus.yml").read_text())
    assert config["rule_files"] == ["/etc/prometheus/rules.yml"]
    config["rule_files"] = [str(FOLDER / "rules.yml")]
    file = tmp_path / "prometheus.yml"
    file.write_text(yaml.safe_dump(config))
    command = ["promtool", "check", "config", file]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
