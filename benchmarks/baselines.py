"""What htsgate is compared with: small aiohttp servers that do one thing in the usual way."""

import argparse
import asyncio
import tempfile
from pathlib import Path

import pysam
from aiohttp import web


def main() -> None:
    """Serve on a free port; the first line printed ends with the URL."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("hello", "file-response", "sendfile", "re-encode"))
    parser.add_argument("--served", type=Path, default=Path())
    options = parser.parse_args()
    asyncio.run(_serve(options.kind, options.served.resolve()))


async def _serve(kind: str, served: Path) -> None:
    app = web.Application()
    files = Files(served)
    if kind == "hello":
        for path in ("/reads/{id}", "/sequence/{id}"):
            app.router.add_get(path, hello)
    elif kind == "file-response":
        app.router.add_get("/{name}", files.respond)
    elif kind == "sendfile":
        app.router.add_get("/{name}", files.sendfile)
    else:
        app.router.add_get("/{name}", files.re_encode)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(f"serves http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


async def hello(_: web.Request) -> web.Response:
    """The least that an aiohttp application can answer."""
    return web.Response(text="hello")


class Files:
    """Handlers over the files of one directory."""

    def __init__(self, served: Path) -> None:
        self._served = served

    async def respond(self, request: web.Request) -> web.StreamResponse:
        """aiohttp's own file response, which knows `Range`."""
        return web.FileResponse(self._served / request.match_info["name"])

    async def sendfile(self, request: web.Request) -> web.StreamResponse:
        """The first bytes of a file, as many as `length` says, with the loop's `sendfile`."""
        length = int(request.query["length"])
        response = web.StreamResponse()
        response.content_length = length
        await response.prepare(request)
        if request.transport is None:
            raise ConnectionResetError
        with open(self._served / request.match_info["name"], "rb", buffering=0) as file:  # noqa: ASYNC230, PTH123
            await asyncio.get_running_loop().sendfile(request.transport, file, 0, length)
        return response

    async def re_encode(self, request: web.Request) -> web.Response:
        """A slice made by fetching records with pysam and writing them to a file, in a thread."""
        path = self._served / request.match_info["name"]
        query = request.query
        region = query["referenceName"], int(query["start"]), int(query["end"])
        write = _write_reads if path.suffix in (".bam", ".cram") else _write_variants
        with tempfile.NamedTemporaryFile(suffix=".slice") as file:
            await asyncio.to_thread(write, path, region, file.name)
            return web.Response(body=file.read())


def _write_reads(path: Path, region: tuple[str, int, int], output: str) -> None:
    reference = str(path.parent / "reference.fa")
    mode = "wc" if path.suffix == ".cram" else "wb"
    with (
        pysam.AlignmentFile(str(path), reference_filename=reference) as source,
        pysam.AlignmentFile(output, mode, template=source, reference_filename=reference) as target,
    ):
        for record in source.fetch(*region):
            target.write(record)


def _write_variants(path: Path, region: tuple[str, int, int], output: str) -> None:
    mode = "wb" if path.suffix == ".bcf" else "wz"
    with (
        pysam.VariantFile(str(path)) as source,
        pysam.VariantFile(output, mode, header=source.header) as target,
    ):
        for record in source.fetch(*region):
            target.write(record)


if __name__ == "__main__":
    main()
