"""What every group of settings is made of: its base class and the types with units."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from shared.runtime import environment

PREFIX = environment.PREFIX

Seconds = Annotated[float, Field(gt=0, json_schema_extra={"unit": "s"})]
Bytes = Annotated[int, Field(gt=0, json_schema_extra={"unit": "bytes"})]
Pixels = Annotated[int, Field(gt=0, json_schema_extra={"unit": "px"})]
Count = Annotated[int, Field(ge=1)]


class SettingsGroup(BaseSettings):
    """Frozen values of one concern, read from variables `DARKROOM_…`.

    Secrets are hidden in `repr` and in logs. A group that extends another one needs its
    values, too.
    """

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")
