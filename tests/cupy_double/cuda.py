"""CuPy's streams, graphs and pools without a device: a capture runs nothing, and a launch does what was captured.

As with CUDA, what was captured reads and writes the memory that it was captured with, whoever holds that by then; and
where the host would have to wait, or to copy something, a capture fails.
"""

import contextlib
import threading

import numpy as np

_HERE = threading.local()  # captures are of a thread


class CUDARuntimeError(RuntimeError):
    """What CUDA refuses."""


class Graph:
    """Launches in their order, with the memory that each writes into."""

    def __init__(self):
        self._launches = []
        self.launches = 0

    def add(self, compute, found):
        """Note what computes something, and the array that it is in; what was captured was not run."""
        if isinstance(found, tuple | list):
            raise NotImplementedError("several results of one launch")
        self._launches.append((compute, found))
        if isinstance(found, np.ndarray) and found.flags.writeable and found.base is None and found.dtype.kind == "f":
            found[...] = np.nan

    def launch(self, stream=None):
        """Run all of it."""
        refuse("a launch")
        self.launches += 1
        for compute, found in self._launches:
            new = compute()
            if isinstance(found, np.ndarray) and not np.shares_memory(new, found):
                found[...] = new


class Stream:
    """A stream, which may be in a capture; only one that does not wait for the default stream can be."""

    def __init__(self, null=False, non_blocking=False):
        self._may = non_blocking
        self._graph = None

    def __enter__(self):
        return self

    def __exit__(self, *why):
        return None

    def synchronize(self):
        """Wait, which nobody may in a capture."""
        refuse("synchronize")

    def wait_event(self, event):
        """Let what comes wait for an event, which nothing does in a capture of another stream."""
        refuse("wait_event")
        assert isinstance(event, Event)

    def begin_capture(self, mode=None):
        """Begin a graph."""
        if not self._may or captures():
            raise CUDARuntimeError("cudaErrorStreamCaptureUnsupported")
        self._graph = Graph()
        captures().append(self._graph)

    def end_capture(self):
        """Return the graph."""
        graph, self._graph = self._graph, None
        if graph is None or graph not in captures():
            raise CUDARuntimeError("cudaErrorStreamCaptureInvalidated")
        captures().remove(graph)
        return graph


class Event:
    """A place in a stream."""

    def __init__(self, block=False, disable_timing=False, interprocess=False):
        pass

    def record(self, stream=None):
        """Put it at the end of a stream."""
        refuse("record")


class MemoryPool:
    """Memory of its own."""

    def malloc(self, size):
        """Return memory."""
        raise NotImplementedError

    def total_bytes(self):
        """Return how much it holds."""
        return 0


@contextlib.contextmanager
def using_allocator(malloc):
    """Take memory from a pool for as long as the block lasts."""
    yield


def get_current_stream():
    """Return a stream."""
    return Stream(null=True)


def captures():
    """Return the captures of this thread: none, or one."""
    if not hasattr(_HERE, "captures"):
        _HERE.captures = []
    return _HERE.captures


def refuse(what):
    """Raise where a capture cannot hold that; it is over then."""
    if captures():
        captures().clear()
        raise CUDARuntimeError(f"cudaErrorStreamCaptureUnsupported: {what}")


def launched(compute, *from_host):
    """Return what is computed; in a capture it is noted, and NaN until somebody launches it."""
    if not captures():
        return compute()
    if from_host:
        refuse("an index that is copied from the host")
    found = compute()
    found = np.asarray(found) if isinstance(found, np.generic) else found
    captures()[-1].add(compute, found)
    return found
