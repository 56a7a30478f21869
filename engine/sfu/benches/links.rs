//! What a data-channel message costs the shard, by how many channels its own is linked to; beside it,
//! what it costs when the caller hears it and broadcasts it.
//!
//! Numbers are CPU time of the shard's thread for each message that arrives at a subscriber, the
//! kernel's work for it, the acknowledgements and a share of receiving it included. The peers and the
//! caller are other threads' time, and not counted.

#[path = "../tests/support/mod.rs"]
mod support;

use std::fs;
use std::time::Duration;

use bytes::Bytes;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use parley_sfu::Channel;
use parley_sfu::command::Hear;
use parley_sfu::event::Event;
use str0m::channel::{ChannelConfig, ChannelId};
use support::Stage;

const LEN: usize = 1024;
/// Messages under way at one time; few enough for every socket's buffer.
const BURST: u64 = 16;

/// A publisher and its subscribers, connected, with a channel each.
struct Hall {
    stage: Stage,
    stream: ChannelId,
    news: Channel,
    subscribers: Vec<Channel>,
}

impl Hall {
    fn new(subscribers: usize) -> Hall {
        let mut stage = Stage::new();
        let (stream, news) = enter(&mut stage);
        let subscribers = (0..subscribers).map(|_| enter(&mut stage).1).collect();
        Hall {
            stage,
            stream,
            news,
            subscribers,
        }
    }

    /// Has the publisher send a burst, and waits until every subscriber has it. `act` runs meanwhile.
    fn burst(&mut self, messages: u64, mut act: impl FnMut(&mut Stage, &[Channel])) {
        let mut channel = self.stage.peers[0].rtc.channel(self.stream).unwrap();
        for _ in 0..messages {
            assert!(channel.write(true, &[7; LEN]).unwrap());
        }
        let subscribers = &self.subscribers;
        let mut due = messages * subscribers.len() as u64;
        self.stage.until("burst at every subscriber", |stage| {
            act(stage, subscribers);
            for peer in &mut stage.peers[1..] {
                let is_data = |event: &str0m::Event| matches!(event, str0m::Event::ChannelData(_));
                due -= peer.events.drain(..).filter(is_data).count() as u64;
            }
            (due == 0).then_some(())
        });
    }

    fn bursts(&mut self, messages: u64, mut act: impl FnMut(&mut Stage, &[Channel])) -> Duration {
        let before = shard_cpu();
        let mut left = messages;
        while left > 0 {
            self.burst(left.min(BURST), &mut act);
            left -= left.min(BURST);
        }
        shard_cpu() - before
    }
}

/// A peer that has connected and opened a channel.
fn enter(stage: &mut Stage) -> (ChannelId, Channel) {
    let (_, peer) = stage.connect();
    let mut api = stage.peers[peer].rtc.direct_api();
    let stream = api.create_data_channel(ChannelConfig {
        label: "news".into(),
        ..ChannelConfig::default()
    });
    let channel = stage.channel_open();
    stage.until("channel at the peer", |stage| {
        let is_open = |event: &_| matches!(event, str0m::Event::ChannelOpen(..)).then_some(());
        stage.peers[peer].take(is_open)
    });
    (stream, channel)
}

/// What the shard has had of a processor, by the scheduler's own clock. There is one engine at a time.
fn shard_cpu() -> Duration {
    let shard = fs::read_dir("/proc/self/task")
        .unwrap()
        .map(|thread| thread.unwrap().path())
        .find(|path| {
            fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == "parley-shard-0")
        })
        .expect("an engine runs");
    let stat = fs::read_to_string(shard.join("schedstat")).unwrap();
    let spent = stat.split(' ').next().unwrap();
    Duration::from_nanos(spent.parse().unwrap())
}

fn passed_on(c: &mut Criterion) {
    let mut group = c.benchmark_group("data_message");
    for count in [1, 10, 100] {
        group.throughput(Throughput::Elements(count));
        group.bench_function(BenchmarkId::new("linked", count), |b| {
            let mut hall = Hall::new(count as usize);
            for one in &hall.subscribers {
                hall.news.link(one).unwrap();
            }
            hall.stage.counted("links", count);
            b.iter_custom(|messages| hall.bursts(messages, |_, _| {}));
        });
        group.bench_function(BenchmarkId::new("broadcast", count), |b| {
            let mut hall = Hall::new(count as usize);
            hall.news.listen(Hear::Each);
            b.iter_custom(|messages| hall.bursts(messages, broadcast));
        });
    }
    group.finish();
}

fn broadcast(stage: &mut Stage, to: &[Channel]) {
    for event in stage.events.drain(..) {
        if let Event::ChannelMessage { data, text, .. } = event {
            let data = Bytes::copy_from_slice(&data);
            assert_eq!(stage.engine.broadcast(to, data, text).unwrap(), to.len());
        }
    }
}

criterion_group! {
    name = links;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(3)).warm_up_time(Duration::from_millis(500));
    targets = passed_on
}
criterion_main!(links);
