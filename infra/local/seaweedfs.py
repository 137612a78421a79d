"""The object store of the embedded stack: SeaweedFS in one process."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from infra.bootstrap import buckets, reachable
from infra.local import certificates
from infra.local.identities import identities
from infra.local.program import LOOPBACK, Program, script
from infra.local.state import State, write_private
from shared.runtime.settings import Settings, StoreSettings

NO_ROOM = b"no space left on device"
ROOM_BYTES = 64 << 20
MOST_READ = 4 << 20
ROLES = ("master", "volume", "filer", "s3")
SOCKETS = Path("/tmp")  # noqa: S108 - the server's own choice
"""Where SeaweedFS makes a socket for each gRPC port, under a predictable name."""


def seaweedfs(state: State, settings: Settings) -> Program:
    """The program. It notifies the HTTP server of every upload, and of nothing else;
    without a token for that of nothing at all.
    """
    folder = state.folder_of("seaweedfs", "conf")
    write_private(folder / "identities.json", identities(state, settings))
    write_private(folder / "notification.toml", _notification(settings))
    certificates.draw(folder)
    write_private(folder / "security.toml", _security(state))
    state.folder_of("seaweedfs", "data")
    _have_sockets(state)
    ports = [
        flag
        for role in ROLES
        for flag in (
            f"-{role}.port={state.ports[role]}",
            f"-{role}.port.grpc={state.ports[f'{role}_grpc']}",
        )
    ]
    command = [
        script("weed"),
        "-logtostderr=true",
        "server",
        f"-ip={LOOPBACK}",
        f"-ip.bind={LOOPBACK}",
        f"-s3.ip.bind={_s3_address(settings)}",
        "-dir=../data",
        *ports,
        "-filer.localSocket=filer.sock",
        "-s3.localSocket=s3.sock",
        "-filer",
        "-s3",
        "-s3.config=identities.json",
        "-s3.iam=false",
        "-s3.autoCreateBucket=false",
        "-s3.allowDeleteBucketNotEmpty=false",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-master.telemetry=false",
        # Volumes grow as they are filled: many small ones cost nothing, and a small
        # disk has room for all buckets. Each bucket begins with two of them; what bounds
        # them all is the disk, never their number.
        "-volume.max=100000",
        "-master.volumeSizeLimitMB=1024",
        "-volume.preStopSeconds=0",
        # One node elects itself: waiting for others delays each start after the first
        # by ten seconds.
        "-master.electionTimeout=500ms",
        "-master.heartbeatInterval=100ms",
    ]
    environment = {"HOME": str(folder), "WEED_MASTER_VOLUME_GROWTH_COPY_1": "2"}
    return Program(
        "seaweedfs",
        command,
        lambda: _ready(state, settings),
        environment,
        folder,
        # Its volumes are closed at once; its filer then waits a quarter of a minute for
        # streams that do not end.
        stop_s=2.0,
        may_be_killed=True,
        of_strangers=True,
        fault=FullDisk(state.path("logs", "seaweedfs.log"), state.folder),
    )


def _s3_address(settings: Settings) -> str:
    """Where its S3 door listens: with the HTTP server where `--lan` opened both."""
    public = urlsplit(settings.s3_public_url).port
    own = urlsplit(settings.s3_endpoint_url).port
    return settings.api_host if public is not None and public == own else LOOPBACK


class FullDisk:
    """Its filer's database never writes again after a write that found no room, not
    even when there is room.
    """

    def __init__(self, log: Path, folder: Path) -> None:
        self._log, self._folder = log, folder
        self._read_to = log.stat().st_size if log.exists() else 0
        self._was_full = False

    def __call__(self) -> str:
        """What is wrong with it, once, as soon as a new start would help; else nothing."""
        self._was_full = self._was_full or self._refused()
        if not self._was_full or shutil.disk_usage(self._folder).free < ROOM_BYTES:
            return ""
        self._was_full = False
        return "the disk was full, and has room again"

    def _refused(self) -> bool:
        """Whether its log says so since the last look."""
        size = self._log.stat().st_size if self._log.exists() else 0
        if size == self._read_to:
            return False
        with self._log.open("rb") as file:
            # smaller: the log was begun anew
            file.seek(self._read_to if size > self._read_to else 0)
            new = file.read(MOST_READ)
            self._read_to = file.tell()
        return NO_ROOM in new


def forget_sockets(state: State) -> None:
    """Remove the socket files that it leaves behind."""
    for role in ROLES:
        _forget(state, role)


def _have_sockets(state: State) -> None:
    """Take other gRPC ports where another user has a file with the name of our socket:
    no client knows these ports.
    """
    for role in ROLES:
        while not _forget(state, role):
            state.another_port(f"{role}_grpc")


def _forget(state: State, role: str) -> bool:
    """Whether nothing lies in the socket's place now."""
    try:
        (SOCKETS / f"seaweedfs-{role}-grpc-{state.ports[f'{role}_grpc']}.sock").unlink(
            missing_ok=True
        )
    except OSError:  # another user's, or a folder
        return False
    return True


def _ready(state: State, settings: StoreSettings) -> bool:
    """S3 answers to our key, and every bucket has room: the first object would wait for
    a volume otherwise.
    """
    if not _listens(state.ports["s3"]):
        return False
    return all(_has_room(state, name) for name in buckets(settings)) and reachable(
        settings
    )


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) == 0


def _has_room(state: State, bucket: str) -> bool:
    """Whether the master assigns a place for one object; it makes volumes for the
    bucket where there are none.
    """
    shown = certificates.context(state.path("seaweedfs", "conf"))
    url = f"https://{LOOPBACK}:{state.ports['master']}/dir/assign"
    try:
        answer = httpx.get(
            url, params={"collection": bucket}, timeout=5, verify=shown, trust_env=False
        )
        return bool(answer.json().get("fid"))
    except (httpx.HTTPError, ValueError):
        return False


def _notification(settings: Settings) -> str:
    # A PUT over an existing key arrives as an update. There are no notifications of
    # results, so they can trigger nothing. A JSON string is a TOML string.
    is_enabled = bool(settings.webhook_token.get_secret_value())
    return f"""[notification.webhook]
enabled = {str(is_enabled).lower()}
endpoint = "http://{LOOPBACK}:{settings.api_port}/events/storage"
bearer_token = {json.dumps(settings.webhook_token.get_secret_value())}
timeout_seconds = 10
max_retries = 5
backoff_seconds = 1
max_backoff_seconds = 15
event_types = ["create", "update", "rename"]
path_prefixes = {json.dumps([f"/buckets/{settings.bucket_uploads}/"])}
"""


def _security(state: State) -> str:
    """`security.toml`. Without it every user of this machine could read and delete all
    objects behind S3.

    The parts authenticate each other by a certificate, over gRPC and at the master's
    HTTP port, which can delete a bucket; volume and filer require a signed token. The
    `client` is the S3 part.
    """
    parts = (
        "jwt.signing",
        "jwt.signing.read",
        "jwt.filer_signing",
        "jwt.filer_signing.read",
    )
    signed = [f'[{part}]\nkey = "{state.secrets["seaweedfs"]}"\n' for part in parts]
    shown = f'cert = "{certificates.CERTIFICATE}"\nkey = "{certificates.KEY}"\n'
    mutual = [f"[grpc.{role}]\n{shown}" for role in (*ROLES, "client")]
    authority = f'ca = "{certificates.CA}"\n'
    return "".join(
        [
            *signed,
            f"[grpc]\n{authority}",
            *mutual,
            f"[https.master]\n{shown}{authority}",
        ]
    )
