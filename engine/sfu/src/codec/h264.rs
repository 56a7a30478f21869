//! H.264 (RFC 6184 §5).

use crate::wire::be16;

const IDR: u8 = 5;
const SPS: u8 = 7;
const STAP_A: u8 = 24;
const FU_A: u8 = 28;

/// An IDR slice, or the parameter set that comes before it: a decoder needs both.
/// `None`: the payload is cut short.
pub(super) fn starts_keyframe(payload: &[u8]) -> Option<bool> {
    match *payload.first()? & 0x1f {
        STAP_A => {
            let mut at = 1;
            while let Some(size) = be16(payload, at) {
                if is_start(*payload.get(at + 2)?) {
                    return Some(true);
                }
                at += 2 + usize::from(size);
            }
            Some(false)
        }
        FU_A => {
            let header = *payload.get(1)?;
            Some(header & 0x80 != 0 && is_start(header))
        }
        _ => Some(is_start(*payload.first()?)),
    }
}

fn is_start(header: u8) -> bool {
    matches!(header & 0x1f, IDR | SPS)
}

#[cfg(test)]
mod tests {
    use super::starts_keyframe;

    #[test]
    fn a_keyframe_starts_with_its_parameters_or_its_slice() {
        assert_eq!(starts_keyframe(&[0x67, 1, 2]), Some(true));
        assert_eq!(starts_keyframe(&[0x65, 1, 2]), Some(true));
        assert_eq!(starts_keyframe(&[0x41, 1, 2]), Some(false));
        assert_eq!(starts_keyframe(&[0x68, 1, 2]), Some(false));
    }

    #[test]
    fn an_aggregate_is_searched() {
        let aggregate = [0x78, 0, 2, 0x09, 0xf0, 0, 2, 0x67, 1];

        assert_eq!(starts_keyframe(&aggregate), Some(true));
        assert_eq!(starts_keyframe(&aggregate[..5]), Some(false));
    }

    #[test]
    fn of_a_fragmented_slice_only_the_first_fragment_counts() {
        assert_eq!(starts_keyframe(&[0x7c, 0x85, 0]), Some(true));
        assert_eq!(starts_keyframe(&[0x7c, 0x05, 0]), Some(false));
        assert_eq!(starts_keyframe(&[0x7c, 0x81, 0]), Some(false));
        assert_eq!(starts_keyframe(&[0x7c]), None);
    }
}
