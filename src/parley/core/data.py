"""Data between participants: a message as a value, and how one participant's channels carry it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from parley.ids import ParticipantId

if TYPE_CHECKING:
    from parley.core.model import Participant


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """One message to some or all others in the room."""

    payload: bytes
    """What the application sent; any dialect can deliver it."""
    reliable: bool = True
    topic: str = ""
    to: tuple[str, ...] = ()
    """Identities of the recipients, as the sender gave them; with `to_ids` empty too: everybody else."""
    to_ids: tuple[ParticipantId, ...] = ()
    envelope: object = None
    """The message as its sender's dialect has it, for recipients of the same dialect; nobody else looks at it."""
    opaque: bool = False
    """Whether only `envelope` means anything: recipients of other dialects are left out."""

    @property
    def is_for_all(self) -> bool:
        return not self.to and not self.to_ids


@dataclass(frozen=True, slots=True, kw_only=True)
class DataStyle:
    """How a participant's data channels carry data, in its dialect. Plain functions; they neither wait nor raise.

    `write` is called once for all recipients whose style has the same `write` function, so it should be a function
    of a module and not made anew for each participant.
    """

    reliable: str
    """The label of the channel that reliable data is sent to the participant on."""
    lossy: str
    """The same for lossy data."""
    read: Callable[[Participant, str, bytes], Data | None]
    """(the sender, the label it arrived on, the message) to what is meant; None: nothing to pass on."""
    write: Callable[[Participant | None, Data], bytes | None]
    """(the sender, None being the server; the data) to the message for a recipient; None: it cannot be said here."""
