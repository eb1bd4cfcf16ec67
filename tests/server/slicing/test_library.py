"""Headers, indexes and plans: loaded once, kept while their bytes are the same."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from formats.errors import CorruptData, UnindexableRange
from formats.regions import Interval
from server.app import open_catalog, open_library
from server.catalog import Catalog, DataObject
from server.model import Endpoint
from server.slicing.library import Library, Plan
from server.slicing.selection import Selection
from storage_backends.base import ObjectChanged, ObjectNotFound
from tests.server.live import settings_of
from tests.server.slicing.sorted_streams import age, open_stream

ONE = Selection((Interval(0, 1_000, 90_000),))


@pytest.fixture
def home(data: Path, tmp_path: Path) -> Path:
    for name in ("reads.bam", "reads.bam.bai", "only.bam", "only.bam.bai", "bare.bam"):
        shutil.copy2(data / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def catalog(home: Path) -> Catalog:
    return open_catalog(settings_of(home))


@pytest.fixture
async def library(home: Path, catalog: Catalog) -> AsyncIterator[Library]:
    library = open_library(settings_of(home), catalog)
    yield library
    await library.close()


async def find(catalog: Catalog, object_id: str) -> DataObject:
    return await catalog.resolve(Endpoint.READS, object_id, None)


async def test_loaded_once(library: Library, catalog: Catalog) -> None:
    item = await find(catalog, "reads")
    loaded = await asyncio.gather(*(library.slicer(item, indexed=True) for _ in range(20)))
    assert len(set(map(id, loaded))) == 1
    again = await library.slicer(await find(catalog, "reads"), indexed=True)
    assert again is loaded[0]
    assert await library.slicer(item, indexed=False) is not loaded[0]
    assert await library.header(item) is await library.header(item)


async def test_plans_are_kept(library: Library, catalog: Catalog, home: Path) -> None:
    item = await find(catalog, "reads")
    plans = await asyncio.gather(*(library.plan_body(item, ONE, closing=True) for _ in range(20)))
    assert len(set(map(id, plans))) == 1
    open_plan = await library.plan_body(item, ONE, closing=False)
    assert open_plan.size == plans[0].size - 28
    assert open_plan.etag != plans[0].etag
    stream = open_stream(home / "reads.bam")
    assert rendered(plans[0], stream.data).startswith(stream.deflated(ONE))


def rendered(plan: Plan, data: bytes) -> bytes:
    pieces = (
        each if isinstance(each, bytes) else data[each.start : each.end] for each in plan.segments
    )
    joined = b"".join(pieces)
    assert len(joined) == plan.size
    return joined


async def test_changed_data(library: Library, catalog: Catalog, home: Path) -> None:
    before = await find(catalog, "reads")
    await library.slicer(before, indexed=True)
    shutil.copy(home / "only.bam", home / "fresh")
    (home / "fresh").rename(home / "reads.bam")
    after = await find(catalog, "reads")
    assert after.stat.fingerprint != before.stat.fingerprint
    with pytest.raises(ObjectChanged):
        await library.plan_body(before, Selection((Interval(0, 5, 6),)), closing=True)
    os.utime(home / "reads.bam.bai")
    with pytest.raises(CorruptData):
        await library.slicer(await find(catalog, "reads"), indexed=True)
    shutil.copy(home / "only.bam.bai", home / "reads.bam.bai")
    await library.slicer(await find(catalog, "reads"), indexed=True)


async def test_replaced_index(library: Library, catalog: Catalog, home: Path) -> None:
    """A plan that an index gave is not used once the index is another."""
    await library.plan_body(await find(catalog, "reads"), ONE, closing=True)
    (home / "reads.bam.bai").write_bytes(b"no index")
    with pytest.raises(CorruptData):
        await library.plan_body(await find(catalog, "reads"), ONE, closing=True)


async def test_index_that_vanishes(library: Library, catalog: Catalog, home: Path) -> None:
    item = await find(catalog, "reads")
    (home / "reads.bam.bai").unlink()
    with pytest.raises(ObjectNotFound):
        await library.slicer(item, indexed=True)
    with pytest.raises(UnindexableRange):
        await library.slicer(await find(catalog, "reads"), indexed=True)


async def test_no_index(library: Library, catalog: Catalog) -> None:
    """Whether or not the object was fetched whole before."""
    item = await find(catalog, "bare")
    with pytest.raises(UnindexableRange):
        await library.slicer(item, indexed=True)
    await library.slicer(item, indexed=False)
    with pytest.raises(UnindexableRange):
        await library.slicer(item, indexed=True)
    with pytest.raises(UnindexableRange):
        await library.plan_body(item, ONE, closing=True)


@pytest.mark.parametrize(
    ("seconds", "refused"), [(0, False), (-5, False), (5, True), (90_000, True)]
)
async def test_age_of_the_index(
    library: Library, catalog: Catalog, home: Path, seconds: int, *, refused: bool
) -> None:
    os.utime(home / "reads.bam.bai", ns=(0, (home / "reads.bam").stat().st_mtime_ns))
    age(home / "reads.bam.bai", seconds)
    item = await find(catalog, "reads")
    if refused:
        with pytest.raises(CorruptData, match="older"):
            await library.slicer(item, indexed=True)
    else:
        await library.slicer(item, indexed=True)
    await library.slicer(item, indexed=False)


async def test_index_of_impossible_size(library: Library, catalog: Catalog, home: Path) -> None:
    os.truncate(home / "reads.bam.bai", 1 << 40)
    with pytest.raises(CorruptData):
        await library.slicer(await find(catalog, "reads"), indexed=True)


async def test_validators(library: Library, catalog: Catalog, home: Path) -> None:
    """An ETag stands for the bytes: equal on every replica, another for another slice or file."""
    item = await find(catalog, "reads")
    other = open_library(settings_of(home), catalog)
    selections = [Selection(), Selection(()), ONE, Selection((), unplaced=True)]
    selections += [replace(ONE, sent_until=500), replace(ONE, cut=(0, 5_000))]
    seen: dict[str, bytes] = {}
    data = (home / "reads.bam").read_bytes()
    for selection in selections:
        for closing in (False, True):
            plan = await library.plan_body(item, selection, closing=closing)
            assert (await other.plan_body(item, selection, closing=closing)).etag == plan.etag
            assert seen.setdefault(plan.etag, rendered(plan, data)) == rendered(plan, data)
            assert plan.nbytes > 0
    headers = {(await library.plan_header(item, closed=closed)).etag for closed in (False, True)}
    assert len(headers) == 2
    elsewhere = await library.plan_header(await find(catalog, "only"), closed=True)
    assert elsewhere.etag not in headers
    await other.close()
