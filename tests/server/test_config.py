import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from server.config import ConfigurationError, Settings, load_settings, read_secret

SECRET = "s3cretS3cretWithEnoughCharacters0123"  # noqa: S105


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("HTSGATE_")]:
        monkeypatch.delenv(name)


def toml(directory: Path, text: str) -> Path:
    path = directory / "htsgate.toml"
    path.write_text(text)
    return path


def refused(path: Path | None = None, **flags: Any) -> str:
    with pytest.raises(ConfigurationError) as refusal:
        load_settings(path, flags)
    return str(refusal.value)


def test_defaults() -> None:
    settings = load_settings(None, {})
    assert (settings.server.host, settings.server.port) == ("127.0.0.1", 8080)
    assert settings.server.max_block_bytes == 1_000_000_000
    assert settings.locations == ()
    assert settings == Settings()
    assert read_secret(settings.server) is None


def test_precedence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flags over environment over file over defaults, value by value."""
    path = toml(
        tmp_path,
        '[server]\nhost = "h1"\nport = 1\nworkers = 3\nticket_lifetime = 60\n'
        "[cache]\ndescriptors = 7\n",
    )
    monkeypatch.setenv("HTSGATE_SERVER__PORT", "2")
    monkeypatch.setenv("HTSGATE_SERVER__WORKERS", "4")
    monkeypatch.setenv("htsgate_cram__timeout", "5.5")
    settings = load_settings(path, {"server": {"workers": 5}})
    assert settings.server.host == "h1"
    assert settings.server.port == 2
    assert settings.server.workers == 5
    assert settings.server.ticket_lifetime == 60
    assert settings.cache.descriptors == 7


def test_locations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = toml(
        tmp_path,
        '[[locations]]\nname = "a"\nurl = "/x"\n'
        '[[locations]]\nurl = "file:///y z"\ndataset = "d"\n',
    )
    settings = load_settings(path, {})
    assert [(each.name, each.path, each.dataset) for each in settings.locations] == [
        ("a", Path("/x"), None),
        ("", Path("/y z"), "d"),
    ]
    monkeypatch.setenv("HTSGATE_LOCATIONS", '[{"url": "/env"}]')
    assert [each.url for each in load_settings(path, {}).locations] == ["/env"]
    flags = {"locations": [{"url": "/flag"}]}
    assert [each.url for each in load_settings(path, flags).locations] == ["/flag"]


def test_frozen() -> None:
    settings = load_settings(None, {})
    with pytest.raises(ValidationError):
        settings.server.port = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "place", "nearest"),
    [
        ("[server]\nprot = 1\n", "server.prot", "port"),
        ("[server]\npublic_uri = 'x'\n", "server.public_uri", "public_url"),
        ("[sever]\nport = 1\n", "sever", "server"),
        ("[[locations]]\nurl = 'x'\nnme = 'y'\n", "locations.0.nme", "name"),
        ("[cache]\nindex_byte = 1\n", "cache.index_byte", "index_bytes"),
        ("location = 'x'\n", "location", "locations"),
        ("[auth]\npasport = 'x'", "auth.pasport", "passports"),
        ("[[auth.issuers]]\nissuer = 'x'\naudiences = 'y'", "auth.issuers.0.audiences", "audience"),
    ],
)
def test_unknown_names_in_the_file(tmp_path: Path, text: str, place: str, nearest: str) -> None:
    message = refused(toml(tmp_path, text))
    assert place in message
    assert nearest in message


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("HTSGATE_SERVER__PROT", "port"),
        ("HTSGATE_SEVER__PORT", "server"),
        ("HTSGATE_SERVERS", "server"),
        ("HTSGATE_CRAM__WORKER", "workers"),
        ("HTSGATE_PORT", ""),
    ],
)
def test_unknown_names_in_the_environment(
    monkeypatch: pytest.MonkeyPatch, name: str, nearest: str
) -> None:
    monkeypatch.setenv(name, "1")
    assert nearest in refused()


@pytest.mark.security("TC1")
@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("[auth]\n[[locations]]\nurl = 'x'\n", "auth.policy"),
        ("[[locations]]\nurl = 'x'\naccess = 'controlled'\n", "[auth]"),
        (
            (
                "[auth]\npolicy = 'p'\n[[locations]]\nurl = 'x'\n"
                "[[locations]]\nurl = 'y'\naccess = 'open'\n"
            ),
            "name them",
        ),
        (
            (
                "[auth]\npolicy = 'p'\n[[locations]]\nurl = 'x'\ndataset = 'a'\n"
                "[[locations]]\nurl = 'y'\ndataset = 'b'\n"
            ),
            "name them",
        ),
        ("[[auth.issuers]]\nissuer = 'https://a.example'\n", "audience or client_ids"),
    ],
)
def test_access_that_nobody_would_control(tmp_path: Path, text: str, names: str) -> None:
    """Ignoring them would serve controlled data as open."""
    assert names in refused(toml(tmp_path, text))


def test_locations_are_controlled_once_there_is_access_control(tmp_path: Path) -> None:
    text = "[[locations]]\nname = 'a'\nurl = 'x'\n"
    (location,) = (settings := load_settings(toml(tmp_path, text), {})).locations
    assert not settings.is_controlled(location)
    settings = load_settings(toml(tmp_path, f"[auth]\npolicy = 'p'\n{text}"), {})
    assert settings.is_controlled(settings.locations[0])
    opened = f"[auth]\npolicy = 'p'\n{text}access = 'open'\n"
    settings = load_settings(toml(tmp_path, opened), {})
    assert not settings.is_controlled(settings.locations[0])


@pytest.mark.parametrize(
    "text",
    [
        "[[locations]]\nurl = 'x'\naccess = 'controlled'\n",
        "[[locations]]\nurl = 'x'\ndelivery = 'direct'\n",
        "[[locations]]\nurl = 'ftp://h/x'\n",
        "[[locations]]\nurl = '/x'\ndelivery = 'direct'\n",
        "[[locations]]\nurl = 'https://h/x'\ndelivery = 'direct'\n",
        "[[locations]]\nurl = 's3://b/x'\nanonymous = true\ndelivery = 'direct'\n",
        "[[locations]]\nurl = 's3://b/x'\nanonymous = true\nprofile = 'p'\n",
        "[[locations]]\nurl = 's3://b/x'\nendpoint_url = 'h:9000'\n",
        "[[locations]]\nurl = 's3://b/x'\naccess = 'controlled'\ndelivery = 'direct'\n",
        "[[locations]]\nurl = 'https://h/x'\nregion = 'eu-west-1'\n",
        "[cache]\nrevalidate_seconds = -1\n",
        "[[locations]]\nname = 'x'\n",
        "[[locations]]\nurl = 'x'\nname = 'a/b'\n",
        "[server]\nport = 70000\n",
        "[server]\nport = -1\n",
        "[server]\nport = 'x'\n",
        "[server]\nworkers = 0\n",
        "[server]\nticket_lifetime = 0\n",
        "[server]\nticket_lifetime = 86400\n",
        "[server]\nmax_block_bytes = 10\n",
        "[server]\npublic_url = 'ftp://h'\n",
        "[server]\npublic_url = 'https://h?x'\n",
        "[server]\npublic_url = 'https://h#x'\n",
        "[server]\npublic_url = 'https://h h'\n",
        "[server]\npublic_url = ''\n",
        "[server\n",
        "server = 5\n",
        "\xff",
    ],
)
def test_values_that_cannot_be(tmp_path: Path, text: str) -> None:
    path = tmp_path / "htsgate.toml"
    path.write_bytes(text.encode("latin-1"))
    assert refused(path)


def test_missing_file(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "nothing.toml")
    assert refused(tmp_path)


def test_broken_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTSGATE_LOCATIONS", "not json")
    assert refused()


def test_secrets_are_not_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = toml(tmp_path, f'[server]\nsecret = "{SECRET}"\n')
    settings = load_settings(path, {})
    assert SECRET not in repr(settings) + str(settings) + settings.model_dump_json()
    assert read_secret(settings.server) == SECRET.encode()
    for broken in (
        f'[server]\nsecret = "{SECRET}"\nsecert = "{SECRET}"\n',
        f'[server]\nsecret = ["{SECRET}"]\n',
        f'[server]\nsecret = "{SECRET}\n',
        f'[server]\nport = "{SECRET}"\n',
        f'[server]\nsecret = "{SECRET}"\nport = 99999999\n',
    ):
        assert SECRET not in refused(toml(tmp_path, broken))
    monkeypatch.setenv("HTSGATE_SERVER", f'{{"secret": "{SECRET}"')
    assert SECRET not in refused()


@pytest.mark.parametrize("secret", ["", "short", "a" * 64, "abcabcabc" * 10, "x" * 31])
@pytest.mark.security("TC2")
def test_weak_secrets(secret: str) -> None:
    settings = load_settings(None, {"server": {"secret": secret}})
    with pytest.raises(ConfigurationError) as refusal:
        read_secret(settings.server)
    assert secret not in str(refusal.value) or not secret


@pytest.mark.security("TC2")
def test_secret_file(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(SECRET + "\n")
    section = load_settings(None, {"server": {"secret_file": str(path)}}).server
    for mode in (0o600, 0o400, 0o640):
        path.chmod(mode)
        assert read_secret(section) == SECRET.encode()
    for mode in (0o644, 0o604, 0o602, 0o777):
        path.chmod(mode)
        with pytest.raises(ConfigurationError, match="others"):
            read_secret(section)
    path.chmod(0o600)
    path.write_bytes(b"\xff\xfe" * 40)
    with pytest.raises(ConfigurationError):
        read_secret(section)
    path.unlink()
    with pytest.raises(ConfigurationError):
        read_secret(section)


def test_two_secrets(tmp_path: Path) -> None:
    server = {"secret": SECRET, "secret_file": str(tmp_path / "secret")}
    with pytest.raises(ConfigurationError):
        read_secret(load_settings(None, {"server": server}).server)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("HTSGATE_PORT", "1", "use HTSGATE_SERVER__PORT"),
        ("HTSGATE_CRAM_TIMEOUT", "1", "use HTSGATE_CRAM__TIMEOUT"),
        ("HTSGATE_WORKERS", "1", "use HTSGATE_SERVER__WORKERS or HTSGATE_CRAM__WORKERS"),
        ("HTSGATE_LOCATIONS", "/data", 'wants JSON, e.g. [{"url": "/data"}]'),
        ("HTSGATE_SERVER__CORS_ORIGINS", "https://a", 'wants JSON, e.g. ["https://a.example"]'),
        ("HTSGATE_REFGET__SEQUENCES", "/a.fa", 'wants JSON, e.g. ["/references/*.fa"]'),
        ("HTSGATE_AUTH__ISSUERS", "https://a", 'wants JSON, e.g. [{"issuer": '),
        ("HTSGATE_SERVER__TRUSTED_PROXIES", "10.0.0.1", 'wants JSON, e.g. ["10.0.0.0/8"]'),
    ],
)
def test_what_the_environment_should_say(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(name, value)
    assert message in (said := refused())
    assert said.startswith(f"{name}: ")


def test_messages_of_validators_are_plain() -> None:
    said = refused(locations=[{"url": "ftp://x"}])
    assert said.startswith("locations.0: a location with ftp://")


def test_two_locations_of_one_name() -> None:
    said = refused(locations=[{"name": "a", "url": "/x"}, {"name": "a", "url": "/y"}])
    assert said == "locations: two have the name a; give each its own"
    load_settings(None, {"locations": [{"url": "/x"}, {"url": "/y"}]})
