"""`darkroom config` and `darkroom env`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from shared.runtime.settings import PREFIX, Settings
from tests.support.command_line import STACK, Run


class TestConfig:
    def test_every_setting_is_listed_and_no_secret(
        self, run: Run, stack_file: Path
    ) -> None:
        """Passwords inside addresses are masked, too; the address itself stays
        readable.
        """
        outcome = run("config")
        assert outcome.status == 0
        for name in Settings.model_fields:
            assert f"{PREFIX}{name.upper()}" in outcome.out
        for secret in (
            "the-s3-secret",
            "the-broker-secret",
            "the-database-secret",
            "the-pepper",
            "the-token",
        ):
            assert secret not in outcome.out + run("config", "--json").out
        assert "redis://***@127.0.0.1:1/0" in outcome.out

    def test_a_variable_that_is_no_setting_is_told(
        self, run: Run, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Beside what may be meant, where there is such a thing; on stderr, and never
        its value.
        """
        monkeypatch.setenv("darkroom_tile_px", "0")
        monkeypatch.setenv(f"{PREFIX}TEST_SAMPLES", "ours")
        assert run("config", "--json").err == ""
        monkeypatch.setenv(f"{PREFIX}PEPER", "a-secret")
        monkeypatch.setenv(f"{PREFIX}9", "a-secret")
        outcome = run("config", "--json")
        assert outcome.status == 0
        assert outcome.err == (
            "darkroom: DARKROOM_9 is no setting, so it changes nothing\n"
            "darkroom: DARKROOM_PEPER is no setting, so it changes nothing; do you mean DARKROOM_PEPPER?\n"
        )
        assert "a-secret" not in outcome.out

    def test_json_has_value_default_unit_and_meaning(self, run: Run) -> None:
        """`--json` is one array, and nothing else is on stdout."""
        rows = {row["name"]: row for row in json.loads(run("config", "--json").out)}
        assert rows["DARKROOM_LEASE_S"] == {
            "name": "DARKROOM_LEASE_S",
            "value": "30.0",
            "default": "30.0",
            "unit": "s",
            "description": Settings.model_fields["lease_s"].description,
        }
        assert all(row["description"] for row in rows.values())


class TestEnv:
    NAMES = (
        "AWS_ENDPOINT_URL",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_REGION",
        "DARKROOM_BROKER_URL",
        "DARKROOM_DATABASE_URL",
        "DARKROOM_API_URL",
        "DARKROOM_API_KEY",
    )

    def test_lines_are_what_a_client_needs(
        self, run: Run, stack_file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """`KEY=value`, one a line; whatever a secret consists of, a shell reads back
        the same.
        """
        monkeypatch.setenv(f"{PREFIX}API_KEY", STACK["API_KEY"])
        outcome = run("env")
        assert outcome.status == 0
        assert (
            tuple(line.partition("=")[0] for line in outcome.out.splitlines())
            == self.NAMES
        )
        script = outcome.out + 'printf "%s" "$DARKROOM_API_KEY"'
        assert (
            subprocess.check_output(["sh", "-c", script], text=True) == STACK["API_KEY"]
        )

    def test_plain_values_are_not_quoted(self, run: Run, stack_file: Path) -> None:
        """A reader that only splits at the first `=` gets the address itself."""
        assert "AWS_ENDPOINT_URL=http://127.0.0.1:1\n" in run("env").out

    def test_without_a_stack(self, run: Run) -> None:
        """Nothing on stdout that a shell would evaluate; the way out on stderr."""
        outcome = run("env")
        assert (outcome.status, outcome.out) == (2, "")
        assert "darkroom up" in outcome.err
