"""The gates' thresholds: from which figure of the look on a step acts.

The handler signs them with every workflow that has gates, and the worker decides by
them, so that the same photo under the same signature is decided on in the same way.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

FILE = Path(__file__).with_name("gates.json")


class Gates(BaseModel):
    """The file `gates.json`. `version` is raised when a figure of the look, or a rule
    of the gates, is computed in another way.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: int = Field(description="Of figures, rules and thresholds together.")
    coloured_from: float = Field(
        description="`colourfulness` of a photo that has colours of its own."
    )
    strongest_colour_from: float = Field(
        description="`strongest_colour` of a photo of which a small part is coloured."
    )
    toned_from: float = Field(description="`tone` of a photo that is toned, as sepia.")
    noisy_from: float = Field(description="`noise` that is worth removing.")
    blocky_from: float = Field(description="`blockiness` that is worth removing.")
    sharp_from: float = Field(
        description="`sharpness`, of a face or of the photo, that needs no help."
    )
    hazy_from: float = Field(description="`haze` that is worth removing.")
    scratched_from: int = Field(description="`scratches` that are worth repairing.")
    repair_sensitivity: float = Field(
        description="`sensitivity` of the repair in `auto`: lower than that of `repair`."
    )
    small_below_px: int = Field(
        description="Longer side of a photo that `auto` may enlarge [px]."
    )
    mild_at_threshold: float = Field(
        description="Strength of a step of `auto` whose figure just reaches its threshold."
    )
    mild_at_most: float = Field(description="Largest strength of a step of `auto`.")


@cache
def gates() -> Gates:
    """The thresholds of this release."""
    return Gates.model_validate_json(FILE.read_bytes())
