"""From a configured location to the backend that holds its objects."""

from collections.abc import Sequence
from urllib.parse import unquote, urlsplit

from server.catalog import ServedLocation
from server.config import CacheSection, ConfigurationError
from server.location_settings import Location
from server.survey import SERVABLE
from storage_backends.base import StorageBackend
from storage_backends.local import LocalBackend


def open_location(
    location: Location, cache: CacheSection, *, controlled: bool = False
) -> ServedLocation:
    """A location as it is served; `ConfigurationError` when it cannot be."""
    where = _open_local if location.scheme == "file" else _open_remote
    backend, only = where(location, cache)
    dataset = location.dataset or location.name
    is_direct = location.delivery == "direct"
    return ServedLocation(location.name, dataset, backend, only, is_direct, controlled)


def open_file(
    url: str, locations: Sequence[Location], cache: CacheSection
) -> tuple[StorageBackend, str]:
    """Where to read one file of a store, `s3://` or `https://`, by what is known of the location
    that it lies in; `ConfigurationError` when it cannot be."""
    within = [each for each in locations if url.startswith(each.url.rstrip("/") + "/")]
    best = max(within, key=lambda each: len(each.url), default=Location(url=url))
    served = open_location(best.model_copy(update={"url": url}), cache)
    if served.only is None:
        raise ConfigurationError(f"{url.partition('?')[0]}: not a FASTA or 2bit file by its name")
    return served.backend, served.only


def _open_local(location: Location, cache: CacheSection) -> tuple[StorageBackend, str | None]:
    path = location.path
    if path.is_dir():
        return LocalBackend(path, cache.descriptors), None
    if not path.is_file():
        raise ConfigurationError(f"{path}: no such directory or file")
    # Who names a link means the file behind it; no key of a location leads out of it.
    if path.resolve().parent != path.parent.resolve():
        path = path.resolve()
    if not path.name.endswith(SERVABLE):
        raise ConfigurationError(f"{path}: not a BAM, CRAM, VCF, BCF or FASTA file by its name")
    return LocalBackend(path.parent, cache.descriptors), path.name


def _open_remote(location: Location, cache: CacheSection) -> tuple[StorageBackend, str | None]:
    """A URL that ends like a data file is that file; any other is the folder of its objects."""
    revalidate = cache.revalidate_seconds
    url = location.scheme + location.url[len(location.scheme) :].rstrip("/")
    only = None
    if urlsplit(url).path.endswith(SERVABLE):
        folder, _, rest = url.partition("?")
        folder, _, only = folder.rpartition("/")
        url = f"{folder}?{rest}" if rest else folder
        only = only if location.scheme == "s3" else unquote(only)
    try:
        if location.scheme == "s3":
            return _open_s3(url, location, revalidate), only
        # Imported where they are needed: who serves files from disk need not wait for them.
        from storage_backends.http import HttpBackend

        return HttpBackend(url, redirects=location.redirects, revalidate=revalidate), only
    except ValueError as error:
        raise ConfigurationError(f"{_without_secrets(location.url)}: {error}") from error


def _without_secrets(url: str) -> str:
    """A URL without what stands before an @ in its host, and without its query."""
    scheme, separator, rest = url.partition("?")[0].partition("://")
    host, slash, path = rest.partition("/")
    return scheme + separator + host.rpartition("@")[2] + slash + path


def _open_s3(url: str, location: Location, revalidate: float) -> StorageBackend:
    from storage_backends.s3 import S3Backend, S3Options

    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    options = S3Options(
        endpoint_url=location.endpoint_url,
        path_style=location.path_style,
        region=location.region,
        profile=location.profile,
        role_arn=location.role_arn,
        anonymous=location.anonymous,
    )
    return S3Backend(bucket, prefix, options, revalidate=revalidate)
