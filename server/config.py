"""Settings: flags over `HTSGATE_…` environment variables over a TOML file over defaults.

Read once, at the entry; the parts of the server take values, not `Settings`. Unknown names are
refused, with the nearest known one in the message.
"""

import json
import os
import re
from collections.abc import Sequence
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    Field,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from server.auth_settings import AuthSection, Section
from server.location_settings import Location

PREFIX = "HTSGATE_"


class ConfigurationError(Exception):
    """Settings that cannot be used; the message says which, and what to write instead."""


class ServerSection(Section):
    """`[server]`: where to listen, what tickets carry, and limits."""

    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8080, ge=0, le=65535, description="port to listen on; 0: any free one")
    public_url: str | None = Field(
        None,
        pattern=r"^https?://[^\s?#]+$",
        description="what ticket URLs begin with; default: from the request",
    )
    workers: int = Field(1, ge=1, le=256, description="server processes that share the port")
    secret: SecretStr | None = Field(
        None,
        description="signs ticket URLs: 32 characters or more, the same for all replicas",
    )
    secret_file: Path | None = Field(None, description="file that holds the secret")
    tls_certificate: Path | None = Field(None, description="PEM certificate chain: serve https")
    tls_key: Path | None = Field(None, description="PEM private key of the certificate")
    ticket_lifetime: int = Field(
        600, ge=10, le=3600, description="seconds that a ticket's URLs work"
    )
    max_block_bytes: int = Field(
        1_000_000_000, ge=1 << 20, description="bytes per ticket URL; larger slices get several"
    )
    max_regions: int = Field(10_000, ge=1, description="regions in one POST request")
    max_body_bytes: int = Field(1 << 20, ge=1 << 10, description="bytes of a POST body")
    cors_origins: tuple[str, ...] = Field(("*",), description="web origins that may read answers")
    trusted_proxies: tuple[str, ...] = Field(
        (), description="networks of the proxies whose X-Forwarded-For is believed"
    )
    outdated: Literal["warn", "refuse"] = Field(
        "warn", description="libraries older than required: warn, or refuse to start"
    )


class CacheSection(Section):
    """`[cache]`: what is kept, and for how long."""

    index_bytes: int = Field(512 << 20, ge=0, description="parsed indexes and headers")
    plan_bytes: int = Field(
        128 << 20, ge=0, description="planned slices with their re-encoded edges"
    )
    descriptors: int = Field(256, ge=1, description="open files")
    revalidate_seconds: float = Field(
        10.0, ge=0, description="how long an object in S3 or behind HTTP is taken to be as it was"
    )
    directory: Path | None = Field(
        None, description="folder for indexes of remote objects, shared by the processes"
    )
    directory_bytes: int = Field(10 << 30, ge=0, description="bytes kept in that folder")


class CramSection(Section):
    """`[cram]`: the isolated processes that re-encode the edges of CRAM slices."""

    workers: int = Field(2, ge=1, le=64, description="processes, per server process")
    timeout: float = Field(60.0, gt=0, description="seconds that one container may take")


class RefgetSection(Section):
    """`[refget]`: reference sequences, which are served, and which slicing CRAM needs."""

    sequences: tuple[str, ...] = Field(
        (), description="FASTA and 2bit files, or patterns of them, besides those in the locations"
    )
    store: Path = Field(
        Path("htsgate-sequences"), description="folder of sequences that are stored flat"
    )
    aliases: tuple[str, ...] = Field(
        (), description="NCBI assembly reports and .dict files, or patterns of them"
    )
    circular: tuple[str, ...] = Field(
        (), description="names and digests of sequences that are circular"
    )
    subsequence_limit: int = Field(0, ge=0, description="residues of one answer; 0: any number")
    strict: bool = Field(
        False, description="collections as the specification says where its own suite differs"
    )
    upstream: tuple[str, ...] = Field(
        (), description="other refget servers, which are asked for what is not here"
    )

    @model_validator(mode="after")
    def _addresses(self) -> Self:
        for url in self.upstream:
            if not re.fullmatch(r"https?://[^\s?#@]+", url):
                raise ValueError("upstream: give URLs as https://host/sequence")
        return self


class DatabaseSection(Section):
    """`[database]`: what is kept over restarts."""

    url: SecretStr | None = Field(
        None, description="sqlite:///path; default: htsgate.db here if it exists, else in memory"
    )


class ServiceSection(Section):
    """`[service]`: what `service-info` says about who runs the server."""

    id: str = "org.example.htsgate"
    name: str = "htsgate"
    description: str = "Exact slices of genomic data over GA4GH htsget"
    organization_name: str = "not configured"
    organization_url: str = "https://example.org"
    contact_url: str | None = None
    documentation_url: str | None = None
    environment: str | None = None


class Settings(Section):
    """Everything that can be configured; frozen."""

    server: ServerSection = ServerSection()
    locations: tuple[Location, ...] = ()
    cache: CacheSection = CacheSection()
    cram: CramSection = CramSection()
    refget: RefgetSection = RefgetSection()
    auth: AuthSection | None = None
    database: DatabaseSection = DatabaseSection()
    service: ServiceSection = ServiceSection()

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [each.name for each in self.locations if each.name]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"locations: two have the name {name}; give each its own")
        return self

    @model_validator(mode="after")
    def _confined(self) -> Self:
        if self.auth is None:
            if any(each.access == "controlled" for each in self.locations):
                raise ValueError("locations: access = controlled needs [auth] with a policy")
            return self
        if self.auth.policy is None and any(map(self.is_controlled, self.locations)):
            raise ValueError(
                "auth.policy: give the file of datasets and grants, or set access = open for every"
                " location"
            )
        server = self.server
        is_secret = server.tls_certificate or (server.public_url or "").startswith("https:")
        if not is_secret and not is_loopback(server.host):
            raise ValueError(
                "server: controlled data need https: give tls_certificate, or public_url = https://…"
                " if a proxy does that, or listen on 127.0.0.1"
            )
        url = urlsplit(server.public_url or "")
        if url.scheme == "http" and not is_loopback(url.hostname or ""):
            raise ValueError(
                "server.public_url: controlled data need https: ticket URLs would go over http"
            )
        if server.trusted_proxies and server.public_url is None:
            raise ValueError(
                "server.public_url: behind a proxy, give what clients call this server, such as"
                " https://htsget.example.org: ticket URLs begin with it"
            )
        # An id must tell which location it belongs to before anything is looked up.
        unnamed = {
            (self.is_controlled(each), each.dataset) for each in self.locations if not each.name
        }
        if len(unnamed) > 1:
            raise ValueError(
                "locations: with [auth], those without a name need the same access and dataset;"
                " name them"
            )
        return self

    def is_controlled(self, location: "Location") -> bool:
        """Whether policy decides about the objects of a location."""
        if location.access is None:
            return self.auth is not None
        return location.access == "controlled"


def is_loopback(host: str) -> bool:
    """Whether a host to listen on is this machine alone."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


_SECTIONS: dict[str, type[BaseModel]] = {
    "server": ServerSection,
    "locations": Location,
    "cache": CacheSection,
    "cram": CramSection,
    "refget": RefgetSection,
    "auth": AuthSection,
    "database": DatabaseSection,
    "service": ServiceSection,
}


# What a variable of a list may hold.
_LISTS = {
    ("server", "cors_origins"): '["https://a.example"]',
    ("server", "trusted_proxies"): '["10.0.0.0/8"]',
    ("auth", "issuers"): '[{"issuer": "https://login.example/", "audience": "htsgate"}]',
    ("auth", "administrators"): '[{"iss": "https://login.example/", "sub": "ada"}]',
    ("auth", "private_hosts"): '["login.example"]',
    ("refget", "circular"): '["chrM"]',
    ("refget", "upstream"): '["https://refget.example/sequence"]',
}


def load_settings(path: Path | None, flags: dict[str, Any]) -> Settings:
    """The settings from a TOML file (if any), the environment and `flags` (nested as in the file).

    Raises `ConfigurationError`.
    """

    class Sources(BaseSettings, Settings):
        model_config = SettingsConfigDict(
            env_prefix=PREFIX, env_nested_delimiter="__", extra="forbid", frozen=True
        )

        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            del dotenv_settings, file_secret_settings
            return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, path)

    if path is not None and not path.is_file():
        raise ConfigurationError(f"{path}: no such file")
    _check_environment()
    try:
        return Settings.model_validate(Sources(**flags).model_dump())
    except ValidationError as error:
        raise ConfigurationError(_explain(error)) from error
    except ValueError as error:
        raise ConfigurationError(f"{path or 'the environment'}: {error}") from error


def read_secret(section: ServerSection) -> bytes | None:
    """The configured secret, from the settings or its file; None when there is none."""
    if section.secret is not None and section.secret_file is not None:
        raise ConfigurationError("server: give either secret or secret_file")
    if section.secret_file is not None:
        try:
            if section.secret_file.stat().st_mode & 0o007:
                raise ConfigurationError("server.secret_file: others may read it; use chmod o=")
            text = section.secret_file.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError("server.secret_file: cannot be read") from error
    elif section.secret is not None:
        text = section.secret.get_secret_value()
    else:
        return None
    if len(text) < 32 or len(set(text)) < 8:
        raise ConfigurationError("server.secret: use at least 32 random characters")
    return text.encode()


DEFAULT_DATABASE = Path("htsgate.db")
"""The database that `htsgate refget add` makes, and serving finds, in the working directory."""


def database_url(settings: Settings) -> str | None:
    """The URL of the database as configured, or the default one if it exists or must be made,
    because there is an audit to keep; None: in memory."""
    if settings.database.url is not None:
        return settings.database.url.get_secret_value()
    if settings.auth is not None or DEFAULT_DATABASE.is_file():
        return f"sqlite:///{DEFAULT_DATABASE}"
    return None


def _check_environment() -> None:
    """Refuse a misspelt section in the environment, which pydantic-settings would ignore, and
    values that should be JSON, of which it says too little."""
    for name, value in os.environ.items():
        if name.startswith(PREFIX):
            section, *key = name.removeprefix(PREFIX).lower().split("__")
            if section not in Settings.model_fields:
                meant = _meant(section)
                text = f"no such setting; use {meant}" if meant else _unknown(section, Settings)
                raise ConfigurationError(f"{name}: {text}")
            example = _json_example(section, key)
            if example is not None:
                try:
                    json.loads(value)
                except ValueError:
                    # Not chained: the value may hold a secret.
                    raise ConfigurationError(f"{name}: wants JSON, e.g. {example}") from None


def _meant(name: str) -> str:
    """The variables that a name without its section may stand for."""
    return " or ".join(
        f"{PREFIX}{section}__{key}".upper()
        for section, model in _SECTIONS.items()
        for key in model.model_fields
        if section != "locations" and name in (key, f"{section}_{key}")
    )


def _json_example(section: str, key: list[str]) -> str | None:
    """What a variable of a whole section or of a list may hold; None for one of a single value."""
    if section == "locations":
        return None if key else '[{"url": "/data"}]'
    if not key:
        return '{"name": "value"}'
    field = _SECTIONS[section].model_fields.get(key[0])
    if field is None or not isinstance(field.default, tuple):
        return None
    return _LISTS.get((section, key[0]), '["/references/*.fa"]')


def _model_of(place: Sequence[int | str]) -> type[BaseModel]:
    """Whose names are known at a place in the settings."""
    model: type[BaseModel] = Settings
    for name in place:
        if isinstance(name, str):
            annotation = model.model_fields[name].annotation
            kinds = (annotation, *get_args(annotation))
            models = (each for each in kinds if isinstance(each, type))
            model = next((each for each in models if issubclass(each, BaseModel)), model)
    return model


def _unknown(name: str, model: type[BaseModel]) -> str:
    close = get_close_matches(name, model.model_fields, n=1, cutoff=0.0)
    return f"no such setting; the nearest is {close[0]}" if close else "no such setting"


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_input=False, include_url=False):
        place = ".".join(str(part) for part in problem["loc"])
        text = problem["msg"]
        if problem["type"] == "extra_forbidden":
            *sections, name = problem["loc"]
            text = _unknown(str(name), _model_of(sections))
        text = text.removeprefix("Value error, ")
        lines.append(f"{place}: {text}" if place else text)
    return "\n".join(lines)
