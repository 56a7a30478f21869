//! What a run says: lines for readers, or JSON for programs.

use std::io::Write;
use std::time::Duration;

use serde_json::{Value, json};

use crate::crowd::Crowd;
use crate::histogram::Histogram;
use crate::tally::Look;

/// Writes a line and flushes it: whoever reads acts on it at once.
pub fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    // A reader that went away is no reason to end before the clients have left.
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}

/// Says what happened, in the form that was asked for.
#[derive(Clone, Copy)]
pub struct Reporter {
    pub json: bool,
}

impl Reporter {
    pub fn started(&self, crowd: &Crowd, join_s: f64) {
        let (joined, clients) = (crowd.joined(), crowd.len());
        if self.json {
            say(
                &json!({"type": "started", "clients": clients, "joined": joined,
                        "failed": crowd.failed, "join_s": round(join_s)})
                .to_string(),
            );
        } else {
            say(&format!(
                "{joined} of {clients} clients joined in {join_s:.1} s"
            ));
            for why in &crowd.failed {
                say(&format!("  {why}"));
            }
        }
    }

    /// measuring, measured.
    pub fn mark(&self, what: &str) {
        if self.json {
            say(&json!({"type": what}).to_string());
        } else {
            say(&format!("-- {what}"));
        }
    }

    /// A client is about to pull tracks (pulling), or is offered them (offered); programs are told.
    pub fn step(&self, what: &str) {
        if self.json {
            self.mark(what);
        }
    }

    /// It has them, and the server has its answer.
    pub fn pulled(&self, pull: &Pull) {
        if self.json {
            say(
                &json!({"type": "pulled", "tracks": pull.tracks, "sections": pull.sections,
                        "call_ms": ms(pull.call), "answer_ms": ms(pull.answer)})
                .to_string(),
            );
        }
    }

    /// One second. t: seconds since everybody had joined.
    pub fn second(&self, t: f64, before: &Look, now: &Look) {
        let (a, b) = (&before.totals, &now.totals);
        let packets_in = b.packets_in.saturating_sub(a.packets_in);
        let packets_out = b.packets_out.saturating_sub(a.packets_out);
        let bytes_in = b.bytes_in.saturating_sub(a.bytes_in);
        let lost = now.lost as i64 - before.lost as i64;
        let repaired = b.repaired.saturating_sub(a.repaired);
        let data_in = b.data.received.saturating_sub(a.data.received);
        let recent = &now.recent_us;
        if self.json {
            say(&json!({"type": "second", "t": round(t), "packets_out": packets_out,
                        "packets_in": packets_in, "bytes_in": bytes_in, "lost": lost,
                        "repaired": repaired, "data_in": data_in,
                        "latency_us": shares(recent, &[("p50", 0.5), ("p99", 0.99), ("p999", 0.999)])})
            .to_string());
            return;
        }
        let megabits = bytes_in as f64 * 8.0 / 1e6;
        let data = if data_in > 0 {
            format!("  {data_in} messages")
        } else {
            String::new()
        };
        say(&format!(
            "{t:6.0} s  out {packets_out:>6}  in {packets_in:>7}  {megabits:7.1} Mbit/s  \
             lost {lost}  repaired {repaired}  latency p50 {} p99 {} us{data}",
            recent.at(0.5),
            recent.at(0.99),
        ));
    }
}

/// One call for tracks: how many, of how many sections in the connection by then, and how long the
/// call took and the one with the answer.
pub struct Pull {
    pub tracks: usize,
    pub sections: usize,
    pub call: Duration,
    pub answer: Duration,
}

/// Everything a summary is made of.
pub struct Summary<'a> {
    pub crowd: &'a Crowd,
    pub rooms: usize,
    pub look: &'a Look,
    pub duration: Duration,
    pub cpu: Duration,
    /// Datagrams the system dropped since our sockets were full; `None`: it does not tell.
    pub receive_drops: Option<u64>,
}

impl Summary<'_> {
    pub fn say(&self, json: bool) {
        if json {
            say(&self.to_json().to_string());
        } else {
            say(&self.to_text());
        }
    }

    fn to_json(&self) -> Value {
        let (look, totals, crowd) = (self.look, &self.look.totals, self.crowd);
        let ends: &[(&str, f64)] = &[("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p999", 0.999)];
        let data = &totals.data;
        json!({
            "type": "summary",
            "clients": crowd.len(),
            "rooms": self.rooms,
            "joined": crowd.joined(),
            "failed": crowd.failed,
            "duration_s": round(self.duration.as_secs_f64()),
            "packets_sent": totals.packets_out,
            "retransmitted": totals.retransmitted,
            "packets_received": totals.packets_in,
            "bytes_received": totals.bytes_in,
            "expected": look.expected,
            "lost": look.lost,
            "repaired": totals.repaired,
            "duplicates": totals.duplicates,
            "unknown": totals.unknown,
            "opened": totals.opened,
            "bad_open": totals.bad_open,
            "lengths_checked": totals.measured_length,
            "bad_length": totals.bad_length,
            "streams": look.streams.offered,
            "streams_begun": look.streams.begun,
            "streams_layered": look.streams.layered,
            "streams_as_asked": look.streams.as_asked,
            "layer_switches": totals.layer_switches,
            "plis_sent": totals.plis_sent,
            "nacks_sent": totals.nacks_sent,
            "keyframe_requests_received": totals.keyframe_requests,
            "keyframe_requests_of_one_publisher": look.keyframe_requests_of_one,
            "keyframe_requests_in_one_second": look.keyframe_requests_in_a_second,
            "longest_media_gap_ms": ms(totals.longest_gap),
            "latency_us": with_max(&totals.latency_us, ends),
            "signalling_ms": steps(&crowd.times.signalling),
            "connect_ms": steps(&crowd.times.connect),
            "first_media_ms": steps(&crowd.times.first_media),
            "data": {
                "sent": data.sent,
                "held_back": data.held_back,
                "received": data.received,
                "lost": data.lost,
                "latency_us": with_max(&data.latency_us, ends),
            },
            "generator_cpu_s": round(self.cpu.as_secs_f64()),
            "generator_lag_us": with_max(&totals.lag_us, ends),
            "receive_drops": self.receive_drops,
            "unsent": totals.unsent,
        })
    }

    fn to_text(&self) -> String {
        let (look, totals, crowd) = (self.look, &self.look.totals, self.crowd);
        let seconds = self.duration.as_secs_f64().max(1e-3);
        let share = |part: u64, whole: u64| 100.0 * part as f64 / whole.max(1) as f64;
        let mut lines = vec![
            format!(
                "{} of {} clients in {} room(s), measured for {seconds:.1} s",
                crowd.joined(),
                crowd.len(),
                self.rooms
            ),
            format!(
                "  packets    sent {}, received {} ({:.0}/s), {:.1} Mbit/s",
                totals.packets_out,
                totals.packets_in,
                totals.packets_in as f64 / seconds,
                totals.bytes_in as f64 * 8.0 / 1e6 / seconds,
            ),
            format!(
                "  loss       {} of {} ({:.3} %) after {} repairs; duplicates {}",
                look.lost,
                look.expected,
                share(look.lost, look.expected),
                totals.repaired,
                totals.duplicates
            ),
            format!(
                "  checked    {} lengths, {} wrong; {} opened, {} wrong",
                totals.measured_length, totals.bad_length, totals.opened, totals.bad_open
            ),
            streams(look),
            format!("  latency    {}", line_us(&totals.latency_us)),
            format!(
                "  feedback   {} packets asked for, {} keyframes; asked of the publishers: {} \
                 keyframes, at most {} in a second of one",
                totals.nacks_sent,
                totals.plis_sent,
                totals.keyframe_requests,
                look.keyframe_requests_in_a_second
            ),
            format!(
                "  longest silence of a stream  {:.0} ms",
                ms(totals.longest_gap)
            ),
            format!("  signalling   {}", line_ms(&crowd.times.signalling)),
            format!("  connected    {}", line_ms(&crowd.times.connect)),
            format!("  first media  {}", line_ms(&crowd.times.first_media)),
        ];
        let data = &totals.data;
        if data.sent + data.received > 0 {
            lines.push(format!(
                "  messages   sent {}, received {}, lost {}, held back {}; latency {}",
                data.sent,
                data.received,
                data.lost,
                data.held_back,
                line_us(&data.latency_us)
            ));
        }
        lines.push(format!(
            "  generator  {:.2} s of CPU; its sends were late by {}; its sockets dropped {}",
            self.cpu.as_secs_f64(),
            line_us(&totals.lag_us),
            self.receive_drops
                .map_or("nobody knows how many".into(), |n| n.to_string()),
        ));
        for why in &crowd.failed {
            lines.push(format!("  failed     {why}"));
        }
        lines.join("\n")
    }
}

fn streams(look: &Look) -> String {
    let streams = look.streams;
    let layers = match streams.layered {
        0 => String::new(),
        layered => format!(
            "; {} of {layered} in the layer asked for, {} switches",
            streams.as_asked, look.totals.layer_switches
        ),
    };
    format!(
        "  streams    {} of {} have begun{layers}",
        streams.begun, streams.offered
    )
}

fn shares(histogram: &Histogram, ends: &[(&str, f64)]) -> Value {
    let found = ends
        .iter()
        .map(|(name, share)| ((*name).to_owned(), histogram.at(*share).into()));
    Value::Object(found.collect())
}

fn with_max(histogram: &Histogram, ends: &[(&str, f64)]) -> Value {
    let mut found = shares(histogram, ends);
    found["max"] = histogram.max().into();
    found
}

/// Of a histogram of microseconds, in milliseconds.
pub fn steps(histogram: &Histogram) -> Value {
    let ms = |us: u64| us as f64 / 1000.0;
    json!({
        "p50": ms(histogram.at(0.5)),
        "p99": ms(histogram.at(0.99)),
        "max": ms(histogram.max()),
        "count": histogram.count(),
    })
}

fn line_us(histogram: &Histogram) -> String {
    format!(
        "p50 {} p90 {} p99 {} p99.9 {} max {} us",
        histogram.at(0.5),
        histogram.at(0.9),
        histogram.at(0.99),
        histogram.at(0.999),
        histogram.max()
    )
}

pub fn line_ms(histogram: &Histogram) -> String {
    let ms = |us: u64| us as f64 / 1000.0;
    format!(
        "p50 {:.1} p99 {:.1} max {:.1} ms",
        ms(histogram.at(0.5)),
        ms(histogram.at(0.99)),
        ms(histogram.max())
    )
}

fn ms(time: Duration) -> f64 {
    round(time.as_secs_f64() * 1000.0)
}

/// To three digits behind the point, which is as much as any of it is worth.
fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
