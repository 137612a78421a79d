"""How far a prompt has come, by its tasks, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass, field

from handlers.comfyui.desk import Desk
from handlers.comfyui.documents import ENDED, End, Output, Prompt, Status
from handlers.http.api import state
from handlers.http.api.state import State
from shared.errors import Code

MOST_LOOKED_AT = 16
"""Open prompts of one user whose tasks are looked at together, the oldest."""
MOST_TOLD = 32
"""Prompts that have ended a moment ago and are told of, the youngest."""
GONE = State("failed")


@dataclass(frozen=True)
class Progress:
    """A prompt with its state. `states`: of its outputs that have a task, by node."""

    prompt: Prompt
    status: Status
    states: dict[str, State] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def share(self) -> float:
        """How much of the work is done, from 0 to 1."""
        shares = [each.progress for each in self.states.values()]
        return sum(shares) / len(shares) if shares else 1.0


def look(desk: Desk, prompt: Prompt) -> Progress:
    """How far a prompt has come. That it ended is written down when it is first seen."""
    if prompt.end:
        return Progress(prompt, prompt.end.status)
    states = {
        output.node: _state(desk, output) for output in prompt.outputs if output.task_id
    }
    status = _status(list(states.values()))
    if status in ENDED:
        prompt = prompt.model_copy(update={"end": _end(desk, status, states)})
        desk.shelf.write(prompt)
        desk.shelf.close(prompt)
    return Progress(prompt, status, states)


def underway(desk: Desk, most: int = MOST_LOOKED_AT) -> list[Progress]:
    """The oldest open prompts, and those that have ended a moment ago."""
    idents = desk.shelf.told_ids()[-MOST_TOLD:] + desk.shelf.open_ids()[:most]
    found = []
    for prompt_id in dict.fromkeys(idents):
        prompt = desk.shelf.prompt(prompt_id)
        if prompt is None:
            desk.shelf.close_missing(prompt_id)
        else:
            found.append(look(desk, prompt))
    return found


def _state(desk: Desk, output: Output) -> State:
    receipt = desk.ctx.uploads.readable_receipt(output.upload_id)
    if receipt is None or receipt.task_id is None:
        return GONE
    return state.of_receipt(desk.ctx, receipt)


def _status(states: list[State]) -> Status:
    if any(each.status == "processing" for each in states):
        return "running"
    if not all(each.ended for each in states):
        is_begun = any(each.ended for each in states)
        return "running" if is_begun else "pending"
    failed = [each for each in states if not _is_good(each)]
    if not failed:
        return "success"
    codes = {each.fault.error_code for each in failed if each.fault}
    return "interrupted" if codes == {Code.CANCELLED} else "error"


def _end(desk: Desk, status: Status, states: dict[str, State]) -> End:
    failed = [node for node, each in states.items() if not _is_good(each)]
    node = failed[0] if failed else None
    fault = states[node].fault if node else None
    detail = fault.error_detail if fault else "the photo was erased"
    return End(
        status=status,
        at=desk.ctx.clock.now(),
        node=node,
        detail=detail if node else None,
        failed=failed,
    )


def _is_good(found: State) -> bool:
    return found.status in ("success", "duplicate")
