"""Bodies about API keys."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID

from pydantic import AwareDatetime, ConfigDict, Field, field_validator

from lutlab_api.app.keys import IssuedKey as IssuedKeyValue
from lutlab_api.app.keys import KeyWish
from lutlab_api.domain.views import KeyView
from lutlab_api.web.models import OWNER, PRINTABLE, Model
from lutlab_events.values import Role, Scope


class NewKey(Model):
    """Whose key to issue."""

    model_config = ConfigDict(frozen=True, json_schema_extra={"examples": [{"owner": "ada", "label": "laptop"}]})

    owner: str = Field(pattern=OWNER, description="on whose behalf the key acts")
    role: Role = Field(Role.MEMBER, description="an admin's key also manages keys and acts for anyone")
    label: str = Field("", max_length=100, pattern=PRINTABLE, description="to recognise the key by")
    scopes: list[Scope] | None = Field(None, description="what it is good for; left out: everything its role allows")
    team: str | None = Field(None, pattern=OWNER, description="whose jobs its owner may read beside the own ones")
    expires_at: AwareDatetime | None = Field(None, description="when it stops working; left out: never")

    @field_validator("expires_at")
    @classmethod
    def _in_utc(cls, value: datetime | None) -> datetime | None:
        """In UTC: Postgres refuses offsets of 16 hours and more, which ISO 8601 allows."""
        if value is None:
            return None
        try:
            return value.astimezone(UTC)
        except OverflowError:
            raise ValueError("it lies beyond the years 1 to 9999 in UTC") from None

    def wish(self) -> KeyWish:
        """For the use case."""
        return KeyWish(
            owner=self.owner,
            role=self.role,
            label=self.label,
            scopes=None if self.scopes is None else tuple(sorted(set(self.scopes))),
            team=self.team,
            expires_at=self.expires_at,
        )


class IssuedKey(Model):
    """A new key, shown this once."""

    api_key: str
    key_id: UUID
    owner: str
    role: Role
    label: str
    scopes: list[Scope]
    team: str | None
    expires_at: datetime | None

    @staticmethod
    def of(issued: IssuedKeyValue) -> IssuedKey:
        """From the use case."""
        wish = issued.wish
        return IssuedKey(
            api_key=issued.secret,
            key_id=issued.key_id,
            owner=wish.owner,
            role=wish.role,
            label=wish.label,
            scopes=sorted(wish.granted),
            team=wish.team,
            expires_at=wish.expires_at,
        )


class LoggedIn(Model):
    """A key got by logging in, shown this once."""

    api_key: str
    github_username: str
    owner: str
    expires_at: datetime | None


class Key(Model):
    """A key, without the key."""

    key_id: UUID
    owner: str
    role: Role
    label: str
    scopes: list[Scope]
    team: str | None
    created_at: datetime | None
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="to within a few seconds")
    rotated_until: datetime | None = Field(description="until when the secret before the last rotation works")
    revoked_at: datetime | None

    @staticmethod
    def of(key: KeyView) -> Key:
        """From the ledger's view."""
        return Key(
            key_id=key.key_id,
            owner=key.owner,
            role=key.role,
            label=key.label,
            scopes=sorted(key.scopes),
            team=key.team,
            created_at=key.created_at,
            expires_at=key.expires_at,
            last_used_at=key.last_used_at,
            rotated_until=key.previous_until,
            revoked_at=key.revoked_at,
        )


class GithubToken(Model):
    """What the reference's login sends."""

    github_token: str = Field(min_length=1, max_length=512)
