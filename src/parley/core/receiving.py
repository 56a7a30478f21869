"""What peers send: which section carries which track, and whether packets of it arrive."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from parley.core import facts
from parley.core.errors import AlreadyBound, KindMismatch, SectionNotFound, TrackNotFound
from parley.core.model import EndReason, Track
from parley.core.peer import Peer, Receiver, layer_names
from parley.core.style import Take
from parley.engine.engine import Applied
from parley.engine.specs import Flow, Kind, Mid, ProducerId
from parley.ids import TrackId
from parley.negotiation import Delta, Direction, RemoteSection, RemoteView

NO_SECTIONS: Mapping[Mid, RemoteSection] = MappingProxyType({})
Report = Callable[[facts.Fact], None]
Tell = Callable[[Peer, Callable[[], object]], None]
"""Gives the engine a small command that concerns this peer."""


class Receiving:
    """The receivers of all peers, found by their track."""

    def __init__(self, report: Report, tell: Tell) -> None:
        self._report = report
        self._tell = tell
        self._tracks: dict[TrackId, Track] = {}
        self._receivers: dict[TrackId, Receiver] = {}

    def __len__(self) -> int:
        """Tracks that are known, carried or not."""
        return len(self._tracks)

    def track(self, id: TrackId) -> Track | None:
        return self._tracks.get(id)

    def source(self, track: TrackId) -> Receiver | None:
        """The section that carries the track now."""
        return self._receivers.get(track)

    # What rooms say.

    def know(self, track: Track) -> None:
        """Remember how a track is now; a muted one is not forwarded."""
        self._tracks[track.id] = track
        receiver = self._receivers.get(track.id)
        if receiver is not None:
            self._mute(receiver, track.muted)

    def forget(self, track: TrackId) -> None:
        """The track is gone. Its section is answered as before, and can be claimed by another."""
        self._tracks.pop(track, None)
        receiver = self._receivers.pop(track, None)
        if receiver is not None:
            receiver.track = None

    # What dialects decide.

    def check(self, peer: Peer, view: RemoteView, takes: Mapping[Mid, Take]) -> None:
        """Raise unless every section exists and can carry its track: SectionNotFound and those of `check_one`."""
        kinds = {section.mid: section.kind for section in view.sections}
        taken: set[TrackId] = set()
        for mid, take in takes.items():
            if mid not in kinds:
                raise SectionNotFound(peer.id, mid)
            self.check_one(peer, mid, kinds[mid], take.track)
            if take.track in taken:
                raise AlreadyBound(take.track, mid)
            taken.add(take.track)

    def check_one(self, peer: Peer, mid: Mid, kind: Kind, id: TrackId) -> None:
        """Raise TrackNotFound, KindMismatch or AlreadyBound unless this section can carry this track."""
        track = self._tracks.get(id)
        if track is None or track.participant != peer.participant:
            raise TrackNotFound(id)
        if track.kind is not kind:
            raise KindMismatch(id, mid)
        bound = self._receivers.get(id)
        if bound is not None and bound is not peer.receivers.get(mid):
            raise AlreadyBound(id, mid)

    def claim(self, peer: Peer, mid: Mid, track: TrackId) -> None:
        """Bind a track to a section that was negotiated before. Raises as `check` does."""
        receiver = peer.receivers.get(mid)
        if receiver is None:
            raise SectionNotFound(peer.id, mid)
        self.check_one(peer, mid, receiver.spec.kind, track)
        if receiver.track is not None:
            raise AlreadyBound(track, mid)
        peer.shut.discard(mid)
        self._bind(receiver, track)

    def stop(self, peer: Peer, mid: Mid) -> None:
        """Let the track of a section end although its client may go on sending."""
        receiver = peer.receivers.get(mid)
        if receiver is not None:
            self._unbind(receiver, EndReason.UNPUBLISHED)

    # What negotiation and the engine have made true.

    def update(self, peer: Peer, view: RemoteView, takes: Mapping[Mid, Take], delta: Delta, applied: Applied) -> None:
        """Bring what the peer sends up to date with an answer that the engine has carried out."""
        self.settle(peer, delta, applied, {section.mid: section for section in view.sections})
        for mid, take in takes.items():
            receiver = peer.receivers.get(mid)
            if receiver is None or receiver.track == take.track:
                continue
            self._unbind(receiver, EndReason.REPLACED)
            if take.track in self._tracks:
                self._bind(receiver, take.track)
                peer.shut.discard(mid)

    def settle(
        self, peer: Peer, delta: Delta, applied: Applied, sections: Mapping[Mid, RemoteSection] = NO_SECTIONS
    ) -> None:
        """Bring the sections that the peer sends on up to date with a change that the engine has carried out.

        sections: as the peer offered them; empty when the offer was the server's.
        """
        for mid, flow in delta.ended:
            if flow is Flow.RECV and (receiver := peer.receivers.pop(mid, None)) is not None:
                self._unbind(receiver, EndReason.UNPUBLISHED)
        for spec in delta.recv:
            producer = applied.producers[spec.mid]
            known = peer.receivers.get(spec.mid)
            if known is None:
                offered = sections.get(spec.mid)
                if offered is None:
                    # Asked for by an offer of ours; what the peer could do there besides is not known.
                    offered = RemoteSection(len(peer.receivers), spec.mid, spec.kind, Direction.SENDRECV)
                peer.receivers[spec.mid] = Receiver(peer, offered, spec, producer)
            else:
                known.spec, known.producer = spec, producer
                known.section = sections.get(spec.mid, known.section)

    def accept(self, peer: Peer, inviting: Mapping[Mid, TrackId]) -> None:
        """Bind invited tracks to the sections that have been accepted for them; those of refused ones are lost."""
        for mid, track in inviting.items():
            receiver = peer.receivers.get(mid)
            if track not in self._tracks:
                continue  # It was withdrawn while its offer was open.
            if receiver is None:
                self._report(facts.TrackLost(peer.participant, track, EndReason.UNPUBLISHED))
            else:
                self._bind(receiver, track)

    def flow(self, peer: Peer, producer: ProducerId, layer: int) -> None:
        """Packets of a layer arrive."""
        receiver = peer.receiver_of(producer)
        if receiver is None:
            return
        if layer in receiver.layers:
            return
        receiver.layers.add(layer)
        if receiver.track is None:
            return
        if len(receiver.layers) == 1:
            self._report(facts.TrackFlows(peer.participant, receiver.track))
        self._tell_layers(receiver)

    def stall(self, peer: Peer, producer: ProducerId, layer: int) -> None:
        """Packets of a layer have stopped arriving."""
        receiver = peer.receiver_of(producer)
        if receiver is None or layer not in receiver.layers:
            return
        receiver.layers.discard(layer)
        if receiver.track is None:
            return
        if not receiver.layers:
            self._report(facts.TrackStalls(peer.participant, receiver.track))
        self._tell_layers(receiver)

    def demand(self, peer: Peer, producer: ProducerId, layers: tuple[int, ...]) -> None:
        """Those whom this is forwarded to want these layers of it."""
        receiver = peer.receiver_of(producer)
        if receiver is not None and receiver.track is not None and receiver.spec.kind is Kind.VIDEO:
            self._report(facts.LayersDemanded(peer.participant, receiver.track, layers))

    def close(self, peer: Peer) -> None:
        """The peer is closed: its tracks are lost."""
        for receiver in peer.receivers.values():
            self._unbind(receiver, EndReason.PEER_CLOSED)
        peer.receivers.clear()

    # For itself.

    def _bind(self, receiver: Receiver, track: TrackId) -> None:
        participant = receiver.peer.participant
        receiver.track = track
        self._receivers[track] = receiver
        self._mute(receiver, self._tracks[track].muted)
        spec = receiver.spec
        self._report(facts.TrackBound(participant, track, spec.mid, spec.codecs[0].name, layer_names(spec)))
        if receiver.layers:
            self._report(facts.TrackFlows(participant, track))
            self._tell_layers(receiver)

    def _unbind(self, receiver: Receiver, reason: EndReason) -> None:
        track, receiver.track = receiver.track, None
        if track is not None:
            self._receivers.pop(track, None)
            self._report(facts.TrackLost(receiver.peer.participant, track, reason))

    def _mute(self, receiver: Receiver, muted: bool) -> None:
        if receiver.is_paused != muted:
            receiver.is_paused = muted
            self._tell(receiver.peer, receiver.producer.pause if muted else receiver.producer.resume)

    def _tell_layers(self, receiver: Receiver) -> None:
        """Say which layers arrive, of a section that has any; of the others it is said whether they flow."""
        if layer_names(receiver.spec) and receiver.track is not None:
            arriving = tuple(sorted(receiver.layers))
            self._report(facts.LayersFlow(receiver.peer.participant, receiver.track, arriving))
