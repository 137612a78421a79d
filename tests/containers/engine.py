"""Podman as the tests use it: its own images, networks and settings, so that stand-ins
never meet a person's images.
"""

from __future__ import annotations

import os
import resource
import subprocess
from pathlib import Path

MOST_FILES = 65536


class Engine:
    """One podman whose everything lies in `folder`; `compose` is the program
    podman-compose.
    """

    def __init__(self, folder: Path, compose: Path) -> None:
        self.folder, self._compose = folder, compose
        folder.mkdir(parents=True, exist_ok=True)
        # Limits are told, since podman's own, which are higher, cannot be set without
        # CAP_SYS_RESOURCE. runc runs on both layouts of cgroups. systemd, which may be
        # missing, is not asked for: events go to a file, and the health checks are run
        # by us.
        files = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], MOST_FILES)
        settings = {
            "containers.conf": "[containers]\n"
            f'default_ulimits = ["nofile={files}:{files}", "nproc=8192:8192"]\n'
            '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
            f'[network]\nnetwork_backend = "netavark"\nnetwork_config_dir = "{folder}/networks"\n',
            "storage.conf": f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/images"\nrunroot = "{folder}/run"\n',
            "registries.conf": 'unqualified-search-registries = ["docker.io"]\n',
        }
        # What tests of embedded stacks are set to is no setting of these.
        outside = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("DARKROOM_")
        }
        self._environment = outside | {"DISABLE_HC_SYSTEMD": "true"}
        for name, text in settings.items():
            (folder / name).write_text(text)
            self._environment[
                f"CONTAINERS_{name.removesuffix('.conf').upper()}_CONF"
            ] = str(folder / name)
        self._environment["CONTAINERS_CONF"] = self._environment.pop(
            "CONTAINERS_CONTAINERS_CONF"
        )

    def podman(self, *arguments: str) -> str:
        """What it prints. Raises `CalledProcessError`."""
        return self._run(["podman", *arguments])

    def output(self, *arguments: str) -> str:
        """What it prints on stdout and stderr, whatever its exit status."""
        ran = subprocess.run(
            ["podman", *arguments],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return ran.stdout

    def succeeds(self, *arguments: str) -> bool:
        """Whether podman's exit status is 0."""
        return (
            subprocess.run(
                ["podman", *arguments], env=self._environment, capture_output=True
            ).returncode
            == 0
        )

    def compose(self, folder: Path, *arguments: str) -> str:
        """podman-compose in the project's `folder`."""
        return self._run([str(self._compose), "--in-pod", "false", *arguments], folder)

    def import_tree(self, tree: Path, image: str, label: str) -> None:
        """A folder becomes an image of one layer."""
        pack = subprocess.Popen(["tar", "-C", tree, "-c", "."], stdout=subprocess.PIPE)
        with pack:
            subprocess.run(
                [
                    "podman",
                    "import",
                    "--quiet",
                    "--change",
                    f"LABEL {label}",
                    "--change",
                    "CMD /bin/sh",
                    "-",
                    image,
                ],
                stdin=pack.stdout,
                env=self._environment,
                check=True,
                capture_output=True,
            )

    def _run(self, command: list[str], folder: Path | None = None) -> str:
        ran = subprocess.run(
            command, cwd=folder, env=self._environment, capture_output=True, text=True
        )
        if ran.returncode:
            tail = "\n".join((ran.stdout + ran.stderr).splitlines()[-60:])
            raise AssertionError(
                f"{' '.join(command)}: exit status {ran.returncode}\n{tail}"
            )
        return ran.stdout
