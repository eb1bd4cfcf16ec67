"""What the format code may ask of the world: sized, random-access bytes."""

from typing import Protocol


class ByteSource(Protocol):
    """An immutable run of bytes that can be read at any offset.

    Reads are synchronous: format code runs in worker threads, never on an event loop.
    """

    @property
    def size(self) -> int:
        """Number of bytes in the source."""
        ...

    def read(self, start: int, end: int) -> bytes:
        """The bytes `[start, min(end, size))`, all of them; storage errors pass through."""
        ...


class BytesSource:
    """A `ByteSource` over bytes in memory."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = data

    @property
    def size(self) -> int:
        return len(self._data)

    def read(self, start: int, end: int) -> bytes:
        return self._data[start:end]
