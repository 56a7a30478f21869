//! One client's signalling: a WebSocket with one protobuf message a frame.

use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use prost::Message as _;
use tungstenite::client::IntoClientRequest;
use tungstenite::protocol::WebSocketConfig;
use tungstenite::{HandshakeError, Message, WebSocket};

use crate::messages::{Request, Response, SignalRequest, SignalResponse};

const CONNECT_WITHIN: Duration = Duration::from_secs(10);
const BUFFER_BYTES: usize = 4096;
const GOODBYE_WITHIN: Duration = Duration::from_secs(1);

/// Where the server is: `ws://host:port`, or `http://host:port`, which is the same to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    pub text: String,
    pub host: String,
}

impl Url {
    /// Reads `ws://host:port`; the port may be left out. The error says what is wrong.
    pub fn parse(text: &str) -> Result<Url, String> {
        let text = text.trim_end_matches('/');
        let host = text
            .strip_prefix("ws://")
            .or_else(|| text.strip_prefix("http://"))
            .filter(|host| !host.is_empty() && !host.contains('/'))
            .ok_or_else(|| format!("'{text}' is not ws://host:port"))?;
        let has_port = host
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        Ok(Url {
            text: format!("ws://{host}"),
            host: if has_port {
                host.to_owned()
            } else {
                format!("{host}:80")
            },
        })
    }
}

pub struct Signal {
    socket: WebSocket<TcpStream>,
}

impl Signal {
    /// Connects as livekit-client does. patience: how long one `read` waits.
    ///
    /// The error never repeats the token.
    pub fn connect(url: &Url, token: &str, patience: Duration) -> Result<Signal, String> {
        let query = "auto_subscribe=1&sdk=js&version=2.23.0&protocol=15&os=Linux&browser=loadgen";
        let request = format!("{}/rtc?access_token={token}&{query}", url.text);
        let socket = dial(url, request, patience)?;
        Ok(Signal { socket })
    }

    pub fn send(&mut self, request: Request) -> Result<(), String> {
        let frame = SignalRequest {
            message: Some(request),
        };
        self.socket
            .send(Message::Binary(frame.encode_to_vec().into()))
            .map_err(|_| "the signalling connection broke".to_owned())
    }

    /// The next message; `None` when none came in time, or one that is not known.
    pub fn read(&mut self) -> Result<Option<Response>, String> {
        match self.socket.read() {
            Ok(Message::Binary(frame)) => SignalResponse::decode(frame)
                .map(|response| response.message)
                .map_err(|_| "the server's message cannot be read".to_owned()),
            Ok(Message::Close(_)) | Err(tungstenite::Error::ConnectionClosed) => {
                Err("the server closed the signalling connection".into())
            }
            Ok(_) => Ok(None),
            Err(error) if is_silence(&error) => Ok(None),
            Err(_) => Err("the signalling connection broke".into()),
        }
    }

    /// Waits, not for long, until the server has said goodbye too.
    pub fn close(mut self) {
        let deadline = Instant::now() + GOODBYE_WITHIN;
        while Instant::now() < deadline && self.read().is_ok() {}
    }
}

/// A WebSocket to the server that answers `request`. patience: how long one read of it waits.
pub fn dial(
    url: &Url,
    request: impl IntoClientRequest,
    patience: Duration,
) -> Result<WebSocket<TcpStream>, String> {
    let stream = reach(url, CONNECT_WITHIN)?;
    // A buffer is cleared for every read; the usual 128 KiB would cost more than the messages.
    let config = WebSocketConfig::default()
        .read_buffer_size(BUFFER_BYTES)
        .write_buffer_size(BUFFER_BYTES);
    let (socket, _) =
        tungstenite::client::client_with_config(request, stream, Some(config)).map_err(refused)?;
    let waits = socket.get_ref().set_read_timeout(Some(patience));
    waits.map_err(|error| error.to_string())?;
    Ok(socket)
}

/// A connection to the server. patience: how long one read of it waits.
pub fn reach(url: &Url, patience: Duration) -> Result<TcpStream, String> {
    let addr = url
        .host
        .to_socket_addrs()
        .ok()
        .and_then(|mut found| found.next())
        .ok_or_else(|| format!("'{}' cannot be resolved", url.host))?;
    let stream = TcpStream::connect_timeout(&addr, CONNECT_WITHIN)
        .map_err(|error| format!("no connection to the server: {error}"))?;
    stream
        .set_read_timeout(Some(patience))
        .and_then(|()| stream.set_nodelay(true))
        .map_err(|error| error.to_string())?;
    Ok(stream)
}

/// Whether nothing came in the time that a read waits.
pub fn is_silence(error: &tungstenite::Error) -> bool {
    use std::io::ErrorKind::{TimedOut, WouldBlock};
    matches!(error, tungstenite::Error::Io(error) if matches!(error.kind(), WouldBlock | TimedOut))
}

fn refused<R: tungstenite::handshake::HandshakeRole>(error: HandshakeError<R>) -> String {
    match error {
        HandshakeError::Failure(tungstenite::Error::Http(response)) => {
            let body = response.body().as_deref().unwrap_or_default();
            let why = String::from_utf8_lossy(body)
                .chars()
                .take(200)
                .collect::<String>();
            format!("the server refused with {}: {why}", response.status())
        }
        HandshakeError::Failure(_) => "the WebSocket handshake failed".into(),
        HandshakeError::Interrupted(_) => "the server did not answer in time".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_by_scheme_host_and_port() {
        assert_eq!(
            Url::parse("ws://127.0.0.1:7880/").unwrap().host,
            "127.0.0.1:7880"
        );
        assert_eq!(
            Url::parse("ws://example.org").unwrap().host,
            "example.org:80"
        );
        let same = Url::parse("http://127.0.0.1:7880").unwrap();
        assert_eq!(same.text, "ws://127.0.0.1:7880");
        for wrong in [
            "https://127.0.0.1:7880",
            "ws://",
            "127.0.0.1:7880",
            "ws://a/b",
        ] {
            assert!(Url::parse(wrong).unwrap_err().contains("is not ws://"));
        }
    }
}
