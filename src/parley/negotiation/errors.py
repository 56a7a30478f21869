"""What can be wrong with a description or its moment.

    NegotiationError
    ├─ SdpSyntax              a line cannot be read                 line, why
    ├─ SdpTooLarge            more text, sections or columns than are read   what, limit
    ├─ WrongSignalingState    the operation does not fit the state  state, operation
    ├─ SectionMismatch        it does not continue what was negotiated       why
    ├─ SectionRefused         what was planned cannot be offered    mid, why
    └─ BundleRefused          it cannot share the one transport     why

No message contains any part of a description: descriptions carry addresses and credentials, and messages reach logs.
"""

from __future__ import annotations

from typing import ClassVar

from parley.errors import ParleyError, Reason


class NegotiationError(ParleyError):
    """A description, or the moment it came at, is wrong. Nothing has changed."""

    reason: ClassVar[Reason] = Reason.SDP_SYNTAX


class SdpSyntax(NegotiationError):
    """Line `line`, counted from 1, cannot be read."""

    reason: ClassVar[Reason] = Reason.SDP_SYNTAX

    def __init__(self, line: int, why: str) -> None:
        super().__init__(f"line {line} of the description cannot be read: {why}")
        self.line = line
        self.why = why


class SdpTooLarge(NegotiationError):
    """The description is larger than is read."""

    reason: ClassVar[Reason] = Reason.SDP_TOO_LARGE

    def __init__(self, what: str, limit: int) -> None:
        super().__init__(f"the description has too much of {what}: at most {limit}")
        self.what = what
        self.limit = limit


class WrongSignalingState(NegotiationError):
    """The operation does not fit the signalling state; for an offer while one of ours is open, this is glare."""

    reason: ClassVar[Reason] = Reason.WRONG_SIGNALING_STATE

    def __init__(self, state: str, operation: str, why: str = "") -> None:
        super().__init__(f"cannot {operation} while {state}" + (f": {why}" if why else ""))
        self.state = state
        self.operation = operation


class SectionMismatch(NegotiationError):
    """The description, or the plan, does not continue what the two sides have negotiated."""

    reason: ClassVar[Reason] = Reason.SECTION_MISMATCH

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class SectionRefused(NegotiationError):
    """What was planned for a section cannot be offered. `mid` is None for a section that is not there yet."""

    reason: ClassVar[Reason] = Reason.SECTION_REFUSED

    def __init__(self, mid: str | None, why: str) -> None:
        super().__init__(f"a section cannot be offered: {why}")
        self.mid = mid
        self.why = why


class BundleRefused(NegotiationError):
    """The description cannot be carried by one transport for everything (RFC 8843, RFC 5761)."""

    reason: ClassVar[Reason] = Reason.BUNDLE_REFUSED

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why
