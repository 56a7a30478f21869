"""Whoever is on the other side of a transport: a client of flesh and packets, or the test itself.

`AiortcPeer` is aiortc, an independent WebRTC stack, driven object by object (https://draft.ortc.org)
so that no description is needed; `FakePeer` moves a `FakeTransport`. Both do what the suite asks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol, TypeVar

import aioice.ice
import pytest
from aiortc import (
    AudioStreamTrack,
    MediaStreamTrack,
    RTCCertificate,
    RTCDataChannel,
    RTCDtlsTransport,
    RTCIceGatherer,
    RTCIceParameters,
    RTCIceTransport,
    RTCRtpReceiver,
    RTCRtpSender,
    RTCSctpCapabilities,
    RTCSctpTransport,
)
from aiortc.rtcdatachannel import RTCDataChannelParameters
from aiortc.rtcdtlstransport import RTCDtlsFingerprint, RTCDtlsParameters
from aiortc.rtcrtpparameters import (
    RTCRtcpFeedback,
    RTCRtcpParameters,
    RTCRtpCodecParameters,
    RTCRtpDecodingParameters,
    RTCRtpHeaderExtensionParameters,
    RTCRtpReceiveParameters,
    RTCRtpRtxParameters,
    RTCRtpSendParameters,
)
from aiortc.rtcrtpreceiver import RemoteStreamTrack
from aiortc.sdp import candidate_from_sdp

from parley.engine.engine import Message, Transport
from parley.engine.events import TransportEvent, TransportPhase, TransportState
from parley.engine.specs import (
    CodecSpec,
    DataSpec,
    Estimator,
    ExtensionSpec,
    Flow,
    Kind,
    Mid,
    RecvSpec,
    RemoteTransport,
    SendSpec,
    Setup,
)
from tests.fakes import FakeChannel, FakeTransport

PATIENCE_S = 10.0
"""How long a test waits for what must happen."""

MID_URI = "urn:ietf:params:rtp-hdrext:sdes:mid"
EXTENSIONS = (ExtensionSpec(MID_URI, 1),)
OPUS = CodecSpec(pt=96, name="opus", clock_hz=48_000, channels=2)
VP8 = CodecSpec(pt=97, name="VP8", clock_hz=90_000, rtx_pt=98)


def receiving(mid: str, kind: Kind = Kind.AUDIO) -> RecvSpec:
    """A section on which the server receives Opus or VP8; the stream is told by its MID."""
    codec = OPUS if kind is Kind.AUDIO else VP8
    return RecvSpec(Mid(mid), kind, (codec,), extensions=EXTENSIONS, nack=True)


def sending(mid: str, ssrc: int, kind: Kind = Kind.AUDIO) -> SendSpec:
    """A section on which the server sends Opus or VP8."""
    if kind is Kind.AUDIO:
        return SendSpec(Mid(mid), kind, ssrc, (OPUS,), extensions=EXTENSIONS, cname="parley", nack=True)
    return SendSpec(
        Mid(mid),
        kind,
        ssrc,
        (VP8,),
        rtx_ssrc=ssrc + 1,
        extensions=EXTENSIONS,
        cname="parley",
        nack=True,
        estimator=Estimator.REMB,
    )


_Event = TypeVar("_Event", bound=TransportEvent)


class Ear:
    """A listener that remembers, and can be waited for."""

    def __init__(self) -> None:
        self.heard: list[TransportEvent] = []
        self._news = asyncio.Event()

    def __call__(self, event: TransportEvent) -> None:
        self.heard.append(event)
        self._news.set()

    def of(self, kind: type[_Event]) -> list[_Event]:
        """What has been heard of one kind, oldest first."""
        return [event for event in self.heard if isinstance(event, kind)]

    @property
    def phases(self) -> list[TransportPhase]:
        return [event.phase for event in self.of(TransportState)]

    async def hear(self, kind: type[_Event], when: Callable[[_Event], bool] = lambda event: True) -> _Event:
        """The first event of this kind that fits, heard already or still to come."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                for event in self.of(kind):
                    if when(event):
                        return event
                self._news.clear()
                await self._news.wait()

    async def reach(self, phase: TransportPhase) -> TransportState:
        return await self.hear(TransportState, lambda event: event.phase is phase)


class PeerChannel(Protocol):
    """The peer's end of a data channel."""

    def send(self, data: bytes | str) -> None: ...
    async def receive(self) -> Message: ...
    def close(self) -> None: ...
    async def closed(self) -> None:
        """Wait until the server has closed it."""


class Peer(Protocol):
    """What the suite asks of whoever is on the other side."""

    def remote(self) -> RemoteTransport: ...
    async def connect(self) -> None: ...
    async def open_channel(
        self, label: str, *, protocol: str = "", ordered: bool = True, max_retransmits: int | None = None
    ) -> PeerChannel: ...
    async def channel(self, label: str) -> PeerChannel:
        """A channel that the server opened, when it has arrived."""

    async def speak(self, mid: str) -> None:
        """Send audio on this section from now on."""

    async def hang_up(self) -> None:
        """Close DTLS."""

    async def vanish(self) -> None:
        """Fall silent without a word."""

    async def stop(self) -> None: ...


# The test itself.


class FakePeer:
    """Moves a FakeTransport as a peer would."""

    def __init__(self, transport: Transport) -> None:
        assert isinstance(transport, FakeTransport)
        self.transport = transport

    def remote(self) -> RemoteTransport:
        return RemoteTransport("peer", "peer-password", "sha-256 " + ":".join(["CD"] * 32), Setup.ACTIVE)

    async def connect(self) -> None:
        self.transport.connect()

    async def open_channel(
        self, label: str, *, protocol: str = "", ordered: bool = True, max_retransmits: int | None = None
    ) -> FakePeerChannel:
        opened = self.transport.receive_channel(
            label, protocol=protocol, ordered=ordered, max_retransmits=max_retransmits
        )
        return FakePeerChannel(opened)

    async def channel(self, label: str) -> FakePeerChannel:
        return FakePeerChannel(next(c for c in self.transport.channels.values() if c.label == label))

    async def speak(self, mid: str) -> None:
        self.transport.receive_media(mid)
        self.transport.receive_media(mid)

    async def hang_up(self) -> None:
        self.transport.hang_up()

    async def vanish(self) -> None:
        self.transport.tell(TransportPhase.DISCONNECTED, "timeout")
        self.transport.fail("timeout")

    async def stop(self) -> None:
        pass


class FakePeerChannel:
    def __init__(self, channel: FakeChannel) -> None:
        self._channel = channel
        self._read = 0

    def send(self, data: bytes | str) -> None:
        if isinstance(data, str):
            self._channel.receive(data.encode(), text=True)
        else:
            self._channel.receive(data)

    async def receive(self) -> Message:
        message = self._channel.sent[self._read]
        self._read += 1
        return message

    def close(self) -> None:
        self._channel.reset()

    async def closed(self) -> None:
        assert self._channel.is_closed


# aiortc.


class AiortcPeer:
    """An aiortc client of one transport of the real engine."""

    def __init__(self, transport: Transport, gatherer: RTCIceGatherer) -> None:
        self.transport = transport
        self.ice = RTCIceTransport(gatherer)
        self.ice._connection.ice_controlling = True
        self.dtls = RTCDtlsTransport(self.ice, [RTCCertificate.generateCertificate()])
        self.dtls._set_role("client")
        self.sctp = RTCSctpTransport(self.dtls)
        self.senders: list[RTCRtpSender] = []
        self.receivers: list[RTCRtpReceiver] = []
        self._arrived: dict[str, AiortcChannel] = {}
        self._news = asyncio.Event()
        self._has_hung_up = False
        self.sctp.on("datachannel", self._on_channel)

    @classmethod
    async def create(cls, transport: Transport) -> AiortcPeer:
        with pytest.MonkeyPatch.context() as patch:
            # aioice leaves loopback out; nothing else is certain to exist where tests run.
            patch.setattr(aioice.ice, "get_host_addresses", lambda use_ipv4, use_ipv6: ["127.0.0.1"])
            gatherer = RTCIceGatherer(iceServers=[])
            await gatherer.gather()
        return cls(transport, gatherer)

    def remote(self) -> RemoteTransport:
        ice = self.ice.iceGatherer.getLocalParameters()
        assert ice.usernameFragment is not None
        assert ice.password is not None
        fingerprint = next(f for f in self.dtls.getLocalParameters().fingerprints if f.algorithm == "sha-256")
        return RemoteTransport(
            ice.usernameFragment, ice.password, f"{fingerprint.algorithm} {fingerprint.value}", Setup.ACTIVE
        )

    async def connect(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            await self.connect_media()
            await self.sctp.start(RTCSctpCapabilities(maxMessageSize=262_144), 5000)

    async def connect_media(self) -> None:
        """ICE and DTLS alone."""
        params = self.transport.params
        for text in params.candidates:
            candidate = candidate_from_sdp(text.removeprefix("candidate:"))
            candidate.sdpMid = "0"
            await self.ice.addRemoteCandidate(candidate)
        await self.ice.addRemoteCandidate(None)
        await self.ice.start(RTCIceParameters(usernameFragment=params.ufrag, password=params.pwd, iceLite=True))
        algorithm, value = params.fingerprint.split()
        await self.dtls.start(RTCDtlsParameters(fingerprints=[RTCDtlsFingerprint(algorithm, value)], role="server"))

    async def open_channel(
        self, label: str, *, protocol: str = "", ordered: bool = True, max_retransmits: int | None = None
    ) -> AiortcChannel:
        parameters = RTCDataChannelParameters(
            label=label, protocol=protocol, ordered=ordered, maxRetransmits=max_retransmits
        )
        channel = AiortcChannel(RTCDataChannel(self.sctp, parameters))
        await channel.opened()
        return channel

    async def channel(self, label: str) -> AiortcChannel:
        async with asyncio.timeout(PATIENCE_S):
            while label not in self._arrived:
                self._news.clear()
                await self._news.wait()
        return self._arrived[label]

    async def speak(self, mid: str) -> None:
        await self.send(mid, AudioStreamTrack())

    async def send(self, mid: str, track: MediaStreamTrack) -> RTCRtpSender:
        """Send a track on this section from now on; it must be connected."""
        sender = RTCRtpSender(track, self.dtls)
        self.senders.append(sender)
        parameters = RTCRtpSendParameters(
            codecs=_codecs(track.kind),
            headerExtensions=[RTCRtpHeaderExtensionParameters(id=1, uri=MID_URI)],
            muxId=mid,
            rtcp=RTCRtcpParameters(cname="aiortc", ssrc=sender._ssrc),
        )
        await sender.send(parameters)
        return sender

    async def receive(self, spec: SendSpec) -> MediaStreamTrack:
        """Receive what the server sends; what comes out is decoded."""
        receiver = RTCRtpReceiver(spec.kind.value, self.dtls)
        self.receivers.append(receiver)
        codec = spec.codecs[0]
        rtx = None if spec.rtx_ssrc is None else RTCRtpRtxParameters(ssrc=spec.rtx_ssrc)
        receiver._track = RemoteStreamTrack(spec.kind.value)
        receiver._set_rtcp_ssrc(1)
        await receiver.receive(
            RTCRtpReceiveParameters(
                codecs=_codecs(spec.kind.value),
                headerExtensions=[RTCRtpHeaderExtensionParameters(id=1, uri=MID_URI)],
                muxId=spec.mid,
                rtcp=RTCRtcpParameters(cname="parley", ssrc=spec.ssrc),
                encodings=[RTCRtpDecodingParameters(ssrc=spec.ssrc, payloadType=codec.pt, rtx=rtx)],
            )
        )
        return receiver.track

    async def hang_up(self) -> None:
        self._has_hung_up = True
        await self.dtls.stop()

    async def vanish(self) -> None:
        await self.ice.stop()

    async def stop(self) -> None:
        for sender in self.senders:
            await sender.stop()
        for receiver in self.receivers:
            await receiver.stop()
        if not self._has_hung_up:
            await self.sctp.stop()
            await self.dtls.stop()
        await self.ice.stop()

    def _on_channel(self, channel: RTCDataChannel) -> None:
        self._arrived[channel.label] = AiortcChannel(channel)
        self._news.set()


class AiortcChannel:
    def __init__(self, channel: RTCDataChannel) -> None:
        self._channel = channel
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._opened = asyncio.Event()
        self._closed = asyncio.Event()
        channel.on("message", self._on_message)
        channel.on("open", self._opened.set)
        channel.on("close", self._closed.set)

    async def opened(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            await self._opened.wait()

    def send(self, data: bytes | str) -> None:
        self._channel.send(data)

    async def receive(self) -> Message:
        async with asyncio.timeout(PATIENCE_S):
            return await self._messages.get()

    def close(self) -> None:
        self._channel.close()

    async def closed(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            await self._closed.wait()

    def _on_message(self, data: bytes | str) -> None:
        text = isinstance(data, str)
        self._messages.put_nowait(Message(data.encode() if isinstance(data, str) else data, text))


def _codecs(kind: str) -> list[RTCRtpCodecParameters]:
    if kind == "audio":
        return [RTCRtpCodecParameters("audio/opus", 48_000, 2, OPUS.pt)]
    feedback = [RTCRtcpFeedback("nack"), RTCRtcpFeedback("nack", "pli"), RTCRtcpFeedback("goog-remb")]
    return [
        RTCRtpCodecParameters("video/VP8", 90_000, None, VP8.pt, rtcpFeedback=feedback),
        RTCRtpCodecParameters("video/rtx", 90_000, None, VP8.rtx_pt, parameters={"apt": VP8.pt}),
    ]


ENDED = ((Mid("0"), Flow.RECV),)
DATA = DataSpec(port=5000, max_message_size=65_536, streams=1024)
