//! Loads a Parley server: many light clients in one process, on Parley's own transport pieces, with
//! real tokens, real signalling and real keys, replaying recorded media. See `--help`.
//!
//! Each client has a small thread for its signalling; one thread has all sockets. What a client
//! receives is checked for length and order, one packet in 64 is opened, and what is missing is asked
//! for as a browser would ask.

#![deny(unsafe_code)]

mod channels;
mod clock;
mod cloudflare;
mod connects;
mod crowd;
mod drops;
mod dtls;
mod histogram;
mod http;
mod ice;
mod janus;
mod load;
mod loss;
mod media;
mod messages;
mod nack;
mod options;
mod order;
mod progress;
mod random;
mod receiver;
mod record;
mod recorder;
mod report;
mod sdp;
mod seat;
mod sender;
mod signal;
mod stamp;
mod tally;
mod token;
mod trace;
mod transport;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use cloudflare::Directory;
use dtls::Certificate;
use media::{Command, Media};
use options::{HELP, Mode, Options};
use report::Reporter;
use seat::Common;
use token::Key;
use trace::{Layers, Trace};

/// How they were captured stands beside them.
const VIDEO: &[u8] = include_bytes!("../../../../tests/vectors/rtp/video.trace");
const VIDEO_360P: &[u8] = include_bytes!("../../../../tests/vectors/rtp/video-360p.trace");
const VIDEO_180P: &[u8] = include_bytes!("../../../../tests/vectors/rtp/video-180p.trace");
const AUDIO: &[u8] = include_bytes!("../../../../tests/vectors/rtp/audio.trace");

/// How soon a client's thread sees that it is to leave.
const PATIENCE: Duration = Duration::from_millis(1000);
const SHORT_PATIENCE: Duration = Duration::from_millis(10);
/// Two sockets and one connection for each client, and some.
const DESCRIPTORS: u64 = 65_536;

fn main() -> ExitCode {
    clock::start();
    let options = match Options::parse(std::env::args_os().skip(1)) {
        Ok(options) => options,
        Err(why) => {
            eprintln!("loadgen: {why}\nTry --help.");
            return ExitCode::from(2);
        }
    };
    if options.mode == Mode::Help {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    }
    match run(&options) {
        Ok(status) => status,
        Err(why) => {
            eprintln!("loadgen: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<ExitCode, String> {
    if let Some(cpu) = options.cpu {
        pin(cpu)?;
    }
    allow_descriptors();
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, stop.clone()).map_err(|error| error.to_string())?;
    }
    let (media, thread) = Media::start(options.nack, options.spin)?;
    let common = Arc::new(Common {
        url: options.url.clone(),
        key: Key {
            name: options.api_key.clone(),
            secret: options.api_secret.clone(),
        },
        dialect: options.dialect,
        directory: Directory::default(),
        reporter: Reporter { json: options.json },
        media: media.clone(),
        certificate: Certificate::generate()?,
        seed: options.seed,
        loss: options.loss,
        patience: match options.mode {
            Mode::Connects(_) => SHORT_PATIENCE,
            _ => PATIENCE,
        },
        ids: AtomicU64::new(1),
    });
    let outcome = match options.mode {
        Mode::Record => record::run(options, &common, &stop),
        Mode::Connects(count) => connects::run(options, count, &traces(options)?, &common, &stop),
        Mode::Load | Mode::Help => load::run(options, &traces(options)?, common, &stop),
    };
    media.tell(Command::Stop);
    let _ = thread.join();
    outcome
}

/// The traces of the kinds of media that publishers send, from files or built in.
fn traces(options: &Options) -> Result<Vec<Layers>, String> {
    let read = |path: &Option<PathBuf>, built_in: &[u8]| match path {
        None => Trace::read(built_in),
        Some(path) => std::fs::read(path)
            .map_err(|error| error.to_string())
            .and_then(|bytes| Trace::read(&bytes))
            .map_err(|why| format!("{}: {why}", path.display())),
    };
    let layer =
        |path, built_in| read(path, built_in).map(|trace| Arc::new(trace.paced(options.pace)));
    let mut tracks = Vec::new();
    if options.audio {
        tracks.push(vec![layer(&options.audio_trace, AUDIO)?]);
    }
    if options.video {
        let mut layers = vec![layer(&options.video_trace, VIDEO)?];
        if options.simulcast {
            layers.push(layer(&None, VIDEO_360P)?);
            layers.push(layer(&None, VIDEO_180P)?);
        }
        tracks.push(layers);
    }
    Ok(tracks)
}

/// Keeps this process, and all threads it will have, on one processor.
fn pin(cpu: usize) -> Result<(), String> {
    let mut set = rustix::thread::CpuSet::new();
    if cpu >= rustix::thread::CpuSet::MAX_CPU {
        return Err(format!("there is no processor {cpu}"));
    }
    set.set(cpu);
    rustix::thread::sched_setaffinity(None, &set)
        .map_err(|error| format!("cannot stay on processor {cpu}: {error}"))
}

/// Raises the limit as far as it may be raised; a run too large for it says so when it fails.
fn allow_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    let most = now.maximum.unwrap_or(DESCRIPTORS).min(DESCRIPTORS);
    if now.current.is_some_and(|current| current < most) {
        let wanted = Rlimit {
            current: Some(most),
            maximum: now.maximum,
        };
        let _ = setrlimit(Resource::Nofile, wanted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp::Kind;

    #[test]
    fn the_built_in_traces_are_a_microphone_and_a_camera_in_three_layers() {
        let options = Options::parse(["--media", "both", "--cloudflare", "--simulcast"]).unwrap();

        let traces = traces(&options).unwrap();

        assert_eq!(traces[0].len(), 1);
        assert_eq!(traces[0][0].kind, Kind::Audio);
        let expected_bps = [1_500_000..2_500_000, 350_000..700_000, 80_000..200_000];
        assert_eq!(traces[1].len(), expected_bps.len());
        for (video, expected) in traces[1].iter().zip(expected_bps) {
            let took_us: u64 = video.packets.iter().map(|p| u64::from(p.after_us)).sum();
            let bits: u64 = video.packets.iter().map(|p| u64::from(p.len) * 8).sum();
            let rate_bps = bits * 1_000_000 / took_us;
            assert_eq!(video.kind, Kind::Video);
            assert!(expected.contains(&rate_bps), "{rate_bps}");
        }
        let all = traces.iter().flatten();
        assert!(
            all.map(|trace| &trace.note)
                .all(|note| note.contains("Chromium"))
        );
    }
}
