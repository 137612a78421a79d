"""A child of content credentials that was taken over: it asks for signatures."""

from __future__ import annotations

import socket
import sys

from shared.credentials.channel import Channel

if __name__ == "__main__":
    channel = Channel(socket.socket(fileno=int(sys.argv[1])))
    channel.receive()
    channel.send({"to_sign": "YQ=="})
    channel.receive()
    channel.send({"to_sign": "Yg=="})
    channel.send({"state": "Trusted", "failures": []})
