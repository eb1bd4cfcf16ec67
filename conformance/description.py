"""Which description a server is judged by: a file, names on the command line, or the demo's."""

import argparse
import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from conformance.case import Case
from conformance.dataset import FORMATS, BadDescription, DataObject, Dataset, load_dataset
from conformance.http import Client
from conformance.probe import CannotJudge, find_server, has_objects
from conformance.site import Site

DEMO = Path(__file__).with_name("demo.toml")
"""The description of what `htsgate demo` serves."""

_UNDESCRIBED = """{url} has no object `demo` that is open, and nothing says what it has. \
Name ids (--reads ID, --variants ID), or describe the data (--data FILE; docs/conformance.md \
has an example). For its sequences alone: --only refget --only seqcol"""


def description(options: argparse.Namespace) -> Dataset | None:
    """What the arguments say of the server's data; None: nothing. Where no object is described as
    controlled, a token is for all of them. Raises `BadDescription`."""
    named = [*options.reads, *options.variants]
    token = _token(options.token_file)
    if options.data and named:
        raise BadDescription("--data or --reads and --variants: one of them says what there is")
    if options.data:
        dataset = load_dataset(options.data, token)
        return dataset if dataset.controlled else replace(dataset, token=token)
    if not named:
        return None
    objects = tuple(
        _named(text, endpoint) for endpoint in FORMATS for text in getattr(options, endpoint)
    )
    return Dataset("the ids of the command line", objects, token=token)


def settle(
    described: Dataset | None,
    url: str,
    cases: Sequence[Case],
    client: Client,
    token_file: Path | None = None,
) -> Dataset:
    """The description, once a server answers; where there is none that of the demo, if the server
    has its objects. Raises `CannotJudge`."""
    dataset = described or load_dataset(DEMO, _token(token_file))
    with ExitStack() as resources:
        site = Site(url, dataset, client, resources)
        find_server(site)
        if described or has_objects(site):
            return dataset
    if any(each.protocol == "htsget" for each in cases):
        raise CannotJudge(_UNDESCRIBED.format(url=url))
    return Dataset("what the server itself lists")


def _token(path: Path | None) -> str | None:
    if path is None:
        return os.environ.get("CONFORMANCE_TOKEN", "").strip() or None
    try:
        token = path.read_text().strip()
    except UnicodeDecodeError:
        token = ""
    if not token or len(token.split()) > 1 or not token.isascii():
        raise BadDescription(f"{path}: no token, which is one word of ASCII")
    return token


def _named(text: str, endpoint: str) -> DataObject:
    name, *formats = text.split(",")
    given = tuple(each.strip().upper() for each in formats) or FORMATS[endpoint][:1]
    wrong = [each for each in given if each not in FORMATS[endpoint]]
    if wrong or not name:
        known = " and ".join(FORMATS[endpoint])
        raise BadDescription(f"--{endpoint} {text}: it is written ID,FORMAT; formats are {known}")
    return DataObject(endpoint, name, given)
