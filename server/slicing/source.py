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
        if start >= end:
            return b""
        try:
            data = os.pread(self._descriptor, end - start, start)
            while len(data) < end - start:
                more = os.pread(self._descriptor, end - start - len(data), start + len(data))
                if not more:
                    raise StorageUnavailable("the object ended early")
                data += more
        except OSError as error:
            raise StorageUnavailable("the store cannot be read now") from error
        return data
