"""A second user of the machine, who has every program that the stack has, but none of
its files.
"""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import ssl
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from infra.local import certificates
from infra.local.program import script
from infra.local.seaweedfs import ROLES, SOCKETS
from infra.local.state import State
from shared.s3.store import S3Store
from tests.support.running_servers import Running, listening, read, write

STRANGER = pwd.getpwnam("nobody")
PHOTO = "a-photo-of-somebody.jpg"
COMMANDS = f"fs.tree /buckets/uploads\nvolume.list\nlock\nfs.rm /buckets/uploads/{PHOTO}\nunlock\nexit\n"
AS_STRANGER = """
import os, sys
weed, folder, uid, gid = os.open(sys.argv[1], os.O_RDONLY), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
os.chdir(folder)
if os.geteuid() == 0 and uid:
    os.setgroups([])
    os.setgid(gid)
    os.setuid(uid)
os.execve(weed, ["weed", *sys.argv[5:]], {"HOME": folder, "PATH": os.defpath})
"""
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""How a gRPC client begins: HTTP/2's greeting and empty settings."""
SETTINGS = 4
"""The type of the frame with which a gRPC server answers whoever it talks to."""


@pytest.fixture(scope="module")
def steady(state_dir: Callable[[str], Path]) -> Iterator[Running]:
    running = Running(state_dir("steady")).start()
    S3Store(running.settings).put("uploads", PHOTO, b"private", "image/jpeg")
    yield running
    running.stop()


def weed_shell(
    running: Running, folder: Path, uid: int, gid: int, patience_s: float
) -> str:
    """What `weed shell` prints, run as this user in this folder; refused, it tries
    again until its time is over.
    """
    ports = running.ports()
    servers = [
        f"-{role}=127.0.0.1:{ports[role]}.{ports[f'{role}_grpc']}"
        for role in ("master", "filer")
    ]
    command = [
        sys.executable,
        "-c",
        AS_STRANGER,
        script("weed"),
        str(folder),
        str(uid),
        str(gid),
        "shell",
        *servers,
    ]
    try:
        return subprocess.run(
            command,
            input=COMMANDS,
            capture_output=True,
            text=True,
            timeout=patience_s,
            check=False,
        ).stdout
    except subprocess.TimeoutExpired as ended:
        return (ended.stdout or b"").decode()


def test_the_stores_own_shell_serves_nobody_else(
    steady: Running, tmp_path: Path
) -> None:
    """`weed shell` of another user lists nothing and deletes nothing; its owner's, with
    the certificates, would.
    """
    tmp_path.chmod(0o755)
    empty = tmp_path / "empty"
    empty.mkdir()
    empty.chmod(0o777)
    assert PHOTO not in weed_shell(
        steady, empty, STRANGER.pw_uid, STRANGER.pw_gid, patience_s=15
    )
    assert S3Store(steady.settings).read("uploads", PHOTO) == b"private"
    told = weed_shell(
        steady,
        steady.folder / "seaweedfs" / "conf",
        os.geteuid(),
        os.getegid(),
        patience_s=120,
    )
    assert PHOTO in told, "nothing was shown: the store's own shell reaches it"
    S3Store(steady.settings).put("uploads", PHOTO, b"private", "image/jpeg")


def greeted(
    port: int, wrap: Callable[[socket.socket], socket.socket] = lambda plain: plain
) -> bool:
    """Whether a gRPC server talks to who begins like this."""
    plain = socket.create_connection(("127.0.0.1", port), timeout=60)
    with suppress(ssl.SSLError, ConnectionError), plain, wrap(plain) as link:
        link.sendall(PREFACE)
        answer = b""
        while len(answer) < 4 and (more := link.recv(4)):
            answer += more
        return answer[3:4] == bytes([SETTINGS])
    return False


def wrapping(context: ssl.SSLContext) -> Callable[[socket.socket], socket.socket]:
    context.set_alpn_protocols(["h2"])
    return lambda plain: context.wrap_socket(plain, server_hostname="127.0.0.1")


def without_certificate(context: ssl.SSLContext) -> ssl.SSLContext:
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


@pytest.mark.parametrize("role", ROLES)
def test_grpc_talks_to_the_stack_alone(
    steady: Running, tmp_path: Path, role: str
) -> None:
    """Each port: in clear, without a certificate, and with one of another stack, nobody
    is answered.
    """
    port = steady.ports()[f"{role}_grpc"]
    certificates.draw(tmp_path)
    other = without_certificate(certificates.context(tmp_path))
    assert not greeted(port)
    assert not greeted(
        port, wrapping(without_certificate(ssl.create_default_context()))
    )
    assert not greeted(port, wrapping(other))
    assert greeted(
        port, wrapping(certificates.context(steady.folder / "seaweedfs" / "conf"))
    )


@pytest.mark.parametrize(
    "path",
    ["/col/delete?collection=uploads", "/dir/assign?collection=uploads", "/dir/status"],
)
def test_the_masters_door_opens_to_the_stack_alone(steady: Running, path: str) -> None:
    """It can delete a whole bucket, and signs what opens the others."""
    port = steady.ports()["master"]
    assert httpx.get(f"http://127.0.0.1:{port}{path}").status_code == 400
    with pytest.raises(httpx.TransportError):
        httpx.get(
            f"https://127.0.0.1:{port}{path}",
            verify=without_certificate(ssl.create_default_context()),
        )
    assert S3Store(steady.settings).read("uploads", PHOTO) == b"private"


def test_these_are_all_doors_that_there_are(steady: Running) -> None:
    """The store listens nowhere else, so no port was left out above."""
    known = {
        port
        for name, port in steady.ports().items()
        if name.removesuffix("_grpc") in ROLES
    }
    assert {port for _, port in listening([steady.server("weed")])} == known


def test_its_secrets_are_its_owners_alone(steady: Running) -> None:
    """Identities, rules, certificates and their key."""
    files = [
        path
        for path in (steady.folder / "seaweedfs" / "conf").iterdir()
        if path.is_file()
    ]
    assert {path.name for path in files} >= {
        "identities.json",
        "security.toml",
        certificates.KEY,
    }
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


def test_a_name_that_somebody_else_took_stops_nothing(
    state_dir: Callable[[str], Path],
) -> None:
    """The store's sockets have names that can be guessed, in a folder where everybody
    may write.
    """
    folder = state_dir("squatted")
    before = State.load(folder).ports
    squats = [
        SOCKETS / f"seaweedfs-{role}-grpc-{before[f'{role}_grpc']}.sock"
        for role in ROLES
    ]
    for squat in squats:
        squat.mkdir()
        (squat / "full").touch()  # not even root's server can take it away
        if os.geteuid() == 0:
            os.chown(squat, STRANGER.pw_uid, STRANGER.pw_gid)
    try:
        running = Running(folder).start()
        try:
            write(running.settings, "works")
            assert read(running.settings) == ["works"] * 3
            after = running.ports()
        finally:
            running.stop()
    finally:
        for squat in squats:
            shutil.rmtree(squat)
    assert {name for name in before if before[name] != after[name]} == {
        f"{role}_grpc" for role in ROLES
    }
