//! The same client before the Cloudflare Realtime API: a session with one connection, on which it
//! publishes its tracks and pulls those of everybody else in its room.
//!
//! The API knows no rooms and lists nobody: applications tell each other of their tracks, and here a
//! directory in this process does.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustc_hash::{FxHashMap, FxHashSet};
use serde_json::{Value, json};

use crate::http::Http;
use crate::report::Pull;
use crate::sdp::RIDS;
use crate::seat::{Common, Visit};

/// How often the directory is looked at.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
/// The API takes no more tracks in a call.
pub const MOST_TRACKS: usize = 64;

/// Who publishes what, room by room, in the order they came.
#[derive(Default)]
pub struct Directory(Mutex<FxHashMap<String, Vec<Published>>>);

#[derive(Clone)]
struct Published {
    session: String,
    /// The place of its publisher among those of the room.
    place: usize,
    /// Names and numbers of layers.
    tracks: Vec<(String, usize)>,
}

impl Directory {
    fn enter(&self, room: &str, published: Published) {
        if let Ok(mut rooms) = self.0.lock() {
            rooms.entry(room.to_owned()).or_default().push(published);
        }
    }

    fn strike(&self, room: &str, session: &str) {
        if let Ok(mut rooms) = self.0.lock()
            && let Some(listed) = rooms.get_mut(room)
        {
            listed.retain(|one| one.session != session);
        }
    }

    fn of_room(&self, room: &str) -> Vec<Published> {
        let rooms = self.0.lock().ok();
        rooms
            .and_then(|rooms| rooms.get(room).cloned())
            .unwrap_or_default()
    }
}

/// Takes the seat and keeps it until it is to be left.
pub fn stay(visit: &mut Visit<'_>) -> Result<(), String> {
    let common = visit.common;
    visit.progress.on_begin(Instant::now());
    let mut session = Session::begin(common)?;
    visit.progress.on_welcome(Instant::now());
    let stayed = attend(visit, &mut session);
    common.directory.strike(&visit.seat.room, &session.id);
    // Closing the connection ends the session.
    stayed
}

fn attend(visit: &mut Visit<'_>, session: &mut Session) -> Result<(), String> {
    if visit.seat.publishes() {
        publish(visit, session)?;
    }
    let mut pulled = FxHashSet::default();
    pulled.insert(session.id.clone());
    while !visit.progress.is_to_leave() {
        if visit.seat.subscribes {
            pull_all(visit, session, &mut pulled)?;
        }
        std::thread::sleep(LOOK_AGAIN.min(visit.common.patience));
    }
    Ok(())
}

fn publish(visit: &mut Visit<'_>, session: &mut Session) -> Result<(), String> {
    visit.number_tracks();
    let offer = visit.offer(false);
    let tracks: Vec<Value> = visit
        .offered
        .iter()
        .map(|track| json!({"location": "local", "mid": track.mid, "trackName": track.cid}))
        .collect();
    let body = json!({"sessionDescription": {"type": "offer", "sdp": offer}, "tracks": tracks});
    let answer = session.ask("POST", "tracks/new", &body)?;
    visit.take_answer(description(&answer)?)?;
    let tracks = visit.offered.iter();
    let tracks = tracks.map(|track| (track.cid.clone(), track.encodings.len()));
    let published = Published {
        session: session.id.clone(),
        place: place(visit.seat.number, visit.seat.publishers),
        tracks: tracks.collect(),
    };
    visit.common.directory.enter(&visit.seat.room, published);
    Ok(())
}

/// One track to be pulled: whose, its name, and which of its layers.
struct Wish {
    session: String,
    track: String,
    layer: Option<u8>,
}

/// Pulls everything it does not have yet.
fn pull_all(
    visit: &mut Visit<'_>,
    session: &mut Session,
    pulled: &mut FxHashSet<String>,
) -> Result<(), String> {
    let publishers = visit.seat.publishers;
    let own = place(visit.seat.number, publishers);
    let mut wishes = Vec::new();
    for found in visit.common.directory.of_room(&visit.seat.room) {
        if !pulled.insert(found.session.clone()) {
            continue;
        }
        let away = (found.place + publishers - own) % publishers;
        for (track, layers) in found.tracks {
            wishes.push(Wish {
                session: found.session.clone(),
                track,
                layer: (layers > 1).then(|| layer(away, layers)),
            });
        }
    }
    for part in wishes.chunks(MOST_TRACKS) {
        pull(visit, session, part)?;
    }
    Ok(())
}

fn pull(visit: &mut Visit<'_>, session: &mut Session, wishes: &[Wish]) -> Result<(), String> {
    let tracks: Vec<Value> = wishes.iter().map(Wish::to_json).collect();
    visit.common.reporter.step("pulling");
    let began = Instant::now();
    let offered = session.ask("POST", "tracks/new", &json!({"tracks": tracks}))?;
    let call = began.elapsed();
    // Items come back in the order they were asked for.
    let items = offered["tracks"].as_array().into_iter().flatten();
    for (wish, item) in wishes.iter().zip(items) {
        let mid = item["mid"].as_str().ok_or("a pulled track has no mid")?;
        if let Some(layer) = wish.layer {
            visit.wanted.insert(mid.to_owned(), layer);
        }
    }
    let answer = visit.take_offer(description(&offered)?)?;
    visit.common.reporter.step("offered");
    let began = Instant::now();
    let body = json!({"sessionDescription": {"type": "answer", "sdp": answer}});
    session.ask("PUT", "renegotiate", &body)?;
    visit.common.reporter.pulled(&Pull {
        tracks: wishes.len(),
        sections: answer.matches("\r\nm=").count(),
        call,
        answer: began.elapsed(),
    });
    Ok(())
}

impl Wish {
    fn to_json(&self) -> Value {
        let mut item =
            json!({"location": "remote", "sessionId": self.session, "trackName": self.track});
        if let Some(layer) = self.layer {
            item["simulcast"] = json!({"preferredRid": RIDS[usize::from(layer)]});
        }
        item
    }
}

/// The place of a publisher among those of its room; seats are numbered room by room.
fn place(number: u64, publishers: usize) -> usize {
    number as usize % publishers.max(1)
}

/// Which layer of a publisher is asked for, who is so many places further round the room: one is
/// looked at in the best, three in the middle one, the rest in the smallest.
fn layer(away: usize, layers: usize) -> u8 {
    let wanted = match away {
        0 | 1 => 0,
        2..=4 => 1,
        _ => 2,
    };
    wanted.min(layers - 1) as u8
}

fn description(answer: &Value) -> Result<&str, String> {
    let sdp = answer["sessionDescription"]["sdp"].as_str();
    sdp.ok_or_else(|| "the server's answer has no description".into())
}

struct Session {
    http: Http,
    path: String,
    id: String,
}

impl Session {
    fn begin(common: &Common) -> Result<Session, String> {
        let mut http = Http::new(&common.url, &common.key.secret);
        let app = format!("/v1/apps/{}/sessions", common.key.name);
        let made = check(http.ask("POST", &format!("{app}/new"), &json!({}))?)?;
        let id = made["sessionId"].as_str().ok_or("no session was made")?;
        Ok(Session {
            http,
            path: format!("{app}/{id}"),
            id: id.to_owned(),
        })
    }

    fn ask(&mut self, method: &str, what: &str, body: &Value) -> Result<Value, String> {
        let path = format!("{}/{what}", self.path);
        check(self.http.ask(method, &path, body)?)
    }
}

/// The answer's body; an error when the call, or one of its items, was refused.
fn check((status, body): (u16, Value)) -> Result<Value, String> {
    let items = body["tracks"].as_array().into_iter().flatten();
    let refused = std::iter::once(&body)
        .chain(items)
        .find(|one| one["errorCode"].is_string());
    match refused {
        Some(one) => Err(format!(
            "the server refused with {status}, {}: {}",
            one["errorCode"].as_str().unwrap_or_default(),
            one["errorDescription"].as_str().unwrap_or_default()
        )),
        None if status < 300 => Ok(body),
        None => Err(format!("the server refused with {status}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_sixteen_one_is_seen_at_its_best_and_three_in_the_middle() {
        let layers: Vec<u8> = (1..16).map(|away| layer(away, 3)).collect();

        assert_eq!(layers[..4], [0, 1, 1, 1]);
        assert!(layers[4..].iter().all(|layer| *layer == 2));
        assert_eq!(layer(9, 2), 1);
    }

    #[test]
    fn a_session_that_is_gone_is_listed_no_longer() {
        let directory = Directory::default();
        for (session, place) in [("one", 0), ("two", 1)] {
            let tracks = vec![("camera".to_owned(), 3)];
            let session = session.to_owned();
            directory.enter(
                "here",
                Published {
                    session,
                    place,
                    tracks,
                },
            );
        }

        directory.strike("here", "one");

        let left = directory.of_room("here");
        assert_eq!((left.len(), &*left[0].session), (1, "two"));
        assert!(directory.of_room("there").is_empty());
    }

    #[test]
    fn a_refused_item_is_a_refusal() {
        let whole = json!({"errorCode": "session_error", "errorDescription": "gone"});
        let item = json!({"tracks": [{"mid": "1"}, {"errorCode": "empty_track_error"}]});

        assert!(
            check((410, whole))
                .unwrap_err()
                .contains("410, session_error: gone")
        );
        assert!(
            check((200, item))
                .unwrap_err()
                .contains("empty_track_error")
        );
        assert!(check((404, json!({}))).is_err());
        assert!(check((200, json!({"tracks": [{"mid": "1"}]}))).is_ok());
    }

    #[test]
    fn a_wish_for_a_layer_names_its_rid() {
        let wish = |layer| Wish {
            session: "s".into(),
            track: "t".into(),
            layer,
        };

        assert_eq!(wish(Some(1)).to_json()["simulcast"]["preferredRid"], "b");
        assert!(wish(None).to_json().get("simulcast").is_none());
    }
}
