//! The controlling side of ICE (RFC 8445), lite agent or not: one address, nominated at once, and
//! asked for consent ever after (RFC 7675).

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use is::stun::{StunMessage, TransId};
use ring::hmac;

use crate::sdp::{Local, Remote};

/// Until the first answer.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// Between questions for consent; libwebrtc asks about as often.
const CONSENT: Duration = Duration::from_millis(2500);
/// RFC 7675 §5.1 gives 30 s; nobody waits that long here.
const SILENCE: Duration = Duration::from_secs(15);
/// Host candidate, highest local preference, component 1 (RFC 8445 §5.1.2.1).
const PRIORITY: u32 = 126 << 24 | 65_535 << 8 | 255;

pub struct Ice {
    /// `remote:local`, as in a request of ours.
    username: String,
    pwd: String,
    key: hmac::Key,
    /// For questions of the server, which a lite one does not ask.
    own_pwd: String,
    own_key: hmac::Key,
    tie_breaker: u64,
    asked: Option<(TransId, Instant)>,
    next: Instant,
    heard: Instant,
    rtt: Option<Duration>,
}

impl Ice {
    pub fn new(local: &Local, remote: &Remote, tie_breaker: u64, now: Instant) -> Ice {
        Ice {
            username: format!("{}:{}", remote.ufrag, local.ufrag),
            pwd: remote.pwd.clone(),
            key: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, remote.pwd.as_bytes()),
            own_pwd: local.pwd.clone(),
            own_key: hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, local.pwd.as_bytes()),
            tie_breaker,
            asked: None,
            next: now,
            heard: now,
            rtt: None,
        }
    }

    /// Between question and answer, the last time. Before the first a guess.
    pub fn rtt(&self) -> Duration {
        self.rtt.unwrap_or(Duration::from_millis(50))
    }

    /// Whether the server has been silent for so long that it must be gone.
    pub fn is_over(&self, now: Instant) -> bool {
        now > self.heard + SILENCE
    }

    /// When the next question is due.
    pub fn due(&self) -> Instant {
        self.next
    }

    /// Writes the question that is due and returns its length; 0: `buf` is too short.
    pub fn ask(&mut self, now: Instant, buf: &mut [u8]) -> usize {
        let id = TransId::new();
        self.asked = Some((id, now));
        self.next = now
            + match self.rtt {
                Some(_) => CONSENT,
                None => ASK_AGAIN,
            };
        let request = StunMessage::binding_request(
            &self.username,
            id,
            true,
            self.tie_breaker,
            PRIORITY,
            true,
        );
        let sign = |_: &[u8], parts: &[&[u8]]| sign(&self.key, parts);
        request
            .to_bytes(Some(self.pwd.as_bytes()), buf, sign)
            .unwrap_or(0)
    }

    /// Writes the answer to a question of the server at `from` and returns its length; 0: it is none.
    pub fn reply(&self, datagram: &[u8], from: SocketAddr, buf: &mut [u8]) -> usize {
        let sign = |_: &[u8], parts: &[&[u8]]| sign(&self.own_key, parts);
        let pwd = self.own_pwd.as_bytes();
        let Ok(message) = StunMessage::parse(datagram) else {
            return 0;
        };
        if !message.is_binding_request() || !message.verify(pwd, sign) {
            return 0;
        }
        let reply = StunMessage::binding_reply(message.trans_id(), from);
        reply.to_bytes(Some(pwd), buf, sign).unwrap_or(0)
    }

    /// Takes an answer. True: it was the first.
    pub fn on_answer(&mut self, now: Instant, datagram: &[u8]) -> bool {
        let Ok(message) = StunMessage::parse(datagram) else {
            return false;
        };
        let sign = |_: &[u8], parts: &[&[u8]]| sign(&self.key, parts);
        let Some((id, asked)) = self.asked else {
            return false;
        };
        if !message.is_successful_binding_response()
            || message.trans_id() != id
            || !message.verify(self.pwd.as_bytes(), sign)
        {
            return false;
        }
        let is_first = self.rtt.is_none();
        self.rtt = Some(now - asked);
        self.heard = now;
        self.asked = None;
        if is_first {
            self.next = now + CONSENT;
        }
        is_first
    }
}

fn sign(key: &hmac::Key, parts: &[&[u8]]) -> [u8; 20] {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; 20];
    out.copy_from_slice(context.sign().as_ref());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_of_the_server_is_answered_if_it_knows_our_password() {
        let now = Instant::now();
        let (us, server) = (("us", "our password"), ("server", "the server's"));
        let local = |(ufrag, pwd): (&str, &str)| Local {
            ufrag: ufrag.into(),
            pwd: pwd.into(),
            fingerprint: String::new(),
        };
        let remote = |(ufrag, pwd): (&str, &str)| Remote {
            ufrag: ufrag.into(),
            pwd: pwd.into(),
            fingerprint: String::new(),
            addr: SocketAddr::from(([127, 0, 0, 1], 9)),
        };
        let ours = Ice::new(&local(us), &remote(server), 1, now);
        let mut theirs = Ice::new(&local(server), &remote(us), 2, now);
        let mut stranger = Ice::new(&local(server), &remote(("us", "a guess")), 3, now);
        let from = SocketAddr::from(([127, 0, 0, 1], 9));

        let (mut question, mut answer) = ([0; 256], [0; 256]);
        let len = theirs.ask(now, &mut question);
        let answered = ours.reply(&question[..len], from, &mut answer);
        let guessed = stranger.ask(now, &mut question);

        assert!(theirs.on_answer(now, &answer[..answered]));
        assert_eq!(ours.reply(&question[..guessed], from, &mut answer), 0);
    }
}
