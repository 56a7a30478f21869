//! Full ICE (RFC 8445), for peers that are themselves lite: checks are sent and not only answered.
//!
//! The agent is that of `is`: pacing, pairs, nomination, role conflicts and the checks that keep a
//! path alive are its. Here it is given what belongs to us: one local address of each family, since
//! the transports share one socket, a bound on pairs, and our idea of who may send.

use std::net::SocketAddr;
use std::time::Instant;

use is::stun::{StunMessage, StunPacket};
use is::{
    Candidate, IceAgent, IceAgentEvent, IceConnectionState, IceCreds, Protocol, Sha1HmacProvider,
};
use ring::hmac;

/// Pairs that are checked: two families, and as many candidates as a description may have.
const MAX_PAIRS: usize = 64;
/// Addresses the peer may send from, as with a lite agent.
const MAX_SENDERS: usize = 16;

#[derive(Debug)]
struct Ring;

impl Sha1HmacProvider for Ring {
    fn sha1_hmac(&self, key: &[u8], payloads: &[&[u8]]) -> [u8; 20] {
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
        let mut context = hmac::Context::with_key(&key);
        payloads.iter().for_each(|part| context.update(part));
        let mut out = [0; 20];
        out.copy_from_slice(context.sign().as_ref());
        out
    }
}

/// What the agent has come to.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Found {
    /// The peer sends from there.
    Sender(SocketAddr),
    /// Datagrams go there from now on.
    Selected(SocketAddr),
    /// Nothing answers any more: nothing may be sent (RFC 7675 §5.1).
    Lost,
}

/// The addresses of candidates that can be used.
pub(crate) fn addresses(candidates: &[String]) -> Vec<SocketAddr> {
    candidates
        .iter()
        .filter_map(|text| Candidate::from_sdp_string(text).ok())
        .map(|candidate| candidate.addr())
        .collect()
}

/// The agent of one transport.
pub(crate) struct Full {
    agent: IceAgent,
    ufrag: String,
    /// One of each family.
    local: Vec<SocketAddr>,
    /// All that our descriptions name.
    own: Vec<SocketAddr>,
    /// The peer's candidates.
    targets: Vec<SocketAddr>,
    senders: Vec<SocketAddr>,
    selected: Option<SocketAddr>,
}

impl Full {
    /// `candidates`: what our descriptions say, the preferred first.
    pub fn new(ufrag: String, pwd: String, candidates: &[String]) -> Full {
        let credentials = IceCreds {
            ufrag: ufrag.clone(),
            pass: pwd,
        };
        let mut agent = IceAgent::with_hmac(credentials, &Ring);
        agent.set_max_candidate_pairs(MAX_PAIRS);
        let mut local: Vec<SocketAddr> = Vec::new();
        let ours = candidates
            .iter()
            .filter_map(|text| Candidate::from_sdp_string(text).ok());
        for candidate in ours {
            let address = candidate.addr();
            if !local
                .iter()
                .any(|known| known.is_ipv4() == address.is_ipv4())
            {
                local.push(address);
                agent.add_local_candidate(candidate);
            }
        }
        Full {
            agent,
            ufrag,
            local,
            own: addresses(candidates),
            targets: Vec::new(),
            senders: Vec::new(),
            selected: None,
        }
    }

    pub fn ufrag(&self) -> &str {
        &self.ufrag
    }

    /// Where checks go, as far as the peer has told.
    pub fn targets(&self) -> &[SocketAddr] {
        &self.targets
    }

    pub fn own(&self) -> &[SocketAddr] {
        &self.own
    }

    pub fn senders(&self) -> &[SocketAddr] {
        &self.senders
    }

    pub fn selected(&self) -> Option<SocketAddr> {
        self.selected
    }

    /// As `Ice::select`.
    pub fn select(&mut self, sender: SocketAddr) -> bool {
        let is_news = self.selected != Some(sender) && self.senders.contains(&sender);
        if is_news {
            self.selected = Some(sender);
        }
        is_news
    }

    /// Names the peer, and begins to check. `controlling`: we nominate, unless the peer claims it too
    /// and wins (RFC 8445 §7.3.1.1).
    pub fn set_remote(
        &mut self,
        ufrag: &str,
        pwd: &str,
        candidates: &[String],
        controlling: bool,
        now: Instant,
    ) {
        let credentials = IceCreds {
            ufrag: ufrag.into(),
            pass: pwd.into(),
        };
        if self.agent.remote_credentials() != Some(&credentials) {
            self.agent.set_controlling(controlling);
            self.agent.set_remote_credentials(credentials);
        }
        for candidate in candidates {
            self.add_remote(candidate);
        }
        self.agent.handle_timeout(now);
    }

    /// Takes one more candidate of the peer; what cannot be used is passed over.
    pub fn add_remote(&mut self, candidate: &str) {
        if let Ok(candidate) = Candidate::from_sdp_string(candidate)
            && candidate.proto() == Protocol::Udp
            && self.targets.len() < MAX_PAIRS
        {
            if !self.targets.contains(&candidate.addr()) {
                self.targets.push(candidate.addr());
            }
            self.agent.add_remote_candidate(candidate);
        }
    }

    /// Begins anew under other credentials of ours; the way that was found is used meanwhile. Returns
    /// the ufrag that is over.
    pub fn restart(&mut self, ufrag: String, pwd: String) -> String {
        let credentials = IceCreds {
            ufrag: ufrag.clone(),
            pass: pwd,
        };
        self.agent.ice_restart(credentials, true);
        std::mem::replace(&mut self.ufrag, ufrag)
    }

    /// Whether this answers a check of ours, or is a check of the peer's.
    pub fn accepts(&self, message: &StunMessage<'_>) -> bool {
        self.agent.accepts_message(message)
    }

    pub fn on_message(&mut self, now: Instant, from: SocketAddr, message: StunMessage<'_>) {
        let to = self
            .local
            .iter()
            .find(|local| local.is_ipv4() == from.is_ipv4());
        let Some(to) = to.copied() else {
            return;
        };
        let packet = StunPacket {
            proto: Protocol::Udp,
            source: from,
            destination: to,
            message,
        };
        self.agent.handle_packet(now, packet);
    }

    pub fn deadline(&mut self) -> Option<Instant> {
        self.agent.poll_timeout()
    }

    pub fn on_timer(&mut self, now: Instant) {
        if self.deadline().is_some_and(|at| at <= now) {
            self.agent.handle_timeout(now);
        }
    }

    /// The next check or answer to send.
    pub fn poll_transmit(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        let transmit = self.agent.poll_transmit()?;
        Some((transmit.destination, transmit.contents.into()))
    }

    pub fn poll(&mut self) -> Option<Found> {
        loop {
            match self.agent.poll_event()? {
                IceAgentEvent::DiscoveredRecv { source, .. }
                    if !self.senders.contains(&source) && self.senders.len() < MAX_SENDERS =>
                {
                    self.senders.push(source);
                    return Some(Found::Sender(source));
                }
                IceAgentEvent::NominatedSend { destination, .. } => {
                    self.selected = Some(destination);
                    return Some(Found::Selected(destination));
                }
                IceAgentEvent::IceConnectionStateChange(IceConnectionState::Disconnected) => {
                    self.selected = None;
                    return Some(Found::Lost);
                }
                _ => {}
            }
        }
    }
}
