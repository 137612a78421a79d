"""SIGTERM and SIGINT, heard whatever the main thread does.

Python runs a handler in the main thread alone, and does not wake that thread where the
kernel gave the signal to another one. The kernel does so when the main thread was just
continued: a paused process that is resumed and told to leave would wait for ever. So
the signal's number goes to a socket, which Python writes in whatever thread is
interrupted, and a thread of its own reads.
"""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable

TERMINATION = (signal.SIGTERM, signal.SIGINT)


def on_termination(stop: Callable[[], None]) -> None:
    """Have `stop` called at each SIGTERM and SIGINT from now on. Only for the main
    thread, once a process.
    """
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    for signum in TERMINATION:
        # Without a handler Python writes nothing, and the process would end at once.
        signal.signal(signum, lambda *_: None)

    def listen() -> None:
        # The thread keeps both ends open.
        with reader, writer:
            while received := reader.recv(1):
                if received[0] in TERMINATION:
                    stop()

    threading.Thread(target=listen, name="signals", daemon=True).start()
