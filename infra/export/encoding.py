"""Results in formats that their uploads did not ask for, encoded by the worker's own
encoder in a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from shared.errors import Code, PermanentError
from shared.uploads.formats import FileFormat


class Encoding:
    """Copies of results, one after another. The process starts with the first.

    What is made lies in a folder that is gone with this; a file is its caller's to
    delete before.
    """

    def __init__(self, module: str = "gpu_worker") -> None:
        self._module = module
        self._folder = TemporaryDirectory()
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process:
            # It ends with its input.
            self._process.communicate()
        self._folder.cleanup()

    def encoded(
        self, task_id: str, file_format: FileFormat, *, is_labelled: bool = False
    ) -> Path | str:
        """A file with the copy, with the visible label or without; or why there is none,
        as a sentence.

        Raises `PermanentError` where the encoder ends, which costs the export.
        """
        mark = "-labelled" if is_labelled else ""
        file = Path(self._folder.name) / f"{task_id}{mark}.{file_format}"
        answer = self._answer(
            {
                "task_id": task_id,
                "format": file_format,
                "labelled": is_labelled,
                "out": str(file),
            }
        )
        obstacle = answer["obstacle"]
        if obstacle is None:
            return file
        file.unlink(missing_ok=True)
        return str(obstacle)

    def _answer(self, request: dict[str, str | bool]) -> dict[str, str | None]:
        process = self._running()
        assert process.stdin
        assert process.stdout
        try:
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
            found: dict[str, str | None] = json.loads(process.stdout.readline())
        except (OSError, ValueError) as error:
            raise PermanentError(
                Code.INTERNAL,
                "the encoder of copies ended; its own words stand above. Export png, or where the worker's part is"
                " installed",
            ) from error
        return found

    def _running(self) -> subprocess.Popen[str]:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", self._module, "convert"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        return self._process
