"""A client that says exactly the bytes it is told to: programs like curl rewrite an address before they send it.

Owns: one connection to the gateway. Called by: the checks. Never: adds or repairs a byte.
"""

import socket

from lab import GATE4, PROXY_PORT, Failed


class Answer:
    """The head of an answer."""

    def __init__(self, head):
        lines = head.decode("latin-1").split("\r\n")
        words = lines[0].split(" ", 2)
        if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit():
            raise Failed(f"no HTTP answer: {lines[0][:100]!r}")
        self.status = int(words[1])
        self.fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}


class Raw:
    """One connection from an address of the client's to the gateway."""

    def __init__(self, lab, source, to=(GATE4, PROXY_PORT)):
        self.socket = lab.socket(lab.client)
        self.socket.settimeout(10)
        self.held = b""
        try:
            self.socket.bind((source, 0))
            self.socket.connect(to)
        except OSError as error:
            self.socket.close()
            raise Failed(f"{source} cannot connect to the gateway: {error}") from None

    def __enter__(self):
        return self

    def __exit__(self, *_exc):
        self.socket.close()

    def send(self, text):
        """Sends it, text or bytes."""
        self.socket.sendall(text if isinstance(text, bytes) else text.encode())

    def half_close(self):
        """Says that nothing more will come."""
        self.socket.shutdown(socket.SHUT_WR)

    def _more(self):
        try:
            piece = self.socket.recv(65536)
        except TimeoutError:
            raise Failed(f"silence after {self.held[-100:]!r}") from None
        except ConnectionResetError:
            raise Failed(f"reset after {self.held[-100:]!r}") from None
        self.held += piece
        return piece

    def head(self):
        """The head of the next answer."""
        while b"\r\n\r\n" not in self.held:
            if not self._more():
                raise Failed(f"closed after {self.held[:100]!r}")
        head, _, self.held = self.held.partition(b"\r\n\r\n")
        return Answer(head)

    def exactly(self, count):
        """The next bytes, exactly so many."""
        while len(self.held) < count:
            if not self._more():
                raise Failed(f"closed after {len(self.held)} of {count} bytes")
        out, self.held = self.held[:count], self.held[count:]
        return out

    def rest(self):
        """Everything up to the end of the connection, which must be a proper one."""
        pieces = [self.held]
        self.held = b""
        while piece := self._more():
            pieces.append(piece)
            self.held = b""
        return b"".join(pieces)
