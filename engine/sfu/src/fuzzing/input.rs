//! How targets read their input: small numbers and strings off its front; at its end all are zero.

/// What is left of an input.
pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    pub fn word(&mut self) -> u32 {
        u32::from_be_bytes([self.byte(), self.byte(), self.byte(), self.byte()])
    }

    /// Below `limit`, which is not 0.
    pub fn below(&mut self, limit: u8) -> u8 {
        self.byte() % limit
    }

    pub fn is_set(&mut self) -> bool {
        self.byte() & 1 == 1
    }

    /// As many bytes as there are, up to `len`.
    pub fn bytes(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// A byte of length, then as many bytes.
    pub fn short(&mut self) -> &'a [u8] {
        let len = usize::from(self.byte());
        self.bytes(len)
    }

    pub fn text(&mut self) -> String {
        String::from_utf8_lossy(self.short()).into_owned()
    }

    /// The next step of a list `[what, length, bytes…]`.
    pub fn step(&mut self) -> Option<(u8, Input<'a>)> {
        let ([what, len], rest) = self.0.split_first_chunk::<2>()?;
        self.0 = rest;
        Some((*what, Input(self.bytes(usize::from(*len) * 6))))
    }
}
