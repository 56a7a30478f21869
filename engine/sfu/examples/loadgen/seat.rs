//! One client's part in a room: it joins, publishes, takes what it is offered, and leaves.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustc_hash::FxHashMap;

use crate::channels::DataSource;
use crate::cloudflare::{self, Directory};
use crate::dtls::Certificate;
use crate::janus;
use crate::loss::Lane;
use crate::media::{Command, Media};
use crate::messages::{
    AUDIO, AddTrackRequest, CAMERA, CLIENT_INITIATED, LeaveRequest, MICROPHONE, ParticipantInfo,
    Ping, Request, Response, SessionDescription, VIDEO,
};
use crate::progress::{Progress, Side};
use crate::random::Random;
use crate::report::Reporter;
use crate::sdp::{self, Encoding, Incoming, Kind, Local, Offered, RIDS, Remote, Section};
use crate::sender::SenderSpec;
use crate::signal::{Signal, Url};
use crate::tally::Layer;
use crate::token::{self, Key};
use crate::trace::{Layers, Trace};
use crate::transport::{self, Setup, Transport, TransportId, Weather};

/// How clients speak with the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// LiveKit's signalling: a client has a connection to send on and one to receive.
    LiveKit,
    Janus,
    /// The Cloudflare Realtime API: a client has one connection.
    Cloudflare,
}

/// Who sits in which room and what they do there.
#[derive(Clone)]
pub struct Seat {
    pub identity: String,
    pub room: String,
    /// One track for each.
    pub publishes: Vec<Layers>,
    pub data: Option<DataPlan>,
    /// Whether it is sent what others publish.
    pub subscribes: bool,
    /// Whether others publish media in this room.
    pub expects_media: bool,
    /// How many publish in the room.
    pub publishers: usize,
    /// What this seat draws from the seed.
    pub number: u64,
}

impl Seat {
    /// Whether it needs a connection of its own to send on.
    pub fn publishes(&self) -> bool {
        !self.publishes.is_empty() || self.data.is_some()
    }
}

/// Messages a publisher sends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct DataPlan {
    pub reliable: bool,
    pub bytes: usize,
    pub every: Duration,
}

/// What all clients have in common.
pub struct Common {
    pub url: Url,
    pub key: Key,
    pub dialect: Dialect,
    /// Who publishes what, where clients have to tell each other.
    pub directory: Directory,
    pub reporter: Reporter,
    pub media: Media,
    pub certificate: Certificate,
    pub seed: u64,
    pub loss: Loss,
    /// How long a client's thread sleeps at most before it sees that it is to leave.
    pub patience: Duration,
    /// The next number that [`Common::id`] gives away.
    pub ids: AtomicU64,
}

/// What the simulated network loses: shares, 0 to 1, and how many packets in a row.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Loss {
    pub up: f64,
    pub down: f64,
    pub burst: u32,
}

impl Common {
    /// A number nobody else in the process has.
    fn id(&self) -> u64 {
        self.ids.fetch_add(1, Relaxed)
    }

    fn weather(&self, id: TransportId) -> Weather {
        let lane = |loss: f64, direction: u64| {
            let random = Random::new(self.seed, id << 1 | direction);
            (loss > 0.0).then(|| Lane::new(loss, self.loss.burst, random))
        };
        Weather {
            up: lane(self.loss.up, 0),
            down: lane(self.loss.down, 1),
        }
    }
}

/// Takes the seat and keeps it until `progress` says to leave, or something goes wrong.
pub fn take(seat: &Seat, common: &Common, progress: &Arc<Progress>) {
    let mut visit = Visit {
        seat,
        common,
        progress,
        random: Random::new(common.seed, seat.number),
        publisher: None,
        subscriber: None,
        unannounced: seat.publishes.len(),
        wanted: FxHashMap::default(),
        offered: Vec::new(),
        local: None,
        version: 0,
        people: FxHashMap::default(),
        local_addr: None,
    };
    let stayed = match common.dialect {
        Dialect::LiveKit => visit.stay(),
        Dialect::Janus => janus::stay(&mut visit),
        Dialect::Cloudflare => cloudflare::stay(&mut visit),
    };
    if let Err(why) = stayed
        && !progress.is_to_leave()
    {
        progress.fail(&why);
    }
    let subscriber = visit.subscriber.map(|(id, _)| id);
    for id in visit.publisher.into_iter().chain(subscriber) {
        common.media.tell(Command::Close(id));
    }
    progress.on_gone();
}

/// One stay in the seat.
pub struct Visit<'a> {
    pub seat: &'a Seat,
    pub common: &'a Common,
    pub progress: &'a Arc<Progress>,
    random: Random,
    publisher: Option<TransportId>,
    subscriber: Option<(TransportId, Local)>,
    /// Tracks the server has not confirmed yet.
    unannounced: usize,
    pub offered: Vec<Offered>,
    /// Which layer was asked for, by the mid it comes on.
    pub wanted: FxHashMap<String, u8>,
    /// Of the publisher's transport, once it is offered.
    local: Option<Local>,
    /// Of our answers.
    version: u32,
    /// Identities by SID.
    people: FxHashMap<String, String>,
    /// Of the socket that was opened last.
    pub local_addr: Option<SocketAddr>,
}

impl Visit<'_> {
    fn stay(&mut self) -> Result<(), String> {
        let (seat, common) = (self.seat, self.common);
        let may_subscribe = seat.subscribes;
        let now = SystemTime::now();
        let token = token::join(&common.key, &seat.identity, &seat.room, may_subscribe, now);
        self.progress.on_begin(Instant::now());
        let mut signal = Signal::connect(&common.url, &token, common.patience)?;
        let ping_every = self.welcome(&mut signal)?;
        self.announce(&mut signal)?;
        let mut next_ping = Instant::now() + ping_every;
        while !self.progress.is_to_leave() {
            if let Some(response) = signal.read()? {
                self.on_response(&mut signal, response)?;
            }
            let now = Instant::now();
            if next_ping <= now {
                next_ping = now + ping_every;
                signal.send(Request::Ping(Ping {
                    timestamp: wall_ms(),
                    rtt: 0,
                }))?;
            }
        }
        signal.send(Request::Leave(LeaveRequest {
            reason: CLIENT_INITIATED,
        }))?;
        signal.close();
        Ok(())
    }

    /// Waits for the JoinResponse; returns how often to ping.
    fn welcome(&mut self, signal: &mut Signal) -> Result<Duration, String> {
        let deadline = Instant::now() + Duration::from_secs(15);
        while Instant::now() < deadline {
            if let Some(Response::Join(join)) = signal.read()? {
                self.progress.on_welcome(Instant::now());
                self.meet(join.others);
                return Ok(Duration::from_secs(join.ping_interval_s.clamp(1, 60) as u64));
            }
        }
        Err("no JoinResponse came".into())
    }

    fn announce(&mut self, signal: &mut Signal) -> Result<(), String> {
        self.number_tracks();
        for track in &self.offered {
            let is_video = track.kind == Kind::Video;
            signal.send(Request::AddTrack(AddTrackRequest {
                name: track.cid.clone(),
                cid: track.cid.clone(),
                kind: if is_video { VIDEO } else { AUDIO },
                width: if is_video { 1280 } else { 0 },
                height: if is_video { 720 } else { 0 },
                source: if is_video { CAMERA } else { MICROPHONE },
            }))?;
        }
        if self.seat.publishes() && self.unannounced == 0 {
            self.send_offer(signal)?;
        }
        Ok(())
    }

    fn on_response(&mut self, signal: &mut Signal, response: Response) -> Result<(), String> {
        match response {
            Response::TrackPublished(_) => {
                self.unannounced = self.unannounced.saturating_sub(1);
                if self.unannounced == 0 && self.local.is_none() {
                    self.send_offer(signal)?;
                }
            }
            Response::Refused(refusal) if refusal.reason != 0 => {
                return Err(format!("the server refused a request: {}", refusal.message));
            }
            Response::Update(update) => self.meet(update.participants),
            Response::Offer(offer) => {
                let sdp = self.take_offer(&offer.sdp)?;
                signal.send(Request::Answer(SessionDescription {
                    kind: "answer".into(),
                    sdp,
                    id: offer.id,
                }))?;
            }
            Response::Answer(answer) => self.take_answer(&answer.sdp)?,
            Response::Leave(leave) => {
                return Err(format!(
                    "the server asked it to leave, reason {}",
                    leave.reason
                ));
            }
            _ => {}
        }
        Ok(())
    }

    // ── what it receives ────────────────────────────────────────────────────────────────────────

    /// Receives what the server offers from now on; returns the answer.
    pub fn take_offer(&mut self, offer: &str) -> Result<String, String> {
        let sections = sdp::sections(offer);
        let (id, local) = match self.subscriber.take() {
            Some(known) => known,
            None => {
                let local = self.local();
                let remote = sdp::remote(&sections)?;
                (
                    self.open(self.side(Side::Subscriber), &local, &remote)?,
                    local,
                )
            }
        };
        self.version += 1;
        let ours = match self.has_one_transport() {
            true => self.offered.as_slice(),
            false => &[],
        };
        let answer = sdp::answer(&sections, &local, self.version, ours);
        self.subscriber = Some((id, local));
        // Before the answer: what it brings about must not come as a surprise.
        let of_section = |section: &Section| {
            let layer = self.wanted.get(&section.mid).copied();
            section
                .incoming()
                .map(|stream| Incoming { layer, ..stream })
        };
        let incoming: Vec<Incoming> = sections.iter().filter_map(of_section).collect();
        let named = incoming
            .iter()
            .map(|stream| (self.sender_of(stream), stream.clone()));
        self.progress.set_streams(named.collect());
        self.common.media.tell(Command::Receive(id, incoming));
        Ok(answer)
    }

    /// The identity behind a stream; empty when it is not known.
    fn sender_of(&self, stream: &Incoming) -> String {
        let sid = stream.stream.split('|').next().unwrap_or("");
        self.people.get(sid).cloned().unwrap_or_default()
    }

    fn meet(&mut self, people: Vec<ParticipantInfo>) {
        let named = people.into_iter().map(|info| (info.sid, info.identity));
        self.people.extend(named);
    }

    // ── what it sends ───────────────────────────────────────────────────────────────────────────

    /// Gives every track its numbers.
    pub fn number_tracks(&mut self) {
        for (index, layers) in self.seat.publishes.iter().enumerate() {
            let names = match layers.len() {
                0 | 1 => [None; RIDS.len()],
                _ => RIDS.map(Some),
            };
            let encoding = |(_, rid): (&Arc<Trace>, &Option<&'static str>)| Encoding {
                rid: *rid,
                ssrc: self.random.u32() | 1,
                rtx: self.random.u32() & !1,
            };
            self.offered.push(Offered {
                kind: layers.first().map_or(Kind::Video, |trace| trace.kind),
                mid: index.to_string(),
                cid: format!("{}-{index}", self.seat.identity),
                encodings: layers.iter().zip(&names).map(encoding).collect(),
            });
        }
    }

    /// The offer of what was numbered, and of data.
    pub fn offer(&mut self, has_data: bool) -> String {
        let local = self.local();
        let sdp = sdp::offer(&self.offered, &local, has_data);
        self.local = Some(local);
        sdp
    }

    fn send_offer(&mut self, signal: &mut Signal) -> Result<(), String> {
        let sdp = self.offer(true);
        signal.send(Request::Offer(SessionDescription {
            kind: "offer".into(),
            sdp,
            id: 1,
        }))
    }

    /// Sends what the server takes of the offer.
    pub fn take_answer(&mut self, sdp: &str) -> Result<(), String> {
        let Some(local) = self.local.take_if(|_| self.publisher.is_none()) else {
            return Ok(());
        };
        let sections = sdp::sections(sdp);
        let side = self.side(Side::Publisher);
        let id = self.open(side, &local, &sdp::remote(&sections)?)?;
        if side == Side::Both {
            self.subscriber = Some((id, local.clone()));
        }
        (self.publisher, self.local) = (Some(id), Some(local));
        // Publishers that joined together do not send in step: each begins somewhere in a second.
        let begin = Instant::now() + Duration::from_secs_f64(self.random.unit());
        for (track, layers) in self.offered.iter().zip(&self.seat.publishes) {
            let accepted = sections
                .iter()
                .find(|section| section.mid == track.mid)
                .and_then(Section::accepted)
                .ok_or("the server's answer refuses a track")?;
            let number = self.common.id() as u32;
            for (index, (encoding, trace)) in track.encodings.iter().zip(layers).enumerate() {
                let spec = SenderSpec {
                    stream: self.common.id() as u32,
                    kind: track.kind,
                    mid: track.mid.clone(),
                    layer: Layer {
                        track: number,
                        index: index as u8,
                    },
                    encoding: *encoding,
                    accepted,
                    trace: trace.clone(),
                    begin,
                    first_seq: self.random.u32() as u16,
                };
                self.common
                    .media
                    .tell(Command::SendTrack(id, Box::new(spec)));
            }
        }
        if let Some(plan) = self.seat.data {
            let stream = self.common.id() as u32;
            let source = DataSource::new(stream, plan.reliable, plan.bytes, plan.every, begin);
            self.common.media.tell(Command::SendData(id, source));
        }
        Ok(())
    }

    // ── transports ──────────────────────────────────────────────────────────────────────────────

    fn has_one_transport(&self) -> bool {
        self.common.dialect == Dialect::Cloudflare
    }

    fn side(&self, usual: Side) -> Side {
        match self.has_one_transport() {
            true => Side::Both,
            false => usual,
        }
    }

    fn local(&mut self) -> Local {
        Local {
            ufrag: self.random.letters(8),
            pwd: self.random.letters(24),
            fingerprint: self.common.certificate.fingerprint.clone(),
        }
    }

    fn open(&mut self, side: Side, local: &Local, remote: &Remote) -> Result<TransportId, String> {
        let id = self.common.id();
        let socket =
            transport::socket(remote.addr).map_err(|error| format!("no socket: {error}"))?;
        self.local_addr = socket.local_addr().ok();
        let setup = Setup {
            id,
            side,
            socket,
            local,
            remote,
            has_data: self.common.dialect == Dialect::LiveKit,
            certificate: &self.common.certificate,
            weather: self.common.weather(id),
            ssrc: id as u32 | 0x4000_0000,
            progress: self.progress.clone(),
        };
        let transport = Transport::new(setup, Instant::now());
        self.common.media.tell(Command::Open(Box::new(transport)));
        Ok(id)
    }
}

fn wall_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |time| time.as_millis() as i64)
}
