"""The image with everything: a drill in one container, as a CronJob of a cluster has it."""

from __future__ import annotations

import json
from pathlib import Path
from secrets import token_hex

import pytest

from tests.containers.deployment import Deployment
from tests.containers.engine import Engine

pytestmark = pytest.mark.timeout(1500)
IMAGE = "localhost/darkroom-stack:test"


@pytest.fixture(scope="module")
def image(engine: Engine, made: Deployment, wheels: Path) -> str:
    """The Dockerfile's target `stack`."""
    sources = made.sources
    options = ["--quiet", "--layers", f"--volume={wheels}:/wheels:ro"]
    options += ["--target", "stack", "--tag", IMAGE]
    options += ["--build-arg=VERSION=0.0.1", "--build-arg=REVISION=abc"]
    options += ["--file", str(sources / "infra/docker/Dockerfile")]
    engine.podman("build", *options, str(sources))
    return IMAGE


def test_an_image_says_what_it_is(engine: Engine, image: str) -> None:
    """By the labels that `make images` fills in."""
    printed = engine.podman("image", "inspect", image, "--format", "{{json .Labels}}")
    labels = json.loads(printed)
    prefix = "org.opencontainers.image."
    assert labels[f"{prefix}version"] == "0.0.1"
    assert labels[f"{prefix}revision"] == "abc"
    assert labels[f"{prefix}licenses"] == "BSD-3-Clause"


def test_a_drill_runs_in_one_container(engine: Engine, image: str) -> None:
    """Without rights, without a network, on a read-only root: it makes a stack, loses it,
    and comes back from the backup.
    """
    scratch = f"darkroom-drill-{token_hex(3)}"
    rights = ["--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges"]
    place = ["--network=none", f"--volume={scratch}:/tmp"]
    try:
        printed = engine.podman(
            "run", "--rm", *rights, *place, image, "drill", "--photos", "2", "--json"
        )
    finally:
        engine.succeeds("volume", "rm", "--force", scratch)
    protocol = json.loads(printed.splitlines()[-1])
    assert protocol["checksum_mismatches"] == 0
    assert protocol["reruns_identical"] is True
    assert protocol["findings"] == []
