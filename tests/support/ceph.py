"""A Ceph of the smallest kind, with its S3 gateway: one monitor, one OSD that keeps
everything in memory, no manager.

Ceph is a second implementation of S3 beside SeaweedFS, written by others. All parts
listen on loopback, run in the foreground as children of the tests, and leave nothing
outside their folder.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from uuid import uuid4

import httpx
from pydantic import SecretStr

from shared.runtime.settings import Settings
from tests.support.brokers import free_port
from tests.support.waiting import eventually

PROGRAMS = ("ceph", "ceph-mon", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")
START_S = 180.0
ACCESS_KEY, SECRET_KEY = "darkroom", "of-tests"

CONFIGURATION = """[global]
fsid = {fsid}
mon host = v2:127.0.0.1:{mon_port}/0
mon initial members = a
public addr = 127.0.0.1
cluster addr = 127.0.0.1
ms bind ipv6 = false
# Nobody proves who he is. The gateway alone would insist on encryption towards the monitor, which needs keys.
auth cluster required = none
auth service required = none
auth client required = none
ms mon client mode = crc
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 1
osd pool default pgp num = 1
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
rgw rados pool pg num min = 1
mon allow pool size one = true
mon warn on pool no redundancy = false
mon max pg per osd = 1000
# A machine whose disk is nearly full is no concern of what lies in memory.
mon data avail crit = 1
mon data avail warn = 1
run dir = {folder}
crash dir = {folder}
admin socket = {folder}/$name.asok
log file = {folder}/$name.log
mon cluster log file = {folder}/cluster.log
mon data = {folder}/mon
osd data = {folder}/osd
osd objectstore = memstore
# Its lease lasts four fifths of this; where a busy machine lets it renew that too late, it stops writing.
osd heartbeat grace = 600
memstore device bytes = 2147483648
osd class load list = *
osd class default list = *
rgw data = {folder}
# A topic with a password is only taken over HTTPS, or from a proxy that says so.
rgw trust forwarded https = true
rgw frontends = beast endpoint=127.0.0.1:{port}
"""


def missing() -> list[str]:
    """Those of its programs that are not installed."""
    return [program for program in PROGRAMS if shutil.which(program) is None]


class Ceph:
    """Started once a session; some 25 s."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._folder = Path(tempfile.mkdtemp(prefix="darkroom-ceph-"))
        self._configuration = self._folder / "ceph.conf"
        self._running: list[subprocess.Popen[bytes]] = []

    @property
    def settings(self) -> Settings:
        return Settings(
            s3_endpoint_url=self.url,
            s3_access_key=SecretStr(ACCESS_KEY),
            s3_secret_key=SecretStr(SECRET_KEY),
        )

    def start(self) -> None:
        fsid, osd, mon_port = str(uuid4()), str(uuid4()), free_port()
        self._configuration.write_text(
            CONFIGURATION.format(
                fsid=fsid, mon_port=mon_port, folder=self._folder, port=self.port
            )
        )
        for name in ("mon", "osd"):
            (self._folder / name).mkdir()
        monitors = str(self._folder / "monmap")
        self._do(
            "monmaptool",
            "--create",
            "--addv",
            "a",
            f"[v2:127.0.0.1:{mon_port}]",
            "--fsid",
            fsid,
            monitors,
        )
        self._do("ceph-mon", "-i", "a", "--mkfs", "--monmap", monitors)
        self._run("ceph-mon", "-i", "a")
        eventually(
            lambda: self._do("ceph", "osd", "new", osd, is_patient=True),
            "a monitor",
            START_S,
        )
        self._do("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self._run("ceph-osd", "-i", "0")
        eventually(
            lambda: "1 up" in self._do("ceph", "osd", "stat", is_patient=True),
            "an OSD",
            START_S,
        )
        keys = ("--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY)
        self._do(
            "radosgw-admin",
            "user",
            "create",
            "--uid",
            "darkroom",
            "--display-name",
            "Darkroom",
            *keys,
        )
        self._run("radosgw", "-n", "client.rgw", "--no-mon-config")
        eventually(self._answers, "the gateway", START_S)

    def stop(self) -> None:
        """What is in memory needs no farewell."""
        for process in reversed(self._running):
            process.kill()
            process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _answers(self) -> bool:
        assert self._running[-1].poll() is None, "the gateway fell"
        try:
            return httpx.get(self.url).is_success
        except httpx.HTTPError:
            return False

    def _do(self, program: str, *arguments: str, is_patient: bool = False) -> str:
        """What it printed; of one that failed nothing, where it may be asked again."""
        done = subprocess.run(
            self._command(program, *arguments),
            capture_output=True,
            text=True,
            timeout=START_S,
        )
        assert is_patient or done.returncode == 0, done.stderr
        return done.stdout if done.returncode == 0 else ""

    def _run(self, program: str, *arguments: str) -> None:
        with (self._folder / f"{program}.out").open("wb") as out:
            command = self._command(program, *arguments, "-f")
            self._running.append(
                subprocess.Popen(
                    command, stdout=out, stderr=subprocess.STDOUT, cwd=self._folder
                )
            )

    def _command(self, program: str, *arguments: str) -> list[str]:
        if program == "monmaptool":
            return [program, *arguments]
        patience = ["--connect-timeout", "10"] if program == "ceph" else []
        return [program, "-c", os.fspath(self._configuration), *patience, *arguments]
