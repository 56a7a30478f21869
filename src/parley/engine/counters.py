"""What the engine counts: the names in `Engine.counters` and what each means.

`GAUGES` are how many there are now. Everything else only rises from the engine's start. A name
that begins with `drop_` is a reason for which a datagram or packet went no further.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

GAUGES: Mapping[str, str] = MappingProxyType(
    {
        "transports": "Transports that exist.",
        "transports_pending": "Of these: whose peer is awaited.",
        "producers": "Producers that exist.",
        "consumers": "Consumers that exist.",
        "channels": "Data channels that are open or being opened.",
        "links": "Pairs of channels of which one passes what it receives on to the other.",
        "receive_buffer_bytes": "What the kernel allows to wait on the media socket, its bookkeeping included.",
        "send_buffer_bytes": "As much for what is to be sent.",
    }
)

COUNTERS: Mapping[str, str] = MappingProxyType(
    {
        # The socket.
        "datagrams_in": "Datagrams received.",
        "bytes_in": "Bytes of UDP payload received.",
        "datagrams_out": "Datagrams sent.",
        "bytes_out": "Bytes of UDP payload sent.",
        "drop_truncated": "Received: longer than any datagram may be.",
        "drop_unknown_protocol": "Received: neither STUN, DTLS, RTP nor RTCP by the first byte (RFC 7983).",
        "drop_in_full": "Not received: the socket's buffer was full.",
        "drop_out_full": "To be sent: the socket stayed full.",
        "drop_out_error": "To be sent: the system refused it.",
        # STUN.
        "checks_in": "Connectivity checks that passed.",
        "drop_stun_malformed": "Not STUN after all, or without what RFC 8445 requires of a check.",
        "drop_stun_unasked": "A response or indication that nobody had asked for.",
        "drop_stun_unknown_user": "No transport has this ufrag; it gets no answer.",
        "drop_stun_rate": "The source address exceeds `stun_rate`.",
        "drop_stun_integrity": "The password is not the transport's.",
        # DTLS and SCTP.
        "drop_dtls_unknown_sender": "DTLS from an address that passed no connectivity check.",
        "dtls_failures": "Handshakes that failed.",
        "fingerprint_mismatches": "Of those: the certificate was not the one announced.",
        "drop_message": "Data-channel messages that could not be kept or made no sense.",
        # RTP and RTCP.
        "rtp_in": "RTP packets that opened under their key, retransmissions and padding included.",
        "rtp_in_bytes": "Their bytes.",
        "rtcp_in": "RTCP compounds that opened under their key.",
        "rtp_out": "RTP packets sent, retransmissions included.",
        "rtp_out_bytes": "Their bytes.",
        "rtcp_out": "RTCP compounds sent.",
        "padding_in": "Packets of padding alone.",
        "repaired_in": "Missing packets that a retransmission brought.",
        "nacks_out": "Packets asked for, each time.",
        "nacks_in": "Packets that peers asked for, each time.",
        "retransmitted": "Of those: sent again.",
        "nack_ahead": "Of those: missing here as well, to be sent when they come.",
        "nack_missed": "Of those: not kept any more.",
        "nack_repeated": "Of those: asked for again within a round trip.",
        "nack_over_budget": "Of those: beyond the sender's budget for repair.",
        "given_up": "Packets not asked for any more: for video only a keyframe helps.",
        "keyframe_requests_in": "Keyframes asked for by peers.",
        "keyframe_requests_late": "Of those: a keyframe was on its way already.",
        "keyframe_requests_out": "Keyframes asked of publishers, after merging.",
        "keyframes_in": "Keyframes received.",
        "drop_media_unknown_sender": "RTP or RTCP from an address that passed no connectivity check.",
        "drop_no_keys": "RTP or RTCP before DTLS was done.",
        "drop_malformed": "Not RTP or RTCP inside.",
        "drop_forged": "Did not open under the peer's key.",
        "drop_replayed": "Seen before.",
        "drop_duplicate": "Came both by itself and by retransmission, the second time.",
        "drop_unbound": "An SSRC that belongs to no section.",
        "drop_payload_type": "A payload type its section does not list.",
        "drop_layer": "A layer that nobody forwards or awaits.",
        "drop_paused": "Its producer is paused.",
        "drop_waiting": "Not forwarded to one consumer, which waits for a keyframe.",
        "drop_temporal": "Not forwarded to one consumer: a temporal layer that it does not get.",
        "drop_late": "Not forwarded to one consumer: older than its start.",
        "drop_unsent": "Not sent: no room, no address or no keys.",
        # Ourselves.
        "panics": "Mistakes of our own, each contained to one transport.",
    }
)
