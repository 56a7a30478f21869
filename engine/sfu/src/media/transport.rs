//! The media side of one transport: its keys, its address, and which SSRC is whose.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use ahash::RandomState;

use super::api::Outbox;
use super::counters::MediaCounters;
use super::producer::Binding;
use super::random::Random;
use crate::rtcp::{Arrivals, Writer};
use crate::rtp::ExtensionMap;
use crate::spec::{GroupId, Mid, TransportId};
use crate::srtp::{Opener, Sealer};

/// Packets of unknown SSRCs kept until a description or an extension tells whose they are.
pub(super) const MAX_HELD: usize = 8;
/// And for how long they are worth anything.
pub(super) const HOLD: Duration = Duration::from_secs(2);
/// Before anything has been measured.
const FIRST_RTT: Duration = Duration::from_millis(50);

/// Which consumer sends with an SSRC.
#[derive(Clone, Copy)]
pub(super) struct Sender {
    pub consumer: usize,
    pub is_rtx: bool,
}

/// An opened packet of an unknown SSRC.
pub(super) struct Held {
    pub packet: Box<[u8]>,
    pub index: u64,
    pub arrived: Instant,
}

pub(super) struct Transport {
    pub id: TransportId,
    #[expect(dead_code, reason = "speaker detection will group by it")]
    pub group: GroupId,
    pub opener: Option<Opener>,
    pub sealer: Option<Sealer>,
    pub route: Option<SocketAddr>,
    /// Names us in feedback; no stream of ours bears it.
    pub rtcp_ssrc: u32,
    pub cname: String,

    pub extensions: ExtensionMap,
    pub producers: Vec<(Mid, usize)>,
    pub bindings: HashMap<u32, Binding, RandomState>,
    pub held: Vec<Held>,
    pub arrivals: Option<Arrivals>,
    /// An SSRC that carries transport-wide numbers: libwebrtc passes over feedback for others.
    pub feedback_ssrc: u32,
    pub feedback_due: Option<Instant>,
    pub reports_due: Option<Instant>,
    pub max_in_bps: Option<u64>,
    /// What sections of the peer's have agreed to.
    pub has_twcc: bool,
    pub has_remb: bool,
    /// The path's, smoothed, from reports of either direction.
    pub measured_rtt: Option<Duration>,

    pub consumers: Vec<(Mid, usize)>,
    pub senders: HashMap<u32, Sender, RandomState>,
    pub sender_reports_due: Option<Instant>,
    pub transport_seq: u16,
    pub remb_bps: Option<u64>,
}

impl Transport {
    pub fn new(id: TransportId, group: GroupId, random: &mut Random) -> Self {
        let hasher = random.hasher();
        Transport {
            id,
            group,
            opener: None,
            sealer: None,
            route: None,
            rtcp_ssrc: random.ssrc(),
            // RFC 7022 §4.2: random, and short enough to stay in every report.
            cname: format!("{:016x}", random.u64()),
            extensions: ExtensionMap::default(),
            producers: Vec::new(),
            bindings: HashMap::with_hasher(hasher.clone()),
            held: Vec::new(),
            arrivals: None,
            feedback_ssrc: 0,
            feedback_due: None,
            reports_due: None,
            max_in_bps: None,
            has_twcc: false,
            has_remb: false,
            measured_rtt: None,
            consumers: Vec::new(),
            senders: HashMap::with_hasher(hasher),
            sender_reports_due: None,
            transport_seq: 0,
            remb_bps: None,
        }
    }

    /// Whether anything can be sent: ICE has found a way and DTLS has agreed on keys.
    pub fn is_ready(&self) -> bool {
        self.route.is_some() && self.sealer.is_some()
    }

    /// The round trip to the peer, or a guess.
    pub fn rtt(&self) -> Duration {
        self.measured_rtt.unwrap_or(FIRST_RTT)
    }

    /// A report told of one round trip. They are a second apart and more, so few are averaged.
    pub fn on_rtt(&mut self, sample: Duration) {
        self.measured_rtt = Some(match self.measured_rtt {
            Some(rtt) => (rtt * 3 + sample) / 4,
            None => sample,
        });
    }

    pub fn producer(&self, mid: &str) -> Option<usize> {
        self.producers
            .iter()
            .find(|(known, _)| known.as_str() == mid)
            .map(|(_, key)| *key)
    }

    pub fn consumer(&self, mid: &str) -> Option<usize> {
        self.consumers
            .iter()
            .find(|(known, _)| known.as_str() == mid)
            .map(|(_, key)| *key)
    }

    /// Seals and sends what `fill` writes, if it writes anything.
    pub fn send_rtcp(
        &mut self,
        mtu_bytes: usize,
        out: &mut impl Outbox,
        counters: &mut MediaCounters,
        fill: impl FnOnce(&mut Writer<'_>),
    ) {
        let (Some(route), Some(sealer)) = (self.route, &mut self.sealer) else {
            return;
        };
        let mut is_sent = false;
        out.push(route, |slot| {
            let room = slot
                .len()
                .min(mtu_bytes)
                .saturating_sub(sealer.rtcp_overhead());
            let mut writer = Writer::new(&mut slot[..room]);
            fill(&mut writer);
            let len = writer.len();
            if len == 0 {
                return 0;
            }
            let sealed = sealer.seal_rtcp(slot, len).unwrap_or(0);
            is_sent = sealed > 0;
            sealed
        });
        counters.rtcp_out += u64::from(is_sent);
    }
}
