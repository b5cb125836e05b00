//! The indexes that were read last, by what must be the same for them to be the same, up to a weight in all.
//!
//! Nothing is read while the cache is locked: a disk that hangs holds up those alone who ask for what lies on it. Who
//! asks for what somebody else is reading waits for that.

use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use model::arch::Arch;

use super::stock::Stock;
use super::weight::MAX_HELD;

/// What is kept in all: the largest that there can be, or the usual ones of some releases.
const MAX_KEPT: usize = MAX_HELD;
/// Two releases for two architectures, with their updates and additional packages; small ones cost looking through.
pub(super) const MAX_COUNT: usize = 32;

/// What must be the same for an index to be the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) arch: Arch,
    /// Of `repomd.xml` or `Release`.
    pub(super) digest: Vec<u8>,
    /// The files that it leads to, with their sizes and times.
    pub(super) files: Vec<(PathBuf, u64, Option<SystemTime>)>,
}

/// What was read last.
#[derive(Debug)]
pub(super) struct Cache {
    state: Mutex<State>,
    /// Somebody has ended reading.
    ended: Condvar,
    /// What is kept in all.
    limit: usize,
}

#[derive(Debug, Default)]
struct State {
    /// The one that was asked for last stands last.
    kept: Vec<(Key, Arc<Stock>)>,
    reading: Vec<Key>,
}

impl Default for Cache {
    fn default() -> Self {
        Self::within(MAX_KEPT)
    }
}

impl Cache {
    pub(super) fn within(limit: usize) -> Self {
        Self { state: Mutex::default(), ended: Condvar::new(), limit }
    }

    /// What is kept under a key, else what `read` gives, which is kept from then on. An error or nothing is not.
    pub(super) fn get<E>(
        &self,
        key: Key,
        read: impl FnOnce() -> Result<Option<Stock>, E>,
    ) -> Result<Option<Arc<Stock>>, E> {
        let mut state = self.lock();
        loop {
            if let Some(stock) = state.take_up(&key) {
                return Ok(Some(stock));
            }
            if !state.reading.contains(&key) {
                break;
            }
            state = self.ended.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.reading.push(key.clone());
        drop(state);
        let reading = Reading { cache: self, key };
        let stock = read()?.map(Arc::new);
        if let Some(stock) = &stock {
            self.lock().keep(reading.key.clone(), stock.clone(), self.limit);
        }
        Ok(stock)
    }

    /// What the kept ones weigh, each.
    #[cfg(test)]
    pub(super) fn weights(&self) -> Vec<usize> {
        self.lock().kept.iter().map(|(_, stock)| stock.weight()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take_up(&mut self, key: &Key) -> Option<Arc<Stock>> {
        let position = self.kept.iter().position(|(kept, _)| kept == key)?;
        let again = self.kept.remove(position);
        let stock = again.1.clone();
        self.kept.push(again);
        Some(stock)
    }

    /// The oldest make room. What alone weighs more than all may is not kept.
    fn keep(&mut self, key: Key, stock: Arc<Stock>, limit: usize) {
        self.kept.push((key, stock));
        let weight = |kept: &[(Key, Arc<Stock>)]| kept.iter().map(|(_, stock)| stock.weight()).sum::<usize>();
        while self.kept.len() > MAX_COUNT || weight(&self.kept) > limit {
            self.kept.remove(0);
        }
    }
}

/// Somebody is reading what stands under a key, until this goes, whatever comes of it.
struct Reading<'a> {
    cache: &'a Cache,
    key: Key,
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.cache.lock().reading.retain(|key| *key != self.key);
        self.cache.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use super::*;

    fn key(number: u64) -> Key {
        Key { arch: Arch::X86_64, digest: Vec::new(), files: vec![("/x".into(), number, None)] }
    }

    /// One that weighs about so many bytes.
    fn stock(bytes: usize) -> Result<Option<Stock>, ()> {
        let mut stock = Stock::default();
        for number in 0..bytes / 1024 {
            stock.owned(&format!("{number:0900}")).unwrap();
        }
        Ok(Some(stock))
    }

    #[test]
    fn who_asks_for_something_else_does_not_wait_for_a_read_that_hangs() {
        let cache = Cache::default();
        let (begun, has_begun) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        thread::scope(|scope| {
            let cache = &cache;
            let hung = scope.spawn(move || {
                cache.get(key(1), || {
                    begun.send(()).unwrap();
                    may_go_on.recv().unwrap();
                    stock(10_000)
                })
            });
            has_begun.recv().unwrap();
            let (told, answer) = mpsc::channel();
            scope.spawn(move || told.send(cache.get(key(2), || stock(10_000))));
            let other = answer.recv_timeout(Duration::from_secs(10));
            // Who asks for the same shares the read.
            let same = scope.spawn(move || cache.get(key(1), || -> Result<Option<Stock>, ()> { panic!("read twice") }));
            thread::sleep(Duration::from_millis(100));
            assert!(!same.is_finished());
            // Before anything is asserted that a hung thread would keep from being told.
            go_on.send(()).unwrap();
            let (first, same) = (hung.join().unwrap().unwrap().unwrap(), same.join().unwrap().unwrap().unwrap());
            assert!(Arc::ptr_eq(&first, &same));
            assert!(other.expect("it was not held up").is_ok());
        });
    }

    #[test]
    fn a_read_that_fails_or_panics_holds_nobody_up_and_is_tried_again() {
        let cache = Cache::default();
        assert_eq!(cache.get(key(1), || Err(7)).unwrap_err(), 7);
        assert!(cache.get(key(1), || Ok::<_, ()>(None)).unwrap().is_none());
        let panicked = thread::scope(|scope| {
            scope.spawn(|| cache.get(key(1), || -> Result<Option<Stock>, ()> { panic!("for the test") })).join()
        });
        assert!(panicked.is_err());
        assert!(cache.get(key(1), || stock(1)).unwrap().is_some());
    }

    #[test]
    fn what_is_kept_has_a_weight_in_all_and_the_oldest_goes_first() {
        let cache = Cache::within(100_000);
        for number in [1, 2, 3] {
            cache.get(key(number), || stock(30_000)).unwrap();
        }
        assert_eq!(cache.weights().len(), 3);
        // The first is the newest now.
        cache.get(key(1), || Err(())).unwrap();
        cache.get(key(4), || stock(30_000)).unwrap();
        assert!(cache.weights().iter().sum::<usize>() <= 100_000);
        assert!(cache.get(key(2), || Err(())).is_err(), "it went");
        for number in [1, 3, 4] {
            assert!(cache.get(key(number), || Err(())).is_ok(), "{number} went");
        }
        // One that is too large for it is given and not kept.
        assert!(cache.get(key(5), || stock(200_000)).unwrap().is_some());
        assert!(cache.get(key(5), || Err(())).is_err());
        assert!(cache.weights().iter().sum::<usize>() <= 100_000);
    }
}
