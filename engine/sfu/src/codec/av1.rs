//! AV1 (RTP Payload Format For AV1 §4.4).

/// The N bit: a new coded video sequence begins, hence a keyframe. `None`: the payload is empty.
pub(super) fn starts_keyframe(payload: &[u8]) -> Option<bool> {
    let header = *payload.first()?;
    // With Z set the packet continues an element, which N forbids; believe Z.
    Some(header & 0x08 != 0 && header & 0x80 == 0)
}

#[cfg(test)]
mod tests {
    use super::starts_keyframe;

    #[test]
    fn a_new_sequence_is_a_keyframe() {
        assert_eq!(starts_keyframe(&[0x18, 0x0a]), Some(true));
        assert_eq!(starts_keyframe(&[0x10, 0x0a]), Some(false));
        assert_eq!(starts_keyframe(&[0x98, 0x0a]), Some(false));
        assert_eq!(starts_keyframe(&[]), None);
    }
}
