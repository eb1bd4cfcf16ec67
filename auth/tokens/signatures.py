"""Detached signatures of files: only who holds the key changes what they say."""

import base64
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from auth.errors import InvalidConfiguration

_BYTES = 64


def check_signature(path: Path, data: bytes, signer: Ed25519PublicKey) -> None:
    """Refuse, with `InvalidConfiguration`, a file whose bytes are not signed by Ed25519 in the file
    beside it: `NAME.sig`, 64 bytes or their base64."""
    beside = path.with_name(f"{path.name}.sig")
    try:
        with beside.open("rb") as file:
            signature = file.read(1024)
        if len(signature) != _BYTES:
            signature = base64.b64decode(signature.strip(), validate=True)
        signer.verify(signature, data)
    except OSError as error:
        raise InvalidConfiguration(f"{beside.name} cannot be read: {error.strerror}") from error
    except (InvalidSignature, ValueError):
        raise InvalidConfiguration(f"{path.name} is not signed by its custodian") from None
