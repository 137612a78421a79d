"""Prompts: taken in, and taken back."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any
from uuid import uuid4

from handlers.comfyui import graphs, images, names, progress
from handlers.comfyui.desk import Desk
from handlers.comfyui.documents import Kind, Output, Prompt
from handlers.comfyui.errors import NodeFault, Refusal
from handlers.comfyui.graphs import Graph, Reading, Wish
from handlers.comfyui.names import ResultName
from handlers.http.api import cancel_and_erase, starts
from handlers.http.api.starts import StartRequest
from handlers.http.problems import Problem
from shared.errors import PermanentError
from shared.uploads.documents import Receipt

MOST_CLIENT_ID_CHARS = 100
CLOSED_BY_EACH = 2
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def take(desk: Desk, body: Any) -> dict[str, Any]:
    """Start what a prompt wishes, and answer as ComfyUI does. Raises `Refusal`, and
    `Problem` 429.
    """
    if not isinstance(body, dict) or "prompt" not in body:
        if isinstance(body, dict) and isinstance(body.get("nodes"), list):
            graphs.read(body)
        detail = 'send {"prompt": {…}}, the nodes by their ids'
        raise Refusal("no_prompt", "No prompt provided", detail)
    prompt_id = _prompt_id(body)
    client_id = _client_id(body)
    reading = graphs.read(body["prompt"], _targets(body))
    graph: Graph = body["prompt"]
    if desk.shelf.prompt(prompt_id):
        message = "prompt_id already exists"
        raise Refusal("prompt_id_exists", message, "send another one", status=409)
    photos = _photos(desk, graph, reading)
    outputs = _started(desk, graph, reading, photos)
    if not outputs:
        raise Refusal(
            "prompt_outputs_failed_validation",
            "Prompt outputs failed validation",
            _sentences(reading),
            node_errors=reading.node_errors,
        )
    number = int(desk.ctx.clock.now().timestamp() * 1000)
    prompt = Prompt(
        prompt_id=prompt_id,
        number=number,
        client_id=client_id,
        graph=dict(graph),
        extra=_extra(body, client_id, number),
        outputs=outputs,
    )
    if not desk.shelf.add(prompt):
        message = "prompt_id already exists"
        raise Refusal("prompt_id_exists", message, "send another one", status=409)
    desk.shelf.prune()
    _close_ended(desk)
    return {
        "prompt_id": prompt_id,
        "number": number,
        "node_errors": reading.node_errors,
    }


def _close_ended(desk: Desk) -> None:
    """Each new prompt closes two that have ended, for clients that never look."""
    for prompt_id in desk.shelf.open_ids()[:CLOSED_BY_EACH]:
        prompt = desk.shelf.prompt(prompt_id)
        if prompt:
            progress.look(desk, prompt)


def is_id(text: str) -> bool:
    return _UUID.fullmatch(text) is not None


def interrupt(desk: Desk, prompt_id: str | None) -> None:
    """Cancel what is worked on; with an id only that prompt."""
    running = [
        each.prompt
        for each in progress.underway(desk)
        if each.status == "running" and prompt_id in (None, each.prompt.prompt_id)
    ]
    if running:
        _cancel(desk, running, _open(desk))


def withdraw(desk: Desk, prompt_ids: Collection[str] | None) -> None:
    """Take prompts back that wait; None: all of them."""
    opened = _open(desk)
    waiting = [
        prompt
        for prompt in opened
        if prompt_ids is None or prompt.prompt_id in prompt_ids
        if progress.look(desk, prompt).status == "pending"
    ]
    _cancel(desk, waiting, opened)
    for prompt in waiting:
        desk.shelf.forget(prompt)


def _open(desk: Desk) -> list[Prompt]:
    found = [desk.shelf.prompt(prompt_id) for prompt_id in desk.shelf.open_ids()]
    return [prompt for prompt in found if prompt and prompt.end is None]


def _cancel(desk: Desk, prompts: list[Prompt], opened: list[Prompt]) -> None:
    """Cancel the tasks of prompts, but for those that another one waits for, too."""
    meant = {prompt.prompt_id for prompt in prompts}
    others = [prompt for prompt in opened if prompt.prompt_id not in meant]
    for upload_id in _uploads(prompts) - _uploads(others):
        receipt = desk.ctx.uploads.readable_receipt(upload_id)
        if receipt and receipt.task_id:
            # It may have ended meanwhile.
            with suppress(Problem):
                cancel_and_erase.cancel(desk.ctx, receipt.task_id, [receipt])


def _uploads(prompts: list[Prompt]) -> set[str]:
    """Uploads and runs that prompts wait for."""
    return {
        output.upload_id
        for prompt in prompts
        for output in prompt.outputs
        if output.task_id
    }


def _prompt_id(body: Mapping[str, Any]) -> str:
    given = body.get("prompt_id")
    if given is None:
        return str(uuid4())
    if not isinstance(given, str) or not is_id(given):
        detail = "prompt_id: a UUID in lower case with hyphens"
        raise Refusal("invalid_prompt_id", "Invalid prompt_id", detail)
    return given


def _client_id(body: Mapping[str, Any]) -> str | None:
    given = body.get("client_id")
    if given is None:
        return None
    if not isinstance(given, str) or len(given) > MOST_CLIENT_ID_CHARS:
        detail = f"client_id: a text of at most {MOST_CLIENT_ID_CHARS} characters"
        raise Refusal("invalid_prompt", "Invalid client_id", detail)
    return given


def _targets(body: Mapping[str, Any]) -> list[str] | None:
    given = body.get("partial_execution_targets")
    if given is None:
        return None
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        detail = "partial_execution_targets: a list of nodes' ids"
        raise Refusal("invalid_prompt", "Invalid targets", detail)
    return given


def _extra(
    body: Mapping[str, Any], client_id: str | None, number: int
) -> dict[str, Any]:
    """What the history repeats: the editor's own picture of the graph. Anything else may
    hold keys to other services.
    """
    extra: dict[str, Any] = {"create_time": number}
    if client_id is not None:
        extra["client_id"] = client_id
    given = body.get("extra_data")
    if isinstance(given, dict) and isinstance(given.get("extra_pnginfo"), dict):
        extra["extra_pnginfo"] = given["extra_pnginfo"]
    return extra


def _photos(desk: Desk, graph: Graph, reading: Reading) -> dict[str, Receipt]:
    """The uploads of the photos that a prompt names. A name that stands for none is a
    fault of its node.
    """
    found: dict[str, Receipt] = {}
    for wish in list(reading.wishes):
        try:
            if wish.image not in found:
                found[wish.image] = images.photo(desk, wish.image)
        except Refusal as refusal:
            message = "Custom validation failed for node"
            detail = f"image - Invalid image file: {wish.image[: names.MOST_CHARS]}; {refusal.fault.details}"
            fault = NodeFault("custom_validation_failed", message, detail)
            _refuse(graph, reading, wish, wish.loader, fault)
    return found


def _started(
    desk: Desk, graph: Graph, reading: Reading, photos: Mapping[str, Receipt]
) -> list[Output]:
    """The outputs, after their tasks were started."""
    outputs = []
    for wish in list(reading.wishes):
        try:
            outputs.append(_start(desk, wish, photos[wish.image]))
        except Refusal as refusal:
            _refuse(graph, reading, wish, wish.node, refusal.fault)
        except PermanentError as error:
            fault = NodeFault("custom_validation_failed", error.detail, str(error.code))
            _refuse(graph, reading, wish, wish.node, fault)
        except Problem as problem:
            if problem.status in (429, 503):
                raise
            fault = NodeFault("custom_validation_failed", problem.detail, problem.code)
            _refuse(graph, reading, wish, wish.node, fault)
    return outputs


def _start(desk: Desk, wish: Wish, photo: Receipt) -> Output:
    if wish.workflow is None:
        subfolder, name = names.split(names.annotated(wish.image)[0], "image")
        return Output(
            node=wish.node,
            kind="input",
            filename=name,
            subfolder=subfolder,
            upload_id=photo.upload_id,
        )
    subfolder, prefix = _prefix(wish)
    ticket = images.ticket(desk, wish.image)
    wanted = StartRequest.model_validate(
        {
            "ticket": ticket,
            "workflow": wish.workflow,
            "params": dict(wish.params),
            "priority": "interactive",
        }
    )
    run = starts.start(wanted, desk.api, desk.count_upload, desk.principal)
    task_id = run.task_id or ""
    kind: Kind = "temp" if wish.temporary else "output"
    number = desk.shelf.add_file(place(kind, subfolder, prefix), task_id)
    return Output(
        node=wish.node,
        kind=kind,
        filename=str(ResultName(prefix, number)),
        subfolder=subfolder,
        task_id=task_id,
        upload_id=run.upload_id,
    )


def place(kind: str, subfolder: str, prefix: str) -> str:
    """Where results are counted."""
    return f"{kind}/{subfolder}/{prefix}"


def _prefix(wish: Wish) -> tuple[str, str]:
    """The folder of a result and the beginning of its name. Raises `Refusal`."""
    if wish.temporary:
        return "", "ComfyUI_temp"
    return names.split(wish.prefix, "filename_prefix")


def _refuse(
    graph: Graph, reading: Reading, wish: Wish, node: str, fault: NodeFault
) -> None:
    reading.wishes.remove(wish)
    reading.refuse(graph, node, wish.node, fault)


def _sentences(reading: Reading) -> str:
    """The faults of the nodes, for clients that show the details alone."""
    found = [
        f"node {node}: {fault['message']}: {fault['details']}"
        for node, errors in reading.node_errors.items()
        for fault in errors["errors"]
    ]
    return "\n".join(found)
