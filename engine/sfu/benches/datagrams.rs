//! What the kernel charges for a datagram of 1220 bytes, sent and received as the engine does: the
//! T's that the limit is made of.
//!
//! Over loopback the sender also pays for the receiving side's queue. `PARLEY_DROPPING`, an address
//! behind a device that drops what it is to transmit, adds the same without: what a network card
//! would leave to pay.

use std::iter;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use parley_sfu::bench::{MOST, Receiver, Sender};

const LEN: usize = 1220;
const CALLS: [usize; 3] = [1, 8, MOST];

fn loopback() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 0))
}

fn receiver() -> Receiver {
    Receiver::bind(loopback()).expect("loopback has a free port")
}

fn sender(local: SocketAddr) -> Sender {
    Sender::bind(local).expect("the address has a free port")
}

fn recv_batch(c: &mut Criterion) {
    let mut group = c.benchmark_group("recv_batch");
    for per_call in CALLS {
        group.bench_function(BenchmarkId::from_parameter(per_call), |b| {
            // Read in turn, so that looking at the clock weighs nothing beside a call for one datagram.
            let mut readers: Vec<Receiver> = (0..MOST / per_call).map(|_| receiver()).collect();
            let mut source = sender(loopback());
            b.iter_custom(|datagrams| {
                let rounds = datagrams.div_ceil(MOST as u64);
                let mut spent = Duration::ZERO;
                for _ in 0..rounds {
                    for reader in &readers {
                        source.send(iter::repeat_n(reader.local(), per_call), LEN);
                    }
                    let start = Instant::now();
                    for reader in &mut readers {
                        let count = reader.receive().expect("a socket that can be read");
                        assert_eq!(count, per_call, "the kernel kept them all");
                    }
                    spent += start.elapsed();
                }
                spent.mul_f64(datagrams as f64 / (rounds * MOST as u64) as f64)
            });
        });
    }
    group.finish();
}

fn send_batch(c: &mut Criterion) {
    let mut group = c.benchmark_group("send_batch");
    for (name, readers) in [("loopback", 1), ("loopback, a socket each", MOST)] {
        let calls = if readers == 1 { &CALLS[..] } else { &[MOST] };
        for &per_call in calls {
            group.bench_function(BenchmarkId::new(name, per_call), |b| {
                let mut readers: Vec<Receiver> = (0..readers).map(|_| receiver()).collect();
                let to: Vec<SocketAddr> = readers.iter().map(Receiver::local).collect();
                let mut source = sender(loopback());
                b.iter_custom(|datagrams| {
                    time_sends(&mut source, &to, per_call, datagrams, || {
                        for reader in &mut readers {
                            while reader.receive().expect("a socket that can be read") == MOST {}
                        }
                    })
                });
            });
        }
    }
    if let Some(to) = dropping() {
        for per_call in CALLS {
            group.bench_function(BenchmarkId::new("dropping device", per_call), |b| {
                let mut source = sender(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)));
                b.iter_custom(|datagrams| {
                    time_sends(&mut source, &[to], per_call, datagrams, || {})
                });
            });
        }
    }
    group.finish();
}

/// Sends sixty-four at a time, to each in turn and `per_call` with each call, and says how long
/// `datagrams` take. `between` is not timed.
fn time_sends(
    source: &mut Sender,
    to: &[SocketAddr],
    per_call: usize,
    datagrams: u64,
    mut between: impl FnMut(),
) -> Duration {
    let rounds = datagrams.div_ceil(MOST as u64);
    let (before, mut spent) = (source.sent(), Duration::ZERO);
    for _ in 0..rounds {
        let start = Instant::now();
        for _ in 0..MOST / per_call {
            source.send(to.iter().copied().cycle().take(per_call), LEN);
        }
        spent += start.elapsed();
        between();
    }
    let sent = source.sent() - before;
    assert_eq!(sent, rounds * MOST as u64, "the kernel took them all");
    spent.mul_f64(datagrams as f64 / sent as f64)
}

fn dropping() -> Option<SocketAddr> {
    let named = std::env::var("PARLEY_DROPPING").ok()?;
    Some(named.parse().expect("PARLEY_DROPPING is ip:port"))
}

criterion_group! {
    name = datagrams;
    config = Criterion::default().sample_size(30).measurement_time(Duration::from_secs(2)).warm_up_time(Duration::from_millis(500));
    targets = recv_batch, send_batch
}
criterion_main!(datagrams);
