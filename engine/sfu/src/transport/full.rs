//! Full ICE (RFC 8445), for peers that may themselves be lite: checks are sent and not only answered.
//!
//! The agent is that of `is`: pacing, pairs, nomination, role conflicts and the checks that keep a
//! path alive are its. Here it is given what belongs to us: one local address of each family, since
//! the transports share one socket, a bound on pairs, our idea of who may send, and consent.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use is::stun::{StunMessage, StunPacket};
use is::{
    Candidate, IceAgent, IceAgentEvent, IceConnectionState, IceCreds, Protocol, Sha1HmacProvider,
};
use ring::hmac;

/// Pairs that are checked: two families, and as many candidates as a description may have.
const MAX_PAIRS: usize = 64;
/// Checks the agent keeps for a peer that is not named yet.
const MAX_EARLY: usize = 100;
/// Addresses the peer may send from, as with a lite agent.
const MAX_SENDERS: usize = 16;
/// How long an answer to a check stands for the peer's consent to be sent to (RFC 7675 §5.1).
const CONSENT: Duration = Duration::from_secs(30);

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
    /// No pair is left: nothing may be sent.
    Lost,
    /// The peer has answered no check where datagrams go for too long, whatever it sends: nothing may
    /// be sent (RFC 7675 §5.1).
    Expired,
}

/// The addresses of candidates that can be used.
pub(crate) fn addresses(candidates: &[String]) -> Vec<SocketAddr> {
    usable(candidates)
        .map(|candidate| candidate.addr())
        .collect()
}

fn usable(candidates: &[String]) -> impl Iterator<Item = Candidate> {
    let read = candidates
        .iter()
        .map(|text| Candidate::from_sdp_string(text));
    read.filter_map(Result::ok)
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
    /// Who has answered a check, and when last.
    answers: Vec<(SocketAddr, Instant)>,
    has_expired: bool,
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
        let (mut local, mut own): (Vec<SocketAddr>, Vec<_>) = Default::default();
        for candidate in usable(candidates) {
            let address = candidate.addr();
            own.push(address);
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
            own,
            targets: Vec::new(),
            senders: Vec::new(),
            selected: None,
            answers: Vec::new(),
            has_expired: false,
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
        let is_news = self.selected != Some(sender) && self.answered(sender).is_some();
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
        // Checks that came before the peer was named are answered one a call, and as long as there
        // are any the agent of 0.12 neither checks nor begins its clock: no deadline would ever come.
        for _ in 0..=MAX_EARLY {
            if self.agent.poll_timeout().is_some() {
                break;
            }
            self.agent.handle_timeout(now);
        }
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
        let is_known = self.targets.contains(&from) || self.senders.contains(&from);
        let Some(to) = to.copied() else {
            return;
        };
        // A pair is made for whoever checks us, beyond the agent's own bound.
        if !is_known && self.senders.len() >= MAX_SENDERS {
            return;
        }
        let is_answer = message.is_successful_binding_response();
        let packet = StunPacket {
            proto: Protocol::Udp,
            source: from,
            destination: to,
            message,
        };
        if !self.agent.handle_packet(now, packet) || !is_answer || !is_known {
            return;
        }
        match self.answers.iter_mut().find(|(known, _)| *known == from) {
            Some((_, at)) => *at = now,
            None => self.answers.push((from, now)),
        }
    }

    fn answered(&self, address: SocketAddr) -> Option<Instant> {
        let answer = self.answers.iter().find(|(known, _)| *known == address)?;
        Some(answer.1)
    }

    /// When the peer's consent ends if it stays silent.
    fn expires(&self) -> Option<Instant> {
        Some(self.answered(self.selected?)? + CONSENT)
    }

    pub fn deadline(&mut self) -> Option<Instant> {
        let (check, end) = (self.agent.poll_timeout(), self.expires());
        check.into_iter().chain(end).min()
    }

    pub fn on_timer(&mut self, now: Instant) {
        if self.agent.poll_timeout().is_some_and(|at| at <= now) {
            self.agent.handle_timeout(now);
        }
        if self.expires().is_some_and(|at| at <= now) {
            self.selected = None;
            self.has_expired = true;
        }
    }

    /// The next check or answer to send.
    pub fn poll_transmit(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        let transmit = self.agent.poll_transmit()?;
        Some((transmit.destination, transmit.contents.into()))
    }

    pub fn poll(&mut self) -> Option<Found> {
        if std::mem::take(&mut self.has_expired) {
            return Some(Found::Expired);
        }
        loop {
            match self.agent.poll_event()? {
                IceAgentEvent::DiscoveredRecv { source, .. }
                    if !self.senders.contains(&source) && self.senders.len() < MAX_SENDERS =>
                {
                    self.senders.push(source);
                    return Some(Found::Sender(source));
                }
                IceAgentEvent::NominatedSend { destination, .. }
                    if self.answered(destination).is_some() =>
                {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// An agent at this port of 192.0.2.1.
    fn agent(port: u16) -> Full {
        Full::new(user(port), pwd(port), &[candidate(port)])
    }

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    fn candidate(port: u16) -> String {
        format!("candidate:1 1 udp 2130706431 192.0.2.1 {port} typ host")
    }

    fn user(port: u16) -> String {
        format!("user{port}")
    }

    fn pwd(port: u16) -> String {
        format!("a password of agent {port:05}")
    }

    fn name(full: &mut Full, port: u16, controlling: bool, now: Instant) {
        full.set_remote(
            &user(port),
            &pwd(port),
            &[candidate(port)],
            controlling,
            now,
        );
    }

    /// Carries what one has to say to the other.
    fn carry(now: Instant, (from, port): (&mut Full, u16), to: &mut Full) {
        while let Some((_, bytes)) = from.poll_transmit() {
            to.on_message(now, address(port), StunMessage::parse(&bytes).unwrap());
        }
    }

    /// Two agents from the time that they have found each other.
    fn met(mut near: Full, mut far: Full, start: Instant) -> (Full, Full, Instant) {
        let mut now = start;
        while near.selected().is_none() || far.selected().is_none() {
            carry(now, (&mut near, 1), &mut far);
            carry(now, (&mut far, 2), &mut near);
            while near.poll().is_some() || far.poll().is_some() {}
            now = near.deadline().unwrap().min(far.deadline().unwrap());
            assert!(now < start + Duration::from_secs(10));
            near.on_timer(now);
            far.on_timer(now);
        }
        (near, far, now)
    }

    #[test]
    fn a_peer_that_checks_before_it_is_named_is_met() {
        for early in 1..4 {
            let (mut near, mut far) = (agent(1), agent(2));
            let mut now = Instant::now();
            name(&mut far, 1, false, now);
            for _ in 0..early {
                carry(now, (&mut far, 2), &mut near);
                now = far.deadline().unwrap();
                far.on_timer(now);
            }

            name(&mut near, 2, true, now);

            met(near, far, now);
        }
    }

    #[test]
    fn a_peer_that_checks_us_and_answers_nothing_is_given_up_after_thirty_seconds() {
        let (mut near, mut far) = (agent(1), agent(2));
        let mut now = Instant::now();
        name(&mut near, 2, true, now);
        name(&mut far, 1, false, now);
        (near, far, now) = met(near, far, now);
        let silent = now;

        for _ in 0..1000 {
            // Its checks are answered, and it hears none of ours.
            while let Some((_, bytes)) = near.poll_transmit() {
                let message = StunMessage::parse(&bytes).unwrap();
                if message.is_successful_binding_response() {
                    far.on_message(now, address(1), message);
                }
            }
            carry(now, (&mut far, 2), &mut near);
            while far.poll().is_some() {}
            match near.poll() {
                None => {}
                Some(found) => {
                    assert_eq!(found, Found::Expired);
                    assert_eq!(near.selected(), None);
                    assert!(now <= silent + CONSENT);
                    return;
                }
            }
            now = near.deadline().unwrap().min(far.deadline().unwrap());
            near.on_timer(now);
            far.on_timer(now);
        }
        panic!("the peer is still sent to");
    }

    #[test]
    fn many_candidates_are_checked_one_in_fifty_milliseconds() {
        let mut near = agent(1);
        let start = Instant::now();
        let candidates: Vec<String> = (2..200).map(candidate).collect();
        near.set_remote("peer", "a password of the peer", &candidates, true, start);

        let (mut now, mut sent, mut reached) = (start, Vec::new(), Vec::new());
        while now < start + Duration::from_secs(60) {
            while let Some((to, _)) = near.poll_transmit() {
                sent.push(now);
                reached.push(to);
            }
            // A description that comes again is no reason to hurry.
            near.set_remote("peer", "a password of the peer", &candidates, true, now);
            now = near.deadline().unwrap();
            near.on_timer(now);
        }

        reached.sort();
        reached.dedup();
        assert_eq!(reached.len(), MAX_PAIRS);
        let pace = sent.windows(2).map(|two| two[1] - two[0]).min().unwrap();
        assert!(pace >= Duration::from_millis(50), "{pace:?}");
    }

    #[test]
    fn a_peer_that_checks_from_everywhere_is_bounded() {
        let (mut near, now) = (agent(1), Instant::now());
        name(&mut near, 2, true, now);
        while near.poll_transmit().is_some() {}
        let mut answered = 0;

        for port in 1000..1100 {
            let mut far = agent(2);
            name(&mut far, 1, false, now);
            carry(now, (&mut far, port), &mut near);
            while near.poll().is_some() {}
            while near.poll_transmit().is_some() {
                answered += 1;
            }
        }

        assert_eq!(answered, MAX_SENDERS);
    }
}
