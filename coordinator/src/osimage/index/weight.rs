//! How much memory the indexes take: each repository has a limit, and so have all together that are in memory at once,
//! be they kept, in use by a submission, or being read.
//!
//! Whoever keeps something says so before it does. What an item costs beside its bytes is estimated from above.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What one repository may take. Debian's main comes to 61 MiB, seventy thousand rpms with ten names each to 211.
pub(super) const MAX_HELD: usize = 512 << 20;
/// What all may take that are in memory at once: three times the largest there can be.
const MAX_LIVING: usize = 1536 << 20;
/// How much is taken of that at a time, so that readers seldom meet.
const STEP: usize = 256 << 10;
/// What the system's allocator adds to a piece of memory.
pub(super) const PIECE: usize = 16;

/// Why no more is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum TooMuch {
    #[error("it holds more packages than a repository can have")]
    Packages,
    #[error("a name in it is longer than {0} bytes")]
    Name(usize),
    #[error("what it holds takes more than {} MiB of memory", .0 >> 20)]
    Held(usize),
    /// Not the repository's fault.
    #[error("the indexes that are in use take {} MiB of memory already", .0 >> 20)]
    Crowded(usize),
}

/// What all indexes in memory take together. Clones are the same.
#[derive(Debug, Clone)]
pub(super) struct Living(Arc<Total>);

#[derive(Debug)]
struct Total {
    taken: AtomicUsize,
    /// Of one repository.
    each: usize,
    /// Of all.
    all: usize,
}

impl Default for Living {
    fn default() -> Self {
        Self::within(MAX_HELD, MAX_LIVING)
    }
}

impl Living {
    pub(super) fn within(each: usize, all: usize) -> Self {
        Self(Arc::new(Total { taken: AtomicUsize::new(0), each, all }))
    }

    /// What is taken now.
    #[cfg(test)]
    pub(super) fn taken(&self) -> usize {
        self.0.taken.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: usize) -> Result<(), TooMuch> {
        let more = |taken: usize| taken.checked_add(bytes).filter(|sum| *sum <= self.0.all);
        let taken = self.0.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.map(|_| ()).map_err(|_| TooMuch::Crowded(self.0.all))
    }
}

/// What one repository takes. It is given back when this goes.
#[derive(Debug, Default)]
pub(super) struct Weight {
    held: usize,
    /// Its part of the total; never less.
    granted: usize,
    living: Living,
}

impl Weight {
    pub(super) fn of(living: &Living) -> Self {
        Self { held: 0, granted: 0, living: living.clone() }
    }

    /// So many bytes more are to be held.
    pub(super) fn hold(&mut self, bytes: usize) -> Result<(), TooMuch> {
        let held = self.held.saturating_add(bytes);
        if held > self.living.0.each {
            return Err(TooMuch::Held(self.living.0.each));
        }
        if held > self.granted {
            let more = (held - self.granted).next_multiple_of(STEP);
            self.living.take(more)?;
            self.granted += more;
        }
        self.held = held;
        Ok(())
    }

    /// What it takes.
    pub(super) fn held(&self) -> usize {
        self.held
    }
}

impl Drop for Weight {
    fn drop(&mut self) {
        self.living.0.taken.fetch_sub(self.granted, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_has_a_limit_and_so_have_all_and_what_goes_is_given_back() {
        let living = Living::within(10 * STEP, 4 * STEP);
        let (mut one, mut other) = (Weight::of(&living), Weight::of(&living));
        assert_eq!(one.hold(STEP + 1), Ok(()));
        assert_eq!((one.held(), living.taken()), (STEP + 1, 2 * STEP));
        assert_eq!(one.hold(STEP - 1), Ok(()), "it has been granted already");
        assert_eq!(other.hold(3 * STEP), Err(TooMuch::Crowded(4 * STEP)));
        assert_eq!(other.hold(2 * STEP), Ok(()));
        assert_eq!(living.taken(), 4 * STEP);
        drop(one);
        assert_eq!(other.hold(2 * STEP), Ok(()));
        drop(other);
        assert_eq!(living.taken(), 0);
        let mut alone = Weight::of(&Living::within(10, usize::MAX));
        assert_eq!(alone.hold(10), Ok(()));
        assert_eq!((alone.hold(1), alone.hold(usize::MAX)), (Err(TooMuch::Held(10)), Err(TooMuch::Held(10))));
    }
}
