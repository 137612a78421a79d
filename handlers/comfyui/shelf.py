"""Where prompts, and the names of their files, lie: in the bucket for results, under
the pseudonym of whoever sent them.

Names of files are digests in these keys. Only a prompt holds words of its sender; what
leads to it from its photos and tasks lets an erasure find it.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterator
from contextlib import suppress

from handlers.comfyui.documents import File, Image, Prompt
from shared.errors import NotFound
from shared.runtime.settings import Settings
from shared.s3.store import ObjectInfo, ObjectStore

JSON = "application/json"
ROOT = "comfyui/"
MOST_PROMPTS = 1000
"""Prompts of one user that are kept; of more, those that ended first are forgotten."""
TOLD_S = 10.0
"""How long every connection is told that a prompt has ended."""
DIGITS = 15
"""Of the number in the key of an open prompt, so that the oldest comes first."""


class Shelf:
    """What is kept for one user. All methods raise `StorageUnavailable`."""

    def __init__(self, store: ObjectStore, settings: Settings, user_hash: str) -> None:
        self._store = store
        self._bucket = settings.bucket_results
        self._pepper = settings.pepper.get_secret_value().encode()
        self._root = f"{ROOT}{user_hash}/"

    # Prompts

    def add(self, prompt: Prompt) -> bool:
        """Keep a new prompt. False: there is one of this id."""
        key = self._prompt(prompt.prompt_id)
        for ident in _idents(prompt):
            self._put(self._of(ident, prompt.prompt_id), b"{}")
        if not self._store.put_new(self._bucket, key, prompt.to_bytes(), JSON):
            return False
        self._put(self._open(prompt), b"{}")
        return True

    def write(self, prompt: Prompt) -> None:
        """Keep how a prompt is by now; one that is forgotten stays so."""
        key = self._prompt(prompt.prompt_id)
        with suppress(NotFound):
            self._store.head(self._bucket, key)
            self._put(key, prompt.to_bytes())

    def prompt(self, prompt_id: str) -> Prompt | None:
        key = self._prompt(prompt_id)
        with suppress(NotFound):
            return Prompt.from_bytes(self._store.read(self._bucket, key), key)
        return None

    def latest(self, most: int) -> list[Prompt]:
        """The prompts that were kept last, the latest first."""
        listed = sorted(self._prompts(), key=lambda info: info.last_modified)
        found = [self.prompt(_ident(info)) for info in listed[::-1][:most]]
        prompts = [prompt for prompt in found if prompt]
        return sorted(prompts, key=lambda prompt: prompt.number, reverse=True)

    def open_ids(self) -> list[str]:
        """The prompts of which nobody has seen yet that they ended; the oldest first."""
        listed = self._store.list(self._bucket, f"{self._root}open/")
        return [_ident(info)[DIGITS + 1 :] for info in listed]

    def close(self, prompt: Prompt) -> None:
        """The prompt has ended, and is told of for `TOLD_S`."""
        self._put(self._told(prompt), b"{}")
        self._store.delete(self._bucket, self._open(prompt))

    def told_ids(self) -> list[str]:
        """The prompts that have ended a moment ago; the oldest first."""
        found = []
        for info in list(self._store.list(self._bucket, f"{self._root}told/")):
            if info.age_s > TOLD_S:
                self._store.delete(self._bucket, info.key)
            else:
                found.append(_ident(info)[DIGITS + 1 :])
        return found

    def close_missing(self, prompt_id: str) -> None:
        """A prompt that was erased is open no more."""
        for folder in ("open", "told"):
            for info in list(self._store.list(self._bucket, f"{self._root}{folder}/")):
                if _ident(info)[DIGITS + 1 :] == prompt_id:
                    self._store.delete(self._bucket, info.key)

    def forget(self, prompt: Prompt) -> None:
        """Forget a prompt. Its files stay."""
        self._store.delete(self._bucket, self._prompt(prompt.prompt_id))
        self._store.delete(self._bucket, self._open(prompt))
        self._store.delete(self._bucket, self._told(prompt))
        for ident in _idents(prompt):
            self._store.delete(self._bucket, self._of(ident, prompt.prompt_id))

    def forget_of(self, ident: str) -> None:
        """Forget the prompts of a task, or of an uploaded photo, that is erased."""
        for info in list(self._store.list(self._bucket, self._of(ident))):
            prompt = self.prompt(_ident(info))
            if prompt:
                self.forget(prompt)
            self._store.delete(self._bucket, info.key)

    def prune(self) -> None:
        """Forget the oldest of too many prompts."""
        listed = sorted(self._prompts(), key=lambda info: info.last_modified)
        for info in listed[:-MOST_PROMPTS]:
            prompt = self.prompt(_ident(info))
            if prompt and prompt.end:
                self.forget(prompt)

    # Names of photos

    def image(self, name: str) -> Image | None:
        key = self._image(name)
        with suppress(NotFound):
            return Image.from_bytes(self._store.read(self._bucket, key), key)
        return None

    def add_image(self, name: str, image: Image) -> bool:
        """Give a photo a name. False: the name is another's."""
        return self._store.put_new(
            self._bucket, self._image(name), image.to_bytes(), JSON
        )

    def set_image(self, name: str, image: Image) -> None:
        """Give a photo a name, whatever it stood for."""
        self._put(self._image(name), image.to_bytes())

    def drop_image(self, name: str) -> None:
        self._store.delete(self._bucket, self._image(name))

    # Names of results

    def add_file(self, place: str, task_id: str) -> int:
        """Give a result the next number at `place`: type, folder and prefix."""
        data = File(task_id=task_id).to_bytes()
        number = self._last(place) + 1
        while not self._store.put_new(
            self._bucket, self._file(place, number), data, JSON
        ):
            number += 1
        self._put(self._counter(place), str(number).encode())
        return number

    def file(self, place: str, number: int) -> File | None:
        key = self._file(place, number)
        with suppress(NotFound):
            return File.from_bytes(self._store.read(self._bucket, key), key)
        return None

    def _last(self, place: str) -> int:
        with suppress(NotFound):
            return int(self._store.read(self._bucket, self._counter(place)))
        return 0

    def _prompts(self) -> Iterator[ObjectInfo]:
        return self._store.list(self._bucket, f"{self._root}prompts/")

    def _put(self, key: str, data: bytes) -> None:
        self._store.put(self._bucket, key, data, JSON)

    def _digest(self, name: str) -> str:
        """Keyed, so that a name cannot be guessed from it."""
        message = f"comfyui\0{name}".encode()
        return hmac.new(self._pepper, message, hashlib.sha256).hexdigest()[:32]

    def _prompt(self, prompt_id: str) -> str:
        return f"{self._root}prompts/{prompt_id}.json"

    def _open(self, prompt: Prompt) -> str:
        return f"{self._root}open/{prompt.number:0{DIGITS}d}-{prompt.prompt_id}.json"

    def _told(self, prompt: Prompt) -> str:
        return f"{self._root}told/{prompt.number:0{DIGITS}d}-{prompt.prompt_id}.json"

    def _of(self, ident: str, prompt_id: str = "") -> str:
        name = f"{prompt_id}.json" if prompt_id else ""
        return f"{self._root}of/{ident}/{name}"

    def _image(self, name: str) -> str:
        return f"{self._root}images/{self._digest(name)}.json"

    def _file(self, place: str, number: int) -> str:
        return f"{self._root}files/{self._digest(place)}/{number}.json"

    def _counter(self, place: str) -> str:
        return f"{self._root}files/{self._digest(place)}/last"


def _ident(info: ObjectInfo) -> str:
    return info.key.rpartition("/")[2].removesuffix(".json")


def _idents(prompt: Prompt) -> set[str]:
    """Tasks and uploads that lead to a prompt."""
    tasks = {output.task_id for output in prompt.outputs if output.task_id}
    return tasks | {output.upload_id for output in prompt.outputs}
