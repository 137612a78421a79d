"""Parameters that the setting gives to who leaves them out."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from shared import workflows
from shared.errors import PermanentError, SettingsError
from shared.runtime.settings import UploadSettings
from tests.support.upload_world import World, photo

USUAL = {"fast": {"scale": 2, "strength": 0.5}, "oldphoto": {"scale": 4}}


def test_it_is_as_if_it_had_been_asked_for() -> None:
    plain = workflows.resolve("fast", {"scale": 2, "strength": 0.5})
    assert workflows.asked("fast", {}, USUAL) == plain
    assert workflows.asked("fast", {"scale": 2.0}, USUAL) == plain
    assert workflows.asked("fast", {"scale": 4}, USUAL).ref.params["scale"] == 4
    assert workflows.asked("anime", {}, USUAL) == workflows.resolve("anime")


def test_a_receipt_is_resolved_as_it_stands() -> None:
    """Also one of a release that knew fewer parameters."""
    ref = workflows.resolve("fast").ref
    fewer = {name: value for name, value in ref.params.items() if name != "strength"}
    assert workflows.resolve(ref.name, fewer, ref.version).ref == ref


def test_a_scale_of_the_setting_is_lowered_to_the_models() -> None:
    """Only who asks for more than the model gives is told that."""
    usual = {"enhance": {"scale": 4}}
    model = {"model": "realesrgan-x2plus"}
    assert workflows.asked("enhance", model, usual).ref.params["scale"] == 2
    with pytest.raises(PermanentError, match="more than the 2"):
        workflows.asked("enhance", {"scale": 4, **model}, usual)


@pytest.mark.parametrize(
    ("usual", "rule"),
    [
        ({"sepia": {"scale": 2}}, "no workflow 'sepia'"),
        ({"fast": {"size": 2}}, "no parameter 'size'"),
        ({"fast": {"scale": 9}}, "a number from 1 to 4"),
        ({"enhance": {"model": "nothing"}}, "no model 'nothing'"),
    ],
)
def test_a_slip_is_told_at_the_start(usual: workflows.Usual, rule: str) -> None:
    workflows.use(workflows.Shelf(World().store, "results"))
    try:
        with pytest.raises(SettingsError, match="DARKROOM_DEFAULT_PARAMS") as refused:
            workflows.check_usual(usual)
    finally:
        workflows.use(None)
    assert rule in refused.value.detail


@pytest.mark.parametrize("text", ["{", "[]", '{"fast": 2}'])
def test_it_is_json_by_workflow(text: str) -> None:
    with pytest.raises(ValidationError, match="JSON of parameters by workflow"):
        UploadSettings(default_params=text)


def test_a_dropped_photo_has_them() -> None:
    world = World(settings={"default_params": '{"fast": {"scale": 2}}'})
    workflow = world.receipt(world.upload("a.png", photo())).workflow
    assert workflow is not None
    assert workflow == workflows.resolve("fast", {"scale": 2}).ref


def test_they_are_shown_as_the_defaults() -> None:
    shown = {workflow.name: workflow for workflow, _ in workflows.offered(USUAL)}
    schema = shown["fast"].params_schema()["properties"]
    assert (schema["scale"]["default"], schema["strength"]["default"]) == (2, 0.5)
    assert workflows.presets()["fast"].parameters()["scale"].default == 4
