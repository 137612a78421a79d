"""The gates: which steps of a workflow a photo needs, by the look at it, and how strong
they are where the workflow leaves that open.

A gate skips a step that would do harm, or nothing. The same look under the same
thresholds gives the same plan.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from gpu_worker import models
from gpu_worker.look import Look, look, scratches
from gpu_worker.photo import Photo
from shared.runtime.settings import EngineSettings, Settings
from shared.uploads.documents import Plan, PlannedStep, Skipped
from shared.workflows import Gates, ResolvedStep, ResolvedWorkflow, gates

Decision = Skipped | dict[str, Any]
"""Why a step is skipped, or the parameters that suit the photo."""

FULL: dict[str, dict[str, Any]] = {
    "repair": {"sensitivity": 0.5},
    "denoise": {"strength": 1.0},
    "dehaze": {"amount": 1.0},
    "faces": {"strength": 1.0},
}
"""The full strength of the steps that have one."""


def plan(workflow: ResolvedWorkflow, seen: Look) -> Plan:
    """What is done to the photo. Its steps are those of `workflow`, one by one."""
    rules = gates()
    return Plan(
        gates=rules.version,
        look=seen.as_dict(),
        steps=[_planned(step, seen, rules) for step in workflow.steps],
    )


def plan_of(photo: Photo, workflow: ResolvedWorkflow, settings: Settings) -> Plan:
    """Look at the photo, and plan."""
    seen = look(photo, _detector(workflow, settings))
    if any(step.kind == "repair" and step.gated for step in workflow.steps):
        # They take longer than all other figures.
        seen = replace(seen, scratches=scratches(photo.pixels, settings))
    return plan(workflow, seen)


def open_plan(workflow: ResolvedWorkflow) -> Plan:
    """A plan that skips nothing: every step at its full strength."""
    everything = [
        PlannedStep(step=step.kind, params=FULL.get(step.kind, {}))
        for step in workflow.steps
    ]
    return Plan(gates=gates().version, look={}, steps=everything)


def _detector(workflow: ResolvedWorkflow, settings: EngineSettings) -> Path | None:
    """The face detector, where a step asks for faces and this worker can find them."""
    for step in workflow.steps:
        if step.kind != "faces" or not step.gated or step.model is None:
            continue
        if models.is_present(step.model, settings) and importlib.util.find_spec("cv2"):
            return models.locate(step.model, "detector", settings)
    return None


def kind_of_colour(seen: Look, rules: Gates) -> str:
    """`coloured`, `toned` (one tone over all greys, as sepia) or `grey`.

    In doubt a photo is in colour: then no step gives it others.
    """
    if seen.colourfulness >= rules.coloured_from:
        return "coloured"
    if seen.strongest_colour >= rules.strongest_colour_from:
        return "coloured"
    return "toned" if seen.tone >= rules.toned_from else "grey"


def is_clean(seen: Look, rules: Gates) -> bool:
    """Whether there is neither noise nor a JPEG block worth removing."""
    return seen.noise < rules.noisy_from and seen.blockiness < rules.blocky_from


def _planned(step: ResolvedStep, seen: Look, rules: Gates) -> PlannedStep:
    if not step.gated or step.params.get("force"):
        return PlannedStep(step=step.kind)
    decision = GATES[step.kind](step, seen, rules)
    if isinstance(decision, Skipped):
        return PlannedStep(step=step.kind, skipped=decision)
    params = {
        name: value for name, value in decision.items() if name not in step.params
    }
    return PlannedStep(step=step.kind, params=params)


def _colorize(step: ResolvedStep, seen: Look, rules: Gates) -> Decision:
    colour = kind_of_colour(seen, rules)
    if colour == "coloured":
        return Skipped(
            code="in_colour",
            because="the photo is in colour already",
            measured={
                "colourfulness": seen.colourfulness,
                "coloured_from": rules.coloured_from,
                "strongest_colour": seen.strongest_colour,
                "strongest_colour_from": rules.strongest_colour_from,
            },
        )
    if colour == "toned" and step.params.get("tone") == "keep":
        return Skipped(
            code="tone_kept",
            because="the photo is toned, and the parameter tone keeps that",
            measured={"tone": seen.tone, "toned_from": rules.toned_from},
        )
    return {}


def _repair(_step: ResolvedStep, seen: Look, rules: Gates) -> Decision:
    found = seen.scratches or 0
    if found < rules.scratched_from:
        return Skipped(
            code="whole",
            because="the photo has no scratches, creases or tears for certain",
            measured={"scratches": found, "scratched_from": rules.scratched_from},
        )
    return {"sensitivity": rules.repair_sensitivity}


def _denoise(_step: ResolvedStep, seen: Look, rules: Gates) -> Decision:
    if is_clean(seen, rules):
        return Skipped(
            code="clean",
            because="the photo has neither noise nor JPEG blocks worth removing",
            measured={
                "noise": seen.noise,
                "noisy_from": rules.noisy_from,
                "blockiness": seen.blockiness,
                "blocky_from": rules.blocky_from,
            },
        )
    over = max(seen.noise / rules.noisy_from, seen.blockiness / rules.blocky_from)
    return {"strength": _mild(over, rules)}


def _faces(_step: ResolvedStep, seen: Look, rules: Gates) -> Decision:
    if seen.faces == 0:
        return Skipped(
            code="no_face",
            because="no face was found in the photo",
            measured={"faces": 0},
        )
    sharpness = seen.face_sharpness
    if sharpness is None:
        sharpness = seen.sharpness
    if sharpness >= rules.sharp_from and is_clean(seen, rules):
        return Skipped(
            code="sharp",
            because="the photo is sharp where its faces are"
            if seen.faces
            else "the photo is sharp",
            measured={"sharpness": sharpness, "sharp_from": rules.sharp_from},
        )
    return {"strength": rules.mild_at_most}


def _dehaze(_step: ResolvedStep, seen: Look, rules: Gates) -> Decision:
    if kind_of_colour(seen, rules) != "coloured":
        return Skipped(
            code="not_in_colour",
            because="haze is told from bright greys only in a photo in colour",
            measured={
                "colourfulness": seen.colourfulness,
                "coloured_from": rules.coloured_from,
            },
        )
    if seen.haze < rules.hazy_from:
        return Skipped(
            code="clear",
            because="no haze worth removing lies over the photo",
            measured={"haze": seen.haze, "hazy_from": rules.hazy_from},
        )
    return {"amount": _mild(seen.haze / rules.hazy_from, rules)}


def _upscale(_step: ResolvedStep, seen: Look, rules: Gates) -> Decision:
    longer = max(seen.width, seen.height)
    if longer >= rules.small_below_px:
        return Skipped(
            code="large_enough",
            because="the photo is large enough",
            measured={"longer_side": longer, "small_below_px": rules.small_below_px},
        )
    is_sharp = seen.sharpness >= rules.sharp_from
    if is_sharp and seen.blockiness < rules.blocky_from:
        return Skipped(
            code="fine",
            because="the photo is small, but sharp and without JPEG blocks",
            measured={
                "sharpness": seen.sharpness,
                "sharp_from": rules.sharp_from,
                "blockiness": seen.blockiness,
                "blocky_from": rules.blocky_from,
            },
        )
    return {}


def _mild(over: float, rules: Gates) -> float:
    """The strength for a figure that is `over` times its threshold."""
    return round(min(rules.mild_at_most, rules.mild_at_threshold * over), 3)


GATES: dict[str, Callable[[ResolvedStep, Look, Gates], Decision]] = {
    "repair": _repair,
    "colorize": _colorize,
    "denoise": _denoise,
    "faces": _faces,
    "dehaze": _dehaze,
    "upscale": _upscale,
}
"""The gate of each kind of step that can have one."""
