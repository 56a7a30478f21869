//! Headless Chromium against a bare engine: its own ClientHello, in as many fragments as it likes.
//!
//! Skipped where Debian's `/usr/bin/chromium` is not installed.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use parley_sfu::command::{Change, Hear, RemoteTransport, Setup};
use parley_sfu::event::Event;
use parley_sfu::spec::{DataSpec, GroupId};
use support::{PATIENCE, Stage};

const CHROMIUM: &str = "/usr/bin/chromium";

/// Offers a data channel, posts the offer, takes the answer, posts what came back on the channel.
const PAGE: &str = r#"<!doctype html><script>
(async () => {
  const pc = new RTCPeerConnection();
  const channel = pc.createDataChannel("chat");
  pc.addTransceiver("audio");
  const post = (path, body) => fetch(path, {method: "POST", body}).then(r => r.text());
  channel.onopen = () => { channel.send("hello from chromium"); channel.send(""); };
  channel.onmessage = m => post("/echo", m.data);
  await pc.setLocalDescription();
  const sdp = await post("/offer", pc.localDescription.sdp);
  await pc.setRemoteDescription({type: "answer", sdp});
})();
</script>"#;

struct Browser(Child);

impl Drop for Browser {
    fn drop(&mut self) {
        // It may have ended by itself; what is left is only to take its exit.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn chromium_opens_a_channel_and_hears_its_own_words() {
    if !Path::new(CHROMIUM).exists() {
        return;
    }
    let mut stage = Stage::new();
    let transport = stage.engine.create_transport(GroupId(1)).unwrap();
    let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    server.set_nonblocking(true).unwrap();
    let url = format!("http://{}/", server.local_addr().unwrap());
    let profile = std::env::temp_dir().join(format!("parley-chromium-{}", std::process::id()));
    let _browser = Browser(
        Command::new(CHROMIUM)
            .args([
                "--headless",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--no-first-run",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
            ])
            .arg(format!("--user-data-dir={}", profile.display()))
            .arg(url)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap(),
    );

    let mut echoes = Vec::new();
    let end = Instant::now() + 3 * PATIENCE;
    while echoes.len() < 2 {
        assert!(
            Instant::now() < end,
            "echoes: {echoes:?}, engine: {:?}, {:?}",
            stage.events,
            stage.counters()
        );
        stage.turn();
        for event in std::mem::take(&mut stage.events) {
            match event {
                Event::ChannelOpen { channel, .. } => {
                    channel.listen(Hear::Each);
                    stage.events.push_back(Event::ChannelOpen {
                        transport: transport.id,
                        channel,
                        options: Default::default(),
                        remote: true,
                    });
                }
                Event::ChannelMessage { data, text, .. } => {
                    let open = stage.events.iter().find_map(|event| match event {
                        Event::ChannelOpen { channel, .. } => Some(channel.clone()),
                        _ => None,
                    });
                    assert!(open.unwrap().send(data, text).unwrap());
                }
                _ => {}
            }
        }
        if let Ok((stream, _)) = server.accept() {
            serve(stream, &mut stage, &transport, &mut echoes);
        }
        std::thread::sleep(Duration::from_millis(1));
    }

    assert_eq!(echoes, ["hello from chromium", ""]);
    // Best effort: the browser may still be writing to it.
    let _ = std::fs::remove_dir_all(profile);
}

/// Answers one request of the page.
fn serve(
    stream: TcpStream,
    stage: &mut Stage,
    transport: &parley_sfu::Transport,
    echoes: &mut Vec<String>,
) {
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut reader = BufReader::new(stream);
    let mut request = String::new();
    if reader.read_line(&mut request).unwrap_or(0) == 0 {
        return;
    }
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        if header.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap();
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let body = String::from_utf8(body).unwrap();
    let (kind, answer) = match request.split(' ').nth(1).unwrap_or_default() {
        "/offer" => ("text/plain", answer(&body, stage, transport)),
        "/echo" => {
            echoes.push(body);
            ("text/plain", String::new())
        }
        _ => ("text/html", PAGE.to_owned()),
    };
    let response = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{answer}",
        answer.len()
    );
    // A browser that has gone away asks again.
    let _ = reader.into_inner().write_all(response.as_bytes());
}

/// The least answer Chromium takes: its audio refused, its data section accepted.
fn answer(offer: &str, stage: &mut Stage, transport: &parley_sfu::Transport) -> String {
    let field = |name: &str| {
        offer
            .lines()
            .find_map(|line| line.trim().strip_prefix(name))
            .unwrap()
            .to_owned()
    };
    let change = Change {
        remote: Some(RemoteTransport {
            ufrag: field("a=ice-ufrag:"),
            pwd: field("a=ice-pwd:"),
            fingerprint: field("a=fingerprint:"),
            setup: Setup::ActPass,
            candidates: vec![],
            begins_anew: false,
            controls: true,
        }),
        data: Some(DataSpec {
            port: 5000,
            max_message_size: 262_144,
            streams: 1024,
        }),
        ..Change::default()
    };
    stage.apply(transport.id, change);
    let sections: Vec<String> = offer
        .split("m=")
        .skip(1)
        .map(|section| {
            let mid = section
                .lines()
                .find_map(|line| line.strip_prefix("a=mid:"))
                .unwrap();
            if section.starts_with("audio") {
                return format!("m=audio 0 UDP/TLS/RTP/SAVPF 0\r\na=mid:{mid}\r\na=inactive\r\n");
            }
            let candidates: String = transport
                .candidates
                .iter()
                .map(|candidate| format!("a={candidate}\r\n"))
                .collect();
            format!(
                "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:{mid}\r\n\
                 a=ice-ufrag:{}\r\na=ice-pwd:{}\r\na=fingerprint:{}\r\na=setup:passive\r\n\
                 a=sctp-port:5000\r\na=max-message-size:262144\r\n{candidates}",
                transport.ufrag, transport.pwd, transport.fingerprint
            )
        })
        .collect();
    let bundle = offer
        .split("m=application")
        .nth(1)
        .and_then(|section| section.lines().find_map(|line| line.strip_prefix("a=mid:")))
        .unwrap();
    format!(
        "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=ice-lite\r\na=group:BUNDLE {bundle}\r\n{}",
        sections.concat()
    )
}
