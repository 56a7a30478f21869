//! RTCP packets (RFC 3550 §6, RFC 3611, RFC 4585, RFC 5104): read from compounds, written into them.

#![cfg_attr(not(test), deny(clippy::indexing_slicing, clippy::unwrap_used))]

mod build;
mod parse;
mod twcc;
mod xr;

pub use build::{SenderInfo, Writer};
pub use parse::{
    Compound, FirEntries, LostPackets, Packet, ReportBlock, ReportBlocks, SdesItems, SsrcList,
};
pub use twcc::{Arrivals, TwccFeedback, TwccStatus};
pub use xr::{XrBlock, XrBlocks, XrDelay, XrDelays};

const SR: u8 = 200;
const RR: u8 = 201;
const SDES: u8 = 202;
const BYE: u8 = 203;
const RTPFB: u8 = 205;
const PSFB: u8 = 206;
const XR: u8 = 207;

/// Formats of RTPFB and PSFB.
const NACK: u8 = 1;
const TWCC: u8 = 15;
const PLI: u8 = 1;
const FIR: u8 = 4;
const AFB: u8 = 15;

const CNAME: u8 = 1;
/// Marks application-layer feedback as REMB (draft-alvestrand-rmcat-remb §2.2).
const REMB: [u8; 4] = *b"REMB";

#[cfg(test)]
mod tests;
