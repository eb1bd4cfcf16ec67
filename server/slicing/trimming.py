"""What trimming CRAM containers takes: processes, references, and a memory of what was trimmed."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass

from server.slicing.references import References
from server.slicing.workers import WorkerPool


class EdgeCache:
    """Trimmed containers, least recently used first out, up to `capacity` bytes; thread-safe."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._held = 0
        self._edges: OrderedDict[Hashable, bytes | None] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> tuple[bytes | None] | None:
        """The edge in a tuple of one, or None."""
        with self._lock:
            if key not in self._edges:
                return None
            self._edges.move_to_end(key)
            return (self._edges[key],)

    def put(self, key: Hashable, edge: bytes | None) -> None:
        """Keep an edge, unless it is a large part of the whole."""
        weight = _weight(edge)
        if weight > self._capacity // 8:
            return
        with self._lock:
            if key in self._edges:
                return
            self._edges[key] = edge
            self._held += weight
            while self._held > self._capacity:
                self._held -= _weight(self._edges.popitem(last=False)[1])


def _weight(edge: bytes | None) -> int:
    return len(edge or b"") + 500


@dataclass(frozen=True, slots=True)
class Trimmer:
    """What trimming needs. `key` names the object and its version in the cache; `on_inexact` is
    told why a container goes out whole."""

    pool: WorkerPool
    references: References
    cache: EdgeCache | None = None
    key: Hashable = None
    on_inexact: Callable[[Exception], None] | None = None
