//! The little of HTTP that a client of a JSON API needs: one connection that is kept while it is used.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::signal::{Url, reach};

/// A pull may wait eight seconds for media, and a body is sent and read besides.
const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// Servers close what was idle for five seconds; a connection is not used so near to that.
const IDLE: Duration = Duration::from_secs(2);
/// Of a body: more than any description has, and of a line of a head.
const MOST_BYTES: usize = 8 << 20;
const MOST_LINE: u64 = 8192;

/// What is asked of one server, always with the same token.
pub struct Http {
    url: Url,
    token: String,
    open: Option<(BufReader<TcpStream>, Instant)>,
}

/// A status and the JSON that came with it.
pub type Answer = (u16, Value);

impl Http {
    pub fn new(url: &Url, token: &str) -> Http {
        Http {
            url: url.clone(),
            token: token.to_owned(),
            open: None,
        }
    }

    /// Asks, and waits for the answer. The error never repeats the token.
    pub fn ask(&mut self, method: &str, path: &str, body: &Value) -> Result<Answer, String> {
        let kept = self.open.take().filter(|(_, at)| at.elapsed() < IDLE);
        let mut stream = match kept {
            Some((stream, _)) => stream,
            None => BufReader::new(reach(&self.url, ANSWER_WITHIN)?),
        };
        let body = body.to_string();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.url.host,
            self.token,
            body.len(),
        );
        stream
            .get_mut()
            .write_all(request.as_bytes())
            .map_err(|_| "the HTTP connection broke")?;
        let answer = read(&mut stream)?;
        self.open = Some((stream, Instant::now()));
        Ok(answer)
    }
}

/// Reads one answer with a `Content-Length`, as all JSON answers here have.
fn read(stream: &mut impl BufRead) -> Result<Answer, String> {
    let first = line(stream)?;
    let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
    let status = status.ok_or("the server's answer is not HTTP")?;
    let mut length = None;
    loop {
        let field = line(stream)?;
        if field.is_empty() {
            break;
        }
        if let Some((name, value)) = field.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse::<usize>().ok();
        }
    }
    let length = length
        .filter(|length| *length <= MOST_BYTES)
        .ok_or("the server's answer has no length that can be read")?;
    let mut body = vec![0; length];
    stream
        .read_exact(&mut body)
        .map_err(|_| "the server's answer was cut short")?;
    let body = serde_json::from_slice(&body).map_err(|_| "the server's answer is not JSON")?;
    Ok((status, body))
}

fn line(stream: &mut impl BufRead) -> Result<String, String> {
    let mut line = String::new();
    match stream.take(MOST_LINE).read_line(&mut line) {
        Ok(len) if len > 0 => Ok(line.trim_end().to_owned()),
        Ok(_) => Err("the server closed the HTTP connection".into()),
        Err(_) => Err("the server did not answer in time".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_its_status_and_its_json_and_no_byte_more() {
        let text =
            "HTTP/1.1 201 Created\r\ncontent-length: 9\r\nVary: Origin\r\n\r\n{\"a\": 10}HTTP";
        let mut stream = text.as_bytes();

        let (status, body) = read(&mut stream).unwrap();

        assert_eq!((status, body["a"].as_u64()), (201, Some(10)));
        assert_eq!(stream, b"HTTP");
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        for wrong in [
            "",
            "hello\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 9999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n{}",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nno",
        ] {
            assert!(read(&mut wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
