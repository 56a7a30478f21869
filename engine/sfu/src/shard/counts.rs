//! Every datagram that was taken or not, counted by what became of it.

macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// All count since the start.
        #[derive(Default)]
        pub(crate) struct Counts {
            $($(#[$doc])* pub $name: u64,)*
        }

        impl Counts {
            /// Name and value of each, for metrics.
            pub fn entries(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }
    };
}

counts! {
    /// Datagrams received, and their bytes.
    datagrams_in,
    bytes_in,
    /// Authentic connectivity checks.
    checks_in,
    /// Longer than a slot.
    drop_truncated,
    /// The first byte belongs to no protocol of ours, or there is none.
    drop_unknown_protocol,
    /// Not STUN after all, or without what RFC 8445 requires of a check.
    drop_stun_malformed,
    /// A response or an indication: a lite agent has asked nothing.
    drop_stun_unasked,
    /// No transport has this ufrag.
    drop_stun_unknown_user,
    /// The source has exceeded its rate.
    drop_stun_rate,
    /// The integrity check failed.
    drop_stun_integrity,
    /// DTLS from an address that has passed no check.
    drop_dtls_unknown_sender,
    /// RTP or RTCP from an address that has passed no check.
    drop_media_unknown_sender,
    /// Messages of data channels that could not be kept or were not understood.
    drop_message,
    /// Handshakes that failed, and those of them with another certificate than the one named.
    dtls_failures,
    fingerprint_mismatches,
    /// Panics contained to a transport or to one turn of the shard.
    panics,
}
