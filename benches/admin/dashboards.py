#!/usr/bin/env python3
"""So many open dashboards: `dashboards.py COUNT HOST PORT`. Says in a line that all of them have an event; at SIGTERM, how many
events each has had at least and at most, and how long an event was."""

import json
import selectors
import signal
import socket
import sys

MARK = b"event: status\n"


class Ended(Exception):
    """Somebody wants to know."""


def end(*_):
    """At SIGTERM."""
    raise Ended


def dashboard(host, port):
    """One that is answered: until then it has a place among the few who ask."""
    stream = socket.create_connection((host, port), 5)
    stream.sendall(f"GET /api/v1/events HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
    stream.recv(1, socket.MSG_PEEK)
    stream.setblocking(False)
    return stream


def main():
    """Opens them, and reads until it is told to end."""
    count, host, port = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    signal.signal(signal.SIGTERM, end)
    selector = selectors.DefaultSelector()
    events, received, tails, said = {}, 0, {}, False
    for _ in range(count):
        stream = dashboard(host, port)
        selector.register(stream, selectors.EVENT_READ)
        events[stream], tails[stream] = 0, b""
    try:
        while True:
            for key, _ in selector.select():
                stream = key.fileobj
                piece = stream.recv(262_144)
                if not piece:
                    sys.exit("a dashboard was closed")
                received += len(piece)
                # An event may begin in one piece and end in another.
                piece = tails[stream] + piece
                events[stream] += piece.count(MARK)
                tails[stream] = piece[1 - len(MARK):]
            if not said and min(events.values()) > 0:
                said = True
                print("begun", flush=True)
    except Ended:
        total = sum(events.values())
        print(json.dumps({"least": min(events.values()), "most": max(events.values()), "event_bytes": received // max(1, total)}))


if __name__ == "__main__":
    main()
