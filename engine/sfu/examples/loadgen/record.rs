//! The mode that records a participant's tracks from a running room, as traces.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use crate::media::Command;
use crate::options::Options;
use crate::progress::Progress;
use crate::recorder::Recorder;
use crate::report::say;
use crate::sdp::{Incoming, Kind};
use crate::seat::{self, Common, Seat};

/// A track that is published within this time after the last one is recorded with it.
const SETTLE: Duration = Duration::from_secs(3);
const WAIT: Duration = Duration::from_secs(60);
/// So often a keyframe is asked for, so that a trace has some to turn to.
const KEYFRAME_EVERY: Duration = Duration::from_secs(3);
const STEP: Duration = Duration::from_millis(20);

/// Joins, records for so long, writes the traces.
pub fn run(options: &Options, common: &Arc<Common>, stop: &AtomicBool) -> Result<ExitCode, String> {
    let seat = Seat {
        identity: "recorder".into(),
        room: options.room.clone(),
        publishes: Vec::new(),
        data: None,
        subscribes: true,
        publishers: 0,
        expects_media: true,
        number: 0,
    };
    let progress: Arc<Progress> = Arc::default();
    let taken = {
        let (progress, common) = (progress.clone(), common.clone());
        std::thread::spawn(move || seat::take(&seat, &common, &progress))
    };
    let outcome = record(options, common, &progress, stop);
    progress.leave();
    let _ = taken.join();
    outcome
}

fn record(
    options: &Options,
    common: &Common,
    progress: &Progress,
    stop: &AtomicBool,
) -> Result<ExitCode, String> {
    let streams = wait_for_streams(options.identity.as_deref(), progress, stop)?;
    say(&format!("recording {} tracks", streams.len()));
    common.media.tell(Command::Record(Recorder::new(&streams)));
    let end = Instant::now() + Duration::from_secs_f64(options.seconds);
    let mut ask_at = Instant::now();
    while Instant::now() < end && !stop.load(Relaxed) {
        if ask_at <= Instant::now() {
            ask_at += KEYFRAME_EVERY;
            common.media.tell(Command::AskForKeyframes);
        }
        std::thread::sleep(STEP);
    }
    let recorder = common.media.take_recorder().ok_or("nothing was recorded")?;
    for trace in recorder.finish(&options.note)? {
        let name = match trace.kind {
            Kind::Audio => "audio.trace",
            _ => "video.trace",
        };
        let path = options.out.join(name);
        let bytes = trace.write();
        std::fs::write(&path, &bytes).map_err(|error| format!("{}: {error}", path.display()))?;
        say(&format!(
            "{}: {trace}, {} bytes",
            path.display(),
            bytes.len()
        ));
    }
    Ok(ExitCode::SUCCESS)
}

/// The streams of one participant, once no further one has come for a while.
fn wait_for_streams(
    identity: Option<&str>,
    progress: &Progress,
    stop: &AtomicBool,
) -> Result<Vec<Incoming>, String> {
    let end = Instant::now() + WAIT;
    let mut found: Vec<Incoming> = Vec::new();
    let mut since = Instant::now();
    while Instant::now() < end && !stop.load(Relaxed) {
        if let Some(why) = progress.failure() {
            return Err(why);
        }
        let all = progress.streams();
        let whose = identity.or_else(|| all.first().map(|(name, _)| name.as_str()));
        let of_one = all.iter().filter(|(name, _)| Some(name.as_str()) == whose);
        let now: Vec<Incoming> = of_one.map(|(_, stream)| stream.clone()).collect();
        if now != found {
            (found, since) = (now, Instant::now());
        }
        if !found.is_empty() && since.elapsed() > SETTLE {
            return Ok(found);
        }
        std::thread::sleep(STEP);
    }
    Err("nobody sends anything to record".into())
}
