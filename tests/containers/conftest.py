"""Containers: compose.yaml on a real engine. Not part of `make test`: `make containers`
runs it, and so does CI.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex

import pytest

from tests.containers import images
from tests.containers.deployment import Deployment
from tests.containers.engine import Engine

VENV = images.ROOT / ".venv"
COMPOSE = VENV / "podman-compose/bin/podman-compose"
PROGRAMS = ("podman", "runc", "debootstrap", "catatonit")
STAND_INS = {"object-store": "seaweedfs", "broker": "rabbitmq", "database": "postgres"}
"""Service of compose.yaml → the Containerfile of its image's stand-in."""


def missing() -> str:
    """Why there are no containers here, or nothing."""
    for program in PROGRAMS:
        if not (shutil.which(program) or Path("/usr/libexec/podman", program).exists()):
            return f"{program} is not installed"
    if os.geteuid() != 0:
        return "only root may unpack a Debian and set up bridged networks"
    return (
        ""
        if COMPOSE.exists()
        else "podman-compose is not installed; `make containers` does it"
    )


@pytest.fixture(scope="session")
def engine() -> Engine:
    """Podman; without it CI fails, and others skip."""
    if why := missing():
        if os.environ.get("CI"):
            pytest.fail(f"{why}, and CI must have it")
        pytest.skip(why)
    return Engine(VENV / "containers", COMPOSE)


@pytest.fixture(scope="session")
def made(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """compose.yaml in a copy of its own; nothing runs yet."""
    folder = tmp_path_factory.mktemp("deployment")
    return Deployment(engine, folder, f"darkroom-{token_hex(3)}")


@pytest.fixture(scope="session")
def wheels(engine: Engine, made: Deployment) -> Path:
    """What stand-ins and images install, and the stand-ins are built."""
    servers = {
        name: made.services[service]["image"] for service, name in STAND_INS.items()
    }
    return images.build(engine, servers)


@pytest.fixture(scope="session")
def deployment(made: Deployment, wheels: Path) -> Iterator[Deployment]:
    """The whole of compose.yaml, up and well."""
    try:
        made.build(wheels)
        made.up()
        yield made
    finally:
        made.down("--volumes")
