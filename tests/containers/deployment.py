"""compose.yaml as a person starts it: a fresh copy of the sources, secrets by
make-env.sh, up, down, up again.

podman-compose is told what to start when: this podman cannot wait for health by itself,
and nothing here would ask for it (systemd does, elsewhere). So the order is read from
`depends_on`, and each health check is run by us.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.containers.engine import Engine
from tests.containers.images import ROOT, python_image
from tests.support.brokers import free_port
from tests.support.signers import signer
from tests.support.waiting import eventually

DEADLINE_S = 240.0
OUTSIDE = "outside"
OUTSIDE_PORT = 8099
PROFILE = "cpu"


class Deployment:
    """One project of compose in `folder`."""

    def __init__(self, engine: Engine, folder: Path, project: str) -> None:
        self.engine, self.folder, self.project = engine, folder, project
        self.sources = folder / "darkroom"
        self._copy()
        self._all: dict[str, dict[str, Any]] = yaml.safe_load(
            (self.sources / "compose.yaml").read_text()
        )["services"]
        self.services = {
            name: service
            for name, service in self._all.items()
            if set(service.get("profiles", [PROFILE])) <= {PROFILE}
        }
        self._write_settings()
        self.values = dict(
            line.split("=", 1)
            for line in (self.sources / ".env").read_text().splitlines()
        )
        (self.sources / "override.yaml").write_text(self._override())

    def compose(self, *arguments: str) -> str:
        files = ("-f", "compose.yaml", "-f", "override.yaml")
        return self.engine.compose(
            self.sources, *files, "-p", self.project, "--profile", PROFILE, *arguments
        )

    def build(self, wheels: Path) -> None:
        """The images of the Dockerfile; `wheels` are mounted where the stand-in's pip
        looks.
        """
        one_of_each = {
            service["image"]: name
            for name, service in self.services.items()
            if "build" in service
        }
        mount = f"--layers --volume={wheels}:/wheels:ro"
        self.compose("--podman-build-args", mount, "build", *one_of_each.values())

    def up(self) -> None:
        """Everything, in the order of `depends_on`; returns when all is well."""
        self.compose("up", "--detach", "--no-build", "--no-deps", OUTSIDE)
        left, done = dict(self.services), set[str]()
        while left:
            wave = [
                name
                for name, service in left.items()
                if set(service.get("depends_on", ())) <= done
            ]
            self.compose("up", "--detach", "--no-build", "--no-deps", *wave)
            for name in wave:
                self.wait(name)
                del left[name]
            done |= set(wave)

    def down(self, *arguments: str) -> None:
        self.compose("down", *arguments)

    def wait(self, service: str) -> None:
        """A service is well, or has ended well where it is to end."""
        if "healthcheck" in self.services[service]:
            try:
                eventually(lambda: self.well(service), f"{service} is well", DEADLINE_S)
            except pytest.fail.Exception:
                pytest.fail(
                    f"{service} is not well after {DEADLINE_S:g} s:\n{self.logs(service)}"
                )
        else:
            try:
                eventually(lambda: self.ended(service), f"{service} ends", DEADLINE_S)
            except pytest.fail.Exception:
                pytest.fail(f"{service} did not end well:\n{self.logs(service)}")

    def ended(self, service: str) -> bool:
        """A failed try counts for nothing: the engine starts the service again."""
        state = self.state(service)
        return state["Status"] == "exited" and state["ExitCode"] == 0

    def well(self, service: str) -> bool:
        """Asks as the engine's clock would."""
        return self.engine.succeeds("healthcheck", "run", self.container(service))

    def state(self, service: str) -> dict[str, Any]:
        [told] = json.loads(self.engine.podman("inspect", self.container(service)))
        state: dict[str, Any] = told["State"]
        return state

    def logs(self, service: str) -> str:
        return self.engine.output("logs", "--tail", "40", self.container(service))

    def container(self, service: str) -> str:
        """The id of the service's container."""
        of = ("--filter", f"label=io.podman.compose.project={self.project}")
        which = ("--filter", f"label=com.docker.compose.service={service}")
        found = self.engine.podman(
            "ps", "--all", "--quiet", "--no-trunc", *of, *which
        ).split()
        assert len(found) == 1, f"{service}: {found}"
        return found[0]

    def run_in(self, service: str, *command: str) -> str:
        return self.engine.podman("exec", self.container(service), *command)

    @property
    def calls(self) -> Path:
        """The calls that the receiver outside has had, a file each."""
        return self.folder / "calls"

    @property
    def mirror(self) -> Path:
        """What the mirror outside has."""
        return self.folder / "mirror"

    def _copy(self) -> None:
        """What a clone would have, changes that are not committed yet too."""
        listed = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.splitlines()
        for name in listed:
            if (source := ROOT / name).is_file():
                target = self.sources / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, target)
        self.calls.mkdir()
        self.mirror.mkdir()
        shutil.copy2(Path(__file__).with_name("outside.py"), self.folder)

    def _write_settings(self) -> None:
        ports = f"S3_PORT={free_port()}\nAPI_PORT={free_port()}\n"
        mirror = f"DARKROOM_MODELS_MIRROR=http://{OUTSIDE}:{OUTSIDE_PORT}\n"
        (self.sources / ".env").write_text(ports + mirror)
        subprocess.run(
            ["sh", "infra/docker/make-env.sh"],
            cwd=self.sources,
            check=True,
            capture_output=True,
        )
        (self.sources / "infra/docker/tuning.env").write_text(
            f"DARKROOM_CALLBACK_HTTP=true\nDARKROOM_CALLBACK_PORTS={OUTSIDE_PORT}\nDARKROOM_CALLBACK_ALLOW={OUTSIDE}\n"
            "DARKROOM_WORKER_THREADS=2\nDARKROOM_SWEEP_INTERVAL_S=5\n"
        )

    def _signing(self) -> list[str]:
        """As docs/how-to/sign-results.md has it."""
        folder = self.folder / "credentials"
        folder.mkdir()
        signer(folder)
        for file in folder.iterdir():
            file.chmod(0o644)
        given = {
            "DARKROOM_C2PA_SIGN": "sidecar",
            "DARKROOM_C2PA_CERTS": "/credentials/certs.pem",
            "DARKROOM_C2PA_KEY": "/credentials/key.pem",
        }
        return [
            f"    environment: {json.dumps(given)}",
            f"    volumes: {json.dumps([f'{folder}:/credentials:ro'])}",
        ]

    def _override(self) -> str:
        """The world outside, and without what this podman has not: a tmpfs with an
        owner, names in log files, a first interval of health checks, and more open
        files than the machine lets anybody have.
        """
        lines = ["services:"]
        for name, service in self._all.items():
            plain = [
                f"{mount.partition(':')[0]}:mode=1777"
                for mount in service.get("tmpfs", [])
            ]
            lines += [f"  {name}:", f"    tmpfs: !override {json.dumps(plain)}"]
            lines += ["    logging: {options: {tag: !reset none}}"]
            if "ulimits" in service:
                lines += ["    ulimits: !reset {}"]
            if "healthcheck" in service:
                lines += ["    healthcheck: {start_interval: !reset 0s}"]
            if name == "worker-cpu":
                lines += self._signing()
        files = {
            "outside.py": "/outside.py:ro",
            "mirror": "/mirror:ro",
            "calls": "/calls",
        }
        mounts = [f"{self.folder}/{name}:{place}" for name, place in files.items()]
        lines += [
            f"  {OUTSIDE}:",
            f"    image: {python_image()}",
            f"    command: [python, /outside.py, '{OUTSIDE_PORT}', /mirror, /calls]",
            f"    volumes: {json.dumps(mounts)}",
            "    networks: [out]",
        ]
        return "\n".join(lines) + "\n"
