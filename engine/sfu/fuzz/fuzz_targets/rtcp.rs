//! RTCP compounds, as any peer may write them.

#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use parley_sfu::rtcp::{Compound, Packet, Writer, XrBlock};

fuzz_target!(|compound: &[u8]| {
    let mut buf = [0; 4096];
    for packet in Compound::new(compound) {
        let mut writer = Writer::new(&mut buf);
        match packet {
            Packet::SenderReport { reports, .. } => reports.for_each(drop),
            Packet::ReceiverReport { ssrc, reports } => {
                // What was read can be written, and reads the same.
                let blocks: Vec<_> = reports.collect();
                assert!(writer.receiver_report(ssrc, &blocks));
                let len = writer.len();
                let again = Compound::new(&buf[..len]).next();
                let Some(Packet::ReceiverReport { reports, .. }) = again else {
                    panic!("{again:?}");
                };
                assert!(reports.eq(blocks));
            }
            Packet::SourceDescription(items) => {
                for (ssrc, name) in items {
                    if let Ok(name) = std::str::from_utf8(name) {
                        assert!(Writer::new(&mut buf).cname(ssrc, name));
                    }
                }
            }
            Packet::Bye(list) => list.for_each(drop),
            Packet::Nack {
                sender,
                media,
                lost,
            } => {
                let lost: Vec<u16> = lost.take(256).collect();
                assert!(writer.nack(sender, media, &lost));
                let len = writer.len();
                if let Some(Packet::Nack { lost: again, .. }) = Compound::new(&buf[..len]).next() {
                    // In ascending order, whatever order it was in.
                    let set = |numbers: Vec<u16>| BTreeSet::from_iter(numbers);
                    assert_eq!(set(again.collect()), set(lost));
                }
            }
            Packet::Twcc { feedback, .. } => {
                assert!(feedback.statuses().count() <= usize::from(feedback.count));
            }
            Packet::Fir { entries, .. } => entries.for_each(drop),
            Packet::Remb { ssrcs, .. } => ssrcs.for_each(drop),
            Packet::Extended { ssrc, blocks } => {
                for block in blocks {
                    if let XrBlock::Delays(delays) = block {
                        let delays: Vec<_> = delays.collect();
                        assert!(Writer::new(&mut buf).delays(ssrc, &delays));
                    }
                }
            }
            Packet::Pli { .. } | Packet::Other { .. } => {}
        }
    }
});
