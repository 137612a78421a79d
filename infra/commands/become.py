"""Commands that become a process of a wing: `darkroom worker` is `python -m gpu_worker`.

`infra` starts the wings and never imports them. A command's options are declared in
this package, for `--help` and completion, and handed on.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn


def become(module: str, *arguments: str, as_json: bool = False) -> NoReturn:
    """Replace this process by `python -m module arguments`; its signals and its exit
    status are then those of the wing.
    """
    sys.stdout.flush()
    json_option = ["--json"] if as_json else []
    # -P: the wing that is installed, not a folder of that name in the working
    # directory.
    command = [sys.executable, "-P", "-m", module, *arguments, *json_option]
    os.execv(sys.executable, command)  # noqa: S606 - our own interpreter
