//! The extensions that mean something here, by negotiated id.

use super::Header;
use crate::spec::ExtensionIds;
use crate::wire::{be16, be24};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Mid,
    Rid,
    RepairedRid,
    AudioLevel,
    AbsSendTime,
    TransportCc,
    DependencyDescriptor,
    AbsCaptureTime,
    PlayoutDelay,
}

/// Which id means what in one direction of one transport.
#[derive(Clone)]
pub struct ExtensionMap {
    kinds: Box<[Option<Kind>; 256]>,
}

impl Default for ExtensionMap {
    fn default() -> Self {
        ExtensionMap {
            kinds: Box::new([None; 256]),
        }
    }
}

impl ExtensionMap {
    /// Adds what one section negotiated; sections of a bundle agree (RFC 8843 §9.2), so a later one
    /// only adds.
    pub fn add(&mut self, ids: &ExtensionIds) {
        let known = [
            (ids.mid, Kind::Mid),
            (ids.rid, Kind::Rid),
            (ids.repaired_rid, Kind::RepairedRid),
            (ids.audio_level, Kind::AudioLevel),
            (ids.abs_send_time, Kind::AbsSendTime),
            (ids.transport_cc, Kind::TransportCc),
            (ids.dependency_descriptor, Kind::DependencyDescriptor),
            (ids.abs_capture_time, Kind::AbsCaptureTime),
            (ids.playout_delay, Kind::PlayoutDelay),
        ];
        for (id, kind) in known {
            if let Some(slot) = id.and_then(|id| self.kinds.get_mut(usize::from(id))) {
                *slot = Some(kind);
            }
        }
    }

    /// Reads what `packet` carries. A value of the wrong length is left out.
    pub fn read<'a>(&self, header: &Header, packet: &'a [u8]) -> Extensions<'a> {
        let mut found = Extensions::default();
        for (id, value) in header.extensions(packet) {
            let Some(kind) = self.kinds.get(usize::from(id)).copied().flatten() else {
                continue;
            };
            match kind {
                Kind::Mid => found.mid = text(value),
                Kind::Rid => found.rid = text(value),
                Kind::RepairedRid => found.repaired_rid = text(value),
                Kind::AudioLevel => found.audio_level = value.first().copied(),
                Kind::AbsSendTime => found.abs_send_time = be24(value, 0),
                Kind::TransportCc => found.transport_cc = be16(value, 0),
                Kind::DependencyDescriptor => found.dependency_descriptor = Some(value),
                Kind::AbsCaptureTime if matches!(value.len(), 8 | 16) => {
                    found.abs_capture_time = Some(value);
                }
                Kind::AbsCaptureTime => {}
                Kind::PlayoutDelay if value.len() == 3 => found.playout_delay = Some(value),
                Kind::PlayoutDelay => {}
            }
        }
        found
    }
}

/// What one packet carried.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Extensions<'a> {
    pub mid: Option<&'a str>,
    pub rid: Option<&'a str>,
    pub repaired_rid: Option<&'a str>,
    /// Voice flag in the high bit, then the level in -dBov (RFC 6464).
    pub audio_level: Option<u8>,
    /// Seconds as 6.18 bit fixed point.
    pub abs_send_time: Option<u32>,
    pub transport_cc: Option<u16>,
    pub dependency_descriptor: Option<&'a [u8]>,
    pub abs_capture_time: Option<&'a [u8]>,
    pub playout_delay: Option<&'a [u8]>,
}

fn text(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value).ok().filter(|t| !t.is_empty())
}
