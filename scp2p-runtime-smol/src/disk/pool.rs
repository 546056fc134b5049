//! Threads for work that blocks.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::{self, JoinHandle};

use async_channel::{Receiver, Sender};

/// A few threads that take jobs in order. Once it is closed, they finish what is queued and end.
#[derive(Clone)]
pub(super) struct Pool {
    threads: usize,
    jobs: Sender<Box<dyn FnOnce() + Send>>,
}

impl Pool {
    /// Starts `threads` threads of this name.
    pub(super) fn start(name: &str, threads: usize) -> io::Result<(Pool, Vec<JoinHandle<()>>)> {
        let (jobs, queue) = async_channel::unbounded();
        let handles = (0..threads)
            .map(|_| {
                let queue = queue.clone();
                thread::Builder::new()
                    .name(name.to_owned())
                    .spawn(move || work(&queue))
            })
            .collect::<io::Result<Vec<JoinHandle<()>>>>()?;
        Ok((Pool { threads, jobs }, handles))
    }

    /// Queues a job; it is dropped when the pool is closed.
    pub(super) fn run(&self, job: impl FnOnce() + Send + 'static) {
        let _ = self.jobs.try_send(Box::new(job));
    }

    /// How many threads it has.
    pub(super) fn threads(&self) -> usize {
        self.threads
    }

    /// Takes no more jobs.
    pub(super) fn close(&self) {
        self.jobs.close();
    }
}

fn work(queue: &Receiver<Box<dyn FnOnce() + Send>>) {
    while let Ok(job) = queue.recv_blocking() {
        // A job that panics must not take the thread away from the others.
        if catch_unwind(AssertUnwindSafe(job)).is_err() {
            tracing::error!("a disk job panicked");
        }
    }
}
