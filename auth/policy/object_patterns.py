"""Which datasets an object belongs to, by patterns over its id: `reads/cardio/*`, `variants/**`.

Patterns and ids are compared segment by segment, from the first to the last, as exact text: `*` is
any one segment, `**` any number of them, at the end at least one. What is not text between slashes
(empty segments, control characters, endless ids) belongs to nothing.
"""

from collections.abc import Iterable, Iterator

MAX_LENGTH = 2048
"""Characters of an id or a pattern."""

_ONE, _ANY = "*", "**"


class PatternIndex:
    """Many patterns at once, each standing for a number.

    The walk goes to the end of an id whether anything matches or not, so its time does not tell
    what there is.
    """

    def __init__(self, patterns: Iterable[tuple[str, int]]) -> None:
        self._root = _Node()
        for pattern, value in patterns:
            node = self._root
            for segment in segments_of(pattern):
                node = node.child(segment)
            node.values += (value,)

    def match(self, text: str) -> tuple[int, ...]:
        """The numbers of the patterns that an id matches, sorted, each once."""
        found = [value for node in self._walk(text.split("/")) for value in node.values]
        if not _is_ordinary(text):
            return ()
        return tuple(sorted(set(found))) if len(found) > 1 else tuple(found)

    def below(self, prefix: str) -> tuple[int, ...]:
        """The numbers of the patterns that any id may match that begins with the segments of a
        prefix, such as `reads/` or `reads/name/`."""
        given = [segment for segment in prefix.split("/") if segment]
        found: set[int] = set()
        for node in self._walk(given):
            for each in node.subtree():
                found.update(each.values)
        return tuple(sorted(found))

    def _walk(self, segments: list[str]) -> list["_Node"]:
        states = [self._root]
        for segment in segments:
            reached: list[_Node] = []
            for node in states:
                deep = node if node.repeats else node.children.get(_ANY)
                places = (node,) if deep is None or deep is node else (node, deep)
                if deep is not None:
                    reached.append(deep)
                for place in places:
                    for key in (segment, _ONE):
                        child = place.children.get(key)
                        # The key of a star is no segment: an id that has one finds `*` only once.
                        if child is not None and (key is _ONE or segment not in (_ONE, _ANY)):
                            reached.append(child)
            states = list(dict.fromkeys(reached)) if len(reached) > 1 else reached
        return states


class _Node:
    """What may follow the segments so far. `repeats`: it is `**`, which may be followed by more of
    the same."""

    __slots__ = ("children", "repeats", "values")

    def __init__(self, *, repeats: bool = False) -> None:
        self.children: dict[str, _Node] = {}
        self.values: tuple[int, ...] = ()
        self.repeats = repeats

    def child(self, segment: str) -> "_Node":
        node = self.children.get(segment)
        if node is None:
            node = self.children[segment] = _Node(repeats=segment == _ANY)
        return node

    def subtree(self) -> Iterator["_Node"]:
        """This node and all that may follow."""
        waiting = [self]
        while waiting:
            node = waiting.pop()
            yield node
            waiting.extend(node.children.values())


def segments_of(pattern: str) -> list[str]:
    """The segments of a pattern; `ValueError` says what is wrong with it."""
    segments = pattern.split("/")
    if not _is_ordinary(pattern):
        raise ValueError("a pattern has 1 to 2048 characters and no empty segment, as in reads/a/*")
    for before, segment in zip(["", *segments], segments, strict=False):
        if "*" in segment and segment not in (_ONE, _ANY):
            raise ValueError(f"{segment}: a star stands for whole segments only, as in reads/a/*")
        if before == segment == _ANY:
            raise ValueError("**/** says no more than **")
    return segments


def _is_ordinary(text: str) -> bool:
    return (
        0 < len(text) <= MAX_LENGTH
        and text.isprintable()
        and "//" not in text
        and text[0] != "/"
        and text[-1] != "/"
    )
