"""Queue and history in ComfyUI's shapes."""

from __future__ import annotations

from typing import Any

from handlers.comfyui import progress
from handlers.comfyui.desk import Desk
from handlers.comfyui.documents import End, Prompt
from handlers.comfyui.progress import Progress

MOST_SHOWN = 100
"""Prompts in an answer to `GET /queue` or `GET /history`."""


def queue(desk: Desk) -> dict[str, list[Any]]:
    """The prompts that are worked on, and those that wait: the oldest `MOST_SHOWN`."""
    looked_at = progress.underway(desk)
    running = [each.prompt for each in looked_at if each.status == "running"]
    waiting = [each.prompt for each in looked_at if each.status == "pending"]
    seen = {each.prompt.prompt_id for each in looked_at}
    for prompt_id in desk.shelf.open_ids()[:MOST_SHOWN]:
        prompt = None if prompt_id in seen else desk.shelf.prompt(prompt_id)
        if prompt and prompt.end is None:
            waiting.append(prompt)
    return {
        "queue_running": [prompt.shown() for prompt in running],
        "queue_pending": [prompt.shown() for prompt in waiting],
    }


def exec_info(desk: Desk) -> dict[str, Any]:
    """How many prompts have not ended."""
    progress.underway(desk)
    return {"exec_info": {"queue_remaining": len(desk.shelf.open_ids())}}


def one(desk: Desk, prompt_id: str) -> dict[str, Any]:
    """One prompt that has ended; nothing until then."""
    prompt = desk.shelf.prompt(prompt_id)
    found = progress.look(desk, prompt) if prompt else None
    return {prompt_id: entry(found)} if found and found.ended else {}


def latest(desk: Desk, most: int, offset: int) -> dict[str, Any]:
    """Prompts that have ended, the oldest of them first, as ComfyUI has them."""
    prompts = desk.shelf.latest(min(most, MOST_SHOWN) + offset)
    found = [progress.look(desk, prompt) for prompt in prompts[offset:]]
    return {
        each.prompt.prompt_id: entry(each) for each in reversed(found) if each.ended
    }


def forget(desk: Desk, prompt_ids: list[str] | None) -> None:
    """Forget prompts that have ended; None: all of them. Their files stay."""
    if prompt_ids is None:
        prompts: list[Prompt | None] = list(desk.shelf.latest(MOST_SHOWN))
    else:
        prompts = [desk.shelf.prompt(prompt_id) for prompt_id in prompt_ids]
    for prompt in prompts:
        if prompt and progress.look(desk, prompt).ended:
            desk.shelf.forget(prompt)


def entry(found: Progress) -> dict[str, Any]:
    prompt, end = found.prompt, found.prompt.end
    assert end is not None
    outputs = {
        output.node: {"images": [output.shown()]}
        for output in prompt.outputs
        if output.node not in end.failed
    }
    return {
        "prompt": prompt.shown(),
        "outputs": outputs,
        "status": {
            "status_str": "success" if end.status == "success" else "error",
            "completed": end.status == "success",
            "messages": _messages(prompt, end),
        },
        "meta": {node: _meta(node) for node in outputs},
    }


def last_message(prompt: Prompt, end: End) -> tuple[str, dict[str, Any]]:
    """The event with which a prompt ends."""
    data: dict[str, Any] = {
        "prompt_id": prompt.prompt_id,
        "timestamp": int(end.at.timestamp() * 1000),
    }
    if end.status == "success":
        return "execution_success", data
    node = end.node or ""
    data |= {
        "node_id": node,
        "node_type": prompt.graph.get(node, {}).get("class_type", ""),
        "executed": [],
    }
    if end.status == "interrupted":
        return "execution_interrupted", data
    data |= {
        "exception_message": end.detail or "",
        "exception_type": "darkroom",
        "traceback": [],
        "current_inputs": {},
        "current_outputs": [],
    }
    return "execution_error", data


def _messages(prompt: Prompt, end: End) -> list[list[Any]]:
    start = {"prompt_id": prompt.prompt_id, "timestamp": prompt.number}
    return [
        ["execution_start", start],
        ["execution_cached", {"nodes": [], **start}],
        list(last_message(prompt, end)),
    ]


def _meta(node: str) -> dict[str, Any]:
    return {
        "node_id": node,
        "display_node": node,
        "parent_node": None,
        "real_node_id": node,
    }
