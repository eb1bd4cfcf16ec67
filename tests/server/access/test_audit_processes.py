"""Several processes on one chain, and processes that are killed at any moment."""

import asyncio
import multiprocessing
import os
import random
import signal
import time
from contextlib import closing
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection, text

from auth.audit.chain import verify_chain
from auth.audit.checkpoints import check_checkpoints
from server.access.audit_chain import CHAIN
from server.access.audit_checkpoint_files import read_folder
from server.access.audit_log import AuditLog
from server.database import Database
from tests.server.access.audit_trails import entries_of, intent, records_of

CONTEXT = multiprocessing.get_context("spawn")
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def append(url: str, process: int, count: int) -> None:
    async def run() -> None:
        with closing(Database(url, durable=True)) as database:
            log = AuditLog(database, server_id=f"srv-{process}", version="1")
            await log.start()
            numbers = iter(range(count))

            async def some() -> None:
                for number in numbers:
                    await log.commit([intent(process * count + number)])

            await asyncio.gather(*(some() for _ in range(10)))
            await log.close()

    asyncio.run(run())


@pytest.mark.security("TA3")
def test_eight_processes(database_url: str) -> None:
    with closing(Database(database_url)) as database:
        processes = [
            CONTEXT.Process(target=append, args=(database_url, number, 1000)) for number in range(8)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        assert [process.exitcode for process in processes] == [0] * 8
        records = records_of(database)
    assert len(records) == 8 * 1002
    written = sorted(int(each["req"][2:]) for each in records if "req" in each)
    assert written == list(range(8000))


def append_until_killed(url: str, folder: str, process: int, told: Pipe) -> None:
    async def run() -> None:
        log = AuditLog(
            Database(url, durable=True),
            server_id=f"srv-{process}",
            version="1",
            signer=KEY,
            checkpoints=Path(folder),
            checkpoint_records=20,
        )
        await log.start()
        numbers = iter(range(process * 1_000_000, (process + 1) * 1_000_000))

        async def some() -> None:
            for number in numbers:

                def spend(connection: Connection, number: int = number) -> None:
                    insert = text("INSERT INTO spent VALUES (:id)")
                    connection.execute(insert, {"id": number})

                await log.commit([intent(number)], spend)
                os.write(told.fileno(), f"{number}\n".encode())  # a few bytes at once: whole
                log.note({"event": "data.done", "req": f"r-{number}"})

        await asyncio.gather(*(some() for _ in range(5)))

    asyncio.run(run())


@pytest.mark.security("TA3")
@pytest.mark.parametrize("seed", range(3))
def test_killed_at_any_moment(database_url: str, tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    folder = tmp_path / "kept"
    folder.mkdir()
    told: list[bytes] = []
    with closing(Database(database_url, durable=True)) as database:
        create = text("CREATE TABLE spent (id INTEGER PRIMARY KEY)")
        database.run(lambda each: each.execute(create))
        running: dict[Pipe, tuple[SpawnProcess, float]] = {}
        started = 0
        while started < 6 or running:
            while len(running) < 3 and started < 6:
                started += 1
                ours, theirs = CONTEXT.Pipe(duplex=False)
                process = CONTEXT.Process(
                    target=append_until_killed, args=(database_url, str(folder), started, theirs)
                )
                process.start()
                theirs.close()
                running[ours] = (process, 0.0)
            for pipe in wait(list(running), timeout=0.05):
                assert isinstance(pipe, Pipe)
                process, end = running[pipe]
                data = os.read(pipe.fileno(), 1 << 16)
                told.append(data)
                if not end:  # it has begun to write
                    running[pipe] = (process, time.monotonic() + dice.uniform(0.01, 0.6))
                if not data:
                    process.join()
                    assert process.exitcode == -signal.SIGKILL
                    pipe.close()
                    del running[pipe]
            for process, end in list(running.values()):
                if end and time.monotonic() > end:
                    process.kill()
        known = {int(number) for number in b"".join(told).split()}
        records = records_of(database)
        checkpoints, damaged = read_folder(folder)
        query = text("SELECT id FROM spent")
        spent = sorted(database.run(lambda each: list(each.scalars(query))))
        judged = check_checkpoints(checkpoints, CHAIN, None, must_sign=True)
        assert verify_chain(entries_of(database), judged.anchors) is None
    intents = sorted(int(each["req"][2:]) for each in records if each["event"] == "data.intent")
    assert len(known) > 50
    assert known <= set(intents)
    assert spent == intents  # what was charged is what is recorded
    assert len(intents) - len(known) <= 6 * 5  # those that were in the making
    assert judged.faults == ()
    assert checkpoints
    assert damaged == 0
