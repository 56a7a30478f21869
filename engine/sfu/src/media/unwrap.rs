//! Numbers that wrap on the wire and never in here.

/// The 64-bit number nearest to `near` whose low 16 bits are `low`.
pub(super) fn near16(near: u64, low: u16) -> u64 {
    let step = i64::from(low.wrapping_sub(near as u16) as i16);
    near.checked_add_signed(step).unwrap_or(u64::from(low))
}

/// The 64-bit number nearest to `near` whose low 32 bits are `low`.
pub(super) fn near32(near: u64, low: u32) -> u64 {
    let step = i64::from(low.wrapping_sub(near as u32) as i32);
    near.checked_add_signed(step).unwrap_or(u64::from(low))
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
