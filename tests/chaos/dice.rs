//! Everything that is left to chance in a run comes from here, and all of it from the seed that is printed.

use std::ops::RangeInclusive;
use std::time::Duration;

/// xorshift64*: small, good enough to choose faults with, and the same on every machine.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    /// The dice of one part of the run, so that what one part throws doesn't depend on how often another did.
    pub(crate) fn new(seed: u64, part: u64) -> Self {
        // Never 0, where the generator would stay; and by an odd factor, so that no two seeds give the same.
        let start = (seed << 3 | part).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut dice = Self(if start == 0 { u64::MAX } else { start });
        // Small seeds differ in few bits; some throws spread them.
        for _ in 0..16 {
            dice.throw();
        }
        dice
    }

    fn throw(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number of the range.
    pub(crate) fn number(&mut self, range: RangeInclusive<u64>) -> u64 {
        range.start() + (self.throw() >> 16) % (range.end() - range.start() + 1)
    }

    /// An index into something of this length.
    pub(crate) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.number(0..=length as u64 - 1)).expect("it is below the length")
    }

    /// A time of so many milliseconds.
    pub(crate) fn millis(&mut self, range: RangeInclusive<u64>) -> Duration {
        Duration::from_millis(self.number(range))
    }

    /// True once in so many throws.
    pub(crate) fn once_in(&mut self, times: u64) -> bool {
        self.number(1..=times) == 1
    }
}
