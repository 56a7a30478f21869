"""Carries data to participants: each in its own dialect's form, on its own channel, in order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import structlog

from parley.core.data import Data, DataStyle
from parley.core.model import Limits, Participant
from parley.core.outbox import Outbox
from parley.core.peers import Peers
from parley.ids import ParticipantId, to_hex

log = structlog.get_logger(__name__)


class Courier:
    """What each participant takes data with, and what still waits for it.

    A message is written once for all recipients whose dialect writes it the same way, and sent to them in one call of
    the engine. Reliable messages for a channel that is not open yet, or while the engine has no room, wait.
    """

    def __init__(self, peers: Peers, limits: Limits) -> None:
        self._peers = peers
        self._limits = limits
        self._addressees: dict[ParticipantId, _Addressee] = {}
        self._behind: set[ParticipantId] = set()
        """Those for whom something waits."""

    def seat(self, participant: ParticipantId, style: DataStyle | None) -> None:
        """From now on this participant can be sent data. style: None: through its queue of events."""
        self._addressees[participant] = _Addressee(style, Outbox(self._limits.held_data_bytes))

    def unseat(self, participant: ParticipantId) -> None:
        self._addressees.pop(participant, None)
        self._behind.discard(participant)

    def style(self, participant: ParticipantId) -> DataStyle | None:
        addressee = self._addressees.get(participant)
        return addressee.style if addressee is not None else None

    def carry(self, sender: Participant | None, recipients: Iterable[Participant], data: Data) -> list[ParticipantId]:
        """Send a message; returns those recipients that take it through their queue."""
        queued: list[ParticipantId] = []
        alike: dict[Callable[..., bytes | None], list[ParticipantId]] = {}
        for recipient in recipients:
            style = self.style(recipient.id)
            if style is not None:
                alike.setdefault(style.write, []).append(recipient.id)
            elif not data.opaque:
                queued.append(recipient.id)
        for write, several in alike.items():
            message = write(sender, data)
            if message is not None:
                self._send(several, message, is_reliable=data.reliable)
        return queued

    def flush(self, participant: ParticipantId) -> None:
        """Send what waits for a participant, in order, as far as its channel and the engine take it now."""
        addressee = self._addressees.get(participant)
        if addressee is None:
            return
        while (message := addressee.outbox.next()) is not None:
            channel = self._peers.channel(participant, addressee.label(is_reliable=True))
            if channel is None or not self._peers.broadcast([channel], message):
                return
            addressee.outbox.done()
        self._behind.discard(participant)

    def sweep(self) -> None:
        """Try again for everybody for whom something waits."""
        for participant in list(self._behind):
            self.flush(participant)

    def _send(self, recipients: list[ParticipantId], message: bytes, *, is_reliable: bool) -> None:
        channels, direct = [], []
        for recipient in recipients:
            addressee = self._addressees[recipient]
            channel = self._peers.channel(recipient, addressee.label(is_reliable=is_reliable))
            if channel is not None and not (is_reliable and recipient in self._behind):
                channels.append(channel)
                direct.append(recipient)
            elif is_reliable:
                self._hold(recipient, message)
        if not self._peers.broadcast(channels, message) and is_reliable:
            for recipient in direct:
                self._hold(recipient, message)

    def _hold(self, recipient: ParticipantId, message: bytes) -> None:
        outbox = self._addressees[recipient].outbox
        if not outbox.hold(message) and outbox.left_out == 1:
            log.warning(
                "reliable data was left out: too much waits", participant=to_hex(recipient), waiting=len(outbox)
            )
        self._behind.add(recipient)


@dataclass(frozen=True, slots=True)
class _Addressee:
    style: DataStyle | None
    outbox: Outbox

    def label(self, *, is_reliable: bool) -> str:
        if self.style is None:
            return ""
        return self.style.reliable if is_reliable else self.style.lossy
