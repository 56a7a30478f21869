"""The offer/answer machine of one peer connection (RFC 3264, RFC 8829 §3.2, RFC 8843).

STABLE ──on_offer──▶ HAVE_REMOTE_OFFER ──answer, rollback──▶ STABLE
STABLE ──offer──▶ HAVE_LOCAL_OFFER ──on_answer, rollback──▶ STABLE
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from parley.engine.specs import TransportParams
from parley.negotiation.values import Caps, Delta, MidStyle, MLine, MLinePlan, RemoteView, SignalingState


class Negotiator:
    """One connection's descriptions, past and pending. Every method either succeeds or raises with nothing changed."""

    def __init__(
        self, caps: Caps, transport: TransportParams, *, mids: MidStyle = MidStyle.NUMERIC, random: Random
    ) -> None:
        raise NotImplementedError

    @property
    def state(self) -> SignalingState:
        """Where the exchange stands."""
        raise NotImplementedError

    @property
    def sections(self) -> tuple[MLine, ...]:
        """Every section as negotiated, in order; what is pending is not shown."""
        raise NotImplementedError

    def on_offer(self, sdp: str) -> RemoteView:
        """Take the peer's offer; STABLE becomes HAVE_REMOTE_OFFER."""
        raise NotImplementedError

    def answer(self, plan: Sequence[MLinePlan]) -> Delta:
        """Answer the peer's offer; HAVE_REMOTE_OFFER becomes STABLE. Sections not planned keep what they have."""
        raise NotImplementedError

    def offer(self, plan: Sequence[MLinePlan]) -> Delta:
        """Make an offer; STABLE becomes HAVE_LOCAL_OFFER. Sections not planned keep what they have."""
        raise NotImplementedError

    def on_answer(self, sdp: str) -> Delta:
        """Take the peer's answer; HAVE_LOCAL_OFFER becomes STABLE, or stays with the offer open if this raises."""
        raise NotImplementedError

    def rollback(self) -> Delta:
        """Drop the pending description, ours or the peer's; `ended` holds what it had introduced."""
        raise NotImplementedError

    def restart_ice(self, transport: TransportParams) -> None:
        """Use these credentials from the next description on."""
        raise NotImplementedError

    def close(self) -> None:
        """Refuse everything from now on."""
        raise NotImplementedError
