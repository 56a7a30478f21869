//! Numbers that need to differ, not to be secret: SSRCs, first sequence numbers, hash seeds.

/// SplitMix64: one add and three mixes a number, and the same sequence for the same seed.
pub(super) struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    pub fn u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn u32(&mut self) -> u32 {
        (self.u64() >> 32) as u32
    }

    /// Never 0, which means "none" in some feedback.
    pub fn ssrc(&mut self) -> u32 {
        self.u32().max(1)
    }

    /// Below 2^15, so that half the number space passes before the roll-over counter leaves zero
    /// (RFC 3711 §3.3.1: a receiver that missed the first packets would guess it wrong).
    pub fn first_seq(&mut self) -> u64 {
        u64::from(self.u32() & 0x7fff)
    }

    pub fn hasher(&mut self) -> ahash::RandomState {
        ahash::RandomState::with_seeds(self.u64(), self.u64(), self.u64(), self.u64())
    }
}
