//! Extended reports (RFC 3611) as far as they tell a receiver the round trip (§4.4, §4.5).
//!
//! Who sends no media has no sender report that others could answer. It sends its own time of
//! reference instead, and each sender says how long ago that came.

use super::XR;
use super::build::Writer;
use crate::wire::{be16, be32, be64};

const REFERENCE_TIME: u8 = 4;
const DELAYS: u8 = 5;

/// One block of an extended report. Others are passed over.
#[derive(Clone, Debug)]
pub enum XrBlock<'a> {
    ReferenceTime {
        /// NTP timestamp, 32.32 bit fixed point.
        ntp: u64,
    },
    Delays(XrDelays<'a>),
}

/// When a time of reference came, for one receiver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct XrDelay {
    /// Of the receiver.
    pub ssrc: u32,
    /// The middle 32 bits of the last time of reference; 0: none.
    pub last_reference: u32,
    /// Since that came, in units of 1/65536 s.
    pub since: u32,
}

/// Iterates over the blocks of an extended report that are known here.
#[derive(Clone, Debug)]
pub struct XrBlocks<'a> {
    pub(super) rest: &'a [u8],
}

impl<'a> Iterator for XrBlocks<'a> {
    type Item = XrBlock<'a>;

    fn next(&mut self) -> Option<XrBlock<'a>> {
        loop {
            let kind = *self.rest.first()?;
            let words = usize::from(be16(self.rest, 2)?);
            let Some((block, rest)) = self.rest.split_at_checked(4 + 4 * words) else {
                self.rest = &[];
                return None;
            };
            self.rest = rest;
            let body = block.get(4..)?;
            match kind {
                REFERENCE_TIME => {
                    if let Some(ntp) = be64(body, 0) {
                        return Some(XrBlock::ReferenceTime { ntp });
                    }
                }
                DELAYS => return Some(XrBlock::Delays(XrDelays { rest: body })),
                _ => {}
            }
        }
    }
}

/// Iterates over the receivers of one block.
#[derive(Clone, Debug)]
pub struct XrDelays<'a> {
    rest: &'a [u8],
}

impl Iterator for XrDelays<'_> {
    type Item = XrDelay;

    fn next(&mut self) -> Option<XrDelay> {
        let (entry, rest) = self.rest.split_at_checked(12)?;
        self.rest = rest;
        Some(XrDelay {
            ssrc: be32(entry, 0)?,
            last_reference: be32(entry, 4)?,
            since: be32(entry, 8)?,
        })
    }
}

impl Writer<'_> {
    /// An extended report of our time, which the peer is to give back.
    ///
    /// ntp: 32.32 bit fixed point.
    pub fn reference_time(&mut self, sender: u32, ntp: u64) -> bool {
        self.packet(XR, 0, |body| {
            body.u32(sender)?;
            body.bytes(&[REFERENCE_TIME, 0, 0, 2])?;
            body.u64(ntp)
        })
    }

    /// An extended report of how long ago others' times of reference came; 50 of them at most.
    pub fn delays(&mut self, sender: u32, delays: &[XrDelay]) -> bool {
        let delays = delays.get(..delays.len().min(50)).unwrap_or(delays);
        self.packet(XR, 0, |body| {
            body.u32(sender)?;
            body.bytes(&[DELAYS, 0, 0, 3 * delays.len() as u8])?;
            delays.iter().try_for_each(|delay| {
                body.u32(delay.ssrc)?;
                body.u32(delay.last_reference)?;
                body.u32(delay.since)
            })
        })
    }
}
