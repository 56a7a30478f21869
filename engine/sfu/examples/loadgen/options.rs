//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::*;

use crate::cloudflare::MOST_TRACKS;
use crate::seat::{Dialect, Loss};
use crate::signal::Url;
use crate::stamp;

/// Those of a server in development.
const KEY: &str = "devkey";
const APP: &str = "devapp";

pub const HELP: &str = "\
Loads a Parley server with light clients that publish recorded media and count what comes back.

usage: loadgen [options]              rooms of publishers and subscribers, measured
       loadgen record [options]       record a participant's tracks as traces
       loadgen connects N [options]   N joins, one after the other, each timed

The server
  --url URL                 ws://host:port of its LiveKit signalling [ws://127.0.0.1:7880]
  --api-key, --api-secret   sign the tokens [devkey, $LIVEKIT_API_SECRET or secret]
  --cloudflare              it is asked through the Cloudflare Realtime API, one connection a client:
                            --api-key is the app [devapp] and --api-secret its secret
  --janus                   it is Janus with its videoroom: the URL is that of its WebSocket, the room
                            a number; publishers only send
The rooms
  --room NAME               name of the one room, or what the names of several begin with [load]
  --rooms N                 [1]
  --publishers N            in each room [1]
  --subscribers N           in each room, receiving only [10]
  --publishers-only-send    publishers are not sent what others publish
  --media KIND              video, audio, both or none [video]
  --streams N               tracks of each kind per publisher [1]
  --simulcast               video in three layers (720p, 360p, 180p); with --cloudflare, and each
                            publisher is seen in the best by one, in the middle one by three
  --video-trace, --audio-trace FILE   in place of the built-in ones
  --pace X                  the time between a trace's packets, times X [1]
  --data-bytes N            payload of each data message, 20 at least [0: none]
  --data-rate N             messages a second per publisher [0: none]
  --data-mode MODE          reliable or lossy [reliable]
The run
  --warmup S                seconds before the measurement [10]
  --duration S              seconds it lasts [30]
  --join-over S             spread the joins over so many seconds [0: 16 at a time]
  --churn S                 every S seconds a random client leaves and joins again [0: never]
  --nack on|off             whether clients ask for missing packets [on]
  --loss-up, --loss-down PCT   of the clients' own packets, lost on purpose [0]
  --burst N                 how many in a row are lost [1]
  --seed N                  of everything random [1]
  --cpu N                   keep the whole process on this processor
  --spin                    never sleep: latencies are then without the generator's waking up
  --json                    a JSON object a line on standard output
record
  --identity NAME           whose tracks [the first that sends]
  --seconds S               how long [15]
  --out DIR                 where to write video.trace and audio.trace [.]
  --note TEXT               kept in the traces: how they were captured

With --json: `started` once everybody has joined; a `second` each second; `measuring` and
`measured` at the ends of the measurement; `summary` last. The exit status is 1 when clients
could not join.
";

#[derive(Clone, Debug, PartialEq)]
pub enum Mode {
    Load,
    Record,
    Connects(usize),
    Help,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    pub mode: Mode,
    pub url: Url,
    pub api_key: String,
    pub api_secret: String,
    pub dialect: Dialect,
    pub room: String,
    pub rooms: usize,
    pub publishers: usize,
    pub subscribers: usize,
    pub publishers_only_send: bool,
    pub video: bool,
    pub audio: bool,
    pub streams: usize,
    pub simulcast: bool,
    pub video_trace: Option<PathBuf>,
    pub audio_trace: Option<PathBuf>,
    pub pace: f64,
    pub data_bytes: usize,
    pub data_rate: f64,
    pub data_reliable: bool,
    pub warmup: Duration,
    pub duration: Duration,
    pub join_over: Duration,
    pub churn: Duration,
    pub nack: bool,
    pub loss: Loss,
    pub seed: u64,
    pub cpu: Option<usize>,
    pub spin: bool,
    pub json: bool,
    pub identity: Option<String>,
    pub seconds: f64,
    pub out: PathBuf,
    pub note: String,
}

impl Options {
    /// Reads the arguments behind the program's name. The error is a sentence for the user.
    pub fn parse(arguments: impl IntoIterator<Item = impl Into<OsString>>) -> Result<Self, String> {
        let mut options = Options::with_defaults()?;
        options
            .read(&mut lexopt::Parser::from_args(arguments))
            .map_err(|error| error.to_string())?;
        options.check()?;
        Ok(options)
    }

    /// Whether publishers send messages.
    pub fn has_data(&self) -> bool {
        self.data_rate > 0.0
    }

    fn with_defaults() -> Result<Options, String> {
        Ok(Options {
            mode: Mode::Load,
            url: Url::parse("ws://127.0.0.1:7880")?,
            api_key: KEY.into(),
            // Arguments can be read by everybody on the machine.
            api_secret: std::env::var("LIVEKIT_API_SECRET").unwrap_or_else(|_| "secret".into()),
            dialect: Dialect::LiveKit,
            room: "load".into(),
            rooms: 1,
            publishers: 1,
            subscribers: 10,
            publishers_only_send: false,
            video: true,
            audio: false,
            streams: 1,
            simulcast: false,
            video_trace: None,
            audio_trace: None,
            pace: 1.0,
            data_bytes: 0,
            data_rate: 0.0,
            data_reliable: true,
            warmup: Duration::from_secs(10),
            duration: Duration::from_secs(30),
            join_over: Duration::ZERO,
            churn: Duration::ZERO,
            nack: true,
            loss: Loss {
                up: 0.0,
                down: 0.0,
                burst: 1,
            },
            seed: 1,
            cpu: None,
            spin: false,
            json: false,
            identity: None,
            seconds: 15.0,
            out: PathBuf::from("."),
            note: String::new(),
        })
    }

    fn read(&mut self, parser: &mut lexopt::Parser) -> Result<(), lexopt::Error> {
        while let Some(argument) = parser.next()? {
            match argument {
                Value(word) if self.mode == Mode::Load && word == "record" => {
                    self.mode = Mode::Record
                }
                Value(word) if self.mode == Mode::Load && word == "connects" => {
                    self.mode = Mode::Connects(parser.value()?.parse()?);
                }
                Short('h') | Long("help") => self.mode = Mode::Help,
                Long("url") => self.url = Url::parse(&parser.value()?.string()?)?,
                Long("api-key") => self.api_key = parser.value()?.string()?,
                Long("api-secret") => self.api_secret = parser.value()?.string()?,
                Long("janus") => {
                    (self.dialect, self.publishers_only_send) = (Dialect::Janus, true);
                }
                Long("cloudflare") => self.dialect = Dialect::Cloudflare,
                Long("simulcast") => self.simulcast = true,
                Long("room") => self.room = parser.value()?.string()?,
                Long("rooms") => self.rooms = parser.value()?.parse()?,
                Long("publishers") => self.publishers = parser.value()?.parse()?,
                Long("subscribers") => self.subscribers = parser.value()?.parse()?,
                Long("publishers-only-send") => self.publishers_only_send = true,
                Long("media") => {
                    let kinds = ["none", "video", "audio", "both"];
                    let chosen = choice(parser, "--media", &kinds)?;
                    (self.video, self.audio) = (chosen & 1 != 0, chosen & 2 != 0);
                }
                Long("streams") => self.streams = parser.value()?.parse()?,
                Long("video-trace") => self.video_trace = Some(parser.value()?.into()),
                Long("audio-trace") => self.audio_trace = Some(parser.value()?.into()),
                Long("pace") => self.pace = number(parser, "--pace")?,
                Long("data-bytes") => self.data_bytes = parser.value()?.parse()?,
                Long("data-rate") => self.data_rate = number(parser, "--data-rate")?,
                Long("data-mode") => {
                    self.data_reliable =
                        choice(parser, "--data-mode", &["lossy", "reliable"])? == 1;
                }
                Long("warmup") => self.warmup = seconds(parser, "--warmup")?,
                Long("duration") => self.duration = seconds(parser, "--duration")?,
                Long("join-over") => self.join_over = seconds(parser, "--join-over")?,
                Long("churn") => self.churn = seconds(parser, "--churn")?,
                Long("nack") => self.nack = choice(parser, "--nack", &["off", "on"])? == 1,
                Long("loss-up") => self.loss.up = number(parser, "--loss-up")? / 100.0,
                Long("loss-down") => self.loss.down = number(parser, "--loss-down")? / 100.0,
                Long("burst") => self.loss.burst = parser.value()?.parse()?,
                Long("seed") => self.seed = parser.value()?.parse()?,
                Long("cpu") => self.cpu = Some(parser.value()?.parse()?),
                Long("spin") => self.spin = true,
                Long("json") => self.json = true,
                Long("identity") => self.identity = Some(parser.value()?.string()?),
                Long("seconds") => self.seconds = number(parser, "--seconds")?,
                Long("out") => self.out = parser.value()?.into(),
                Long("note") => self.note = parser.value()?.string()?,
                other => return Err(other.unexpected()),
            }
        }
        if self.dialect == Dialect::Cloudflare && self.api_key == KEY {
            self.api_key = APP.into();
        }
        Ok(())
    }

    fn check(&self) -> Result<(), String> {
        let is_cloudflare = self.dialect == Dialect::Cloudflare;
        let tracks = self.streams * (usize::from(self.video) + usize::from(self.audio));
        let wrong = [
            (self.rooms == 0, "--rooms is at least 1"),
            (
                self.streams == 0,
                "--streams is at least 1; for none, say --media none",
            ),
            (
                !(0.001..=1000.0).contains(&self.pace),
                "--pace is 0.001 to 1000",
            ),
            (
                self.has_data() && self.data_bytes < stamp::LEN,
                "--data-bytes is at least 20, for what says when a message was sent",
            ),
            (
                self.data_bytes > 60_000,
                "--data-bytes is at most 60000: a message with its envelope has 64000",
            ),
            (
                self.loss.up >= 1.0 || self.loss.down >= 1.0,
                "a loss of all packets leaves nothing to measure",
            ),
            (self.loss.burst == 0, "--burst is at least 1"),
            (
                self.simulcast && !is_cloudflare,
                "--simulcast needs --cloudflare, where a client says which layer it wants",
            ),
            (
                self.simulcast && self.video_trace.is_some(),
                "--simulcast has traces of its own, and no --video-trace",
            ),
            (
                is_cloudflare && self.has_data(),
                "with --cloudflare no messages are sent, so no --data-rate",
            ),
            (
                is_cloudflare && self.mode == Mode::Record,
                "record takes the tracks of a LiveKit participant, not --cloudflare",
            ),
            (
                is_cloudflare && tracks > MOST_TRACKS,
                "with --cloudflare a client publishes at most 64 tracks, in one call",
            ),
            (self.duration.is_zero(), "--duration is above 0"),
        ];
        match wrong.iter().find(|(is_wrong, _)| *is_wrong) {
            Some((_, why)) => Err((*why).to_owned()),
            None => Ok(()),
        }
    }
}

/// A number that is not negative.
fn number(parser: &mut lexopt::Parser, name: &str) -> Result<f64, lexopt::Error> {
    let value: f64 = parser.value()?.parse()?;
    if value.is_finite() && value >= 0.0 {
        Ok(value)
    } else {
        Err(format!("{name} is a number from 0 on").into())
    }
}

fn seconds(parser: &mut lexopt::Parser, name: &str) -> Result<Duration, lexopt::Error> {
    Ok(Duration::from_secs_f64(number(parser, name)?.min(1e6)))
}

/// Which of the words was given.
fn choice(parser: &mut lexopt::Parser, name: &str, words: &[&str]) -> Result<usize, lexopt::Error> {
    let word = parser.value()?.string()?;
    words
        .iter()
        .position(|known| *known == word)
        .ok_or_else(|| format!("{name} is one of {}, not '{word}'", words.join(", ")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Options, String> {
        Options::parse(line.split_whitespace())
    }

    #[test]
    fn nothing_said_is_one_camera_for_ten() {
        let options = parse("").unwrap();

        assert_eq!(options.mode, Mode::Load);
        assert_eq!((options.publishers, options.subscribers), (1, 10));
        assert_eq!((options.video, options.audio), (true, false));
        assert!(options.nack && !options.has_data());
    }

    #[test]
    fn a_scenario_is_read_as_it_is_written() {
        let options = parse(
            "--url ws://127.0.0.1:9 --rooms 3 --media both --data-bytes 1024 --data-rate 12.5 \
             --data-mode lossy --nack off --loss-up 2 --burst 5 --churn 0.5 --cpu 1 --json",
        )
        .unwrap();

        assert_eq!(options.rooms, 3);
        assert_eq!((options.video, options.audio), (true, true));
        assert_eq!((options.data_rate, options.data_reliable), (12.5, false));
        assert_eq!((options.loss.up, options.loss.burst), (0.02, 5));
        assert_eq!(options.churn, Duration::from_millis(500));
        assert_eq!(
            (options.nack, options.cpu, options.json),
            (false, Some(1), true)
        );
    }

    #[test]
    fn a_subcommand_may_stand_anywhere_once() {
        assert_eq!(parse("connects 100").unwrap().mode, Mode::Connects(100));
        assert_eq!(parse("record --seconds 5").unwrap().mode, Mode::Record);
        assert_eq!(parse("--json connects 3").unwrap().mode, Mode::Connects(3));
        assert!(parse("record connects 3").is_err());
    }

    #[test]
    fn the_key_of_a_cloudflare_app_is_its_id() {
        let options = parse("--cloudflare --simulcast").unwrap();

        assert_eq!(options.api_key, "devapp");
        assert_eq!(options.dialect, Dialect::Cloudflare);
        assert_eq!(
            parse("--api-key mine --cloudflare").unwrap().api_key,
            "mine"
        );
    }

    #[test]
    fn what_cannot_be_meant_is_refused_in_words() {
        for (line, word) in [
            ("--media film", "film"),
            ("--rooms 0", "--rooms"),
            ("--data-rate 5", "--data-bytes"),
            ("--loss-down 100", "loss"),
            ("--warmup -1", "--warmup"),
            ("--speed 3", "speed"),
            ("--pace 0", "--pace"),
            ("--url https://here", "ws://"),
            ("--simulcast", "--cloudflare"),
            ("--cloudflare --data-rate 5 --data-bytes 100", "messages"),
            ("--cloudflare --media both --streams 40", "64"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(word), "{line}: {error}");
        }
    }
}
