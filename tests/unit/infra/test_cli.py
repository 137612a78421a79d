"""The command line, run in-process by its entry point: exit status, what is said, what
is refused before any work.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from infra import cli
from shared import __version__
from shared.errors import Code, PermanentError, SettingsError
from shared.runtime.settings import PREFIX, Settings
from tests.support.command_line import Run

HEAVY = {
    "boto3",
    "psycopg2",
    "kombu",
    "redis",
    "PIL",
    "numpy",
    "pydantic",
    "rich",
    "infra.commands",
}


def test_help_lists_every_command_and_imports_none(run: Run) -> None:
    """`darkroom --help` is quick because it knows the commands' names only."""
    assert all(f"  {name} " in run("--help").out for name in cli.COMMANDS)
    program = f"""
import sys
sys.argv = ["darkroom", "--help"]
from infra import cli
from shared import __version__
try:
    cli.main()
except SystemExit:
    pass
print(sorted(m for m in sys.modules if m in {HEAVY}), file=sys.stderr)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert ended.stderr.strip() == "[]"


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_listed_command_exists(name: str) -> None:
    """A line in the help leads to a command of that name, which has help of its own."""
    assert cli.load(name).help


AS_INSTALLED = [
    sys.executable,
    "-c",
    "import sys; sys.argv[0] = 'darkroom'; from infra.cli import main; main()",
]
HELP = {
    "models": {"list", "verify", "pull", "add"},
    "models pull": {"NAME", "--json"},
    "models add": {"FILE", "--name", "--licence", "--json"},
    "webhooks": {"test", "secret"},
    "webhooks test": {"URL", "--json"},
    "webhooks secret": {"--user", "--json"},
    "log": {"rebuild"},
    "log rebuild": {"--json"},
    "storage": {"notifications"},
    "storage notifications": {"enable", "show", "listen"},
    "bench": {
        "pipeline",
        "engine",
        "throughput",
        "handlers",
        "recorder",
        "backlog",
        "sweep",
        "api",
    },
    "bench engine": {
        "--folder",
        "--workflows",
        "--engines",
        "--rounds",
        "--plot",
        "--json",
    },
    "keys": {"create", "list", "revoke"},
    "keys create": {"--user", "--scopes", "--expires", "--callback", "--json"},
    "dead": {"list", "show", "retry", "drop"},
    "dead retry": {"ID", "--all", "--queue", "--json"},
    "sweep": {"--since", "--dry-run", "--forever", "--json"},
}
"""Command → what its help must name."""


@pytest.mark.parametrize("command", HELP)
def test_help_of_a_group_names_its_commands_and_of_a_command_its_options(
    run: Run, command: str
) -> None:
    """Here, not by a process of the wing that does the work."""
    status, out, _ = run(*command.split(), "--help")
    assert status == 0
    assert all(
        re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", out)
        for word in HELP[command]
    ), out


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_help(run: Run, name: str) -> None:
    """Status 0, its usage, and not a word on stderr."""
    status, out, err = run(name, "--help")
    assert (status, err) == (0, "")
    assert re.search(rf"Usage: .* {name} ", out)


def test_the_version_is_told(run: Run) -> None:
    """That of the package, and nothing else."""
    assert run("--version") == (0, f"{__version__}\n", "")


@pytest.mark.parametrize(
    ("line", "answers"),
    [
        ("darkroom mo", {"models"}),
        ("darkroom models p", {"pull"}),
        ("darkroom models pull --j", {"--json"}),
        ("darkroom keys create --ex", {"--expires"}),
        ("darkroom --ver", {"--version"}),
    ],
)
def test_a_shell_completes_commands_and_options(line: str, answers: set[str]) -> None:
    """As the function that `--show-completion` prints asks."""
    asking = {
        "_DARKROOM_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split()) - 1),
    }
    asked = subprocess.run(
        AS_INSTALLED,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | asking,
    )
    assert set(asked.stdout.split()) == answers, asked.stderr


def test_completion_is_shown_for_the_shell() -> None:
    """What `--install-completion` would put into the shell's own files."""
    asked = shlex.join([*AS_INSTALLED, "--show-completion"])
    shell = subprocess.run(
        ["bash", "-c", f"{asked}; :"], capture_output=True, text=True, check=True
    )
    assert "_DARKROOM_COMPLETE" in shell.stdout, shell.stderr


def test_no_colour_where_none_is_wanted(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`NO_COLOR` holds for tables and log lines, though a terminal is there."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    program = """
from shared.runtime import telemetry
from shared.runtime.settings import Settings
telemetry.configure(Settings.given(log_format="pretty"), "test")
telemetry.logger().warning("process.died", program="worker")
"""

    def lines() -> str:
        return subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        ).stderr

    colour = re.compile(r"\x1b\[(\d+;)*[349]\d")
    assert colour.search(lines())
    monkeypatch.setenv("NO_COLOR", "1")
    assert "process.died" in lines()
    assert not colour.search(lines())
    assert not colour.search(
        run("workflows").out + run("keys", "--help").out + run("nonsense").err
    )


def test_an_unknown_command_is_wrong_usage(run: Run) -> None:
    """Status 2, as for every slip of the caller."""
    assert run("develop").status == 2


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (SettingsError("a setting is wrong"), 2),
        (PermanentError(Code.INTERNAL, "it broke"), 1),
    ],
)
def test_errors_are_one_line_and_a_status(
    run: Run, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    """1 for a failed job, 2 for wrong usage; the sentence goes to stderr, without a
    traceback.
    """

    def fails(*_: Any, **__: Any) -> Settings:
        raise error

    monkeypatch.setattr(Settings, "load", fails)
    outcome = run("config", "--json")
    assert outcome == (status, "", f"darkroom: {error.detail}\n")  # type: ignore[attr-defined]


def test_a_wrong_setting_is_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variable, its fault and the way out."""
    monkeypatch.setenv(f"{PREFIX}TILE_PX", "many")
    outcome = run("config")
    assert outcome.status == 2
    assert "DARKROOM_TILE_PX" in outcome.err
    assert "darkroom config" in outcome.err


class TestSubmit:
    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (["--params", "{scale: 2}"], "not JSON"),
            (["--params", "[2]"], "JSON object"),
            (
                ["--workflow", "fast", "--params", '{"scale": 9}'],
                "a number from 1 to 4",
            ),
            (["--workflow", "fast", "--params", '{"size": 2}'], "no parameter 'size'"),
            (["--priority", "urgent"], "interactive or bulk"),
        ],
    )
    def test_a_slip_costs_no_upload(
        self, run: Run, stack_file: Path, photo: Path, arguments: list[str], said: str
    ) -> None:
        """Status 2 and the rule, before anything is sent: nothing listens where it
        would be sent to.
        """
        outcome = run("submit", str(photo), *arguments)
        assert (outcome.status, outcome.out) == (2, "")
        assert said in " ".join(outcome.err.replace("│", " ").split())

    def test_a_path_that_is_not_there(
        self, run: Run, stack_file: Path, photo: Path, tmp_path: Path
    ) -> None:
        """One wrong path stops all of them before the first upload."""
        outcome = run("submit", str(photo), str(tmp_path / "gone.jpg"))
        assert outcome.status == 2
        assert "gone.jpg" in outcome.err

    def test_a_folder_without_photos(
        self, run: Run, stack_file: Path, tmp_path: Path
    ) -> None:
        """Nothing to do is a slip, not a success."""
        (tmp_path / "notes.txt").touch()
        assert run("submit", str(tmp_path)).status == 2

    def test_without_a_stack(self, run: Run, photo: Path) -> None:
        """Without an address to send to, the way out is said."""
        outcome = run("submit", str(photo))
        assert outcome.status == 2
        assert "darkroom up" in outcome.err

    def test_a_store_that_does_not_answer_is_a_failed_job(
        self, run: Run, stack_file: Path, photo: Path
    ) -> None:
        """Status 1 and one sentence, no traceback; stdout stays empty."""
        outcome = run("submit", str(photo), "--workflow", "fast", "--json")
        assert (outcome.status, outcome.out) == (1, "")
        assert outcome.err.strip().splitlines()[-1].startswith("darkroom: ")
        assert "`darkroom status`" in outcome.err


class TestWings:
    @pytest.mark.parametrize(
        ("arguments", "becomes"),
        [
            (["handlers"], ["handlers", "http"]),
            (["worker"], ["gpu_worker"]),
            (["recorder"], ["handlers", "recorder"]),
            (["callbacks"], ["handlers", "callbacks"]),
            (
                ["webhooks", "test", "https://a.b/c"],
                ["handlers", "callbacks", "test", "https://a.b/c"],
            ),
            (
                ["webhooks", "secret", "--user", "ann"],
                ["handlers", "callbacks", "secret", "--user", "ann"],
            ),
            (
                ["sweep", "--json", "--dry-run"],
                ["handlers", "sweep", "--once", "--dry-run", "--json"],
            ),
            (
                ["sweep", "--since", "2026-01-31"],
                ["handlers", "sweep", "--once", "--since", "2026-01-31"],
            ),
            (["sweep", "--forever"], ["handlers", "sweep"]),
            (["models", "list", "--json"], ["gpu_worker", "models", "list", "--json"]),
            (["models", "pull", "a", "b"], ["gpu_worker", "models", "pull", "a", "b"]),
            (
                ["models", "add", "x.pth", "--name", "x"],
                ["gpu_worker", "models", "add", "x.pth", "--name=x"],
            ),
            (["log", "rebuild", "--json"], ["handlers", "rebuild", "--json"]),
        ],
    )
    def test_a_process_command_becomes_the_process(
        self,
        run: Run,
        stack_file: Path,
        monkeypatch: pytest.MonkeyPatch,
        arguments: list[str],
        becomes: list[str],
    ) -> None:
        """The wing replaces this process: its signals and its exit status are the
        wing's own.
        """
        seen: list[str] = []

        def execv(program: str, argv: list[str]) -> None:
            seen.extend([program, *argv])
            raise SystemExit(0)  # the real one does not return either

        monkeypatch.setattr("os.execv", execv)
        run(*arguments)
        assert seen == [sys.executable, sys.executable, "-P", "-m", *becomes]


@pytest.mark.parametrize(
    "arguments",
    [
        "status",
        "env",
        "tasks",
        "keys list",
        "keys create --user ann",
        "dead list",
        "dead retry --all",
        "log rebuild",
        "sweep --json",
        "webhooks test https://a.b/c",
        "bench pipeline",
        "bench throughput",
        "bootstrap",
    ],
)
def test_without_a_stack_every_command_says_so(run: Run, arguments: str) -> None:
    """Wrong usage: where one was looked for, and the way out; nothing on stdout, where
    JSON may be awaited.
    """
    status, out, err = run(*arguments.split())
    assert (status, out) == (2, "")
    assert re.search(
        r"no stack is (running|ready) in /.*/state; start one with `darkroom up`", err
    )


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("sweep --since yesterday", "'yesterday'"),
        ("sweep --forever --json", "--forever"),
        ("task 17", "'17'"),
        ("keys revoke 17", "'17'"),
        ("submit {photo} --out {photo}", "photo.jpg"),
        ("submit {photo} --timeout-s -1", "--timeout-s"),
    ],
)
def test_wrong_usage_names_the_input(
    run: Run, stack_file: Path, photo: Path, arguments: str, named: str
) -> None:
    """Status 2 before any work."""
    status, out, err = run(*arguments.format(photo=photo).split())
    assert (status, out) == (2, "")
    assert named in err


def test_a_place_that_cannot_be_written_is_named(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk, or one that is read-only: one line, no traceback."""

    def fails() -> Settings:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/there/file")

    monkeypatch.setattr(Settings, "load", fails)
    outcome = run("config")
    assert (outcome.status, len(outcome.err.splitlines())) == (1, 1)
    assert "/there/file: No space left on device" in outcome.err


def test_workflows_show_the_rule_of_every_parameter(run: Run) -> None:
    """What `submit --params` takes is printed with type, range and default."""
    assert "scale: a number from 1 to 4 (default 4)" in run("workflows").out
    found = {
        workflow["name"]: workflow
        for workflow in json.loads(run("workflows", "--json").out)
    }
    assert found["fast"]["params_schema"]["properties"]["scale"]["maximum"] == 4


class TestPreparing:
    """`bootstrap` and `migrate` on servers that somebody else runs."""

    def test_a_database_that_nobody_named(self, run: Run) -> None:
        """Not the one that a client would take by itself: the setting is named."""
        outcome = run("migrate")
        assert outcome.status == 2
        assert "DARKROOM_DATABASE_URL" in outcome.err

    @pytest.mark.parametrize("command", ["migrate", "bootstrap"])
    def test_a_server_that_does_not_answer(
        self, run: Run, stack_file: Path, command: str
    ) -> None:
        """A failed job with one sentence, in which no secret stands."""
        outcome = run(command)
        assert outcome.status == 1
        assert len(outcome.err.splitlines()) == 1
        assert "secret" not in outcome.err


def test_a_state_directory_that_cannot_be(
    run: Run, monkeypatch: pytest.MonkeyPatch, photo: Path
) -> None:
    """A file is in its place: wrong usage, said in a sentence."""
    monkeypatch.setenv(f"{PREFIX}STATE_DIR", str(photo))
    outcome = run("up", "--detach")
    assert outcome.status == 2
    assert "DARKROOM_STATE_DIR" in outcome.err


@pytest.mark.parametrize("workers", ["0", "-1", "many", ""])
def test_a_number_of_workers_that_is_none(run: Run, workers: str) -> None:
    """Said before anything starts."""
    outcome = run("up", f"--workers={workers}")
    assert outcome.status == 2
    assert "auto" in outcome.err
