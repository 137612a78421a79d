"""The TypeScript client: generated from the API's description, its types checked, and used
by Node against a whole stack. Needs npm; without it this is skipped.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import httpx

from shared.runtime.settings import Settings
from tests.support.client import photo
from tests.support.command_line import printed_by
from tests.support.extras import without

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients/typescript"
TOOLS = ROOT / ".venv/typescript/node_modules"
SCRIPT = """
import { readFileSync, writeFileSync } from "node:fs";
import { Darkroom, Refusal } from "./dist/index.js";

const [url, key, from, to] = process.argv.slice(2);
const darkroom = new Darkroom(url, key);
const photo = new Blob([readFileSync(from)], { type: "image/png" });
const ticket = await darkroom.submit(photo, { filename: "g.png", workflow: "fast" });
const state = await darkroom.wait(ticket, 120_000);
const result = await darkroom.result(state.task_id);
writeFileSync(to, Buffer.from(await result.arrayBuffer()));
try {
  await darkroom.submit(photo, { filename: "g.png", workflow: "unknown" });
} catch (error) {
  if (!(error instanceof Refusal)) throw error;
  console.log(error.status, error.code);
}
"""

if not TOOLS.exists():
    without("no npm here: `make browser` installs with it")


def test_the_client_is_built_and_restores_a_photo(
    stack: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "client"
    shutil.copytree(CLIENT, folder)
    (folder / "node_modules").symlink_to(TOOLS)
    described = httpx.get(f"{stack.api_url}/openapi.json").text
    (folder / "openapi.json").write_text(described)
    printed_by("npm", "run", "build", folder=folder)
    source, target = tmp_path / "g.png", tmp_path / "restored.png"
    source.write_bytes(photo(32, 24))
    (folder / "use.mjs").write_text(SCRIPT)
    key = stack.api_key.get_secret_value()
    told = printed_by(
        "node", "use.mjs", stack.api_url, key, source, target, folder=folder
    )
    assert told.split() == ["422", "unknown_workflow"]
    assert target.read_bytes().startswith(b"\x89PNG")
