"""What a capability for controlled data says besides what it opens: by which rights, and how shown.

It is signed, not secret, so it tells its holder nothing that the ticket did not.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Terms:
    """The rights behind a data block.

    `policy` and `consent` are the versions that allowed it: where they differ from the present ones
    the right is judged anew. `header`: "minimal" or "full". `clipped`: less is sent than was asked
    for, so the header says so. `address` stands for the caller's, "" for any. `streams` and
    `bytes_per_day` are limits, 0 for none.
    """

    grants: tuple[str, ...]
    policy: str
    consent: str
    projection: str
    header: str = "minimal"
    clipped: bool = False
    address: str = ""
    streams: int = 0
    bytes_per_day: int = 0

    def claims(self) -> dict[str, object]:
        """As members of a JSON object, the defaults left out."""
        rest = {
            "hd": (self.header, "minimal"),
            "cl": (self.clipped, False),
            "ip": (self.address, ""),
            "st": (self.streams, 0),
            "by": (self.bytes_per_day, 0),
        }
        return {
            "gr": list(self.grants),
            "pv": self.policy,
            "cv": self.consent,
            "prj": self.projection,
            **{name: value for name, (value, default) in rest.items() if value != default},
        }

    @classmethod
    def of_claims(cls, claims: object) -> "Terms":
        """What `claims` gave; `ValueError` for anything else."""
        if not isinstance(claims, dict):
            raise ValueError("terms are an object")
        grants = claims.get("gr")
        if not isinstance(grants, list):
            raise ValueError("grants are a list")
        terms = cls(
            grants=tuple(map(_text, grants)),
            policy=_text(claims.get("pv")),
            consent=_text(claims.get("cv")),
            projection=_text(claims.get("prj")),
            header=_text(claims.get("hd", "minimal")),
            clipped=claims.get("cl", False) is True,
            address=_text(claims.get("ip", "")),
            streams=_count(claims.get("st", 0)),
            bytes_per_day=_count(claims.get("by", 0)),
        )
        if terms.header not in ("minimal", "full") or terms.claims() != claims:
            raise ValueError("terms that are not ours")
        return terms


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("a text is expected")
    return value


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError("a number is expected")
    return value
