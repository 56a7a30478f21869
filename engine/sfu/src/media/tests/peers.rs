//! A publisher and a subscriber that behave as browsers do about loss, and a network that loses.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::rig::*;

#[derive(Clone, Copy, PartialEq)]
pub enum Kind {
    Audio,
    Video,
}

/// A one-way call over a network with 20 ms each way.
pub struct Call {
    rig: Rig,
    kind: Kind,
    random: crate::media::random::Random,
    loss_percent: f64,
    /// How many datagrams in a row are lost, and how many of those are still to be.
    burst: u32,
    to_lose: [u32; 3],
    duplicate_percent: f64,
    jitter: Duration,
    /// What is under way, in order of arrival: to the engine (true) or to the subscriber.
    flight: BTreeMap<(Instant, u64), (Way, Vec<u8>)>,
    counter: u64,
    lost_on_the_way: u64,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Way {
    FromPublisher,
    FromSubscriber,
    To(usize),
}

#[derive(Debug)]
pub struct Outcome {
    pub expected: u64,
    pub missing: u64,
    pub lost_on_the_way: u64,
    pub nacks_out: u64,
    pub retransmitted: u64,
    pub keyframe_requests: u64,
    pub given_up: u64,
}

impl Call {
    pub fn new(kind: Kind, seed: u64) -> Call {
        let mut rig = Rig::new(2);
        match kind {
            Kind::Audio => {
                rig.receive(0, 1, recv_audio("0", 10));
                rig.send(1, 2, send_audio("a", 20), Some(1));
            }
            Kind::Video => {
                rig.receive(0, 1, recv_video("0", 10, 11));
                rig.send(1, 2, send_video("v", 20, 21), Some(1));
            }
        }
        Call {
            rig,
            kind,
            random: crate::media::random::Random::new(seed),
            loss_percent: 0.0,
            burst: 1,
            to_lose: [0; 3],
            duplicate_percent: 0.0,
            jitter: Duration::ZERO,
            flight: BTreeMap::new(),
            counter: 0,
            lost_on_the_way: 0,
        }
    }

    pub fn with_loss(mut self, percent: f64) -> Call {
        self.loss_percent = percent;
        self
    }

    /// The share lost stays what it is.
    pub fn with_burst(mut self, burst: u32) -> Call {
        self.burst = burst;
        self
    }

    pub fn with_duplicates(mut self, percent: f64) -> Call {
        self.duplicate_percent = percent;
        self
    }

    pub fn with_jitter(mut self, jitter: Duration) -> Call {
        self.jitter = jitter;
        self
    }

    pub fn run(mut self, length: Duration) -> Outcome {
        let end = self.rig.now + length;
        let drained = end + ms(2000);
        let mut n = 0u64;
        let mut sent: BTreeMap<u16, Vec<u8>> = BTreeMap::new();
        let mut rtx_seq = 0u64;
        let mut next_packet = self.rig.now;
        let interval = match self.kind {
            Kind::Audio => ms(20),
            Kind::Video => ms(5),
        };
        let mut have: BTreeSet<u64> = BTreeSet::new();
        let mut asked: BTreeMap<u64, (u32, Instant)> = BTreeMap::new();

        while self.rig.now < drained {
            self.rig.now += ms(1);
            let now = self.rig.now;
            if now >= next_packet && now < end {
                next_packet += interval;
                let packet = match self.kind {
                    Kind::Audio => audio(10, 65_000 + n),
                    Kind::Video if n.is_multiple_of(300) => video(10, 65_000 + n, KEY),
                    Kind::Video if n.is_multiple_of(6) => video(10, 65_000 + n, DELTA),
                    Kind::Video => video(10, 65_000 + n, MORE),
                };
                let datagram = self.rig.sealed(0, &packet);
                let kept = match self.kind {
                    Kind::Audio => datagram.clone(),
                    Kind::Video => packet.payload.to_vec(),
                };
                sent.insert(packet.seq as u16, kept);
                self.fly(Way::FromPublisher, datagram);
                n += 1;
            }

            while let Some(entry) = self.flight.first_entry().filter(|e| e.key().0 <= now) {
                let (way, mut datagram) = entry.remove();
                match way {
                    Way::FromPublisher => {
                        self.rig.feed(0, &mut datagram);
                    }
                    Way::FromSubscriber => {
                        self.rig.feed(1, &mut datagram);
                    }
                    Way::To(peer) => {
                        self.rig.arrive(peer, datagram);
                    }
                }
            }
            if self.rig.media.next_deadline().is_some_and(|at| at <= now) {
                self.rig.fire();
            }
            while let Some((to, datagram)) = self.rig.sent.0.pop_front() {
                let peer = usize::from(to.port() - 9000);
                self.fly(Way::To(peer), datagram);
            }

            // The publisher answers what it is asked.
            for report in self.rig.take_reports(0) {
                let Report::Nack(_, lost) = report else {
                    continue;
                };
                for seq in lost {
                    let Some(kept) = sent.get(&seq).cloned() else {
                        continue;
                    };
                    let datagram = match self.kind {
                        Kind::Audio => kept,
                        Kind::Video => {
                            let mut payload = seq.to_be_bytes().to_vec();
                            payload.extend(kept);
                            rtx_seq += 1;
                            let repair = Rtp {
                                pt: VP8_RTX,
                                payload: &payload,
                                ..video(11, rtx_seq, MORE)
                            };
                            self.rig.sealed(0, &repair)
                        }
                    };
                    self.fly(Way::FromPublisher, datagram);
                }
            }

            // The subscriber asks for what it lacks.
            for got in self.rig.take_rtp(1) {
                let index = if got.header.ssrc == 21 {
                    let original = u16::from_be_bytes([got.payload[0], got.payload[1]]);
                    let top = *have.last().unwrap();
                    crate::media::unwrap::near16(top, original)
                } else {
                    got.index
                };
                asked.remove(&index);
                let top = have.last().copied();
                have.insert(index);
                if let Some(top) = top.filter(|top| *top < index) {
                    for missing in top + 1..index {
                        asked.insert(missing, (0, now + ms(10)));
                    }
                }
            }
            let mut lost = Vec::new();
            asked.retain(|_, (tries, _)| *tries < 10);
            for (index, (tries, due)) in &mut asked {
                if *due <= now {
                    *tries += 1;
                    *due = now + ms(60);
                    lost.push(*index as u16);
                }
            }
            if !lost.is_empty() {
                let datagram = self.rig.seal_rtcp(1, |writer| {
                    writer.nack(9, 20, &lost);
                });
                self.fly(Way::FromSubscriber, datagram);
            }
        }

        let first = *have.first().unwrap();
        let last = *have.last().unwrap();
        let counters = self.rig.media.counters();
        Outcome {
            expected: last - first + 1,
            missing: last - first + 1 - have.len() as u64,
            lost_on_the_way: self.lost_on_the_way,
            nacks_out: counters.nacks_out,
            retransmitted: counters.retransmitted,
            keyframe_requests: counters.keyframe_requests_out,
            given_up: counters.given_up,
        }
    }

    fn fly(&mut self, way: Way, datagram: Vec<u8>) {
        let lane = match way {
            Way::FromPublisher => 0,
            Way::FromSubscriber => 1,
            Way::To(_) => 2,
        };
        let begins = self.loss_percent / f64::from(self.burst);
        if self.to_lose[lane] == 0 && self.chance(begins) {
            self.to_lose[lane] = self.burst;
        }
        if self.to_lose[lane] > 0 {
            self.to_lose[lane] -= 1;
            self.lost_on_the_way += 1;
            return;
        }
        let copies = 1 + usize::from(self.chance(self.duplicate_percent));
        for _ in 0..copies {
            let jitter = self.random.u64() % (self.jitter.as_millis() as u64 + 1);
            let at = self.rig.now + ms(20) + ms(jitter);
            self.counter += 1;
            self.flight
                .insert((at, self.counter), (way, datagram.clone()));
        }
    }

    fn chance(&mut self, percent: f64) -> bool {
        let dice = self.random.u32() as f64 / f64::from(u32::MAX);
        dice * 100.0 < percent
    }
}
