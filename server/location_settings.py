"""`[[locations]]`: the settings of where data are."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from server.auth_settings import Section


class Location(Section):
    """`[[locations]]`: a directory, bucket or web folder whose objects are served, or one file."""

    url: str = Field(description="a directory or a file, s3://bucket/prefix, https://host/prefix")
    name: str = Field(
        "", pattern=r"^[^/\x00-\x1f]*$", description="prefix of the ids; may be empty"
    )
    dataset: str | None = Field(None, description="what policy grants; default: the name")
    access: Literal["open", "controlled"] | None = Field(
        None, description="open, or controlled by policy; default: controlled with [auth]"
    )
    delivery: Literal["proxy", "direct"] = Field(
        "proxy", description="how bytes travel: proxy, or direct (presigned URLs of S3)"
    )
    endpoint_url: str | None = Field(
        None, pattern=r"^https?://[^\s?#]+$", description="S3: a store other than AWS"
    )
    path_style: bool | None = Field(
        None, description="S3: the bucket in the path; default: with an endpoint_url"
    )
    region: str | None = Field(None, description="S3: default: of the profile or environment")
    profile: str | None = Field(None, description="S3: a profile of ~/.aws/config")
    role_arn: str | None = Field(None, description="S3: a role to assume")
    anonymous: bool = Field(False, description="S3: without credentials")
    redirects: bool = Field(False, description="https: follow redirects to other servers")

    @model_validator(mode="after")
    def _supported(self) -> Self:
        if self.scheme not in ("file", "s3", "https", "http"):
            raise ValueError(
                f"a location with {self.scheme}:// is not supported; use a directory, a file,"
                " s3:// or https://"
            )
        if self.redirects and self.scheme not in ("https", "http"):
            raise ValueError("redirects is for https:// locations only")
        if self.scheme != "s3":
            for name in ("endpoint_url", "path_style", "region", "profile", "role_arn"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} is for s3:// locations only")
            if self.anonymous:
                raise ValueError("anonymous is for s3:// locations only")
            if self.delivery == "direct":
                raise ValueError("delivery = direct is for s3:// locations only; use proxy")
        if self.anonymous and (self.profile or self.role_arn or self.delivery == "direct"):
            raise ValueError("anonymous goes with no profile, no role_arn and delivery = proxy")
        return self

    @property
    def scheme(self) -> str:
        """`file`, `s3`, `https` or `http`."""
        scheme, separator, _ = self.url.partition("://")
        return scheme.lower() if separator else "file"

    @property
    def path(self) -> Path:
        """The directory or file that `url` names on disk."""
        return Path(self.url.removeprefix("file://")).expanduser()
