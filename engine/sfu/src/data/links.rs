//! Which channels pass their messages on to which, and what is under way between them.
//!
//! A message is passed on once, when it arrives from a peer; what was passed on has not arrived, so
//! channels may be linked in a ring.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use rustc_hash::FxHashMap;

use super::handle::ChannelShared;
use crate::command::ChannelId;
use crate::spec::TransportId;

/// Channels that one may pass on to. A message for all of them is sent within one turn of the shard,
/// and media waits for as long as that takes.
pub(crate) const MAX_LINKS: usize = 1024;

/// Messages on their way to the channels that were linked when they arrived, in order. Together, so
/// that small ones share a packet.
pub(crate) struct Passed {
    pub to: Targets,
    pub messages: Vec<(Bytes, bool)>,
}

/// Copied when it changes, shared by every message that is under way.
pub(crate) type Targets = Arc<[Arc<ChannelShared>]>;

struct Source {
    shared: Arc<ChannelShared>,
    to: Targets,
}

/// The links of all transports of a shard.
#[derive(Default)]
pub(crate) struct Links {
    sources: FxHashMap<ChannelId, Source>,
    /// The sources of each target.
    into: FxHashMap<ChannelId, Vec<ChannelId>>,
    passed: VecDeque<Passed>,
}

impl Links {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.into.values().map(Vec::len).sum()
    }

    /// Has `from` pass on to `to`; twice is once. The handle has counted the link already.
    pub fn add(&mut self, from: &Arc<ChannelShared>, to: &Arc<ChannelShared>) {
        let source = self.sources.entry(from.id).or_insert_with(|| Source {
            shared: from.clone(),
            to: Arc::default(),
        });
        if source.to.iter().any(|known| known.id == to.id) {
            from.release_link();
            return;
        }
        source.to = source.to.iter().chain([to]).cloned().collect();
        self.into.entry(to.id).or_default().push(from.id);
    }

    /// No error when there is no such link.
    pub fn remove(&mut self, from: ChannelId, to: ChannelId) {
        self.release(from, to);
        if let Some(sources) = self.into.get_mut(&to) {
            sources.retain(|source| *source != from);
            if sources.is_empty() {
                self.into.remove(&to);
            }
        }
    }

    /// Ends every link from and to a channel.
    pub fn forget(&mut self, channel: ChannelId) {
        for from in self.into.remove(&channel).unwrap_or_default() {
            self.release(from, channel);
        }
        let to = self
            .sources
            .get(&channel)
            .map(|source| source.to.clone())
            .unwrap_or_default();
        for to in to.iter() {
            self.remove(channel, to.id);
        }
    }

    /// As [`forget`](Self::forget), for a transport whose own tables cannot be trusted any more.
    pub fn expel(&mut self, transport: TransportId) {
        let channels: Vec<ChannelId> = self
            .sources
            .values()
            .flat_map(|source| source.to.iter().chain([&source.shared]))
            .filter(|channel| channel.transport == transport)
            .map(|channel| channel.id)
            .collect();
        for channel in channels {
            self.forget(channel);
        }
    }

    pub fn is_linked(&self, from: ChannelId) -> bool {
        self.sources.contains_key(&from)
    }

    /// Takes up a message that has arrived on a channel, if it is linked.
    pub fn pass(&mut self, from: ChannelId, data: &Bytes, text: bool) {
        let Some(source) = self.sources.get(&from) else {
            return;
        };
        let message = (data.clone(), text);
        match self.passed.back_mut() {
            Some(last) if Arc::ptr_eq(&last.to, &source.to) => last.messages.push(message),
            _ => self.passed.push_back(Passed {
                to: source.to.clone(),
                messages: vec![message],
            }),
        }
    }

    /// The oldest messages that are under way.
    pub fn next(&mut self) -> Option<Passed> {
        self.passed.pop_front()
    }

    /// Takes `to` from the list of `from`.
    fn release(&mut self, from: ChannelId, to: ChannelId) {
        let Some(source) = self.sources.get_mut(&from) else {
            return;
        };
        let before = source.to.len();
        source.to = source
            .to
            .iter()
            .filter(|known| known.id != to)
            .cloned()
            .collect();
        if source.to.len() < before {
            source.shared.release_link();
        }
        if source.to.is_empty() {
            self.sources.remove(&from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn channel(id: u64) -> Arc<ChannelShared> {
        let transport = TransportId(id % 2);
        let shared = ChannelShared::new(ChannelId(id), transport, true, 1000, Arc::default());
        Arc::new(shared)
    }

    fn link(links: &mut Links, from: &Arc<ChannelShared>, to: &Arc<ChannelShared>) {
        assert!(from.reserve_link());
        links.add(from, to);
    }

    fn passed_to(links: &mut Links, from: &ChannelShared) -> Vec<u64> {
        links.pass(from.id, &Bytes::from_static(b"x"), false);
        let passed = links.next();
        passed.map_or_else(Vec::new, |one| one.to.iter().map(|to| to.id.0).collect())
    }

    #[test]
    fn a_message_goes_to_every_link_once_in_the_order_they_were_made() {
        let (mut links, [a, b, c]) = (Links::default(), [1, 2, 3].map(channel));

        link(&mut links, &a, &c);
        link(&mut links, &a, &b);
        link(&mut links, &a, &c);

        assert_eq!(passed_to(&mut links, &a), [3, 2]);
        assert!(passed_to(&mut links, &b).is_empty());
        assert_eq!(links.len(), 2);
    }

    #[test]
    fn the_end_of_either_side_ends_the_links_of_both() {
        let (mut links, [a, b, c]) = (Links::default(), [1, 2, 3].map(channel));
        for (from, to) in [(&a, &b), (&a, &c), (&b, &a), (&c, &c)] {
            link(&mut links, from, to);
        }

        links.forget(b.id);
        assert_eq!(passed_to(&mut links, &a), [3]);
        links.expel(TransportId(1));

        assert_eq!(links.len(), 0);
        assert!(links.sources.is_empty() && links.into.is_empty());
    }

    #[test]
    fn a_link_that_is_gone_makes_room_for_another() {
        let (mut links, [a, b, c]) = (Links::default(), [1, 2, 3].map(channel));
        link(&mut links, &a, &b);
        while a.reserve_link() {}
        (1..MAX_LINKS).for_each(|_| a.release_link());

        links.remove(a.id, c.id);
        links.remove(a.id, b.id);
        links.remove(a.id, b.id);

        let room = std::iter::from_fn(|| a.reserve_link().then_some(())).count();
        assert_eq!(room, MAX_LINKS);
    }
}
