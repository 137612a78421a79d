"""Composition: the steps that one request asks for, as a workflow file of their own."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from shared.errors import Code, PermanentError
from shared.s3.store import ObjectStore
from shared.uploads import keys
from shared.uploads.identity import canonical_json
from shared.workflows import limits, own
from shared.workflows.schema import Step, StepKind, Words, Workflow

MOST_STEPS = 8
VERSION = 1
WORDS = Words(title="Composed", description="The steps that a request asked for.")
WORDS_ZH = Words(title="自选步骤", description="由请求指定的步骤。")


class ComposedStep(BaseModel):
    """One step: its model, if it has one, and the parameters that are not default."""

    model_config = ConfigDict(extra="forbid")

    step: StepKind
    model: str | None = Field(None, max_length=80)
    params: dict[str, int | float | str | bool] = {}


def composed(steps: Sequence[ComposedStep]) -> tuple[str, bytes]:
    """Name and file of the workflow with these steps: the same steps have the same.

    Raises `PermanentError(bad_parameter)` with the rule that they break.
    """
    whole = [_step(wanted) for wanted in steps]
    dumped = [step.model_dump(exclude_defaults=True) for step in whole]
    digest = hashlib.sha256(canonical_json(dumped)).hexdigest()
    name = f"{limits.COMPOSED}{digest[:16]}"
    workflow = Workflow(
        name=name,
        version=VERSION,
        title=WORDS.title,
        description=WORDS.description,
        zh=WORDS_ZH,
        steps=whole,
    )
    data = canonical_json(workflow.model_dump(exclude_defaults=True))
    try:
        own.parsed(data, "steps")
    except PermanentError as error:
        raise PermanentError(Code.BAD_PARAMETER, error.detail) from None
    return name, data


def keep(name: str, data: bytes, store: ObjectStore, bucket: str) -> None:
    """Store a composed workflow, where its tasks find it as long as they are known.

    Raises `StorageUnavailable`.
    """
    place = keys.composed_workflow(name, VERSION)
    store.put_new(bucket, place, data, "application/json")


def _step(wanted: ComposedStep) -> Step:
    known = limits.known(wanted.step)
    needed = {name: known[name].default for name in limits.NEEDED[wanted.step]}
    fixed = {**needed, **wanted.params}
    return Step(step=wanted.step, model=wanted.model, fixed=fixed)
