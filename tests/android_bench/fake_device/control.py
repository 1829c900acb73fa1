"""Where the programs on the device report to the device, which tells them what to do."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .benchmark_model.dialects import Step


@dataclass(frozen=True)
class Started:
    """A program that has been started on the device.

    Attributes:
        words: Its path as it was called, and its flags, with the host's paths.
        folder: Working folder on the host.
        affinity: The mask given to taskset; empty without it.
        shell: Number of the shell command that it was started from.
        pid: Its process.
    """

    words: list[str]
    folder: Path
    affinity: str
    shell: int
    pid: int


class Control:
    """Listens on loopback and runs the script of one program per connection.

    Args:
        play: The steps of a program. Those named "event" are told to `on_event` instead.
        on_event: Further steps, for the event of that name.
    """

    def __init__(
        self,
        script: Callable[[Started], Iterator[Step]],
        on_event: Callable[[Started, str], Iterator[Step]],
    ) -> None:
        self._script, self._on_event = script, on_event
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        #: What went wrong in the fake itself; a test must not pass over it.
        self.failures: list[BaseException] = []
        self._peers: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Let go of every program."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for peer in list(self._peers):
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                self._peers.add(peer)
                threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        try:
            with peer, peer.makefile("rw", encoding="utf-8") as lines:
                facts = json.loads(lines.readline())
                started = Started(**facts | {"folder": Path(facts["folder"])})
                for step in self._with_events(started):
                    print(json.dumps(step), file=lines, flush=True)
                    if not lines.readline():
                        return  # it has ended, as told or otherwise
        except OSError:
            pass  # the program is gone
        except BaseException as error:
            self.failures.append(error)
        finally:
            self._peers.discard(peer)

    def _with_events(self, started: Started) -> Iterator[Step]:
        for kind, value in self._script(started):
            if kind == "event":
                yield from self._on_event(started, str(value))
            else:
                yield kind, value
