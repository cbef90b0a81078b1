use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestStats {
    /// With retries, without redirections.
    pub requests: u64,
    /// Of bodies read, after decompression.
    pub bytes: u64,
}

/// Clones share the counts.
#[derive(Clone, Debug, Default)]
pub struct RequestCounter(Arc<Mutex<RequestStats>>);

impl RequestCounter {
    pub fn count_request(&self) {
        self.lock().requests += 1;
    }

    pub fn count_bytes(&self, bytes: usize) {
        self.lock().bytes += bytes as u64;
    }

    pub fn stats(&self) -> RequestStats {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, RequestStats> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
