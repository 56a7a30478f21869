//! The same client before Janus: its videoroom through its own JSON signalling, for comparison.
//!
//! Source: Janus documentation, "WebSockets Interface" and "VideoRoom plugin".

use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::{Message, WebSocket};

use crate::seat::Visit;
use crate::signal::{Url, dial, is_silence};

const ANSWER_WITHIN: Duration = Duration::from_secs(15);
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// Janus forgets a session that was silent for a minute.
const KEEP_ALIVE: Duration = Duration::from_secs(20);
/// Says in a description that candidates come later: ours is known when theirs is.
const TRICKLE: &str = "a=ice-options:trickle\r\na=setup:";

/// Takes the seat and keeps it until it is to be left. Publishers only send.
pub fn stay(visit: &mut Visit<'_>) -> Result<(), String> {
    let room = room(&visit.seat.room);
    visit.progress.on_begin(Instant::now());
    let mut session = Session::begin(&visit.common.url, visit.common.patience)?;
    visit.progress.on_welcome(Instant::now());
    if visit.seat.publishes() {
        publish(visit, &mut session, &room)?;
    } else {
        subscribe(visit, &mut session, &room)?;
    }
    let mut next = Instant::now() + KEEP_ALIVE;
    while !visit.progress.is_to_leave() {
        if let Some(event) = session.read()? {
            check(&event)?;
        }
        if next <= Instant::now() {
            next = Instant::now() + KEEP_ALIVE;
            session.send(json!({"janus": "keepalive"}))?;
        }
    }
    session.send(json!({"janus": "destroy"}))
}

fn publish(visit: &mut Visit<'_>, session: &mut Session, room: &Value) -> Result<(), String> {
    let handle = session.attach()?;
    let name = &visit.seat.identity;
    let join = json!({"request": "join", "ptype": "publisher", "room": room, "display": name});
    session.ask(handle, join, None)?;
    visit.number_tracks();
    // A role of our own choice: the server's is then the passive one, as it is with Parley.
    let offer = visit
        .offer(false)
        .replace("a=setup:actpass", "a=setup:active");
    let jsep = json!({"type": "offer", "sdp": offer.replace("a=setup:", TRICKLE)});
    let answered = session.ask(handle, json!({"request": "publish"}), Some(jsep))?;
    visit.take_answer(&description(&answered)?)?;
    session.trickle(handle, visit.local_addr)
}

fn subscribe(visit: &mut Visit<'_>, session: &mut Session, room: &Value) -> Result<(), String> {
    let handle = session.attach()?;
    let feeds = session.publishers(handle, room)?;
    let join = json!({"request": "join", "ptype": "subscriber", "room": room, "streams": feeds});
    let offered = session.ask(handle, join, None)?;
    let answer = visit.take_offer(&description(&offered)?)?;
    let jsep = json!({"type": "answer", "sdp": answer.replace("a=setup:", TRICKLE)});
    session.ask(handle, json!({"request": "start"}), Some(jsep))?;
    session.trickle(handle, visit.local_addr)
}

/// Rooms have numbers, unless Janus was told that they have names.
fn room(name: &str) -> Value {
    name.parse::<u64>()
        .map_or_else(|_| name.into(), Value::from)
}

/// Janus names its certificate once for the whole session; here it is said again in a section.
fn description(event: &Value) -> Result<String, String> {
    let sdp = event["jsep"]["sdp"]
        .as_str()
        .ok_or("Janus sent no description")?;
    let fingerprint = sdp.lines().find(|line| line.starts_with("a=fingerprint:"));
    Ok(format!("{sdp}{}\r\n", fingerprint.unwrap_or_default()))
}

/// An error when the event tells of one, or of the end.
fn check(event: &Value) -> Result<(), String> {
    let refusal = [
        &event["error"]["reason"],
        &event["plugindata"]["data"]["error"],
    ];
    if let Some(why) = refusal.into_iter().find_map(Value::as_str) {
        return Err(format!("Janus refused: {why}"));
    }
    match event["janus"].as_str() {
        Some("hangup" | "timeout" | "detached") => Err("Janus ended it".into()),
        _ => Ok(()),
    }
}

struct Session {
    socket: WebSocket<TcpStream>,
    id: Option<u64>,
    /// Counts requests; answers bear the number of theirs.
    transaction: u64,
}

impl Session {
    fn begin(url: &Url, patience: Duration) -> Result<Session, String> {
        let mut request = url
            .text
            .as_str()
            .into_client_request()
            .map_err(|error| error.to_string())?;
        let protocol = HeaderValue::from_static("janus-protocol");
        request
            .headers_mut()
            .insert("Sec-WebSocket-Protocol", protocol);
        let mut session = Session {
            socket: dial(url, request, patience)?,
            id: None,
            transaction: 0,
        };
        session.send(json!({"janus": "create"}))?;
        session.id = session.answer()?["data"]["id"].as_u64();
        Ok(session)
    }

    /// A new handle of the videoroom.
    fn attach(&mut self) -> Result<u64, String> {
        self.send(json!({"janus": "attach", "plugin": "janus.plugin.videoroom"}))?;
        let id = self.answer()?["data"]["id"].as_u64();
        id.ok_or_else(|| "Janus gave no handle".into())
    }

    /// Asks the videoroom; returns its event.
    fn ask(&mut self, handle: u64, body: Value, jsep: Option<Value>) -> Result<Value, String> {
        let mut message = json!({"janus": "message", "handle_id": handle, "body": body});
        if let Some(jsep) = jsep {
            message["jsep"] = jsep;
        }
        self.send(message)?;
        self.answer()
    }

    /// Everybody who publishes in the room; waits until somebody does.
    fn publishers(&mut self, handle: u64, room: &Value) -> Result<Vec<Value>, String> {
        let deadline = Instant::now() + ANSWER_WITHIN;
        while Instant::now() < deadline {
            let list = json!({"request": "listparticipants", "room": room});
            let answer = self.ask(handle, list, None)?;
            let people = answer["plugindata"]["data"]["participants"].as_array();
            let feeds: Vec<Value> = people
                .into_iter()
                .flatten()
                .filter(|one| one["publisher"] == true)
                .map(|one| json!({"feed": one["id"]}))
                .collect();
            if !feeds.is_empty() {
                return Ok(feeds);
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        Err("nobody publishes in the room".into())
    }

    /// Names our one candidate, and says that it is the last.
    fn trickle(&mut self, handle: u64, addr: Option<SocketAddr>) -> Result<(), String> {
        let addr = addr.ok_or("no socket of ours")?;
        let (ip, port) = (addr.ip(), addr.port());
        let candidate = format!("candidate:1 1 udp 2130706431 {ip} {port} typ host");
        let named = json!({"candidate": candidate, "sdpMLineIndex": 0});
        let both = json!([named, {"completed": true}]);
        self.send(json!({"janus": "trickle", "handle_id": handle, "candidates": both}))
    }

    fn send(&mut self, mut message: Value) -> Result<(), String> {
        self.transaction += 1;
        message["transaction"] = self.transaction.to_string().into();
        if let Some(id) = self.id {
            message["session_id"] = id.into();
        }
        self.socket
            .send(Message::text(message.to_string()))
            .map_err(|_| "the signalling connection broke".to_owned())
    }

    /// The answer to the last request. That it has been received is not yet an answer.
    fn answer(&mut self) -> Result<Value, String> {
        let deadline = Instant::now() + ANSWER_WITHIN;
        let transaction = self.transaction.to_string();
        while Instant::now() < deadline {
            let Some(event) = self.read()? else {
                continue;
            };
            check(&event)?;
            if event["transaction"] == transaction.as_str() && event["janus"] != "ack" {
                return Ok(event);
            }
        }
        Err("Janus did not answer".into())
    }

    /// The next message; `None` when none came in time.
    fn read(&mut self) -> Result<Option<Value>, String> {
        match self.socket.read() {
            Ok(Message::Text(text)) => serde_json::from_str(&text)
                .map(Some)
                .map_err(|_| "Janus's message cannot be read".to_owned()),
            Ok(Message::Close(_)) => Err("Janus closed the signalling connection".into()),
            Ok(_) => Ok(None),
            Err(error) if is_silence(&error) => Ok(None),
            Err(_) => Err("the signalling connection broke".into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdp;

    /// What Janus 1.1.2 answered to an offer of one microphone, shortened.
    const ANSWER: &str = "v=0\r\no=- 1 3 IN IP4 198.18.1.1\r\ns=VideoRoom 1234\r\nt=0 0\r\n\
        a=group:BUNDLE 1\r\na=fingerprint:sha-256 2A:9E\r\na=ice-lite\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\nc=IN IP4 198.18.1.1\r\na=recvonly\r\na=mid:1\r\na=rtcp-mux\r\n\
        a=ice-ufrag:/EIk\r\na=ice-pwd:x7zWxAVQWPBint0x1iujk6\r\na=setup:passive\r\n\
        a=rtpmap:111 opus/48000/2\r\na=candidate:1 1 udp 2015363327 198.18.1.1 20550 typ host\r\n";

    #[test]
    fn a_certificate_named_for_the_whole_session_is_found_in_a_section() {
        let event = json!({"jsep": {"type": "answer", "sdp": ANSWER}});

        let remote = sdp::remote(&sdp::sections(&description(&event).unwrap())).unwrap();

        assert_eq!(remote.fingerprint, "sha-256 2A:9E");
        assert_eq!(remote.addr, "198.18.1.1:20550".parse().unwrap());
    }

    #[test]
    fn a_refusal_is_repeated_in_janus_words() {
        let gateway =
            json!({"janus": "error", "error": {"code": 458, "reason": "No such session"}});
        let plugin =
            json!({"janus": "event", "plugindata": {"data": {"error": "No such room (9)"}}});

        assert_eq!(
            check(&gateway).unwrap_err(),
            "Janus refused: No such session"
        );
        assert_eq!(
            check(&plugin).unwrap_err(),
            "Janus refused: No such room (9)"
        );
        assert!(check(&json!({"janus": "webrtcup"})).is_ok());
        assert!(check(&json!({"janus": "hangup"})).is_err());
    }

    #[test]
    fn rooms_have_numbers_or_names() {
        assert_eq!(room("1234"), 1234);
        assert_eq!(room("standup"), "standup");
    }
}
