"""What goes wrong when somebody asks for data. Every message is for our log: none is sent.

AccessError
├── InvalidCredential       the token is not accepted; `reason` is a code for the audit
│   ├── InsufficientScope   accepted, but made for something else
│   └── MalformedCredential the request does not carry one credential in the one place for it
├── AuthorityUnavailable    who would vouch for the token cannot be asked now
└── InvalidConfiguration    a trust, policy, panel or consent file that cannot be used
"""


class AccessError(Exception):
    """Base of everything that `auth` raises about identity and permission."""


class InvalidCredential(AccessError):
    """A token that is not accepted. `reason` is a stable code, such as `token.exp`."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class InsufficientScope(InvalidCredential):
    """A good token that was not issued for this service's purpose."""


class MalformedCredential(InvalidCredential):
    """Several credentials, or one where none belongs: the request is refused as it stands."""


class AuthorityUnavailable(AccessError):
    """Keys, introspection, UserInfo or a decision point cannot be had now; nothing is assumed."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ObjectUnusable(AccessError):
    """An object whose references are not those that its dataset's regions mean, for instance."""


class InvalidConfiguration(AccessError):
    """A file of the custodian's that cannot be used; the message names place and remedy."""
