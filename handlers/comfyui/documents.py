"""What is kept of prompts and of the files that they name."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from shared.uploads.documents import Document, Part

Kind = Literal["input", "temp", "output"]
Status = Literal["pending", "running", "success", "error", "interrupted"]
ENDED = ("success", "error", "interrupted")


class Output(Part):
    """One output of a prompt: the file that it gets, and the task that makes it.

    Without a task it shows the photo itself.
    """

    node: str
    kind: Kind
    filename: str
    subfolder: str = ""
    task_id: str | None = None
    upload_id: str

    def shown(self) -> dict[str, str]:
        """The file as ComfyUI's history has it."""
        return {
            "filename": self.filename,
            "subfolder": self.subfolder,
            "type": self.kind,
        }


class End(Part):
    """How a prompt ended. `node` and `detail`: of the first output that failed."""

    status: Status
    at: datetime
    node: str | None = None
    detail: str | None = None
    failed: list[str] = Field(default_factory=list)
    """Nodes of the outputs that have no file."""


class Prompt(Document):
    """`comfyui/{user_hash}/prompts/{prompt_id}.json`. `number`: milliseconds since 1970
    at which it was sent.
    """

    prompt_id: str
    number: int
    client_id: str | None = None
    graph: dict[str, Any]
    extra: dict[str, Any] = Field(default_factory=dict)
    outputs: list[Output]
    end: End | None = None

    def shown(self) -> list[Any]:
        """The prompt as ComfyUI's queue and history have it."""
        nodes = [output.node for output in self.outputs]
        return [self.number, self.prompt_id, self.graph, self.extra, nodes]


class Image(Document):
    """`comfyui/{user_hash}/images/{digest}.json`: the upload that a name of a photo
    stands for. The name itself is the upload's.
    """

    ticket: str
    sha256: str


class File(Document):
    """`comfyui/{user_hash}/files/{digest}/{counter}.json`: the task whose result a name
    of an output stands for.
    """

    task_id: str
