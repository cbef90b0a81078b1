//! Runs blocking work on files (hashing, compressing), and stops it when its future is dropped.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Set when the future that waits for the work is dropped.
#[derive(Clone, Debug, Default)]
pub struct CancelFlag(Arc<AtomicBool>);

impl CancelFlag {
    /// Wraps a reader or writer so that it fails once the work is cancelled.
    pub fn watch<T>(&self, inner: T) -> Watched<T> {
        Watched { inner, cancel: self.clone() }
    }

    fn check(&self) -> io::Result<()> {
        if self.0.load(Ordering::Relaxed) { Err(io::Error::other("interrupted")) } else { Ok(()) }
    }
}

#[derive(Debug)]
pub struct Watched<T> {
    inner: T,
    cancel: CancelFlag,
}

impl<T> Watched<T> {
    pub fn into_inner(self) -> T {
        self.inner
    }
}

impl<R: Read> Read for Watched<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.cancel.check()?;
        self.inner.read(buffer)
    }
}

impl<W: Write> Write for Watched<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.cancel.check()?;
        self.inner.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Runs blocking work on its own thread.
///
/// Such work cannot be aborted from outside, and the program waits for it to end. When the future is dropped (Ctrl-C
/// does that), every read and write through [`CancelFlag::watch`] fails, so the work ends and removes its unfinished files.
pub async fn run<T: Send + 'static>(work: impl FnOnce(&CancelFlag) -> T + Send + 'static) -> T {
    struct OnDrop(CancelFlag);

    impl Drop for OnDrop {
        fn drop(&mut self) {
            self.0.0.store(true, Ordering::Relaxed);
        }
    }

    let cancel = CancelFlag::default();
    let _guard = OnDrop(cancel.clone());
    match tokio::task::spawn_blocking(move || work(&cancel)).await {
        Ok(value) => value,
        // The work is never cancelled, so it panicked; the panic continues here.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn work_ends_when_nobody_waits() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let work = run(move |cancel| {
            let endless = io::copy(&mut cancel.watch(io::repeat(0)), &mut io::sink());
            sender.send(endless.is_err()).ok();
        });
        assert!(tokio::time::timeout(Duration::from_millis(20), work).await.is_err());
        assert!(receiver.recv_timeout(Duration::from_secs(10)).unwrap());
    }
}
