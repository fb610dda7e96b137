"""Small real proxies before servers of stores, which lose or cut off answers."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
from collections.abc import Callable, Iterator
from typing import Self

ADDRESSES = {
    "seaweedfs": "AWS_ENDPOINT_URL",
    "moto": "AWS_ENDPOINT_URL",
    "azurite": "AZURITE_BLOB_STORAGE_URL",
}
"""The variable that leads to each server."""


class Forgetful(socketserver.ThreadingTCPServer):
    """A proxy before a server, which loses the replies to chosen requests; a with block ends it.

    Of a reply that is lost `keeps` gives the bytes that arrive before the connection ends.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(
        self,
        target: str,
        loses: Callable[[bytes], bool],
        keeps: Callable[[bytes], bytes] = lambda _: b"",
    ) -> None:
        host, _, port = target.removeprefix("http://").partition(":")
        self.target, self.loses, self.keeps, self.lost = (host, int(port)), loses, keeps, 0
        super().__init__(("127.0.0.1", 0), Passing)

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()


class Passing(socketserver.BaseRequestHandler):
    """One connection of a client, which ends where a reply is lost."""

    server: Forgetful

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError), socket.create_connection(self.server.target) as upstream:
            for request in messages(self.request):
                upstream.sendall(request)
                reply = next(messages(upstream, head=request.startswith(b"HEAD")), b"")
                lost = self.server.loses(request)
                self.server.lost += lost
                if lost or not reply:
                    self.request.sendall(self.server.keeps(reply))
                    return
                self.request.sendall(reply)


def messages(stream: socket.socket, *, head: bool = False) -> Iterator[bytes]:
    """Whole HTTP/1.1 messages with a content length or chunks; a reply to HEAD has no body."""
    data = b""
    while True:
        while b"\r\n\r\n" not in data:
            more = stream.recv(65536)
            if not more:
                return
            data += more
        top, _, rest = data.partition(b"\r\n\r\n")
        fields = {
            line.partition(b":")[0].lower(): line.partition(b":")[2].strip()
            for line in top.split(b"\r\n")[1:]
        }
        while True:
            if fields.get(b"transfer-encoding") == b"chunked" and not head:
                whole = end_of_chunks(rest)
            else:
                whole = 0 if head else int(fields.get(b"content-length", b"0"))
            if 0 <= whole <= len(rest):
                break
            more = stream.recv(65536)
            if not more:
                return
            rest += more
        yield top + b"\r\n\r\n" + rest[:whole]
        data = rest[whole:]


def half(reply: bytes) -> bytes:
    """A reply that is cut off in the middle of its body, or of its head where it has no body."""
    top, end, body = reply.partition(b"\r\n\r\n")
    return top + end + body[: len(body) // 2] if body else top[: len(top) // 2]


def end_of_chunks(body: bytes) -> int:
    """The length of a body in chunks, or -1 where it is not all there."""
    end = 0
    while True:
        line = body.find(b"\r\n", end)
        if line < 0:
            return -1
        size = int(body[end:line].partition(b";")[0], 16)
        end = line + 2 + size + 2
        if end > len(body):
            return -1
        if size == 0:
            return end
