"""Who calls: an app's id in the path and its secret as a bearer token, turned into what its sessions may do."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from parley.config import Credential
from parley.core.grants import Grant
from parley.dialects.cloudflare.errors import Code, Problem
from parley.ids import TenantId

ROOM_PREFIX = "room:"
"""A `correlationId` that begins so binds its session to a room; the convention is ours."""


@dataclass(frozen=True, slots=True)
class Caller:
    """An app that has shown its secret."""

    app: str
    tenant: TenantId

    def grant(self, identity: str, room: str = "") -> Grant:
        """What a session of this app may do: everything, in the room it is bound to, or else in the app's lobby."""
        return Grant(tenant=self.tenant, identity=identity, room=room, lobby=self.app, can_join=True)


def authenticate(app: str, authorization: str | None, apps: Mapping[str, Credential]) -> Caller:
    """Raises Problem: 401 without a bearer token, 404 for an unknown app, 401 for another secret, in this order."""
    scheme, _, token = (authorization or "").strip().partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Problem(Code.UNAUTHORIZED, "The Authorization header must be Bearer and the app's secret")
    known = apps.get(app)
    if known is None:
        raise Problem(Code.NOT_FOUND, "There is no such app")
    if not hmac.compare_digest(token.strip().encode(), known.secret.get_secret_value().encode()):
        raise Problem(Code.UNAUTHORIZED, "The secret is not this app's")
    return Caller(app, TenantId(known.tenant))


@dataclass(frozen=True, slots=True)
class Binding:
    """The room a session is bound to, and who it is there."""

    room: str
    identity: str
    """Empty: one that nobody else has."""


def read_binding(correlation_id: str) -> Binding | None:
    """`room:standup` or `room:standup/ada`, each part percent-encoded; None: a mere label, which binds to nothing."""
    if not correlation_id.startswith(ROOM_PREFIX):
        return None
    room, _, identity = correlation_id.removeprefix(ROOM_PREFIX).partition("/")
    return Binding(unquote(room), unquote(identity)) if room else None
