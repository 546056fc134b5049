//! The stream of events that applications follow.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_channel::{Receiver, Sender, TrySendError};
use scp2p_proto::event::Event;
use scp2p_proto::time::UnixTime;

/// Items that a slow reader may be behind before it misses some.
const BEHIND_MAX: usize = 4096;
/// Streams open at a time; more are closed at once, because each costs work for every event.
const STREAMS_MAX: usize = 64;

/// Events in the order in which they happened, from the moment of
/// [`Handle::events`](crate::Handle::events) on.
#[derive(Debug)]
pub struct EventStream {
    receiver: Receiver<Numbered>,
}

impl EventStream {
    /// The next item; `None` when the runtime is gone or has too many streams.
    pub async fn next(&mut self) -> Option<Numbered> {
        self.receiver.recv().await.ok()
    }
}

/// An item of an [`EventStream`].
#[derive(Debug, Clone, PartialEq)]
pub struct Numbered {
    /// How many events came before it on this stream, missed ones included.
    pub seq: u64,
    /// When it happened.
    pub unix: UnixTime,
    /// What happened.
    pub item: Streamed,
}

/// What an [`EventStream`] carries.
#[derive(Debug, Clone, PartialEq)]
pub enum Streamed {
    /// Something happened.
    Event(Event),
    /// The reader was too slow and missed so many events at this place.
    Lagged(u64),
}

/// The streams of one node.
#[derive(Debug, Clone, Default)]
pub(crate) struct Broadcast {
    streams: Arc<Mutex<Streams>>,
}

/// The driver's end of all streams; they end when it is dropped, after what was sent on them.
#[derive(Debug)]
pub(crate) struct EventSource {
    streams: Arc<Mutex<Streams>>,
}

#[derive(Debug, Default)]
struct Streams {
    open: Vec<Subscriber>,
    ended: bool,
}

impl Broadcast {
    /// What feeds the streams; made once.
    pub(crate) fn source(&self) -> EventSource {
        EventSource {
            streams: self.streams.clone(),
        }
    }

    /// Opens a stream.
    pub(crate) fn subscribe(&self) -> EventStream {
        // A marker of lag needs a place beside the event that follows it.
        let (sender, receiver) = async_channel::bounded(BEHIND_MAX + 1);
        let mut streams = lock(&self.streams);
        streams
            .open
            .retain(|subscriber| !subscriber.sender.is_closed());
        if !streams.ended && streams.open.len() < STREAMS_MAX {
            streams.open.push(Subscriber {
                sender,
                seq: 0,
                missed: 0,
            });
        }
        EventStream { receiver }
    }
}

impl EventSource {
    /// Gives an event to every stream.
    pub(crate) fn send(&self, unix: UnixTime, event: &Event) {
        lock(&self.streams)
            .open
            .retain_mut(|subscriber| subscriber.send(unix, event));
    }
}

impl Drop for EventSource {
    fn drop(&mut self) {
        let mut streams = lock(&self.streams);
        streams.ended = true;
        streams.open.clear();
    }
}

/// What a panic elsewhere left is as good as any state of it.
fn lock(streams: &Mutex<Streams>) -> MutexGuard<'_, Streams> {
    streams.lock().unwrap_or_else(PoisonError::into_inner)
}

#[derive(Debug)]
struct Subscriber {
    sender: Sender<Numbered>,
    /// Number of the next item.
    seq: u64,
    /// Events before it that found no place.
    missed: u64,
}

impl Subscriber {
    /// Whether the stream is still read.
    fn send(&mut self, unix: UnixTime, event: &Event) -> bool {
        if self.sender.len() >= BEHIND_MAX {
            self.missed += 1;
            return !self.sender.is_closed();
        }
        if self.missed > 0 {
            let lagged = Numbered {
                seq: self.seq,
                unix,
                item: Streamed::Lagged(self.missed),
            };
            self.seq += self.missed;
            self.missed = 0;
            if !accepted(self.sender.try_send(lagged)) {
                return false;
            }
        }
        let item = Numbered {
            seq: self.seq,
            unix,
            item: Streamed::Event(event.clone()),
        };
        self.seq += 1;
        accepted(self.sender.try_send(item))
    }
}

fn accepted(sent: Result<(), TrySendError<Numbered>>) -> bool {
    sent.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use scp2p_proto::id::NodeKey;

    fn event(n: u8) -> Event {
        Event::PeerDisconnected {
            peer: NodeKey([n; 32]),
        }
    }

    /// A slow reader sees a gap of exactly the events it missed, in their place.
    #[test]
    fn a_slow_reader_is_told_what_it_missed() {
        smol::block_on(async {
            let broadcast = Broadcast::default();
            let source = broadcast.source();
            let mut stream = broadcast.subscribe();
            let extra = 10;
            for _ in 0..BEHIND_MAX + extra {
                source.send(UnixTime(1), &event(1));
            }
            for seq in 0..BEHIND_MAX as u64 {
                let item = stream.next().await.expect("the stream is open");
                assert_eq!((item.seq, item.item), (seq, Streamed::Event(event(1))));
            }
            source.send(UnixTime(2), &event(2));
            let lagged = stream.next().await.expect("the stream is open");
            assert_eq!(lagged.seq, BEHIND_MAX as u64);
            assert_eq!(lagged.item, Streamed::Lagged(extra as u64));
            let next = stream.next().await.expect("the stream is open");
            assert_eq!(next.seq, (BEHIND_MAX + extra) as u64);
            assert_eq!(next.item, Streamed::Event(event(2)));
            drop(source);
            assert_eq!(stream.next().await, None);
            assert_eq!(broadcast.subscribe().next().await, None);
        });
    }

    /// Streams that nobody reads any more do not count.
    #[test]
    fn dropped_streams_make_room() {
        smol::block_on(async {
            let broadcast = Broadcast::default();
            let source = broadcast.source();
            for _ in 0..STREAMS_MAX * 3 {
                let mut stream = broadcast.subscribe();
                source.send(UnixTime(1), &event(1));
                assert!(stream.next().await.is_some());
            }
            let held: Vec<EventStream> = (0..STREAMS_MAX).map(|_| broadcast.subscribe()).collect();
            assert_eq!(broadcast.subscribe().next().await, None);
            drop(held);
            let mut stream = broadcast.subscribe();
            source.send(UnixTime(1), &event(1));
            assert!(stream.next().await.is_some());
        });
    }
}
