"""Queues that send tensors through shared memory whatever made their pipes, as `torch.multiprocessing.queue`."""

import io
import multiprocessing.queues
import pickle
from multiprocessing.reduction import ForkingPickler
from typing import Any

__all__ = ["ConnectionWrapper", "Queue", "SimpleQueue"]


class ConnectionWrapper:
    """A connection whose objects go through multiprocessing's pickler."""

    def __init__(self, conn):
        self.conn = conn

    def send(self, obj) -> None:
        """Send an object."""
        buffer = io.BytesIO()
        ForkingPickler(buffer, pickle.HIGHEST_PROTOCOL).dump(obj)
        self.send_bytes(buffer.getvalue())

    def recv(self):
        """The next object."""
        return pickle.loads(self.recv_bytes())

    def __getattr__(self, name):
        if "conn" in self.__dict__:
            return getattr(self.conn, name)
        raise AttributeError(f"'{type(self).__name__}' object has no attribute 'conn'")


class Queue(multiprocessing.queues.Queue):
    """Of many writers and readers; a thread sends."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        own: Any = self
        own._reader, own._writer = ConnectionWrapper(own._reader), ConnectionWrapper(own._writer)
        own._send, own._recv = own._writer.send, own._reader.recv


class SimpleQueue(multiprocessing.queues.SimpleQueue):
    """A pipe with locks."""

    def _make_methods(self) -> None:
        own: Any = self
        if not isinstance(own._reader, ConnectionWrapper):
            own._reader, own._writer = ConnectionWrapper(own._reader), ConnectionWrapper(own._writer)
        make = getattr(super(), "_make_methods", None)
        if make is not None:
            make()
