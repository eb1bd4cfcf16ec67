"""`[auth]`: the settings of access control."""

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator


class Section(BaseModel):
    """Part of the settings: frozen, and it knows its names."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Issuer(Section):
    """`[[auth.issuers]]`: who vouches for callers, and for which tokens of theirs."""

    issuer: str = Field(description="`iss` of its tokens, to the letter")
    audience: tuple[str, ...] = Field((), description="`aud` that its tokens carry for this server")
    client_ids: tuple[str, ...] = Field((), description="programs whose tokens are accepted")
    jwks_url: str | None = Field(None, description="its keys; default: found by discovery")
    jwks_file: Path | None = Field(None, description="its keys in a file, for closed networks")
    algorithms: tuple[Literal["RS256", "ES256", "PS256", "EdDSA"], ...] = Field(
        ("RS256", "ES256"), description="how its tokens may be signed"
    )
    scopes: tuple[str, ...] = Field((), description="scopes that a token must have")
    hosts: tuple[str, ...] = Field((), description="other hosts of its keys and UserInfo")
    allow_missing_aud: bool = Field(False, description="take tokens that name no audience")
    max_token_lifetime: int = Field(86_400, ge=60, description="seconds a token may be good for")
    leeway: int = Field(30, ge=0, le=120, description="seconds its clock may differ")
    introspection_url: str | None = Field(None, description="where opaque tokens are asked about")
    introspection_client: str | None = Field(None, description="our client id there")
    introspection_secret: SecretStr | None = Field(None, description="our secret there")

    @field_validator("audience", "algorithms", "scopes", "client_ids", "hosts", mode="before")
    @classmethod
    def _one_or_several(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _checked(self) -> Self:
        if not (self.audience or self.client_ids):
            raise ValueError("give audience or client_ids: a token for another service is no token")
        if self.jwks_url and self.jwks_file:
            raise ValueError("give either jwks_url or jwks_file")
        if self.introspection_url and not (self.introspection_client and self.introspection_secret):
            raise ValueError(
                "introspection_url needs introspection_client and introspection_secret"
            )
        return self


class Administrator(Section):
    """`[[auth.administrators]]`: who may record withdrawals over HTTP."""

    iss: str
    sub: str


class AuthSection(Section):
    """`[auth]`: who may see what. With it, locations are controlled unless they say otherwise."""

    issuers: tuple[Issuer, ...] = Field((), description="who vouches for callers")
    policy: Path | None = Field(None, description="TOML file of datasets and grants")
    passports: Path | None = Field(None, description="TOML file of trusted brokers and visas")
    hide_existence: bool = Field(True, description="answer 404, not 403, for what is not visible")
    administrators: tuple[Administrator, ...] = Field((), description="who may record withdrawals")
    revoked: Path | None = Field(None, description="file of token ids and `iss|sub` to refuse")
    audit_key: Path | None = Field(None, description="PEM Ed25519 key that signs checkpoints")
    checkpoints: Path | None = Field(None, description="folder that checkpoints are copied to")
    decision_point: str | None = Field(None, description="URL of an AuthZEN service that may deny")
    private_hosts: tuple[str, ...] = Field(
        (), description="names of issuers and services that may have private addresses"
    )
    bind_address: bool = Field(False, description="data URLs work from the caller's address only")
