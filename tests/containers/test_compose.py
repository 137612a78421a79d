"""compose.yaml in containers, from an app's side: what is published, and nothing else,
is what it can reach.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator

import httpx
import pytest

from tests.containers.client import SIDES, App
from tests.containers.deployment import OUTSIDE, OUTSIDE_PORT, Deployment
from tests.containers.images import LABEL, python_image
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(1500)  # the first one builds and starts everything
PROCESSES = ("handlers", "recorder", "sweep", "callbacks", "worker-cpu")
SERVICES = ("object-store", "broker", "database", *PROCESSES)
METRICS_PORT = 9464
REACH = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 5).close()"
FETCH = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=30).read().decode())"
OWN_ADDRESS = "import socket; print(socket.gethostbyname(socket.gethostname()))"
COLOURS = itertools.product(range(20, 250, 40), repeat=3)
"""Each photo its own: the same bytes would be the same task."""


@pytest.fixture(scope="session")
def app(deployment: Deployment) -> Iterator[App]:
    made = App(deployment)
    with made.api:
        yield made


@pytest.fixture(scope="session")
def first(app: App) -> str:
    """The task of the first photo."""
    return app.restored(app.upload(next(COLOURS)))


def test_a_photo_goes_in_by_a_ticket_and_comes_back_by_a_link(
    app: App, first: str
) -> None:
    """All URLs are of the published ports."""
    picture = app.result(first)
    assert (picture.format, picture.size) == ("PNG", (SIDES[0] * 4, SIDES[1] * 4))


def test_the_worker_signs_beside_the_result(app: App, first: str) -> None:
    """With what its image brings, without rights and without a way out."""
    record = app.api.get(f"/v1/tasks/{first}/record").json()
    sidecar = app.linked(f"/v1/tasks/{first}/credentials")
    assert hashlib.sha256(sidecar).hexdigest() == record["credentials"]["sha256"]


def test_the_app_is_called_back(app: App, first: str) -> None:
    """By a signed call to a receiver that only `callbacks` can reach."""
    told = app.called_about(first)
    assert (told["type"], told["data"]["status"]) == ("task.finished", "success")
    assert told["data"]["links"]["task"] == f"{app.api_url}/v1/tasks/{first}"


def test_the_metrics_of_every_process_can_be_scraped(
    deployment: Deployment, app: App, first: str
) -> None:
    """Where a Prometheus would stand, in the network `metrics`; the published port
    tells nothing.
    """
    del first  # so that there is something to count
    for process in PROCESSES:
        told = deployment.engine.podman(
            "run",
            "--rm",
            "--network",
            f"{deployment.project}_metrics",
            python_image(),
            "python",
            "-c",
            FETCH,
            f"http://{process}:{METRICS_PORT}/metrics",
        )
        assert "process_cpu_seconds_total" in told, process
        assert "# TYPE darkroom_" in told, process
    assert app.api.get("/metrics").status_code == 404
    assert httpx.get(f"{app.api_url}/readyz").json() == {"status": "ok"}


@pytest.mark.parametrize("service", SERVICES)
def test_a_container_has_no_rights(deployment: Deployment, service: str) -> None:
    """Nobody in it is root, its root file system is read-only, and no capability is
    left.
    """
    told = deployment.run_in(service, "cat", "/proc/1/status")
    status = dict(line.split(":\t", 1) for line in told.splitlines() if ":\t" in line)
    assert "0" not in status["Uid"].split()
    assert (status["CapEff"], status["CapBnd"], status["NoNewPrivs"]) == (
        "0" * 16,
        "0" * 16,
        "1",
    )
    for folder in ("/", "/usr", "/etc"):
        assert not deployment.engine.succeeds(
            "exec", deployment.container(service), "touch", f"{folder}/x"
        ), folder


def test_networks_keep_apart_what_has_nothing_to_say_to_each_other(
    deployment: Deployment,
) -> None:
    """The worker knows neither database nor world; the world is reached by `callbacks`,
    and reaches nothing inside.
    """
    address = deployment.run_in(OUTSIDE, "python", "-c", OWN_ADDRESS).strip()

    def reaches(service: str, host: str, port: int) -> bool:
        """Whether a connection can be made out of its container."""
        python = "python" if service == OUTSIDE else "/opt/darkroom/bin/python"
        command = (python, "-c", REACH, host, str(port))
        return deployment.engine.succeeds(
            "exec", deployment.container(service), *command
        )

    assert reaches("callbacks", OUTSIDE, OUTSIDE_PORT)
    assert reaches("recorder", "database", 5432)
    assert reaches("worker-cpu", "object-store", 8333)
    assert not reaches("worker-cpu", address, OUTSIDE_PORT)
    assert not reaches("recorder", address, OUTSIDE_PORT)
    assert reaches("sweep", "database", 5432)
    for service in ("worker-cpu", "callbacks"):
        assert not reaches(service, "database", 5432)
    assert not reaches("recorder", "object-store", 8333)
    for inner, port in (
        ("database", 5432),
        ("broker", 5672),
        ("object-store", 8333),
        ("handlers", 8080),
    ):
        assert not reaches(OUTSIDE, inner, port), inner


def test_models_are_pulled_from_a_mirror_and_known_to_all(
    deployment: Deployment, app: App
) -> None:
    """By the one service that reaches outside for them; handlers and worker that run
    already find them.
    """
    weights = b"weights of a toy " * 1000
    (deployment.mirror / "toy.pth").write_bytes(weights)
    file = {
        "role": "weights",
        "sha256": hashlib.sha256(weights).hexdigest(),
        "path": "toy.pth",
    }
    toy = {
        "name": "toy",
        "architecture": "auto",
        "title": "Toy",
        "licence": "none",
        "scale": 4,
        "files": [file],
    }
    photo = {"filename": "a.png", "content_type": "image/png", "bytes": 100}
    asked = {**photo, "workflow": "enhance", "params": {"model": "toy"}}
    assert app.api.post("/v1/uploads", json=asked).status_code == 422
    write = f"open('/models/local.json', 'w').write({json.dumps([toy])!r})"
    volume = f"{deployment.project}_models:/models"
    deployment.engine.podman(
        "run",
        "--rm",
        "--user",
        "10001",
        "--volume",
        volume,
        python_image(),
        "python",
        "-c",
        write,
    )
    pulled = deployment.compose(
        "--profile", "models", "run", "--rm", "-T", "models", "pull", "toy", "--json"
    )
    assert json.loads(pulled.splitlines()[-1])["state"] == "verified"
    assert app.api.post("/v1/uploads", json=asked).status_code != 422
    seen = deployment.run_in(
        "worker-cpu", "darkroom", "models", "verify", "toy", "--json"
    )
    assert json.loads(seen)["state"] == "verified"
    assert not deployment.engine.succeeds(
        "exec", deployment.container("worker-cpu"), "touch", "/models/x"
    )


def test_what_stands_in_says_so(deployment: Deployment) -> None:
    """Nobody takes these images for those that they are named after."""
    for service in ("object-store", "broker", "database"):
        image = deployment.services[service]["image"]
        labels = deployment.engine.podman(
            "image", "inspect", image, "--format", "{{json .Labels}}"
        )
        assert json.loads(labels)[LABEL]


@pytest.mark.parametrize("service", SERVICES)
def test_a_restart_of_any_container_loses_nothing(
    deployment: Deployment, app: App, service: str
) -> None:
    """A photo that is on its way during it, and one after it, come back; so do their
    calls.
    """
    before = app.upload(next(COLOURS))
    deployment.compose("restart", service)
    deployment.wait(service)
    for other in SERVICES:
        deployment.wait(other)
    after = app.upload(next(COLOURS))
    for ticket in (before, after):
        task = app.restored(ticket)
        assert app.result(task).size == (SIDES[0] * 4, SIDES[1] * 4)
        app.called_about(task)


def test_down_and_up_keeps_everything(
    deployment: Deployment, app: App, first: str
) -> None:
    """Pictures, log, broker's queues, models: all lie on volumes. New containers go on
    with them.
    """
    told = app.api.get(f"/v1/tasks/{first}").json()
    deployment.down()
    deployment.up()
    assert app.api.get(f"/v1/tasks/{first}").json() == told
    assert app.result(first).size == (SIDES[0] * 4, SIDES[1] * 4)
    assert json.loads(
        deployment.run_in("worker-cpu", "darkroom", "models", "verify", "toy", "--json")
    )
    rows = app.api.get("/v1/tasks", params={"limit": 100}).json()
    assert first in json.dumps(rows)
    eventually(
        lambda: app.result(app.restored(app.upload(next(COLOURS)))), "another photo"
    )
