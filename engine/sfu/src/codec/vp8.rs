//! VP8 (RFC 7741 §4.2, §4.3).

/// `None`: the payload is cut short.
pub(super) fn starts_keyframe(payload: &[u8]) -> Option<bool> {
    let first = *payload.first()?;
    let (is_extended, starts_partition, partition) =
        (first & 0x80 != 0, first & 0x10 != 0, first & 0x07);
    if !starts_partition || partition != 0 {
        return Some(false);
    }
    let mut at = 1;
    if is_extended {
        let fields = *payload.get(1)?;
        at = 2;
        if fields & 0x80 != 0 {
            // The picture id has 15 bits when its first is set, else 7.
            at += if payload.get(at)? & 0x80 != 0 { 2 } else { 1 };
        }
        if fields & 0x40 != 0 {
            at += 1;
        }
        if fields & 0x30 != 0 {
            at += 1;
        }
    }
    // RFC 6386 §9.1: the frame header's first bit is 0 in a keyframe.
    Some(payload.get(at)? & 0x01 == 0)
}

#[cfg(test)]
mod tests {
    use super::starts_keyframe;

    #[test]
    fn the_first_packet_of_a_keyframe_is_told_behind_any_descriptor() {
        assert_eq!(starts_keyframe(&[0x10, 0x50]), Some(true));
        assert_eq!(starts_keyframe(&[0x90, 0x80, 0x11, 0x50]), Some(true));
        assert_eq!(
            starts_keyframe(&[0x90, 0xe0, 0x91, 0x22, 7, 0x20, 0x50]),
            Some(true)
        );
        assert_eq!(
            starts_keyframe(&[0x90, 0xe0, 0x91, 0x22, 7, 0x20, 0x51]),
            Some(false)
        );
    }

    #[test]
    fn a_later_packet_of_a_keyframe_is_not_its_first() {
        assert_eq!(starts_keyframe(&[0x00, 0x50]), Some(false));
        assert_eq!(starts_keyframe(&[0x11, 0x50]), Some(false));
    }

    #[test]
    fn a_cut_descriptor_says_nothing() {
        assert_eq!(starts_keyframe(&[]), None);
        assert_eq!(starts_keyframe(&[0x90, 0xf0, 0x91]), None);
    }
}
