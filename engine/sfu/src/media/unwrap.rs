//! Numbers that wrap on the wire and never in here.

/// The 64-bit number nearest to `near` whose low `bits` are `low`.
pub(super) fn nearest(near: u64, low: u64, bits: u32) -> u64 {
    let range = 1 << bits;
    let ahead = low.wrapping_sub(near) & (range - 1);
    match ahead < range / 2 {
        true => near + ahead,
        false => (near + ahead).checked_sub(range).unwrap_or(low),
    }
}

/// As [`nearest`], of a sequence number.
pub(super) fn near16(near: u64, low: u16) -> u64 {
    nearest(near, low.into(), 16)
}

/// As [`nearest`], of a timestamp.
pub(super) fn near32(near: u64, low: u32) -> u64 {
    nearest(near, low.into(), 32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_number_is_found_on_both_sides_of_the_wrap() {
        assert_eq!(near16(0x1_fffe, 3), 0x2_0003);
        assert_eq!(near16(0x2_0003, 0xfffe), 0x1_fffe);
        assert_eq!(near16(3, 0xfffe), 0xfffe);
        assert_eq!(near32(0x1_ffff_fff0, 16), 0x2_0000_0010);
        assert_eq!(near32(0x2_0000_0010, 0xffff_fff0), 0x1_ffff_fff0);
    }
}
