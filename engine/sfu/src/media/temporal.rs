//! Which temporal layers of VP8 one peer gets.
//!
//! Down is possible at every picture, since the lower layers never need a higher one. Up is possible
//! only where a picture says that it needs nothing of its own layer: at a layer sync, or a keyframe.

/// No layer is too high.
pub(super) const ALL: u8 = u8::MAX;

pub(super) struct Temporal {
    /// The highest layer that is forwarded now.
    limit: u8,
    /// Timestamp of the newest picture looked at.
    newest: Option<u64>,
}

impl Default for Temporal {
    fn default() -> Self {
        Temporal {
            limit: ALL,
            newest: None,
        }
    }
}

impl Temporal {
    /// A keyframe begins, after which every layer can be had.
    pub fn start(&mut self, wanted: u8) {
        *self = Temporal {
            limit: wanted,
            newest: None,
        };
    }

    /// Whether nothing is left out, and nothing is to be.
    pub fn is_open(&self, wanted: u8) -> bool {
        self.limit == ALL && wanted == ALL
    }

    /// Whether a packet's picture, of layer `temporal`, is left out.
    pub fn leaves_out(
        &mut self,
        wanted: u8,
        temporal: u8,
        is_sync: bool,
        starts_keyframe: bool,
        timestamp: u64,
    ) -> bool {
        if self.newest.is_none_or(|newest| timestamp > newest) {
            self.newest = Some(timestamp);
            if self.limit > wanted || starts_keyframe {
                self.limit = wanted;
            } else if is_sync && temporal <= wanted {
                self.limit = self.limit.max(temporal);
            }
        }
        temporal > self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Which of the pictures (layer, is a sync) go out.
    fn sent(temporal: &mut Temporal, wanted: u8, from: u64, pictures: &[(u8, bool)]) -> Vec<bool> {
        let leaves_out = |(n, (layer, is_sync)): (u64, &(u8, bool))| {
            !temporal.leaves_out(wanted, *layer, *is_sync, false, from + n)
        };
        (0..).zip(pictures).map(leaves_out).collect()
    }

    #[test]
    fn it_goes_down_at_once_and_up_at_a_sync_only() {
        let mut temporal = Temporal::default();
        let pictures = [(0, false), (2, false), (1, false), (2, false)];

        assert_eq!(sent(&mut temporal, ALL, 0, &pictures), [true; 4]);
        assert_eq!(
            sent(&mut temporal, 0, 10, &pictures),
            [true, false, false, false]
        );
        assert_eq!(
            sent(&mut temporal, 1, 20, &pictures),
            [true, false, false, false]
        );
        let synced = [(0, false), (2, true), (1, true), (2, false), (1, false)];
        assert_eq!(
            sent(&mut temporal, 1, 30, &synced),
            [true, false, true, false, true]
        );
    }

    #[test]
    fn a_keyframe_opens_what_is_wanted() {
        let mut temporal = Temporal::default();
        sent(&mut temporal, 0, 0, &[(0, false)]);

        assert!(!temporal.leaves_out(ALL, 0, false, true, 5));

        assert!(temporal.is_open(ALL));
        assert_eq!(sent(&mut temporal, ALL, 10, &[(2, false)]), [true]);
    }

    #[test]
    fn a_picture_is_left_out_whole_or_not_at_all() {
        let mut temporal = Temporal::default();

        assert!(!temporal.leaves_out(ALL, 2, false, false, 7));
        assert!(!temporal.leaves_out(0, 2, false, false, 7));
        assert!(temporal.leaves_out(0, 2, false, false, 8));
    }
}
