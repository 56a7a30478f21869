//! VP9 (RFC 9628 §4.2).

/// `None`: the payload is cut short.
pub(super) fn starts_keyframe(payload: &[u8]) -> Option<bool> {
    let first = *payload.first()?;
    let (has_picture_id, is_predicted, has_layers, starts_frame) = (
        first & 0x80 != 0,
        first & 0x40 != 0,
        first & 0x20 != 0,
        first & 0x08 != 0,
    );
    if is_predicted || !starts_frame {
        return Some(false);
    }
    if !has_layers {
        return Some(true);
    }
    let mut at = 1;
    if has_picture_id {
        at += if payload.get(at)? & 0x80 != 0 { 2 } else { 1 };
    }
    // The higher spatial layers of a keyframe are predicted from the lowest.
    Some(payload.get(at)? & 0x0e == 0)
}

#[cfg(test)]
mod tests {
    use super::starts_keyframe;

    #[test]
    fn a_keyframe_is_not_predicted_and_starts_in_the_lowest_layer() {
        assert_eq!(starts_keyframe(&[0x08]), Some(true));
        assert_eq!(starts_keyframe(&[0xa8, 0x81, 0x22, 0x10]), Some(true));
        assert_eq!(starts_keyframe(&[0xa8, 0x81, 0x22, 0x12]), Some(false));
        assert_eq!(starts_keyframe(&[0x48]), Some(false));
        assert_eq!(starts_keyframe(&[0x00]), Some(false));
        assert_eq!(starts_keyframe(&[0xa8, 0x81]), None);
    }
}
