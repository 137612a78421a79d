"""A batch loop as people write them for ComfyUI: every file of a folder, by the standard
library alone, with a pause between them.
"""

import json
import os
import sys
import time
import urllib.request
import uuid

server, workflow_file, folder = sys.argv[1:]
with open(workflow_file, encoding="utf-8") as file:
    workflow = json.load(file)


def upload(path):
    boundary = uuid.uuid4().hex
    head = (
        f"--{boundary}\r\nContent-Disposition: form-data; "
        f'name="image"; filename="{os.path.basename(path)}"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    tail = (
        f"\r\n--{boundary}\r\nContent-Disposition: form-data; "
        f'name="overwrite"\r\n\r\ntrue\r\n--{boundary}--\r\n'
    )
    with open(path, "rb") as photo:
        body = head.encode() + photo.read() + tail.encode()
    request = urllib.request.Request(f"{server}/upload/image", data=body)
    request.add_header("Content-Type", f"multipart/form-data; boundary={boundary}")
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["name"]


def queue_prompt(prompt):
    data = json.dumps({"prompt": prompt}).encode("utf-8")
    request = urllib.request.Request(f"{server}/prompt", data=data)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)["prompt_id"]


for name in sorted(os.listdir(folder)):
    if not name.lower().endswith((".jpg", ".png")):
        continue
    uploaded = upload(os.path.join(folder, name))
    for node in workflow.values():
        if node["class_type"] == "LoadImage":
            node["inputs"]["image"] = uploaded
        if node["class_type"] == "SaveImage":
            node["inputs"]["filename_prefix"] = os.path.splitext(name)[0]
    print(queue_prompt(workflow))
    time.sleep(0.2)
