"""Permissions as values: what a credential allows its holder to do, whoever issued it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from parley.ids import TenantId


class Source(StrEnum):
    """Where a track comes from."""

    UNKNOWN = "unknown"
    CAMERA = "camera"
    MICROPHONE = "microphone"
    SCREEN = "screen"
    SCREEN_AUDIO = "screen_audio"


@dataclass(frozen=True, slots=True)
class Tenant:
    """An organisation: whoever holds credentials. Tenants never see each other's rooms."""

    id: TenantId
    title: str = ""
    """A name for people; empty: the id serves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """What its holder may do. A dialect builds it from a verified credential, and core asks nothing else."""

    tenant: TenantId
    identity: str
    """Who the holder is; unique in a room at one time."""
    room: str = ""
    """The name of the one room it is for; empty: none."""
    lobby: str = ""
    """The part of the tenant its holder belongs to. Without a room it waits there, in no company: only a grant of the
    same lobby finds it. Empty: none."""
    can_join: bool = False
    can_create: bool = False
    """Whether joining a room that does not exist creates it even where rooms are not created by joining."""
    can_administer: bool = False
    """Whether others in the room may be muted, removed and renamed."""
    can_publish: bool = True
    can_publish_data: bool = True
    can_subscribe: bool = True
    publish_sources: frozenset[Source] = frozenset()
    """The only sources that may be published; empty: every one."""
    can_update_own_metadata: bool = False
    """Whether the holder may change its own name, metadata and attributes."""
    hidden: bool = False
    """Whether the others never learn of it."""
    recorder: bool = False
    """Whether it records: it takes no seat and keeps no room open."""
    agent: bool = False
    """Whether it is a program that serves the others: it takes no seat and keeps no room open."""

    def may_publish(self, source: Source) -> bool:
        return self.can_publish and (not self.publish_sources or source in self.publish_sources)

    @property
    def takes_a_seat(self) -> bool:
        """Whether its holder counts for the room's limit, its head count and its being empty."""
        return not (self.recorder or self.agent)
