//! RTP headers, extensions and retransmissions, as any peer may write them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use parley_sfu::rtp::{ExtensionList, ExtensionMap, Header, write_header};
use parley_sfu::spec::ExtensionIds;

fuzz_target!(|packet: &[u8]| {
    let Some(header) = Header::parse(packet) else {
        return;
    };
    assert!(header.len <= packet.len());
    if let Some(payload) = header.payload(packet) {
        assert!(header.len + payload.len() <= packet.len());
    }

    let mut map = ExtensionMap::default();
    map.add(&ExtensionIds {
        mid: Some(1),
        rid: Some(2),
        repaired_rid: Some(3),
        audio_level: Some(4),
        abs_send_time: Some(5),
        transport_cc: Some(6),
        dependency_descriptor: Some(7),
        abs_capture_time: Some(14),
        playout_delay: Some(200),
    });
    let _ = map.read(&header, packet);

    // What was read can be written, and reads the same.
    let elements: Vec<_> = header.extensions(packet).take(8).collect();
    let mut list = ExtensionList::default();
    for (id, value) in &elements {
        list.add(Some(*id), Some(value));
    }
    let mut buf = [0; 4096];
    let (pt, seq, timestamp) = (header.pt, header.seq, header.timestamp);
    let written = write_header(
        &mut buf,
        header.marker,
        pt,
        seq,
        timestamp,
        header.ssrc,
        &list,
    );
    if let Some(len) = written {
        let again = Header::parse(&buf[..len]).expect("what we write is RTP");
        assert_eq!((again.pt, again.seq, again.timestamp), (pt, seq, timestamp));
        assert!(again.extensions(&buf[..len]).eq(elements));
    }

    let mut repair = packet.to_vec();
    if let Some(len) = header.unwrap_rtx(&mut repair, 96, 7) {
        let original = Header::parse(&repair[..len]).expect("an original is RTP");
        assert_eq!((original.pt, original.ssrc), (96, 7));
        assert!(original.payload(&repair[..len]).is_some());
    }
});
