"""An encoder of copies that writes the word of the format, and whether it is to be
labelled; it makes no WebP, and ends at AVIF.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

if __name__ == "__main__":
    for line in sys.stdin:
        asked = json.loads(line)
        if asked["format"] == "avif":
            sys.exit(1)
        obstacle = "no WEBP copy was made" if asked["format"] == "webp" else None
        mark = " labelled" if asked["labelled"] else ""
        Path(asked["out"]).write_text(asked["format"] + mark)
        print(json.dumps({"obstacle": obstacle}), flush=True)
