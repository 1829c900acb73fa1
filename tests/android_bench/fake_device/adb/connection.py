"""One connection of the adb server to the device: handshake, streams, flow control."""

import contextlib
import os
import queue
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass

from .wire import MAX_PAYLOAD, VERSION_SKIP_CHECKSUM, Auth, Command, Message, ProtocolError, receive

#: How long a stream waits for the server's acknowledgement before it gives up.
_ACKNOWLEDGED_S = 60.0


class StreamClosed(Exception):  # noqa: N818 - the ordinary end of a stream
    """The other side has closed the stream, or the connection is gone."""


class Stream:
    """One service in use: a shell command, a sync session.

    Both sides send one piece of data at a time and wait until it is acknowledged.
    """

    def __init__(self, connection: "Connection", local: int, remote: int) -> None:
        self._connection, self._local, self._remote = connection, local, remote
        self._arrived: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._may_send = threading.Semaphore(0)
        self._sending = threading.Lock()
        self._held = b""
        self.closed = threading.Event()

    def send(self, data: bytes) -> None:
        """Send all of it, in pieces that the server takes, each acknowledged.

        Raises:
            StreamClosed: Nobody reads any more.
        """
        with self._sending:
            for start in range(0, len(data), self._connection.max_payload):
                piece = data[start : start + self._connection.max_payload]
                if self.closed.is_set():
                    raise StreamClosed
                self._connection.send(Message(Command.WRTE, self._local, self._remote, piece))
                acknowledged = self._may_send.acquire(timeout=_ACKNOWLEDGED_S)
                if not acknowledged or self.closed.is_set():
                    raise StreamClosed

    def receive(self) -> bytes:
        """The next piece of data; empty once the stream is closed."""
        return self._arrived.get() or b""

    def read(self, size: int) -> bytes:
        """Exactly so many bytes.

        Raises:
            StreamClosed: The stream ended before.
        """
        while len(self._held) < size:
            piece = self.receive()
            if not piece:
                raise StreamClosed
            self._held += piece
        taken, self._held = self._held[:size], self._held[size:]
        return taken

    def close(self) -> None:
        """End the stream from the device's side."""
        self._connection.forget(self._local)
        if not self.closed.is_set():
            self.end()
            self._connection.send(Message(Command.CLSE, self._local, self._remote))

    def end(self) -> None:
        """Wake up whoever waits on it: no more data comes, none is taken."""
        self.closed.set()
        self._arrived.put(None)
        self._may_send.release()

    def take(self, message: Message) -> None:
        """A message for this stream has arrived."""
        if message.command is Command.OKAY:
            self._may_send.release()
        elif message.command is Command.WRTE:
            self._arrived.put(message.payload)
            self._connection.send(Message(Command.OKAY, self._local, self._remote))
        elif message.command is Command.CLSE:
            self._connection.forget(self._local)
            self.end()


@dataclass(frozen=True)
class Greeting:
    """How the device answers a server that connects.

    Attributes:
        banner: "device::ro.product.name=...;features=..."
        version: Protocol version of the device.
        authorized: Otherwise every key is refused, as before the user has allowed it.
        silent: Says nothing at all.
    """

    banner: str
    version: int = VERSION_SKIP_CHECKSUM
    authorized: bool = True
    silent: bool = False


class Connection:
    """Reads messages in a thread of its own and hands them to the streams.

    `find_service` takes the name that the server asks for and returns what serves it, which runs in
    a thread of its own; or None, to refuse.
    """

    def __init__(
        self,
        peer: socket.socket,
        greeting: Greeting,
        find_service: Callable[[str], Callable[[Stream], None] | None],
    ) -> None:
        self._peer, self._greeting, self._find_service = peer, greeting, find_service
        self._streams: dict[int, Stream] = {}
        self._next = 1
        self._lock = threading.Lock()
        self._version = greeting.version
        self.max_payload = MAX_PAYLOAD
        #: Answers nothing while set, without closing the connection.
        self.frozen = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def join(self) -> None:
        """Wait for the end of its thread."""
        self._thread.join(timeout=5)

    def send(self, message: Message) -> None:
        """Send a message; one that comes too late is dropped, as on a cable that was pulled."""
        if self.frozen.is_set():
            return
        with self._lock, contextlib.suppress(OSError):
            self._peer.sendall(message.encode(self._version))

    def forget(self, local: int) -> None:
        """No more messages go to this stream."""
        self._streams.pop(local, None)

    def drop(self) -> None:
        """Break the connection, in the middle of whatever happens."""
        with contextlib.suppress(OSError):
            self._peer.shutdown(socket.SHUT_RDWR)

    def _run(self) -> None:
        with contextlib.suppress(EOFError, OSError, ProtocolError, ValueError), self._peer:
            while True:
                message = receive(self._peer)
                if not self.frozen.is_set() and not self._greeting.silent:
                    self._take(message)
        for stream in list(self._streams.values()):
            stream.end()

    def _take(self, message: Message) -> None:
        if message.command is Command.CNXN:
            self._greet(message)
        elif message.command is Command.AUTH:
            if message.arg0 == Auth.SIGNATURE:
                self.send(Message(Command.AUTH, Auth.TOKEN, 0, os.urandom(20)))
        elif message.command is Command.OPEN:
            self._open(message)
        else:
            stream = self._streams.get(message.arg1)
            if stream is not None:
                stream.take(message)

    def _greet(self, message: Message) -> None:
        self._version = min(message.arg0, self._greeting.version)
        self.max_payload = min(message.arg1, MAX_PAYLOAD)
        if not self._greeting.authorized:
            self.send(Message(Command.AUTH, Auth.TOKEN, 0, os.urandom(20)))
            return
        banner = self._greeting.banner.encode()
        self.send(Message(Command.CNXN, self._greeting.version, MAX_PAYLOAD, banner))

    def _open(self, message: Message) -> None:
        name = message.payload.rstrip(b"\0").decode(errors="replace")
        service = self._find_service(name)
        if service is None:
            self.send(Message(Command.CLSE, 0, message.arg0))
            return
        stream = Stream(self, self._next, message.arg0)
        self._streams[self._next] = stream
        self.send(Message(Command.OKAY, self._next, message.arg0))
        self._next += 1
        threading.Thread(target=_serve, args=(service, stream), daemon=True).start()


def _serve(service: Callable[[Stream], None], stream: Stream) -> None:
    with contextlib.suppress(StreamClosed):
        service(stream)
    stream.close()
