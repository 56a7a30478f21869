//! ICE-lite (RFC 8445 §2.5): answers checks, sends none, and follows the peer's nomination.
//!
//! `is` parses, verifies and writes STUN here. Its agent is for full ICE: in lite mode it keeps a
//! timer and a growing list of candidates for each peer and forgets a pair after a fixed 15 s, while
//! all that a lite agent must remember is its credentials and where the peer sends from.

use std::net::SocketAddr;

use is::stun::StunMessage;
use ring::hmac;

/// Senders a transport may have: interfaces times address families, and a few NAT rebindings.
/// Beyond it the oldest that is not the nominated one gives way.
const MAX_SENDERS: usize = 16;

/// One generation of local credentials.
struct Credentials {
    ufrag: String,
    pwd: String,
    key: hmac::Key,
}

impl Credentials {
    fn new(ufrag: String, pwd: String) -> Credentials {
        // RFC 8489 §14.5: the short-term key is the password itself.
        let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, pwd.as_bytes());
        Credentials { ufrag, pwd, key }
    }

    fn hmac(&self, parts: &[&[u8]]) -> [u8; 20] {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(part);
        }
        let mut out = [0; 20];
        out.copy_from_slice(context.sign().as_ref());
        out
    }
}

/// What became of a connectivity check.
#[derive(PartialEq, Eq, Debug)]
pub(crate) enum Check {
    /// Authentic: answer it.
    Accepted(Accepted),
    /// The integrity check failed; nothing is answered and nothing has changed.
    Forged,
}

/// What an authentic check has changed.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Accepted {
    /// The destination has changed to the sender of this check.
    pub selected: bool,
    /// A sender that had to give way to this one.
    pub evicted: Option<SocketAddr>,
    /// Credentials that are over, since the peer has used their successors.
    pub retired: Option<String>,
    /// The peer claims our role (RFC 8445 §7.3.1.1): it is told to switch.
    pub role_conflict: bool,
}

/// The agent of one transport.
pub(crate) struct Ice {
    current: Credentials,
    /// Credentials of a restart that the peer has not used yet.
    next: Option<Credentials>,
    senders: Vec<SocketAddr>,
    selected: Option<SocketAddr>,
}

impl Ice {
    pub fn new(ufrag: String, pwd: String) -> Ice {
        Ice {
            current: Credentials::new(ufrag, pwd),
            next: None,
            senders: Vec::new(),
            selected: None,
        }
    }

    /// Where datagrams go: the sender of the last check with USE-CANDIDATE.
    pub fn selected(&self) -> Option<SocketAddr> {
        self.selected
    }

    pub fn senders(&self) -> &[SocketAddr] {
        &self.senders
    }

    pub fn ufrags(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.current)
            .chain(&self.next)
            .map(|c| c.ufrag.as_str())
    }

    /// Adds credentials beside the current ones. A restart before the last one was used replaces
    /// it; the ufrag that is over then is returned.
    pub fn restart(&mut self, ufrag: String, pwd: String) -> Option<String> {
        self.next
            .replace(Credentials::new(ufrag, pwd))
            .map(|old| old.ufrag)
    }

    /// Judges a binding request. Whoever knows the password may send from where it likes and may
    /// choose where we send: it proves what any ICE-lite agent can have proven.
    pub fn on_check(&mut self, from: SocketAddr, request: &StunMessage<'_>) -> Check {
        let Some((ufrag, _)) = request.split_username() else {
            return Check::Forged;
        };
        let Some(credentials) = self.credentials(ufrag) else {
            return Check::Forged;
        };
        let key_is_password = |_: &[u8], parts: &[&[u8]]| credentials.hmac(parts);
        if !request.verify(credentials.pwd.as_bytes(), key_is_password) {
            return Check::Forged;
        }
        let mut accepted = Accepted {
            selected: false,
            evicted: None,
            retired: None,
            role_conflict: request.ice_controlled().is_some(),
        };
        if accepted.role_conflict {
            return Check::Accepted(accepted);
        }
        if self.next.as_ref().is_some_and(|next| next.ufrag == ufrag)
            && let Some(next) = self.next.take()
        {
            accepted.retired = Some(std::mem::replace(&mut self.current, next).ufrag);
        }
        accepted.evicted = self.admit(from);
        // RFC 8445 §8.1.1 lets a peer nominate again; the last word counts, since a peer that moves
        // to another network nominates there and is silent here.
        accepted.selected = request.use_candidate() && self.select(from);
        Check::Accepted(accepted)
    }

    /// Has datagrams go to a sender that has passed a check. False: they do, or it has not.
    pub fn select(&mut self, sender: SocketAddr) -> bool {
        let is_news = self.selected != Some(sender) && self.senders.contains(&sender);
        if is_news {
            self.selected = Some(sender);
        }
        is_news
    }

    /// Writes the answer to an authentic check into `buffer` and returns its length, 0 if it does not
    /// fit. To be called after [`on_check`](Self::on_check) with the same request.
    pub fn answer(
        &self,
        from: SocketAddr,
        request: &StunMessage<'_>,
        accepted: &Accepted,
        buffer: &mut [u8],
    ) -> usize {
        let Some((ufrag, _)) = request.split_username() else {
            return 0;
        };
        let Some(credentials) = self.credentials(ufrag) else {
            return 0;
        };
        let reply = if accepted.role_conflict {
            StunMessage::binding_role_conflict_reply(request.trans_id())
        } else {
            StunMessage::binding_reply(request.trans_id(), from)
        };
        reply
            .to_bytes(
                Some(credentials.pwd.as_bytes()),
                buffer,
                |_: &[u8], parts: &[&[u8]]| credentials.hmac(parts),
            )
            .unwrap_or(0)
    }

    fn credentials(&self, ufrag: &str) -> Option<&Credentials> {
        std::iter::once(&self.current)
            .chain(&self.next)
            .find(|c| c.ufrag == ufrag)
    }

    fn admit(&mut self, from: SocketAddr) -> Option<SocketAddr> {
        if self.senders.contains(&from) {
            return None;
        }
        self.senders.push(from);
        if self.senders.len() <= MAX_SENDERS {
            return None;
        }
        let oldest = self
            .senders
            .iter()
            .position(|sender| Some(*sender) != self.selected && *sender != from)?;
        Some(self.senders.remove(oldest))
    }
}

#[cfg(test)]
mod tests {
    use is::stun::TransId;

    use super::*;

    fn peer(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 7], port))
    }

    fn request(username: &str, pwd: &str, nominate: bool) -> Vec<u8> {
        let mut buffer = vec![0; 512];
        let message =
            StunMessage::binding_request(username, TransId::new(), true, 7, 1 << 20, nominate);
        let credentials = Credentials::new(String::new(), pwd.to_owned());
        let len = message
            .to_bytes(
                Some(pwd.as_bytes()),
                &mut buffer,
                |_: &[u8], parts: &[&[u8]]| credentials.hmac(parts),
            )
            .unwrap();
        buffer.truncate(len);
        buffer
    }

    fn check(ice: &mut Ice, from: SocketAddr, bytes: &[u8]) -> Check {
        ice.on_check(from, &StunMessage::parse(bytes).unwrap())
    }

    #[test]
    fn a_check_with_the_wrong_password_changes_nothing() {
        let mut ice = Ice::new("0local".into(), "right".into());

        let verdict = check(&mut ice, peer(1), &request("0local:peer", "wrong", true));

        assert_eq!(verdict, Check::Forged);
        assert_eq!(ice.selected(), None);
        assert!(ice.senders().is_empty());
    }

    #[test]
    fn the_last_nomination_decides_where_datagrams_go() {
        let mut ice = Ice::new("0local".into(), "pwd".into());

        check(&mut ice, peer(1), &request("0local:peer", "pwd", false));
        assert_eq!(ice.selected(), None);
        check(&mut ice, peer(1), &request("0local:peer", "pwd", true));
        check(&mut ice, peer(2), &request("0local:peer", "pwd", true));

        assert_eq!(ice.selected(), Some(peer(2)));
        assert_eq!(ice.senders(), [peer(1), peer(2)]);
    }

    #[test]
    fn old_credentials_stay_valid_until_the_new_ones_are_used() {
        let mut ice = Ice::new("0old".into(), "a".into());
        ice.restart("0new".into(), "b".into());

        let old = check(&mut ice, peer(1), &request("0old:peer", "a", true));
        let new = check(&mut ice, peer(1), &request("0new:peer", "b", true));
        let late = check(&mut ice, peer(1), &request("0old:peer", "a", true));

        assert!(matches!(
            old,
            Check::Accepted(Accepted { retired: None, .. })
        ));
        assert!(matches!(new, Check::Accepted(Accepted { retired: Some(u), .. }) if u == "0old"));
        assert_eq!(late, Check::Forged);
    }

    #[test]
    fn the_oldest_sender_gives_way_but_never_the_selected_one() {
        let mut ice = Ice::new("0local".into(), "pwd".into());
        check(&mut ice, peer(1), &request("0local:peer", "pwd", true));

        for port in 2..=100 {
            check(&mut ice, peer(port), &request("0local:peer", "pwd", false));
        }

        assert_eq!(ice.senders().len(), MAX_SENDERS);
        assert!(ice.senders().contains(&peer(1)));
        assert!(ice.senders().contains(&peer(100)));
        assert!(!ice.senders().contains(&peer(2)));
    }

    #[test]
    fn an_answer_carries_the_address_it_saw_and_verifies() {
        let mut ice = Ice::new("0local".into(), "pwd".into());
        let bytes = request("0local:peer", "pwd", true);
        let message = StunMessage::parse(&bytes).unwrap();
        let Check::Accepted(accepted) = ice.on_check(peer(9), &message) else {
            panic!("an authentic check was refused");
        };

        let mut buffer = [0; 512];
        let len = ice.answer(peer(9), &message, &accepted, &mut buffer);

        let answer = StunMessage::parse(&buffer[..len]).unwrap();
        let credentials = Credentials::new(String::new(), "pwd".into());
        assert_eq!(answer.mapped_address(), Some(peer(9)));
        assert!(answer.verify(b"pwd", |_: &[u8], parts: &[&[u8]]| credentials.hmac(parts)));
    }
}
