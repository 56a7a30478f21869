//! RTCP packets to be sent, one after another into one buffer.
//!
//! Each method writes a whole packet and says true, or writes nothing and says false: the buffer is
//! full, so the compound is to be sent and another begun.

use super::parse::ReportBlock;
use super::{AFB, BYE, CNAME, FIR, NACK, PLI, PSFB, REMB, RR, RTPFB, SDES, SR};

/// The five-bit count of the header holds no more.
const MAX_COUNT: usize = 31;

/// What an SR says of its sender (RFC 3550 §6.4.1).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SenderInfo {
    pub ssrc: u32,
    /// NTP timestamp, 32.32 bit fixed point.
    pub ntp: u64,
    pub rtp: u32,
    pub packets: u32,
    pub octets: u32,
}

/// A compound under construction.
pub struct Writer<'a> {
    buf: &'a mut [u8],
    len: usize,
}

impl<'a> Writer<'a> {
    /// Writes into all of `buf`; leave room for the SRTCP trailer outside of it.
    pub fn new(buf: &'a mut [u8]) -> Self {
        Writer { buf, len: 0 }
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn sender_report(&mut self, info: &SenderInfo, reports: &[ReportBlock]) -> bool {
        let count = reports.len().min(MAX_COUNT);
        self.packet(SR, count as u8, |body| {
            body.u32(info.ssrc)?;
            body.u64(info.ntp)?;
            body.u32(info.rtp)?;
            body.u32(info.packets)?;
            body.u32(info.octets)?;
            body.reports(reports)
        })
    }

    pub fn receiver_report(&mut self, ssrc: u32, reports: &[ReportBlock]) -> bool {
        let count = reports.len().min(MAX_COUNT);
        self.packet(RR, count as u8, |body| {
            body.u32(ssrc)?;
            body.reports(reports)
        })
    }

    /// One chunk with a CNAME, cut at 255 bytes.
    pub fn cname(&mut self, ssrc: u32, cname: &str) -> bool {
        let name = cname.as_bytes();
        let name = name.get(..name.len().min(255)).unwrap_or(name);
        self.packet(SDES, 1, |body| {
            body.u32(ssrc)?;
            body.bytes(&[CNAME, name.len() as u8])?;
            body.bytes(name)?;
            // RFC 3550 §6.5: the list of items ends with one zero at least.
            body.bytes(&[0])?;
            body.pad()
        })
    }

    pub fn bye(&mut self, ssrc: u32) -> bool {
        self.packet(BYE, 1, |body| body.u32(ssrc))
    }

    /// A generic NACK. `lost`: ascending modulo 2^16.
    pub fn nack(&mut self, sender: u32, media: u32, lost: &[u16]) -> bool {
        if lost.is_empty() {
            return true;
        }
        self.packet(RTPFB, NACK, |body| {
            body.u32(sender)?;
            body.u32(media)?;
            let mut rest = lost.iter().copied().peekable();
            while let Some(base) = rest.next() {
                let mut mask = 0u16;
                while let Some(next) = rest.peek() {
                    let ahead = next.wrapping_sub(base);
                    if !(1..=16).contains(&ahead) {
                        break;
                    }
                    mask |= 1 << (ahead - 1);
                    rest.next();
                }
                body.bytes(&base.to_be_bytes())?;
                body.bytes(&mask.to_be_bytes())?;
            }
            Some(())
        })
    }

    pub fn pli(&mut self, sender: u32, media: u32) -> bool {
        self.packet(PSFB, PLI, |body| {
            body.u32(sender)?;
            body.u32(media)
        })
    }

    pub fn fir(&mut self, sender: u32, media: u32, command: u8) -> bool {
        self.packet(PSFB, FIR, |body| {
            body.u32(sender)?;
            // RFC 5104 §4.3.1.2: the media source is named in the entry only.
            body.u32(0)?;
            body.u32(media)?;
            body.bytes(&[command, 0, 0, 0])
        })
    }

    /// `ssrcs`: those the limit is about, 255 at most.
    pub fn remb(&mut self, sender: u32, bitrate_bps: u64, ssrcs: &[u32]) -> bool {
        let ssrcs = ssrcs.get(..ssrcs.len().min(255)).unwrap_or(ssrcs);
        let exponent = (64 - bitrate_bps.leading_zeros()).saturating_sub(18);
        let mantissa = (bitrate_bps >> exponent) as u32;
        self.packet(PSFB, AFB, |body| {
            body.u32(sender)?;
            body.u32(0)?;
            body.bytes(&REMB)?;
            let word = (ssrcs.len() as u32) << 24 | exponent << 18 | mantissa;
            body.u32(word)?;
            ssrcs.iter().try_for_each(|ssrc| body.u32(*ssrc))
        })
    }

    /// Header, then whatever `fill` writes, which is a multiple of four bytes.
    pub(super) fn packet(
        &mut self,
        packet_type: u8,
        count: u8,
        fill: impl FnOnce(&mut Body<'_>) -> Option<()>,
    ) -> bool {
        let Some(rest) = self.buf.get_mut(self.len..) else {
            return false;
        };
        let mut body = Body { buf: rest, len: 4 };
        if fill(&mut body).is_none() || body.buf.len() < body.len {
            return false;
        }
        let len = body.len;
        let words = (len / 4 - 1) as u16;
        let [hi, lo] = words.to_be_bytes();
        match rest.first_chunk_mut() {
            Some(header) => *header = [0x80 | count, packet_type, hi, lo],
            None => return false,
        }
        self.len += len;
        true
    }
}

/// The part of the buffer behind one packet's header.
pub(super) struct Body<'a> {
    buf: &'a mut [u8],
    len: usize,
}

impl Body<'_> {
    pub fn bytes(&mut self, bytes: &[u8]) -> Option<()> {
        let end = self.len + bytes.len();
        self.buf.get_mut(self.len..end)?.copy_from_slice(bytes);
        self.len = end;
        Some(())
    }

    pub fn u32(&mut self, value: u32) -> Option<()> {
        self.bytes(&value.to_be_bytes())
    }

    pub fn u64(&mut self, value: u64) -> Option<()> {
        self.bytes(&value.to_be_bytes())
    }

    /// Zeroes up to the next word.
    pub fn pad(&mut self) -> Option<()> {
        while !self.len.is_multiple_of(4) {
            self.bytes(&[0])?;
        }
        Some(())
    }

    fn reports(&mut self, reports: &[ReportBlock]) -> Option<()> {
        for report in reports.iter().take(MAX_COUNT) {
            // The loss has 24 bits and stays at their ends (RFC 3550 §6.4.1).
            let lost = report.cumulative_lost.clamp(-0x80_0000, 0x7f_ffff) as u32 & 0xff_ffff;
            self.u32(report.ssrc)?;
            self.u32(u32::from(report.fraction_lost) << 24 | lost)?;
            self.u32(report.highest_seq)?;
            self.u32(report.jitter)?;
            self.u32(report.last_sr)?;
            self.u32(report.delay_since_last_sr)?;
        }
        Some(())
    }
}
