"""A process that is told to leave leaves, whatever it did before."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
PROCESS = """
import threading, time
from shared.runtime.signals import on_termination

def work():
    while True:
        time.sleep(0.0005)

stop = threading.Event()
on_termination(stop.set)
for _ in range(6):
    threading.Thread(target=work, daemon=True).start()
print("ready", flush=True)
stop.wait()
"""
TRIES = 20
"""A handler that waits for the main thread missed every third or fourth signal."""


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_resumed_process_leaves(signum: signal.Signals) -> None:
    for _ in range(TRIES):
        process = subprocess.Popen(
            [sys.executable, "-c", PROCESS], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        with process:
            assert process.stdout
            assert process.stdout.readline() == "ready\n"
            process.send_signal(signal.SIGSTOP)
            process.send_signal(signal.SIGCONT)
            process.send_signal(signum)
            try:
                assert process.wait(30) == 0
            finally:
                process.kill()
