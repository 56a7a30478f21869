//! The controlling side of ICE toward a lite agent (RFC 8445): one address, nominated at once, and
//! asked for consent ever after (RFC 7675).

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
