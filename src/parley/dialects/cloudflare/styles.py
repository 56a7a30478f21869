"""How a session's one connection negotiates, and how what it is sent is named in descriptions."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from uuid import UUID

from parley.core.model import Subscription, Track
from parley.core.style import Give, PeerStyle
from parley.dialects.cloudflare.settings import CloudflareSettings
from parley.ids import ParticipantId, to_hex
from parley.negotiation import Caps, IceMode, Msid
from parley.negotiation.codecs import DEFAULT_CODECS

MAX_MESSAGE_BYTES = 262_144
"""One message of a data channel."""


def style(settings: CloudflareSettings, ice: IceMode = IceMode.LITE) -> PeerStyle:
    """One connection for everything, on which either side may offer."""
    return PeerStyle(
        caps=replace(caps(settings), ice=ice),
        msid=_msid,
        cname=lambda subscription, track: to_hex(subscription.publisher),
        primary=True,
        data=False,
        reuse_inactive=False,
        keep_emptied=True,
        withdraw_offers=True,
        offer_timeout_s=settings.timeouts.renegotiate_s,
        return_s=settings.timeouts.return_s,
        connect_gate_s=settings.timeouts.connect_gate_s,
    )


def caps(settings: CloudflareSettings) -> Caps:
    """What may be negotiated, in the operator's order of preference."""
    order: dict[str, int] = {name: place for place, name in enumerate(settings.codecs)}
    allowed = [codec for codec in DEFAULT_CODECS if codec.name in order or codec.name == "rtx"]
    allowed.sort(key=lambda codec: order.get(codec.name, len(order)))
    return Caps(codecs=tuple(allowed), max_message_size=MAX_MESSAGE_BYTES)


def both_ways(session: ParticipantId, random: Random) -> Give:
    """A section that the client sends on and that is open for a track to be pulled onto it."""
    stream = to_hex(session)
    return Give(msid=Msid(stream, uuid(random)), cname=stream)


def uuid(random: Random) -> str:
    """A random UUID: the name of a track that was given none, the id of one in a description."""
    return str(UUID(int=random.getrandbits(128), version=4))


def _msid(subscription: Subscription, track: Track) -> Msid:
    # Audio and video of one publisher share a stream: players group by it.
    return Msid(to_hex(subscription.publisher), str(UUID(int=subscription.id)))
