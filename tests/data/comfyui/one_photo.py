"""A script as people write them for ComfyUI: upload, set LoadImage, post the prompt, wait,
fetch. It knows nothing of Darkroom.
"""

import json
import sys
import time

import requests

server, workflow_file, photo, target = sys.argv[1:]

with open(photo, "rb") as file:
    answer = requests.post(f"{server}/upload/image", files={"image": file})
answer.raise_for_status()
name = answer.json()["name"]

with open(workflow_file, encoding="utf-8") as file:
    workflow = json.load(file)
for node in workflow.values():
    if node["class_type"] == "LoadImage":
        node["inputs"]["image"] = name

answer = requests.post(f"{server}/prompt", json={"prompt": workflow})
answer.raise_for_status()
prompt_id = answer.json()["prompt_id"]

while True:
    history = requests.get(f"{server}/history/{prompt_id}").json()
    if prompt_id in history:
        break
    time.sleep(0.5)

for output in history[prompt_id]["outputs"].values():
    for image in output["images"]:
        shown = requests.get(f"{server}/view", params=image)
        shown.raise_for_status()
        with open(target, "wb") as file:
            file.write(shown.content)
print(history[prompt_id]["status"]["status_str"])
