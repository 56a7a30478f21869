//! RTCP compounds as they arrive. What is malformed ends the compound; what is unknown is passed by.

use super::twcc::TwccFeedback;
use super::xr::XrBlocks;
use super::{AFB, BYE, CNAME, FIR, NACK, PLI, PSFB, REMB, RR, RTPFB, SDES, SR, TWCC, XR};
use crate::wire::{be16, be24, be32, be64};

/// One packet of a compound.
#[derive(Clone, Debug)]
pub enum Packet<'a> {
    SenderReport {
        ssrc: u32,
        /// NTP timestamp, 32.32 bit fixed point.
        ntp: u64,
        rtp: u32,
        packets: u32,
        octets: u32,
        reports: ReportBlocks<'a>,
    },
    ReceiverReport {
        ssrc: u32,
        reports: ReportBlocks<'a>,
    },
    SourceDescription(SdesItems<'a>),
    Bye(SsrcList<'a>),
    /// Generic NACK (RFC 4585 §6.2.1).
    Nack {
        sender: u32,
        media: u32,
        lost: LostPackets<'a>,
    },
    Twcc {
        sender: u32,
        media: u32,
        feedback: TwccFeedback<'a>,
    },
    Pli {
        sender: u32,
        media: u32,
    },
    Fir {
        sender: u32,
        entries: FirEntries<'a>,
    },
    Remb {
        sender: u32,
        bitrate_bps: u64,
        ssrcs: SsrcList<'a>,
    },
    Extended {
        ssrc: u32,
        blocks: XrBlocks<'a>,
    },
    /// Application packets, and whatever comes to be.
    Other {
        packet_type: u8,
    },
}

/// Iterates over the packets of a compound, reduced-size ones included (RFC 5506).
#[derive(Clone, Debug)]
pub struct Compound<'a> {
    rest: &'a [u8],
}

impl<'a> Compound<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Compound { rest: bytes }
    }
}

impl<'a> Iterator for Compound<'a> {
    type Item = Packet<'a>;

    fn next(&mut self) -> Option<Packet<'a>> {
        let packet = self.take();
        if packet.is_none() {
            self.rest = &[];
        }
        packet
    }
}

impl<'a> Compound<'a> {
    fn take(&mut self) -> Option<Packet<'a>> {
        let first = *self.rest.first()?;
        if first >> 6 != 2 {
            return None;
        }
        let packet_type = *self.rest.get(1)?;
        let words = usize::from(be16(self.rest, 2)?);
        let (packet, rest) = self.rest.split_at_checked(4 + 4 * words)?;
        self.rest = rest;
        let mut body = packet.get(4..)?;
        if first & 0x20 != 0 {
            let padding = usize::from(*body.last()?);
            body = body.get(..body.len().checked_sub(padding)?)?;
        }
        read(packet_type, first & 0x1f, body)
    }
}

/// `count`: the five bits after the version, a number of items or a feedback format.
fn read(packet_type: u8, count: u8, body: &[u8]) -> Option<Packet<'_>> {
    Some(match (packet_type, count) {
        (SR, _) => Packet::SenderReport {
            ssrc: be32(body, 0)?,
            ntp: be64(body, 4)?,
            rtp: be32(body, 12)?,
            packets: be32(body, 16)?,
            octets: be32(body, 20)?,
            reports: ReportBlocks::new(body.get(24..)?, count)?,
        },
        (RR, _) => Packet::ReceiverReport {
            ssrc: be32(body, 0)?,
            reports: ReportBlocks::new(body.get(4..)?, count)?,
        },
        (SDES, _) => Packet::SourceDescription(SdesItems {
            rest: body,
            chunks: count,
        }),
        (BYE, _) => Packet::Bye(SsrcList {
            rest: body.get(..4 * usize::from(count))?,
        }),
        (RTPFB, NACK) => Packet::Nack {
            sender: be32(body, 0)?,
            media: be32(body, 4)?,
            lost: LostPackets {
                rest: body.get(8..)?,
                current: None,
            },
        },
        (RTPFB, TWCC) => Packet::Twcc {
            sender: be32(body, 0)?,
            media: be32(body, 4)?,
            feedback: TwccFeedback::parse(body.get(8..)?)?,
        },
        (PSFB, PLI) => Packet::Pli {
            sender: be32(body, 0)?,
            media: be32(body, 4)?,
        },
        (PSFB, FIR) => Packet::Fir {
            sender: be32(body, 0)?,
            entries: FirEntries {
                rest: body.get(8..)?,
            },
        },
        (PSFB, AFB) if body.get(8..12) == Some(&REMB) => {
            let ssrcs = usize::from(*body.get(12)?);
            let word = be24(body, 13)?;
            let (exponent, mantissa) = (word >> 18, u64::from(word & 0x3ffff));
            Packet::Remb {
                sender: be32(body, 0)?,
                // The largest exponent would leave 64 bits; such a rate is no limit at all.
                bitrate_bps: if mantissa.leading_zeros() >= exponent {
                    mantissa << exponent
                } else {
                    u64::MAX
                },
                ssrcs: SsrcList {
                    rest: body.get(16..16 + 4 * ssrcs)?,
                },
            }
        }
        (XR, _) => Packet::Extended {
            ssrc: be32(body, 0)?,
            blocks: XrBlocks {
                rest: body.get(4..)?,
            },
        },
        _ => Packet::Other { packet_type },
    })
}

/// How one source is received (RFC 3550 §6.4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ReportBlock {
    pub ssrc: u32,
    /// Loss since the last report, in 256ths.
    pub fraction_lost: u8,
    /// 24 bits with sign: duplicates may make it negative.
    pub cumulative_lost: i32,
    /// Highest sequence number received, extended by its cycles.
    pub highest_seq: u32,
    /// In units of the RTP clock.
    pub jitter: u32,
    /// The middle 32 bits of the NTP time of the last SR received; 0: none.
    pub last_sr: u32,
    /// Since that SR, in units of 1/65536 s.
    pub delay_since_last_sr: u32,
}

/// Iterates over report blocks.
#[derive(Clone, Debug)]
pub struct ReportBlocks<'a> {
    rest: &'a [u8],
}

impl<'a> ReportBlocks<'a> {
    /// What follows the blocks is a profile's extension and is left alone.
    fn new(body: &'a [u8], count: u8) -> Option<Self> {
        Some(ReportBlocks {
            rest: body.get(..24 * usize::from(count))?,
        })
    }
}

impl Iterator for ReportBlocks<'_> {
    type Item = ReportBlock;

    fn next(&mut self) -> Option<ReportBlock> {
        let (block, rest) = self.rest.split_at_checked(24)?;
        self.rest = rest;
        let lost = be24(block, 5)?;
        Some(ReportBlock {
            ssrc: be32(block, 0)?,
            fraction_lost: *block.get(4)?,
            // Shifted up and back down, the 24th bit becomes the sign.
            cumulative_lost: ((lost << 8) as i32) >> 8,
            highest_seq: be32(block, 8)?,
            jitter: be32(block, 12)?,
            last_sr: be32(block, 16)?,
            delay_since_last_sr: be32(block, 20)?,
        })
    }
}

/// Iterates over the CNAMEs of a source description as (SSRC, name); other items are passed over.
#[derive(Clone, Debug)]
pub struct SdesItems<'a> {
    rest: &'a [u8],
    chunks: u8,
}

impl<'a> Iterator for SdesItems<'a> {
    type Item = (u32, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        while self.chunks > 0 {
            self.chunks -= 1;
            let ssrc = be32(self.rest, 0)?;
            let mut cname = None;
            let mut at = 4;
            loop {
                let kind = *self.rest.get(at)?;
                if kind == 0 {
                    // RFC 3550 §6.5: at least one zero, then up to the next word.
                    at = (at + 1).next_multiple_of(4);
                    break;
                }
                let len = usize::from(*self.rest.get(at + 1)?);
                let value = self.rest.get(at + 2..at + 2 + len)?;
                if kind == CNAME {
                    cname = Some(value);
                }
                at += 2 + len;
            }
            self.rest = self.rest.get(at..).unwrap_or(&[]);
            if let Some(cname) = cname {
                return Some((ssrc, cname));
            }
        }
        None
    }
}

/// Iterates over SSRCs.
#[derive(Clone, Debug)]
pub struct SsrcList<'a> {
    rest: &'a [u8],
}

impl Iterator for SsrcList<'_> {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let (ssrc, rest) = self.rest.split_at_checked(4)?;
        self.rest = rest;
        be32(ssrc, 0)
    }
}

/// Iterates over the sequence numbers a NACK names: each entry has one and a mask of the 16 after.
#[derive(Clone, Debug)]
pub struct LostPackets<'a> {
    rest: &'a [u8],
    current: Option<(u16, u16)>,
}

impl Iterator for LostPackets<'_> {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        if let Some((base, mask)) = self.current {
            if mask != 0 {
                let bit = mask.trailing_zeros() as u16;
                self.current = Some((base, mask & (mask - 1)));
                return Some(base.wrapping_add(1 + bit));
            }
            self.current = None;
        }
        let (entry, rest) = self.rest.split_at_checked(4)?;
        self.rest = rest;
        let base = be16(entry, 0)?;
        self.current = Some((base, be16(entry, 2)?));
        Some(base)
    }
}

/// Iterates over a FIR's entries as (SSRC, command sequence number) (RFC 5104 §4.3.1.1).
#[derive(Clone, Debug)]
pub struct FirEntries<'a> {
    rest: &'a [u8],
}

impl Iterator for FirEntries<'_> {
    type Item = (u32, u8);

    fn next(&mut self) -> Option<(u32, u8)> {
        let (entry, rest) = self.rest.split_at_checked(8)?;
        self.rest = rest;
        Some((be32(entry, 0)?, *entry.get(4)?))
    }
}
