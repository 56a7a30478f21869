"""What a client says when it connects to `/rtc`, and whether it may.

The checks run in the order of LiveKit's own server, because clients and their users know its answers.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from livekit.protocol.models import ClientInfo

from parley.dialects.livekit.auth import Claims, VideoGrant
from parley.dialects.livekit.errors import Malformed, NotPermitted

NO_ACCESS = "no permissions to access the room"

_SDKS = {name.lower(): number for name, number in ClientInfo.SDK.items()} | {"ios": ClientInfo.SWIFT}


@dataclass(frozen=True, slots=True)
class ConnectRequest:
    """The query of a connection, read."""

    protocol: int = 0
    """The signal protocol's version; it decides what the client understands."""
    client: ClientInfo = field(default_factory=ClientInfo)
    auto_subscribe: bool = True
    adaptive_stream: bool = False
    publish: str = ""
    """Name of a publish-only second connection of the same identity; empty for an ordinary one."""
    attributes: Mapping[str, str] | None = field(default_factory=dict)
    """Attributes to join with; None where they could not be decoded."""
    reconnect: bool = False
    """The client wants its old session back."""
    sid: str = ""
    """The participant it was, when reconnecting."""
    single_peer: bool = False
    """It sent a join request, which asks for one peer connection instead of two."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """A connection whose token and request are in order. Whether the room takes it, core decides."""

    claims: Claims
    video: VideoGrant
    identity: str
    room: str
    request: ConnectRequest
    attributes: Mapping[str, str]
    """Of the token and of the request, merged."""


def read_connect(query: Mapping[str, str]) -> ConnectRequest:
    """Read a query; what cannot be read counts as not said, as in LiveKit's server."""
    reconnect = _flag(query, "reconnect")
    return ConnectRequest(
        protocol=_number(query, "protocol"),
        client=_client(query),
        auto_subscribe=_flag(query, "auto_subscribe", default=True),
        adaptive_stream=_flag(query, "adaptive_stream"),
        publish=query.get("publish", ""),
        attributes=_attributes(query.get("attributes", "")),
        reconnect=reconnect,
        sid=query.get("sid", "") if reconnect else "",
        single_peer=bool(query.get("join_request")),
    )


def admit(claims: Claims | None, request: ConnectRequest, max_name_bytes: int) -> Admitted:
    """Hold the request against the token. Raises NotPermitted or Malformed, whichever comes first.

    max_name_bytes: of an identity and of a room's name, each; 0: no limit.
    Attributes are not judged here, since whether the room exists is asked before: see `check_attributes`.
    """
    if claims is None or claims.video is None:
        raise NotPermitted(NO_ACCESS)
    video = claims.video
    if not video.room_join:
        raise NotPermitted("permissions denied")
    if not claims.identity:
        raise Malformed("identity cannot be empty")
    if _over(claims.identity, max_name_bytes):
        raise Malformed(f"participant identity length exceeds limits: max length {max_name_bytes}")
    if not video.room:
        raise Malformed("no room name")
    if _over(video.room, max_name_bytes):
        raise Malformed(f"room name length exceeds limits: max length {max_name_bytes}")
    identity = claims.identity
    if request.publish:
        if not video.publishes:
            raise NotPermitted(NO_ACCESS)
        identity = f"{identity}#{request.publish}"
        video = video.model_copy(update={"can_subscribe": False})
    added = {key: value for key, value in (request.attributes or {}).items() if value}
    return Admitted(claims, video, identity, video.room, request, dict(claims.attributes) | added)


def check_attributes(admitted: Admitted, *, strict: bool) -> None:
    """Whether the client may bring the attributes it brings.

    strict: refuse attributes that could not be decoded, as the validating request does; a real
    connection goes on without them.
    """
    brought = admitted.request.attributes
    if brought is None:
        if strict:
            raise Malformed("cannot decode attributes")
        return
    if any(brought.values()) and not admitted.video.can_update_own_metadata:
        raise NotPermitted(NO_ACCESS)


def _over(text: str, limit_bytes: int) -> bool:
    return 0 < limit_bytes < len(text.encode())


def _flag(query: Mapping[str, str], name: str, *, default: bool = False) -> bool:
    value = query.get(name)
    return default if value is None else value in ("1", "true")


def _number(query: Mapping[str, str], name: str) -> int:
    text = query.get(name, "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 9 else 0


def _attributes(text: str) -> dict[str, str] | None:
    if not text:
        return {}
    try:
        # Padding is completed: some clients leave it out.
        value = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not all(isinstance(item, str) for item in value.values()):
        return None
    return value


def _client(query: Mapping[str, str]) -> ClientInfo:
    capabilities = [
        name
        for name in query.get("capabilities", "").split(",")
        if name in ClientInfo.Capability.keys()  # noqa: SIM118 - an enum wrapper, not a mapping
    ]
    return ClientInfo(
        sdk=_SDKS.get(query.get("sdk", "").lower(), ClientInfo.UNKNOWN),  # type: ignore[arg-type]
        version=query.get("version", ""),
        protocol=_number(query, "protocol"),
        os=query.get("os", ""),
        os_version=query.get("os_version", ""),
        device_model=query.get("device_model", ""),
        browser=query.get("browser", ""),
        browser_version=query.get("browser_version", ""),
        network=query.get("network", ""),
        client_protocol=_number(query, "client_protocol"),
        capabilities=capabilities,
    )
