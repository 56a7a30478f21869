"""LiveKit's access tokens: read, judged, and written.

A token is a JWT signed with HS256 by an API key's secret; what it allows stands in its `video` claim.
Source: LiveKit documentation, "Authentication" and "Token reference".
"""

import warnings
from collections.abc import Mapping
from typing import Any, Protocol

import jwt
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from parley.config import Credential
from parley.core.grants import Grant, Source
from parley.dialects.livekit.errors import NotAuthenticated
from parley.ids import TenantId

LEEWAY_S = 60.0
"""How far a client's clock may be off before `exp` and `nbf` are held against it."""

ALGORITHM = "HS256"

REFRESHED_FOR_S = 600.0
"""A refreshed token lives at least this long, however little the first one had left."""

BEARER = "Bearer "


_SOURCES = {
    "camera": Source.CAMERA,
    "microphone": Source.MICROPHONE,
    "screen_share": Source.SCREEN,
    "screen_share_audio": Source.SCREEN_AUDIO,
}


class _Claim(BaseModel):
    """A part of a token: camelCase on the wire, unknown members ignored, null like absent."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)


class VideoGrant(_Claim):
    """What a token allows. None: the token does not say, and the default in the comment holds."""

    room_join: bool = False
    room: str = ""
    room_create: bool = False
    room_list: bool = False
    room_admin: bool = False
    room_record: bool = False
    ingress_admin: bool = False
    can_publish: bool | None = None  # yes
    can_subscribe: bool | None = None  # yes
    can_publish_data: bool | None = None  # as can_publish
    can_publish_sources: tuple[str, ...] = ()  # empty: every source
    can_update_own_metadata: bool | None = None  # no
    hidden: bool = False
    recorder: bool = False
    agent: bool = False
    can_subscribe_metrics: bool | None = None  # no
    can_manage_agent_session: bool | None = None  # no

    @property
    def publishes(self) -> bool:
        return self.can_publish is not False

    @property
    def subscribes(self) -> bool:
        return self.can_subscribe is not False

    @property
    def publishes_data(self) -> bool:
        return self.publishes if self.can_publish_data is None else self.can_publish_data


class Claims(_Claim):
    """What a token says of its bearer. `key` and `expires_at` come from `iss` and `exp`."""

    key: str = ""
    tenant: str = "default"
    identity: str = ""
    expires_at: float = 0.0
    name: str = ""
    kind: str = ""
    kind_details: tuple[str, ...] = ()
    metadata: str = ""
    attributes: Mapping[str, str] = Field(default_factory=dict)
    video: VideoGrant | None = None
    room_config: Mapping[str, Any] | None = None
    room_preset: str = ""


class _Headers(Protocol):
    def get(self, key: str, /) -> str | None: ...


def find_token(headers: _Headers, query: _Headers) -> str | None:
    """The token of a request, or None where it carries none.

    The Authorization header wins over the query, which browsers need because they cannot set headers
    on a WebSocket. Raises NotAuthenticated for a header of another scheme.
    """
    header = headers.get("authorization")
    if header:
        if not header.startswith(BEARER):
            raise NotAuthenticated("invalid authorization header. Must start with Bearer ")
        return header[len(BEARER) :]
    return query.get("access_token") or None


def read_token(token: str, keys: Mapping[str, Credential], now: float) -> Claims:
    """Check a token and return what it says.

    now: seconds since the epoch. Raises NotAuthenticated, whose text says what is wrong and never
    repeats the token.
    """
    issuer = _issuer(token)
    key = keys.get(issuer)
    if key is None:
        raise NotAuthenticated("invalid API key")
    payload = _verified(token, key.secret.get_secret_value())
    _check_times(payload, now)
    identity = payload.get("sub") or payload.get("jti") or ""
    try:
        said = {name: value for name, value in payload.items() if value is not None}
        claims = Claims.model_validate(said)
        return claims.model_copy(
            update={
                "key": issuer,
                "tenant": key.tenant,
                "identity": str(identity),
                "expires_at": float(payload["exp"]),
            }
        )
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise NotAuthenticated(f"invalid authorization token: {where}: {first['msg']}") from None


def grant(claims: Claims, video: VideoGrant, identity: str) -> Grant:
    """What core is told that the bearer may do.

    video: the claims' own, or what the request has narrowed it to; identity: likewise.
    """
    kind = claims.kind.lower()
    return Grant(
        tenant=TenantId(claims.tenant),
        identity=identity,
        room=video.room,
        can_join=video.room_join,
        can_create=video.room_create,
        can_administer=video.room_admin,
        can_publish=video.publishes,
        can_publish_data=video.publishes_data,
        can_subscribe=video.subscribes,
        # A name we do not know must not widen the grant to everything, as an empty set would.
        publish_sources=frozenset(_SOURCES.get(name.lower(), Source.UNKNOWN) for name in video.can_publish_sources),
        can_update_own_metadata=bool(video.can_update_own_metadata),
        hidden=video.hidden,
        recorder=video.recorder or kind == "egress",
        agent=video.agent or kind == "agent",
    )


def write_token(claims: Claims, secret: str, *, now: float, ttl_s: float) -> str:
    """Sign a token that says the same as the claims and is good from now for `ttl_s` seconds.

    `claims.key` must be the name of the API key whose secret is given.
    """
    body = claims.model_dump(by_alias=True, exclude_defaults=True, exclude={"key", "tenant", "identity", "expires_at"})
    if claims.video is not None:
        body["video"] = claims.video.model_dump(by_alias=True, exclude_defaults=True)
    body |= {"iss": claims.key, "sub": claims.identity, "nbf": int(now), "exp": int(now + ttl_s)}
    with warnings.catch_warnings():
        # Short secrets are refused when the server starts; with --dev they are meant.
        warnings.simplefilter("ignore", jwt.InsecureKeyLengthWarning)
        return jwt.encode(body, secret, algorithm=ALGORITHM)


def refresh(claims: Claims, secret: str, *, now: float) -> str:
    """A token for the same bearer that outlives the present one where that is about to end."""
    return write_token(claims, secret, now=now, ttl_s=max(REFRESHED_FOR_S, claims.expires_at - now))


def _issuer(token: str) -> str:
    try:
        payload = jwt.decode(token, options={"verify_signature": False})
    except (jwt.InvalidTokenError, RecursionError):  # the latter: brackets nested a thousand deep
        raise NotAuthenticated("invalid authorization token") from None
    issuer = payload.get("iss")
    return issuer if isinstance(issuer, str) else ""


def _verified(token: str, secret: str) -> dict[str, Any]:
    # Times are checked by hand: PyJWT reads the clock itself, and ours is passed in.
    unchecked = ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")
    options = {f"verify_{claim}": False for claim in unchecked}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", jwt.InsecureKeyLengthWarning)
            return jwt.decode(token, secret, algorithms=[ALGORITHM], options=options)  # type: ignore[arg-type]
    except jwt.InvalidAlgorithmError:
        raise NotAuthenticated(f"invalid authorization token: only {ALGORITHM} is accepted") from None
    except jwt.InvalidSignatureError:
        raise NotAuthenticated("invalid authorization token: the signature does not match") from None
    except jwt.InvalidTokenError:
        raise NotAuthenticated("invalid authorization token: it cannot be verified") from None


def _check_times(payload: Mapping[str, Any], now: float) -> None:
    expires = _numeric_date(payload, "exp")
    if expires is None:
        raise NotAuthenticated("invalid authorization token: it has no expiry (exp)")
    if now > expires + LEEWAY_S:
        raise NotAuthenticated("invalid authorization token: it has expired (exp)")
    begins = _numeric_date(payload, "nbf")
    if begins is not None and now + LEEWAY_S < begins:
        raise NotAuthenticated("invalid authorization token: it is not valid yet (nbf)")


def _numeric_date(payload: Mapping[str, Any], claim: str) -> float | None:
    value = payload.get(claim)
    if value is None:
        return None
    # RFC 7519 §2: a JSON number. NaN and infinity are not JSON, yet Python's parser lets them pass.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e15:
        raise NotAuthenticated(f"invalid authorization token: {claim} is not a number of seconds")
    return float(value)
