"""Every adversarial case that the access control must withstand is held by some test.

The cases have ids: a letter or two for their kind, and a number. A test that holds one names it in
its marker `security`.
"""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parent
CASES = {
    "TT": 22,  # tokens and keys
    "TV": 20,  # passports and visas
    "TU": 9,  # data URLs
    "TP": 6,  # paths and ids
    "TR": 10,  # requests and regions
    "TL": 7,  # leaks
    "TE": 5,  # existence and side channels
    "TH": 6,  # the HTTP layer
    "TI": 10,  # hostile files and indexes
    "TS": 5,  # stores and services
    "TA": 5,  # audit and logs
    "TC": 4,  # configuration
}
LEAKS = 30  # ways to leak, `L1` and on: those that have a test of their own

EXPECTED = {f"{kind}{number}" for kind, last in CASES.items() for number in range(1, last + 1)}
KNOWN = EXPECTED | {f"L{number}" for number in range(1, LEAKS + 1)}


def marked(path: Path) -> Iterator[str]:
    """The ids in the markers of a file; what is no literal text is an error."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.security":
            assert node.args, f"{path.name}:{node.lineno}: a marker without an id"
            for each in node.args:
                yield str(ast.literal_eval(each))


def held() -> dict[str, set[str]]:
    """By id, the files with tests that hold it."""
    found = defaultdict(set)
    for path in sorted(TESTS.rglob("*.py")):
        for each in marked(path):
            found[each].add(path.relative_to(TESTS).as_posix())
    return dict(found)


def test_every_case_is_held_by_a_test() -> None:
    assert len(EXPECTED) == 109
    missing = sorted(EXPECTED - set(held()))
    assert not missing, f"no test holds {', '.join(missing)}"


def test_no_marker_names_an_unknown_case() -> None:
    unknown = {name: files for name, files in held().items() if name not in KNOWN}
    assert not unknown
