//! Every packet the media side has seen, by what became of it.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Counts since the start. What is dropped says why.
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct MediaCounters {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl MediaCounters {
            /// Name and value of each, for metrics.
            pub fn entries(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name),)*].into_iter()
            }
        }
    };
}

counters! {
    /// RTP packets that opened under their key, retransmissions and padding included.
    rtp_in,
    rtp_in_bytes,
    rtcp_in,
    /// RTP packets sent, retransmissions included.
    rtp_out,
    rtp_out_bytes,
    rtcp_out,
    /// Packets of padding alone, which end here.
    padding_in,
    /// Packets that came by retransmission and were missing.
    repaired_in,
    /// Packets asked for, each time.
    nacks_out,
    /// Packets peers asked for, each time.
    nacks_in,
    /// Of those: sent again; missing here as well, to be sent when they come; not kept any more; asked
    /// for again within a round trip; beyond the budget of the sender.
    retransmitted,
    nack_ahead,
    nack_missed,
    nack_repeated,
    nack_over_budget,
    /// Packets given up: only a keyframe helps, or for audio nothing.
    given_up,
    /// Keyframe requests of peers; of those made when a keyframe was on its way already; and those sent
    /// on after merging.
    keyframe_requests_in,
    keyframe_requests_late,
    keyframe_requests_out,
    /// Keyframes begun.
    keyframes_in,
    /// Dropped: no keys yet, or a transport that is not open.
    drop_no_keys,
    /// Dropped: not RTP or RTCP at all, or inconsistent inside.
    drop_malformed,
    /// Dropped: did not open under the peer's key.
    drop_forged,
    /// Dropped quietly: seen before. Some peers probe bandwidth by sending old packets again.
    drop_replayed,
    /// Dropped: a packet that has come both by itself and by retransmission, the second time.
    drop_duplicate,
    /// Dropped: an SSRC that belongs to no section, with the held packets full.
    drop_unbound,
    /// Dropped: a payload type the section does not list.
    drop_payload_type,
    /// Dropped: a layer that nobody forwards or awaits.
    drop_layer,
    /// Dropped: the producer is paused.
    drop_paused,
    /// Not forwarded to one consumer: it waits for a keyframe.
    drop_waiting,
    /// Not forwarded to one consumer: a temporal layer that it does not get.
    drop_temporal,
    /// Not forwarded to one consumer: older than its start, or out of its numbers.
    drop_late,
    /// Not sent: no free slot, no address or keys, or a packet too large.
    drop_unsent,
}
