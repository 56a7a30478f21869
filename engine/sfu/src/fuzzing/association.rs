//! One association with its channels, without a network, DTLS or a shard, in virtual time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::input::Input;
use super::sctp::SctpClient;
use crate::command::{ChannelId, ChannelOptions, Hear, OnFull};
use crate::config::EngineConfig;
use crate::data::{Channel, ChannelShared, Channels, Context, Links};
use crate::event::Event;
use crate::port::Port;
use crate::spec::TransportId;
use crate::transport::budget::Budget;
use crate::transport::sctp::Sctp;

/// What a channel and an inbox may hold here; small, so that limits are met.
const LIMIT: usize = 4096;

pub struct FuzzAssociation {
    pub(super) sctp: Sctp,
    pub(super) channels: Channels,
    pub(super) port: Arc<Port>,
    budget: Budget,
    links: Links,
    pub(super) client: SctpClient,
    known: Vec<Channel>,
    now: Instant,
    dropped: u64,
}

impl Default for FuzzAssociation {
    /// Established.
    fn default() -> Self {
        let now = Instant::now();
        let config = EngineConfig {
            sctp_window_bytes: 16_384,
            max_message_bytes: 16_384,
            ..EngineConfig::default()
        };
        let mut association = FuzzAssociation {
            sctp: Sctp::new(&config, now),
            channels: Channels::default(),
            port: Arc::new(Port::new(64, 1024).expect("the process has a free descriptor")),
            budget: Budget::new(now),
            links: Links::default(),
            client: SctpClient::default(),
            known: Vec::new(),
            now,
            dropped: 0,
        };
        association.talk();
        assert!(association.sctp.is_established());
        association
    }
}

impl FuzzAssociation {
    /// The input is a list of `[what, length, bytes…]`.
    pub fn feed(&mut self, input: &[u8]) {
        let mut input = Input(input);
        while let Some((what, step)) = input.step() {
            self.now += Duration::from_millis(u64::from(what >> 4));
            self.step(what & 15, step);
            self.drain();
        }
        self.talk();
        self.now += Duration::from_secs(70);
        self.talk();
        self.drain();
        self.within(|channels, _, cx| channels.end_all(cx));
        assert_eq!(self.channels.len(), 0);
        self.drain();
        for channel in &self.known {
            assert!(channel.shared.is_closed());
            assert_eq!(channel.buffered(), 0, "bytes are counted that nobody holds");
        }
    }

    #[cfg(test)]
    pub(super) fn now(&self) -> Instant {
        self.now
    }

    fn step(&mut self, what: u8, mut step: Input<'_>) {
        match what {
            // Whatever a peer writes.
            0..=5 => {
                let packet = self.client.forge(step.0);
                self.hear(&packet);
            }
            6 => self.hear(step.0),
            // What a peer says properly.
            7..=9 => {
                self.client.write(&mut step);
                self.talk();
            }
            10 => {
                self.client.reset(u16::from(step.below(8)));
                self.talk();
            }
            11 => {
                self.now += Duration::from_millis(u64::from(step.byte()) * 50);
                self.talk();
            }
            // What the caller does.
            12 => self.open(step),
            13 => {
                let text = step.is_set();
                if let Some(channel) = self.pick(&mut step) {
                    let data = Bytes::copy_from_slice(step.0);
                    // The handle would have counted it in.
                    channel.shared.take_up(data.len());
                    self.within(|channels, sctp, cx| {
                        channels.send(Some(sctp), &channel.shared, data, text, cx);
                    });
                    self.flush();
                }
            }
            14 => {
                if let Some(channel) = self.pick(&mut step) {
                    match step.below(6) {
                        0 => channel.listen(Hear::Each),
                        1 => channel.listen(Hear::Nothing),
                        5 => channel.listen(Hear::One),
                        2 => channel.set_limit(usize::from(step.byte()) * 64, OnFull::DropNew),
                        3 => channel.set_limit(usize::from(step.byte()) * 64, OnFull::Close),
                        _ => channel.set_limit(usize::from(step.byte()) * 64, OnFull::DropOld),
                    }
                }
            }
            _ => {
                if let Some(channel) = self.pick(&mut step) {
                    self.within(|channels, sctp, cx| {
                        channels.close(Some(sctp), channel.id(), cx);
                    });
                    self.flush();
                }
            }
        }
    }

    fn open(&mut self, mut step: Input<'_>) {
        let options = ChannelOptions {
            label: step.text(),
            protocol: String::new(),
            stream: step.is_set().then(|| u16::from(step.below(8))),
            negotiated: step.is_set(),
            ordered: step.is_set(),
            max_retransmits: step.is_set().then(|| u16::from(step.byte())),
            max_lifetime_ms: None,
        };
        let options = ChannelOptions {
            negotiated: options.negotiated && options.stream.is_some(),
            ..options
        };
        let shared = Arc::new(ChannelShared::new(
            ChannelId(self.port.mint()),
            TransportId(1),
            options.is_reliable(),
            LIMIT,
            Arc::default(),
        ));
        self.known.push(Channel {
            shared: shared.clone(),
            port: self.port.clone(),
        });
        self.within(|channels, sctp, cx| channels.open(Some(sctp), shared, options, cx));
        self.flush();
    }

    fn pick(&self, step: &mut Input<'_>) -> Option<Channel> {
        let index = usize::from(step.byte());
        let len = self.known.len();
        (len > 0).then(|| self.known[index % len].clone())
    }

    /// Both sides say what they have to say until they are at rest.
    pub(super) fn talk(&mut self) {
        for _ in 0..100 {
            let packets = self.client.poll(self.now);
            if packets.is_empty() && !self.flush() {
                return;
            }
            for packet in packets {
                self.hear(&packet);
            }
        }
    }

    pub(super) fn hear(&mut self, packet: &[u8]) {
        self.sctp.on_packet(self.now, packet);
        self.flush();
    }

    /// What the engine has to do and to send. True when there was something to send.
    fn flush(&mut self) -> bool {
        if self.sctp.deadline().is_some_and(|at| at <= self.now) {
            self.sctp.on_timer(self.now);
        }
        self.client.on_timer(self.now);
        let mut has_sent = false;
        loop {
            while let Some(what) = self.sctp.poll() {
                self.within(|channels, sctp, cx| channels.happened(sctp, what, cx));
            }
            let Some(packets) = self.sctp.poll_packets(self.now) else {
                return has_sent;
            };
            has_sent = true;
            for packet in packets {
                self.client.hear(self.now, &packet);
            }
        }
    }

    fn within(&mut self, act: impl FnOnce(&mut Channels, &mut Sctp, &mut Context<'_>)) {
        let mut cx = Context {
            transport: TransportId(1),
            port: &self.port,
            limit: LIMIT,
            in_flight: 8192,
            now: self.now,
            budget: &mut self.budget,
            links: &mut self.links,
            dropped: &mut self.dropped,
        };
        act(&mut self.channels, &mut self.sctp, &mut cx);
    }

    /// What the caller reads; channels that the peer has opened are known from here on.
    fn drain(&mut self) {
        let mut events = Vec::new();
        if self.port.mailbox.drain(1024, &mut events) {
            self.within(|channels, sctp, cx| {
                channels.resume(sctp, cx);
            });
            self.flush();
        }
        for event in events {
            if let Event::ChannelOpen {
                channel,
                remote: true,
                ..
            } = event
            {
                self.known.push(channel);
            }
        }
    }
}
