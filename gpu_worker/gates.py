"""The gates: which steps of a workflow a photo needs, by the look at it, and how strong
they are where the workflow leaves that open.

A gate skips a step that would do harm, or nothing. The same look under the same
thresholds gives the same plan.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gpu_worker.look import Look
from shared.uploads.documents import Plan, PlannedStep, Skipped
from shared.workflows import Gates, ResolvedStep, ResolvedWorkflow, gates

Decision = Skipped | dict[str, Any]
"""Why a step is skipped, or the parameters that suit the photo."""

NOT_LOOKED_AT = "faces were not looked at: the face detector is not on this worker"


def plan(workflow: ResolvedWorkflow, look: Look) -> Plan:
    """What is done to the photo. Its steps are those of `workflow`, one by one."""
    rules = gates()
    return Plan(
        gates=rules.version,
        look=look.as_dict(),
        steps=[_planned(step, look, rules) for step in workflow.steps],
    )


def kind_of_colour(look: Look, rules: Gates) -> str:
    """`coloured`, `toned` (one tone over all greys, as sepia) or `grey`.

    In doubt a photo is in colour: then no step gives it others.
    """
    if look.colourfulness >= rules.coloured_from:
        return "coloured"
    if look.strongest_colour >= rules.strongest_colour_from:
        return "coloured"
    return "toned" if look.tone >= rules.toned_from else "grey"


def is_clean(look: Look, rules: Gates) -> bool:
    """Whether there is neither noise nor a JPEG block worth removing."""
    return look.noise < rules.noisy_from and look.blockiness < rules.blocky_from


def _planned(step: ResolvedStep, look: Look, rules: Gates) -> PlannedStep:
    if not step.gated or step.params.get("force"):
        return PlannedStep(step=step.kind)
    decision = GATES[step.kind](step, look, rules)
    if isinstance(decision, Skipped):
        return PlannedStep(step=step.kind, skipped=decision)
    params = {
        name: value for name, value in decision.items() if name not in step.params
    }
    return PlannedStep(step=step.kind, params=params)


def _colorize(step: ResolvedStep, look: Look, rules: Gates) -> Decision:
    colour = kind_of_colour(look, rules)
    if colour == "coloured":
        return Skipped(
            code="in_colour",
            because="the photo is in colour already",
            measured={
                "colourfulness": look.colourfulness,
                "coloured_from": rules.coloured_from,
                "strongest_colour": look.strongest_colour,
                "strongest_colour_from": rules.strongest_colour_from,
            },
        )
    if colour == "toned" and step.params.get("tone") == "keep":
        return Skipped(
            code="tone_kept",
            because="the photo is toned, and the parameter tone keeps that",
            measured={"tone": look.tone, "toned_from": rules.toned_from},
        )
    return {}


def _denoise(_step: ResolvedStep, look: Look, rules: Gates) -> Decision:
    if is_clean(look, rules):
        return Skipped(
            code="clean",
            because="the photo has neither noise nor JPEG blocks worth removing",
            measured={
                "noise": look.noise,
                "noisy_from": rules.noisy_from,
                "blockiness": look.blockiness,
                "blocky_from": rules.blocky_from,
            },
        )
    over = max(look.noise / rules.noisy_from, look.blockiness / rules.blocky_from)
    return {"strength": _mild(over, rules)}


def _faces(_step: ResolvedStep, look: Look, rules: Gates) -> Decision:
    if look.faces == 0:
        return Skipped(
            code="no_face",
            because="no face was found in the photo",
            measured={"faces": 0},
        )
    sharpness = look.face_sharpness
    if sharpness is None:
        sharpness = look.sharpness
    if sharpness >= rules.sharp_from and is_clean(look, rules):
        return Skipped(
            code="sharp",
            because="the photo is sharp where its faces are"
            if look.faces
            else "the photo is sharp",
            measured={"sharpness": sharpness, "sharp_from": rules.sharp_from},
        )
    return {"strength": rules.mild_at_most}


def _dehaze(_step: ResolvedStep, look: Look, rules: Gates) -> Decision:
    if kind_of_colour(look, rules) != "coloured":
        return Skipped(
            code="not_in_colour",
            because="haze is told from bright greys only in a photo in colour",
            measured={
                "colourfulness": look.colourfulness,
                "coloured_from": rules.coloured_from,
            },
        )
    if look.haze < rules.hazy_from:
        return Skipped(
            code="clear",
            because="no haze worth removing lies over the photo",
            measured={"haze": look.haze, "hazy_from": rules.hazy_from},
        )
    return {"amount": _mild(look.haze / rules.hazy_from, rules)}


def _upscale(_step: ResolvedStep, look: Look, rules: Gates) -> Decision:
    longer = max(look.width, look.height)
    if longer >= rules.small_below_px:
        return Skipped(
            code="large_enough",
            because="the photo is large enough",
            measured={"longer_side": longer, "small_below_px": rules.small_below_px},
        )
    is_sharp = look.sharpness >= rules.sharp_from
    if is_sharp and look.blockiness < rules.blocky_from:
        return Skipped(
            code="fine",
            because="the photo is small, but sharp and without JPEG blocks",
            measured={
                "sharpness": look.sharpness,
                "sharp_from": rules.sharp_from,
                "blockiness": look.blockiness,
                "blocky_from": rules.blocky_from,
            },
        )
    return {}


def _mild(over: float, rules: Gates) -> float:
    """The strength for a figure that is `over` times its threshold."""
    return round(min(rules.mild_at_most, rules.mild_at_threshold * over), 3)


GATES: dict[str, Callable[[ResolvedStep, Look, Gates], Decision]] = {
    "colorize": _colorize,
    "denoise": _denoise,
    "faces": _faces,
    "dehaze": _dehaze,
    "upscale": _upscale,
}
"""The gate of each kind of step that can have one."""
