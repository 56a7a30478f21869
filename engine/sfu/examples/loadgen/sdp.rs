//! The little of session descriptions that a light client reads and writes.
//!
//! It offers what livekit-client in Chromium offers for one camera or microphone per section, and
//! takes every section the server offers as it is.

use std::fmt::Write;
use std::net::SocketAddr;

/// What this side says of one transport.
#[derive(Clone)]
pub struct Local {
    pub ufrag: String,
    pub pwd: String,
    /// As in `a=fingerprint`.
    pub fingerprint: String,
}

/// What the server says of one transport.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remote {
    pub ufrag: String,
    pub pwd: String,
    pub fingerprint: String,
    pub addr: SocketAddr,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Audio,
    Video,
    Data,
}

/// One m-section, its lines as they stand.
pub struct Section {
    pub kind: Kind,
    pub mid: String,
    /// The m-line refuses it.
    pub refused: bool,
    lines: Vec<String>,
}

/// A stream the server sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incoming {
    pub kind: Kind,
    pub ssrc: u32,
    pub rtx: Option<u32>,
    /// Of `a=msid`: what belongs together, and by LiveKit's use who sends it (`PA_…|TR_…`).
    pub stream: String,
    /// Which of its publisher's simulcast layers was asked for, 0 the best; `None`: it has none.
    pub layer: Option<u8>,
}

/// A track this side sends.
pub struct Offered {
    pub kind: Kind,
    pub mid: String,
    /// The announced id of the track.
    pub cid: String,
    /// Its simulcast layers, the best first; one, with no RID, where there are none.
    pub encodings: Vec<Encoding>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding {
    pub rid: Option<&'static str>,
    pub ssrc: u32,
    pub rtx: u32,
}

/// Of simulcast layers, the best first: the order in which Cloudflare's `asciibetical` means them.
pub const RIDS: [&str; 3] = ["a", "b", "c"];

/// How a track is sent, by the server's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub pt: u8,
    pub rtx_pt: Option<u8>,
    /// Extension ids, where the server wants the extension.
    pub mid: Option<u8>,
    pub rid: Option<u8>,
    pub repaired_rid: Option<u8>,
    pub abs_send_time: Option<u8>,
    pub transport_cc: Option<u8>,
}

pub const OPUS: u8 = 111;
pub const VP8: u8 = 96;
pub const VP8_RTX: u8 = 97;

const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
const RID: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
const REPAIRED_RID: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";
const AUDIO_LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
const ABS_SEND_TIME: &str = "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time";
const TRANSPORT_CC: &str =
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

impl Section {
    /// The value of each `a=name:value` line.
    fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.lines.iter().filter_map(move |line| {
            let rest = line.strip_prefix("a=")?.strip_prefix(name)?;
            rest.strip_prefix(':')
        })
    }

    fn has(&self, flag: &str) -> bool {
        self.lines
            .iter()
            .any(|line| line.strip_prefix("a=") == Some(flag))
    }

    /// What the server sends in this section, if it sends.
    pub fn incoming(&self) -> Option<Incoming> {
        if self.kind == Kind::Data || self.refused || !self.has("sendonly") {
            return None;
        }
        let ssrc_of = |value: &str| value.split(' ').next()?.parse().ok();
        let pair = self.values("ssrc-group").find_map(|value| {
            let mut numbers = value.strip_prefix("FID ")?.split(' ');
            Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
        });
        let (ssrc, rtx) = match pair {
            Some((ssrc, rtx)) => (ssrc, Some(rtx)),
            None => (self.values("ssrc").find_map(ssrc_of)?, None),
        };
        let msid = self.values("msid").next().unwrap_or("");
        Some(Incoming {
            kind: self.kind,
            ssrc,
            rtx,
            stream: msid.split(' ').next().unwrap_or("").to_owned(),
            layer: None,
        })
    }

    /// How a section of ours was answered; `None`: refused, or with no codec of ours.
    pub fn accepted(&self) -> Option<Accepted> {
        if self.refused {
            return None;
        }
        let of_ours = |value: &str, name: &str| {
            let (pt, rest) = value.split_once(' ')?;
            let pt = pt.parse().ok()?;
            rest.to_ascii_lowercase().starts_with(name).then_some(pt)
        };
        let codec = match self.kind {
            Kind::Audio => "opus/",
            _ => "vp8/",
        };
        let pt = self.values("rtpmap").find_map(|v| of_ours(v, codec))?;
        let repairs = format!("apt={pt}");
        let rtx_pt = self.values("fmtp").find_map(|v| of_ours(v, &repairs));
        let id = |uri: &str| {
            self.values("extmap").find_map(|value| {
                let (id, rest) = value.split_once(' ')?;
                (rest.split(' ').next() == Some(uri)).then(|| id.parse().ok())?
            })
        };
        Some(Accepted {
            pt,
            rtx_pt,
            mid: id(MID),
            rid: id(RID),
            repaired_rid: id(REPAIRED_RID),
            abs_send_time: id(ABS_SEND_TIME),
            transport_cc: id(TRANSPORT_CC),
        })
    }
}

/// The m-sections of a description.
pub fn sections(sdp: &str) -> Vec<Section> {
    let mut found: Vec<Section> = Vec::new();
    for line in sdp.lines().map(str::trim_end) {
        if let Some(media) = line.strip_prefix("m=") {
            let kind = match media.split(' ').next() {
                Some("audio") => Kind::Audio,
                Some("video") => Kind::Video,
                _ => Kind::Data,
            };
            found.push(Section {
                kind,
                mid: String::new(),
                refused: media.split(' ').nth(1) == Some("0"),
                lines: Vec::new(),
            });
        }
        if let Some(section) = found.last_mut() {
            if let Some(mid) = line.strip_prefix("a=mid:") {
                section.mid = mid.to_owned();
            }
            section.lines.push(line.to_owned());
        }
    }
    found
}

/// What the server says of the transport that all its sections share. The error names what is missing.
pub fn remote(sections: &[Section]) -> Result<Remote, String> {
    let value = |name: &str| {
        let found = sections.iter().find_map(|section| {
            let value = section.values(name).next()?;
            Some(value.to_owned())
        });
        found.ok_or_else(|| format!("the server's description has no a={name}"))
    };
    let addr = sections
        .iter()
        .flat_map(|section| section.values("candidate"))
        .find_map(|candidate| {
            // RFC 8839 §5.1: foundation, component, transport, priority, address, port, …
            let fields: Vec<&str> = candidate.split(' ').collect();
            let is_udp = fields.get(2)?.eq_ignore_ascii_case("udp");
            let ip = fields.get(4)?.parse().ok()?;
            let port = fields.get(5)?.parse().ok()?;
            is_udp.then_some(SocketAddr::new(ip, port))
        });
    Ok(Remote {
        ufrag: value("ice-ufrag")?,
        pwd: value("ice-pwd")?,
        fingerprint: value("fingerprint")?,
        addr: addr.ok_or("the server's description has no UDP candidate")?,
    })
}

/// Takes everything the server offers, as its receiver; where it receives, our tracks go on.
pub fn answer(sections: &[Section], local: &Local, version: u32, ours: &[Offered]) -> String {
    const OURS: [&str; 12] = [
        "candidate:",
        "end-of-candidates",
        "ice-",
        "fingerprint:",
        "setup:",
        "ssrc",
        "msid:",
        "sendonly",
        "recvonly",
        "sendrecv",
        "inactive",
        "rtcp-mux",
    ];
    let mut sdp = head(version, sections.iter().map(|section| section.mid.as_str()));
    for section in sections {
        let sent = ours.iter().find(|track| track.mid == section.mid);
        if let Some(track) = sent.filter(|_| section.has("recvonly")) {
            write_track(&mut sdp, track, local, "active");
            continue;
        }
        let mut lines = section.lines.iter();
        if let Some(media) = lines.next() {
            let _ = write!(sdp, "{media}\r\n");
        }
        transport(&mut sdp, local, "active");
        for line in lines {
            let is_ours = line
                .strip_prefix("a=")
                .is_some_and(|attribute| OURS.iter().any(|own| attribute.starts_with(own)));
            if !is_ours && !line.starts_with("c=") {
                let _ = write!(sdp, "{line}\r\n");
            }
        }
        if section.kind != Kind::Data {
            let direction = match section.has("sendonly") {
                true => "recvonly",
                false => "inactive",
            };
            let _ = write!(sdp, "a={direction}\r\n");
        }
    }
    sdp
}

/// Offers the tracks, behind a data section with the mid `data` if there is to be one.
pub fn offer(tracks: &[Offered], local: &Local, has_data: bool) -> String {
    let mids = tracks.iter().map(|track| track.mid.as_str());
    let mut sdp = head(1, has_data.then_some("data").into_iter().chain(mids));
    if has_data {
        sdp.push_str("m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\n");
        transport(&mut sdp, local, "actpass");
        sdp.push_str("a=mid:data\r\na=sctp-port:5000\r\na=max-message-size:262144\r\n");
    }
    for track in tracks {
        write_track(&mut sdp, track, local, "actpass");
    }
    sdp
}

/// The section of a track that this side sends.
fn write_track(sdp: &mut String, track: &Offered, local: &Local, setup: &str) {
    let media = match track.kind {
        Kind::Audio => format!("m=audio 9 UDP/TLS/RTP/SAVPF {OPUS}\r\n"),
        _ => format!("m=video 9 UDP/TLS/RTP/SAVPF {VP8} {VP8_RTX}\r\n"),
    };
    sdp.push_str(&media);
    transport(sdp, local, setup);
    match track.kind {
        Kind::Audio => {
            let _ = write!(
                sdp,
                "a=rtpmap:{OPUS} opus/48000/2\r\na=fmtp:{OPUS} minptime=10;useinbandfec=1\r\n\
                 a=rtcp-fb:{OPUS} transport-cc\r\na=extmap:1 {AUDIO_LEVEL}\r\n"
            );
        }
        _ => {
            let _ = write!(
                sdp,
                "a=rtpmap:{VP8} VP8/90000\r\na=rtpmap:{VP8_RTX} rtx/90000\r\n\
                 a=fmtp:{VP8_RTX} apt={VP8}\r\n"
            );
            for feedback in ["goog-remb", "transport-cc", "ccm fir", "nack", "nack pli"] {
                let _ = write!(sdp, "a=rtcp-fb:{VP8} {feedback}\r\n");
            }
        }
    }
    let (mid, cid) = (&track.mid, &track.cid);
    let _ = write!(
        sdp,
        "a=extmap:2 {ABS_SEND_TIME}\r\na=extmap:3 {TRANSPORT_CC}\r\na=extmap:4 {MID}\r\n\
         a=mid:{mid}\r\na=sendonly\r\na=rtcp-rsize\r\na=msid:load {cid}\r\n"
    );
    let rids: Vec<&str> = track.encodings.iter().filter_map(|one| one.rid).collect();
    if rids.is_empty() {
        write_ssrcs(sdp, track);
        return;
    }
    // As Chromium does, it leaves the SSRCs of layers to the packets, whose extensions name them.
    let _ = write!(sdp, "a=extmap:10 {RID}\r\na=extmap:11 {REPAIRED_RID}\r\n");
    for rid in &rids {
        let _ = write!(sdp, "a=rid:{rid} send\r\n");
    }
    let _ = write!(sdp, "a=simulcast:send {}\r\n", rids.join(";"));
}

fn write_ssrcs(sdp: &mut String, track: &Offered) {
    for Encoding { ssrc, rtx, .. } in &track.encodings {
        if track.kind == Kind::Video {
            let _ = write!(
                sdp,
                "a=ssrc-group:FID {ssrc} {rtx}\r\na=ssrc:{rtx} cname:load\r\n"
            );
        }
        let _ = write!(sdp, "a=ssrc:{ssrc} cname:load\r\n");
    }
}

fn head<'a>(version: u32, mids: impl Iterator<Item = &'a str>) -> String {
    let mids: Vec<&str> = mids.collect();
    format!(
        "v=0\r\no=- 1 {version} IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE {}\r\n",
        mids.join(" ")
    )
}

fn transport(sdp: &mut String, local: &Local, setup: &str) {
    let _ = write!(
        sdp,
        "c=IN IP4 0.0.0.0\r\na=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=fingerprint:{}\r\n\
         a=setup:{setup}\r\na=rtcp-mux\r\n",
        local.ufrag, local.pwd, local.fingerprint
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: &str =
        include_str!("../../../../tests/vectors/sdp/livekit-client/subscriber.2.server.sdp");

    fn local() -> Local {
        Local {
            ufrag: "me".into(),
            pwd: "mine".into(),
            fingerprint: "sha-256 AB".into(),
        }
    }

    /// A camera with layers of these names, SSRCs from 7 on.
    fn camera(rids: &[Option<&'static str>]) -> Offered {
        let layers = rids.iter().zip((7..).step_by(2));
        Offered {
            kind: Kind::Video,
            mid: "0".into(),
            cid: "camera".into(),
            encodings: layers
                .map(|(rid, ssrc)| Encoding {
                    rid: *rid,
                    ssrc,
                    rtx: ssrc + 1,
                })
                .collect(),
        }
    }

    #[test]
    fn layers_are_named_by_rids_and_have_no_declared_ssrcs() {
        let rids = RIDS.map(Some);

        let offered = sections(&offer(&[camera(&rids)], &local(), false));

        let section = &offered[0];
        assert_eq!(offered.len(), 1);
        assert_eq!(section.values("ssrc").count(), 0);
        assert_eq!(
            section.values("simulcast").collect::<Vec<_>>(),
            ["send a;b;c"]
        );
        let accepted = section.accepted().unwrap();
        assert_eq!((accepted.rid, accepted.repaired_rid), (Some(10), Some(11)));
    }

    #[test]
    fn where_the_server_receives_our_track_goes_on_in_the_answer() {
        let track = camera(&[None]);
        let theirs =
            offer(std::slice::from_ref(&track), &local(), false).replace("sendonly", "recvonly");

        let answered = sections(&answer(&sections(&theirs), &local(), 2, &[track]));

        assert!(answered[0].has("sendonly"));
        assert_eq!(answered[0].values("setup").collect::<Vec<_>>(), ["active"]);
        assert_eq!(answered[0].incoming().unwrap().ssrc, 7);
    }

    /// What follows `before` in the captured offer, up to the end of the word.
    fn captured(before: &str) -> &'static str {
        let (_, rest) = SERVER.split_once(before).unwrap();
        rest.split_whitespace().next().unwrap()
    }

    #[test]
    fn a_servers_offer_says_where_it_is_and_what_it_sends() {
        let sections = sections(SERVER);

        let remote = remote(&sections).unwrap();

        assert_eq!(remote.ufrag, captured("a=ice-ufrag:"));
        let port = captured(" udp 2130706431 127.0.0.1 ");
        assert_eq!(remote.addr, format!("127.0.0.1:{port}").parse().unwrap());
        assert_eq!(sections[0].incoming(), None);
        let incoming = sections[1].incoming().unwrap();
        assert_eq!(incoming.kind, Kind::Audio);
        assert_eq!(incoming.ssrc.to_string(), captured("a=ssrc:"));
        assert!(incoming.stream.starts_with(captured("a=msid:")));
    }

    #[test]
    fn an_answer_keeps_the_sections_and_shows_our_side_of_the_transport() {
        let answered = sections(&answer(&sections(SERVER), &local(), 2, &[]));

        assert_eq!(answered.len(), 2);
        assert_eq!((&*answered[0].mid, &*answered[1].mid), ("0", "1"));
        for section in &answered {
            assert_eq!(section.values("ice-ufrag").collect::<Vec<_>>(), ["me"]);
            assert_eq!(section.values("candidate").count(), 0);
        }
        assert!(answered[1].has("recvonly") && !answered[1].has("sendonly"));
        assert_eq!(answered[1].values("ssrc").count(), 0);
        assert!(answered[1].has("rtcp-rsize"));
    }

    #[test]
    fn an_offered_camera_comes_back_with_its_numbers() {
        let offered = sections(&offer(&[camera(&[None])], &local(), true));

        let incoming = offered[1].incoming().unwrap();
        assert_eq!((incoming.ssrc, incoming.rtx), (7, Some(8)));
        let accepted = offered[1].accepted().unwrap();
        assert_eq!((accepted.pt, accepted.rtx_pt), (VP8, Some(VP8_RTX)));
        assert_eq!((accepted.mid, accepted.transport_cc), (Some(4), Some(3)));
    }
}
