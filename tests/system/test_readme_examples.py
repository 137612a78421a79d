"""The documentation's examples, copied from its pages and run as they stand, and the
other ways of an app, on a whole stack.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from standardwebhooks import Webhook

from shared.runtime.settings import Settings
from tests.conftest import darkroom
from tests.support import client
from tests.support.receivers import Receiver, status
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
LIMIT_S = 400


def example(name: str) -> str:
    """The code of the one example of that name, on whatever page it is."""
    wanted = re.compile(rf"<!-- example: {name} -->\n```\w+\n(.*?)```", re.DOTALL)
    (block,) = [found for page in PAGES for found in wanted.findall(page.read_text())]
    return str(block)


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    receiver = Receiver(status(204))
    yield receiver
    receiver.close()


@pytest.fixture(scope="module")
def settings(
    state_dir: Callable[[str], Path], receiver: Receiver
) -> Iterator[Settings]:
    """A whole stack that may call our receiver."""
    folder = state_dir("readme")
    allowed = {"HTTP": "true", "ALLOW": "127.0.0.1", "PORTS": str(receiver.port)}
    given = {f"DARKROOM_CALLBACK_{name}": value for name, value in allowed.items()}
    up = darkroom("up", "--detach", state_dir=folder, **given)
    assert up.returncode == 0, up.stderr
    yield Settings.load(state_dir=folder)
    assert darkroom("down", state_dir=folder).returncode == 0


def run(command: list[str], folder: Path, settings: Settings, **more: str) -> None:
    """In a folder with `photo.jpg`, as a person who has activated the virtual
    environment.
    """
    path = f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"
    env = (
        os.environ
        | {"PATH": path, "DARKROOM_STATE_DIR": str(settings.state_dir)}
        | more
    )
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=LIMIT_S
    )
    assert done.returncode == 0, done.stdout + done.stderr


def photo(folder: Path, seed: int) -> Path:
    path = folder / "photo.jpg"
    path.write_bytes(client.photo(seed=seed, kind="JPEG"))
    return path


def size(path: str | Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def of_env(settings: Settings) -> dict[str, str]:
    """What `eval "$(darkroom env)"` sets."""
    printed = darkroom("env", state_dir=settings.state_dir).stdout
    return dict(line.split("=", 1) for line in shlex.split(printed))


def test_curl(settings: Settings, tmp_path: Path) -> None:
    """From ticket to restored photo."""
    _shell(example("curl"), 1, tmp_path, settings)
    assert json.loads((tmp_path / "state.json").read_text())["status"] == "success"
    assert size(tmp_path / "restored.png") == (160, 120)


def test_upload_look_ahead_and_start(settings: Settings, tmp_path: Path) -> None:
    """One upload, two previews, and the photo as the second of them showed it."""
    _shell(example("start"), 11, tmp_path, settings)
    assert size(tmp_path / "preview-2.png") == (80, 60)
    assert size(tmp_path / "restored.png") == (120, 90)


def _shell(script: str, seed: int, folder: Path, settings: Settings) -> None:
    for tool in ("curl", "jq"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    photo(folder, seed)
    run(["bash", "-euo", "pipefail", "-c", script], folder, settings)


def test_an_archive(settings: Settings, tmp_path: Path) -> None:
    """From a ZIP file to a bag with the same places in it."""
    with zipfile.ZipFile(tmp_path / "scans-1931.zip", "w") as archive:
        for number, place in enumerate(("winter/1.jpg", "summer/1.jpg"), 6):
            archive.write(photo(tmp_path, number), place)
    run(["bash", "-euo", "pipefail", "-c", example("archive")], tmp_path, settings)
    with zipfile.ZipFile(tmp_path / "restored.zip") as bag:
        names = set(bag.namelist())
    access = "data/objects/manualNormalization/access"
    assert {f"{access}/winter/1.png", f"{access}/summer/1.png"} <= names
    assert {"bagit.txt", "data/metadata/premis.xml"} <= names


def test_a_transfer_of_archivematica(settings: Settings, tmp_path: Path) -> None:
    """In with its words and checksums, out as one that lists every file."""
    transfer = tmp_path / "AR-1931"
    picture = photo(tmp_path, 11).read_bytes()
    for folder in ("objects/winter", "metadata"):
        (transfer / folder).mkdir(parents=True)
    (transfer / "objects/winter/1.jpg").write_bytes(picture)
    words = "filename,dc.title,identifier\nobjects/winter/1.jpg,Grandpa,AR-7\n"
    (transfer / "metadata/metadata.csv").write_text(words)
    digest = hashlib.sha256(picture).hexdigest()
    lists = transfer / "metadata/checksum.sha256"
    lists.write_text(f"{digest}  ../objects/winter/1.jpg\n")
    script = example("archivematica")
    run(["bash", "-euo", "pipefail", "-c", script], tmp_path, settings)
    out = tmp_path / "AR-1931-restored"
    copy = out / "objects/manualNormalization/access/winter/1.jpg"
    assert size(copy) == (160, 120)
    assert b"Grandpa" in copy.read_bytes()
    assert (out / "objects/winter/1.jpg").read_bytes() == picture
    written = (out / "metadata/metadata.csv").read_text()
    assert written == "filename,dc.title\nobjects/winter/1.jpg,Grandpa\n"
    files = {file for file in out.rglob("*") if file.is_file()}
    listed = (out / "metadata/checksum.sha256").read_text().splitlines()
    assert len(listed) == len(files) - 1


def test_a_shoebox(settings: Settings, tmp_path: Path) -> None:
    shoebox = tmp_path / "shoebox"
    shoebox.mkdir()
    photo(tmp_path, 12).rename(shoebox / "IMG_1.jpg")
    (shoebox / "IMG_1.mov").write_bytes(b"moving")
    run(["bash", "-euo", "pipefail", "-c", example("shoebox")], tmp_path, settings)
    pictures = {file.name for file in (tmp_path / "album").glob("IMG*")}
    assert pictures == {"IMG_1.jpg", "IMG_1 (original).jpg"}


def test_python_with_boto3_alone(settings: Settings, tmp_path: Path) -> None:
    photo(tmp_path, 2)
    run(
        [sys.executable, "-c", example("python")],
        tmp_path,
        settings,
        **of_env(settings),
    )
    assert size(tmp_path / "restored.png") == (160, 120)


def test_python_with_the_client(settings: Settings, tmp_path: Path) -> None:
    photo(tmp_path, 5)
    code = example("client")
    run([sys.executable, "-c", code], tmp_path, settings, **of_env(settings))
    assert size(tmp_path / "restored.png") == (160, 120)


def test_submit_through_the_api(settings: Settings, tmp_path: Path) -> None:
    """As the bucket's way: waits, fetches, says what became of each; a wrong wish costs
    no upload.
    """
    good, bad = photo(tmp_path, 3), tmp_path / "bad.png"
    bad.write_bytes(b"no photo")
    arguments = [
        str(good),
        str(bad),
        "--api",
        settings.api_url,
        "--workflow",
        "fast",
        "--out",
        str(tmp_path / "out"),
    ]
    done = darkroom("submit", *arguments, "--json", state_dir=settings.state_dir)
    assert done.returncode == 1, done.stderr
    first, second = json.loads(done.stdout)
    assert (first["status"], second["status"]) == ("restored", "rejected")
    assert second["error_code"] == "unsupported_format"
    assert size(first["saved_as"]) == (160, 120)
    again = darkroom(
        "submit",
        str(good),
        "--api",
        settings.api_url,
        "--workflow",
        "fast",
        "--wait",
        "--json",
        state_dir=settings.state_dir,
    )
    assert json.loads(again.stdout)[0]["ticket"] == first["ticket"]
    wrong = darkroom(
        "submit",
        str(good),
        "--api",
        settings.api_url,
        "--workflow",
        "none",
        state_dir=settings.state_dir,
    )
    assert wrong.returncode == 2
    assert "none" in wrong.stderr
    nobody = darkroom(
        "submit",
        str(good),
        "--api",
        settings.api_url,
        "--key",
        "wrong",
        state_dir=settings.state_dir,
    )
    assert nobody.returncode == 2


def test_a_restored_photo_is_told(
    settings: Settings, receiver: Receiver, tmp_path: Path
) -> None:
    """The whole way: ticket with a callback, upload, worker, call, and the page's own
    verification.
    """
    key = {"Authorization": f"Bearer {settings.api_key.get_secret_value()}"}
    wanted: dict[str, Any] = {
        "filename": "secret name.jpg",
        "content_type": "image/jpeg",
        "workflow": "fast",
        "callback": receiver.url,
    }
    refused = httpx.post(
        f"{settings.api_url}/v1/uploads",
        headers=key,
        json=wanted | {"callback": "https://169.254.169.254/latest"},
        timeout=60,
    )
    assert (refused.status_code, refused.json()["code"]) == (422, "bad_parameter")
    ticket = (
        httpx.post(
            f"{settings.api_url}/v1/uploads", headers=key, json=wanted, timeout=60
        )
        .raise_for_status()
        .json()
    )
    put = httpx.put(
        ticket["put"]["url"],
        headers=ticket["put"]["headers"],
        content=photo(tmp_path, 4).read_bytes(),
        timeout=60,
    )
    put.raise_for_status()
    got = eventually(
        lambda: receiver.received[0] if receiver.received else None, "the call", 150
    )
    names: dict[str, Any] = {
        "secret": settings.webhook_secret.get_secret_value(),
        "body": got.body,
        "headers": got.headers,
    }
    exec(example("callback"), names)
    event = names["event"]
    assert (event["type"], event["data"]["status"]) == ("task.finished", "success")
    assert (event["data"]["width"], event["data"]["height"]) == (160, 120)
    assert b"secret" not in got.body
    result = httpx.get(event["data"]["links"]["result"], headers=key)
    assert result.status_code == 307
    assert Webhook(names["secret"]).verify(got.body, got.headers) == event
