"""Signing secrets: what they must be, how they are kept (encrypted, under a key that no database has) and used."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from uuid import UUID

from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

PREFIX = "whsec_"
SECRET_BYTES_MIN = 16
"""Of a text: 128 bits at best, and the verification contract's own example has 19."""
KEY_BYTES_MIN = 24
"""Of base64 after `whsec_`, as Standard Webhooks has it."""
SECRET_BYTES_MAX = 128


class SecretRefused(ValueError):
    """A secret that cannot be used; the message says why."""

    code = "secret_refused"


class BoxUnopened(Exception):
    """A secret was encrypted under another key, or for another endpoint: was LUTLAB_WEBHOOKS_KEY changed?"""

    code = "box_unopened"


def key_bytes(secret: str) -> bytes:
    """What Standard Webhooks signs with: base64 after `whsec_`, or the text itself. Raises: SecretRefused."""
    if not secret.startswith(PREFIX):
        return secret.encode()
    try:
        return base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise SecretRefused(f"a secret that begins with {PREFIX} goes on in base64") from None


def check_secret(secret: str) -> str:
    """The secret, if it is long enough. Raises: SecretRefused."""
    size = len(key_bytes(secret))
    least = KEY_BYTES_MIN if secret.startswith(PREFIX) else SECRET_BYTES_MIN
    if not least <= size <= SECRET_BYTES_MAX:
        raise SecretRefused(
            f"a secret has {least} to {SECRET_BYTES_MAX} bytes; this one has {size}; leave it out to get one"
        )
    return secret


def spelled(random: bytes) -> str:
    """Random bytes as a new secret."""
    return PREFIX + base64.b64encode(random).decode()


class Vault:
    """Encrypts secrets so that the ledger can keep what it cannot read.

    Args:
        key_text: any secret text of the operator's, the same for API and delivery.
    """

    def __init__(self, key_text: str) -> None:
        self._box = SecretBox(hashlib.sha256(b"lutlab webhooks\0" + key_text.encode()).digest())

    def seal(self, webhook_id: UUID, secret: str, nonce: bytes) -> str:
        """A secret as it is stored, good for this endpoint only; `nonce` has 24 random bytes."""
        return base64.b64encode(self._box.encrypt(webhook_id.bytes + secret.encode(), nonce)).decode()

    def open(self, webhook_id: UUID, box: str) -> str:
        """The secret again. Raises: BoxUnopened."""
        try:
            plain = self._box.decrypt(base64.b64decode(box))
        except (CryptoError, ValueError) as error:
            raise BoxUnopened(f"the secret of webhook {webhook_id} cannot be decrypted") from error
        if plain[:16] != webhook_id.bytes:
            raise BoxUnopened(f"the secret of webhook {webhook_id} belongs to another one")
        return plain[16:].decode()


def signatures(message_id: str, timestamp_s: int, body: bytes, secrets: Iterable[str]) -> dict[str, str]:
    """The headers that prove where a message comes from.

    `webhook-signature` has one `v1` signature for each secret, newest first (Standard Webhooks 1.0);
    `X-OpenForge-Signature` is the newest's `sha256=` HMAC over the body, for receivers made for the reference system.
    """
    keys = list(secrets)
    content = f"{message_id}.{timestamp_s}.".encode() + body
    signed = [base64.b64encode(hmac.digest(key_bytes(key), content, "sha256")).decode() for key in keys]
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signed),
        "X-OpenForge-Signature": "sha256=" + hmac.new(keys[0].encode(), body, "sha256").hexdigest(),
    }
