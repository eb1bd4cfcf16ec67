"""A `ByteSource` over an open file."""

import os

from storage_backends.base import StorageUnavailable


class DescriptorSource:
    """The first `size` bytes of an open descriptor, read at explicit offsets; thread-safe."""

    __slots__ = ("_descriptor", "size")

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor = descriptor
        self.size = size

    def read(self, start: int, end: int) -> bytes:
        end = min(end, self.size)
        pieces = []
        try:
            while start < end:
                piece = os.pread(self._descriptor, end - start, start)
                if not piece:
                    raise StorageUnavailable("the object ended early")
                pieces.append(piece)
                start += len(piece)
        except OSError as error:
            raise StorageUnavailable("the store cannot be read now") from error
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)
