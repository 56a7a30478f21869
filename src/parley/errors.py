"""The tree that every error of Parley's hangs from, and the reason codes that errors carry.

    ParleyError                       reason: Reason, and the facts as fields
    ├─ ConfigError                    the configuration cannot be used          (parley.config)
    ├─ Refused                        the request may not happen                (parley.core.errors)
    │  ├─ NotAllowed                  the grant does not reach that far
    │  ├─ NotFound                    there is no such room, participant, track …
    │  ├─ Conflict                    it exists, but its state forbids the request
    │  └─ LimitExceeded               it would be more than a stated limit
    ├─ Unavailable                    it may happen, but cannot be done now     (parley.core.errors)
    ├─ NegotiationError               a description or its moment is wrong      (parley.negotiation)
    └─ EngineError                    the media engine refused or did not answer (parley.engine)

A dialect catches these classes and turns reasons into its own statuses and bodies in one table. A reason is part of
the API: it appears in answers, events and logs, so one is added but never renamed. The value is what is written out.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class Reason(StrEnum):
    """Why something was refused, failed or ended, for machines to read."""

    # Configuration.
    CONFIG_INVALID = "config_invalid"

    # What was said cannot be meant.
    NAME_EMPTY = "name_empty"

    # The grant.
    NOT_ALLOWED = "not_allowed"
    SOURCE_NOT_ALLOWED = "source_not_allowed"

    # What was named is not there.
    ROOM_NOT_FOUND = "room_not_found"
    PARTICIPANT_NOT_FOUND = "participant_not_found"
    PEER_NOT_FOUND = "peer_not_found"
    TRACK_NOT_FOUND = "track_not_found"
    SECTION_NOT_FOUND = "section_not_found"

    # Its state forbids it.
    ALREADY_BOUND = "already_bound"
    KIND_MISMATCH = "kind_mismatch"
    PEER_CLOSED = "peer_closed"

    # A limit.
    ROOM_FULL = "room_full"
    TOO_MANY_ROOMS = "too_many_rooms"
    NAME_TOO_LONG = "name_too_long"
    METADATA_TOO_LARGE = "metadata_too_large"
    ATTRIBUTES_TOO_LARGE = "attributes_too_large"
    TOO_MANY_TRACKS = "too_many_tracks"
    TOO_MANY_SUBSCRIPTIONS = "too_many_subscriptions"
    TOO_MANY_PEERS = "too_many_peers"
    MESSAGE_TOO_LARGE = "message_too_large"

    # Not now.
    SHUTTING_DOWN = "shutting_down"

    # Media.
    CODEC_UNSUPPORTED = "codec_unsupported"
    PEER_FAILED = "peer_failed"
    PEER_HUNG_UP = "peer_hung_up"
    OFFER_TIMEOUT = "offer_timeout"
    APPLY_FAILED = "apply_failed"
    ABANDONED = "abandoned"

    # Negotiation.
    SDP_SYNTAX = "sdp_syntax"
    SDP_TOO_LARGE = "sdp_too_large"
    WRONG_SIGNALING_STATE = "wrong_signaling_state"
    SECTION_REFUSED = "section_refused"
    SECTION_MISMATCH = "section_mismatch"
    BUNDLE_REFUSED = "bundle_refused"

    # The engine.
    ENGINE_BUSY = "engine_busy"
    ENGINE_REFUSED = "engine_refused"
    ENGINE_TIMEOUT = "engine_timeout"
    ENGINE_CLOSED = "engine_closed"

    INTERNAL = "internal"


class ParleyError(Exception):
    """The root. Every subclass states its reason and keeps its facts as attributes."""

    reason: ClassVar[Reason] = Reason.INTERNAL
