"""The codec's own tests once more, through the decoder's process: what holds in one
holds in the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields

import pytest

from gpu_worker.codec import Decoder, Limits
from gpu_worker.photo import Photo
from shared.runtime.settings import Settings
from tests.unit.gpu_worker.codec import (
    test_codec_faults,
    test_codec_metadata,
    test_codec_upright,
    test_decode,
)

MODULES = (
    test_decode,
    test_codec_faults,
    test_codec_metadata,
    test_codec_upright,
)
# One patches the codec where it runs, which is elsewhere now; the other has its
# counterpart in test_hostile.py.
LEFT_OUT = {
    "test_memory_that_runs_out_has_a_code_of_its_own",
    "test_any_damage_gives_a_photo_or_a_permanent_error",
}

for module in MODULES:
    globals().update(
        {
            name: test
            for name, test in vars(module).items()
            if name.startswith("test_") and name not in LEFT_OUT
        }
    )


@pytest.fixture(scope="module", autouse=True)
def apart() -> Iterator[None]:
    """The modules' `decode` is a decoder's for as long as this module runs."""
    decoders: dict[Limits, Decoder] = {}

    def decode(data: bytes, limits: Limits, page: int = 1) -> Photo:
        if limits not in decoders:
            names = [field.name for field in fields(Limits)]
            decoders[limits] = Decoder(
                Settings(**{name: getattr(limits, name) for name in names})
            )
        return decoders[limits].decode(data, page=page)

    with pytest.MonkeyPatch.context() as patch:
        for changed in MODULES:
            patch.setattr(changed, "decode", decode)
        yield
    for decoder in decoders.values():
        decoder.close()
