//! Credit in both directions of a link, lane by lane (SPECIFICATION §4.4).

use alloc::collections::VecDeque;

use crate::io::{Frame, Lane};
use crate::limits::{
    FRAME_MAX, HANDSHAKE_FRAME_MAX, HANDSHAKE_WINDOW, LANE_WINDOW, SEND_QUEUE_BYTES_MAX,
    SEND_QUEUE_FRAMES_MAX,
};

/// What waits to be sent on a link, and how much the driver takes.
#[derive(Debug, Default)]
pub struct Room {
    control: Outgoing,
    bulk: Outgoing,
}

#[derive(Debug, Default)]
struct Outgoing {
    /// Bytes that the driver takes; negative after a frame that exceeded what was left.
    room: i64,
    /// Whether the lane ever had room, and so exists.
    open: bool,
    frames: VecDeque<Frame>,
    bytes: u64,
}

impl Room {
    /// No room and nothing queued.
    pub fn new() -> Room {
        Room::default()
    }

    /// The driver takes so many more bytes on a lane.
    pub fn add(&mut self, lane: Lane, bytes: u32) {
        let outgoing = self.lane_mut(lane);
        outgoing.room = outgoing.room.saturating_add(i64::from(bytes));
        outgoing.open |= bytes > 0;
    }

    /// Whether a lane exists, that is ever had room.
    pub fn is_open(&self, lane: Lane) -> bool {
        self.lane(lane).open
    }

    /// Queues a frame. Gives it back when the lane holds [`SEND_QUEUE_FRAMES_MAX`] frames or
    /// would exceed [`SEND_QUEUE_BYTES_MAX`]: the remote asks without reading.
    pub fn push(&mut self, lane: Lane, frame: Frame) -> Result<(), Frame> {
        if !self.takes(lane, 1, frame.len()) {
            return Err(frame);
        }
        let outgoing = self.lane_mut(lane);
        outgoing.bytes = outgoing.bytes.saturating_add(frame.len() as u64);
        outgoing.frames.push_back(frame);
        Ok(())
    }

    /// Whether a lane's queue takes so many more frames that have so many bytes together.
    pub fn takes(&self, lane: Lane, frames: usize, bytes: usize) -> bool {
        let outgoing = self.lane(lane);
        outgoing.frames.len().saturating_add(frames) <= SEND_QUEUE_FRAMES_MAX
            && outgoing.bytes.saturating_add(bytes as u64) <= SEND_QUEUE_BYTES_MAX
    }

    /// The next frame that may be sent now: of the control lane first, within a lane in
    /// the order of queueing.
    pub fn pop(&mut self) -> Option<(Lane, Frame)> {
        [Lane::Control, Lane::Bulk]
            .into_iter()
            .find_map(|lane| Some((lane, self.lane_mut(lane).pop()?)))
    }

    /// Bytes queued on a lane.
    pub fn queued(&self, lane: Lane) -> u64 {
        self.lane(lane).bytes
    }

    /// Whether nothing is queued.
    pub fn is_empty(&self) -> bool {
        self.control.frames.is_empty() && self.bulk.frames.is_empty()
    }

    fn lane(&self, lane: Lane) -> &Outgoing {
        match lane {
            Lane::Control => &self.control,
            Lane::Bulk => &self.bulk,
        }
    }

    fn lane_mut(&mut self, lane: Lane) -> &mut Outgoing {
        match lane {
            Lane::Control => &mut self.control,
            Lane::Bulk => &mut self.bulk,
        }
    }
}

impl Outgoing {
    fn pop(&mut self) -> Option<Frame> {
        if self.room <= 0 {
            return None;
        }
        let frame = self.frames.pop_front()?;
        let bytes = frame.len() as u64;
        self.bytes = self.bytes.saturating_sub(bytes);
        self.room = self.room.saturating_sub_unsigned(bytes);
        Some(frame)
    }
}

/// How much of a link the driver may read.
///
/// What was granted is not granted again before [`Grants::consumed`] says that it was dealt
/// with, so at most a lane's window is on its way or held at any time. Before
/// authentication the control lane may carry the frames of a handshake and the bulk lane
/// nothing.
#[derive(Debug)]
pub struct Grants {
    control: Incoming,
    bulk: Incoming,
}

#[derive(Debug, Default)]
struct Incoming {
    window: u32,
    /// Granted and not yet consumed.
    outstanding: u32,
}

impl Default for Grants {
    fn default() -> Grants {
        Grants::new()
    }
}

impl Grants {
    /// For a link whose remote is unknown yet.
    pub fn new() -> Grants {
        Grants {
            control: Incoming {
                window: HANDSHAKE_WINDOW,
                outstanding: 0,
            },
            bulk: Incoming::default(),
        }
    }

    /// The remote is authenticated: both lanes get their full window.
    pub fn authenticated(&mut self) {
        self.control.window = LANE_WINDOW;
        self.bulk.window = LANE_WINDOW;
    }

    /// Bytes of a lane were dealt with: handled, dropped, or written.
    pub fn consumed(&mut self, lane: Lane, bytes: u32) {
        let incoming = self.lane(lane);
        incoming.outstanding = incoming.outstanding.saturating_sub(bytes);
    }

    /// The next grant that is due, counted as given.
    pub fn pop(&mut self) -> Option<(Lane, u32)> {
        [Lane::Control, Lane::Bulk]
            .into_iter()
            .find_map(|lane| Some((lane, self.lane(lane).grant()?)))
    }

    fn lane(&mut self, lane: Lane) -> &mut Incoming {
        match lane {
            Lane::Control => &mut self.control,
            Lane::Bulk => &mut self.bulk,
        }
    }
}

impl Incoming {
    /// Grants come in steps of at least an eighth of the window, so that small frames do
    /// not cost an output each. The rest of a window still takes any legal frame.
    fn grant(&mut self) -> Option<u32> {
        let due = self.window.saturating_sub(self.outstanding);
        if due == 0 || due < self.window / 8 {
            return None;
        }
        self.outstanding = self.outstanding.saturating_add(due);
        Some(due)
    }
}

// A frame is consumed when it is complete, so one that does not fit what is granted while
// the next grant is not due would wait for ever.
const _: () = assert!(HANDSHAKE_WINDOW - HANDSHAKE_WINDOW / 8 >= HANDSHAKE_FRAME_MAX + 4);
const _: () = assert!(LANE_WINDOW - LANE_WINDOW / 8 >= FRAME_MAX + 4);

#[cfg(any(test, feature = "check"))]
impl Room {
    pub(crate) fn check(&self, broken: &mut crate::check::Broken) {
        for lane in [&self.control, &self.bulk] {
            broken.at_most("frames queued", lane.frames.len(), SEND_QUEUE_FRAMES_MAX);
            broken.unless(lane.bytes <= SEND_QUEUE_BYTES_MAX, || {
                alloc::format!("a lane's queue has {} bytes", lane.bytes)
            });
            let bytes = lane.frames.iter().map(|frame| frame.len() as u64).sum();
            broken.equal(
                "bytes queued, as counted and as they are",
                lane.bytes,
                bytes,
            );
            broken.unless(lane.room <= 0 || lane.frames.is_empty(), || {
                "a frame waits although there is room for it".into()
            });
        }
    }
}

#[cfg(any(test, feature = "check"))]
impl Grants {
    /// Whether all that is due was granted, as on any link that is up.
    pub(crate) fn is_given(&self) -> bool {
        [&self.control, &self.bulk].into_iter().all(|lane| {
            let due = lane.window.saturating_sub(lane.outstanding);
            due == 0 || due < lane.window / 8
        })
    }

    pub(crate) fn check(&self, broken: &mut crate::check::Broken) {
        for lane in [&self.control, &self.bulk] {
            broken.unless(lane.outstanding <= lane.window, || {
                alloc::format!(
                    "{} bytes are granted of a window of {}",
                    lane.outstanding,
                    lane.window
                )
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;
    use bytes::Bytes;
    use proptest::prelude::*;

    fn frame(tag: u8, len: usize) -> Frame {
        Frame {
            head: Bytes::from(vec![tag; len]),
            body: Bytes::new(),
        }
    }

    fn lane() -> impl Strategy<Value = Lane> {
        prop_oneof![Just(Lane::Control), Just(Lane::Bulk)]
    }

    #[derive(Debug, Clone)]
    enum Step {
        Add(Lane, u32),
        Push(Lane, usize),
        Pop,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (lane(), 0_u32..300).prop_map(|(lane, bytes)| Step::Add(lane, bytes)),
            (lane(), 1_usize..200).prop_map(|(lane, len)| Step::Push(lane, len)),
            Just(Step::Pop),
        ]
    }

    proptest! {
        /// Frames leave in the order of queueing, and only while the lane's room is positive.
        #[test]
        fn in_order_within_room(steps in prop::collection::vec(step(), 0..200)) {
            let mut room = Room::new();
            let mut left = [0_i64; 2];
            let mut pushed = [vec![], vec![]];
            let mut popped = [vec![], vec![]];
            for (n, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Add(lane, bytes) => {
                        room.add(lane, bytes);
                        left[lane as usize] += i64::from(bytes);
                    }
                    Step::Push(lane, len) => {
                        let frame = frame(n as u8, len);
                        pushed[lane as usize].push(frame.clone());
                        prop_assert!(room.push(lane, frame).is_ok());
                    }
                    Step::Pop => {
                        let sendable = |l: usize| left[l] > 0 && pushed[l].len() > popped[l].len();
                        match room.pop() {
                            Some((lane, frame)) => {
                                let lane = lane as usize;
                                prop_assert!(sendable(lane));
                                left[lane] -= frame.len() as i64;
                                popped[lane].push(frame);
                            }
                            None => prop_assert!(!sendable(0) && !sendable(1)),
                        }
                    }
                }
            }
            for lane in [Lane::Control, Lane::Bulk] {
                let (pushed, popped) = (&pushed[lane as usize], &popped[lane as usize]);
                prop_assert_eq!(&pushed[..popped.len()], &popped[..]);
                let waiting: usize = pushed[popped.len()..].iter().map(Frame::len).sum();
                prop_assert_eq!(room.queued(lane), waiting as u64);
            }
        }

        /// What the driver may have read and the node not dealt with never exceeds the
        /// window, and all of the window comes back.
        #[test]
        fn grants_stay_within_the_window(portions in prop::collection::vec(1_u32..2_000_000, 1..60)) {
            let mut grants = Grants::new();
            grants.authenticated();
            let mut held = 0_u32;
            let take = |grants: &mut Grants, held: &mut u32| {
                while let Some((lane, bytes)) = grants.pop() {
                    if lane == Lane::Bulk {
                        *held += bytes;
                    }
                }
            };
            take(&mut grants, &mut held);
            for portion in portions {
                let portion = portion.min(held);
                held -= portion;
                grants.consumed(Lane::Bulk, portion);
                take(&mut grants, &mut held);
                prop_assert!(held <= LANE_WINDOW);
                prop_assert!(held > LANE_WINDOW - LANE_WINDOW / 8);
            }
        }
    }

    #[test]
    fn queues_are_bounded() {
        let mut room = Room::new();
        let mut queued = 0;
        while room.push(Lane::Control, frame(0, 1)).is_ok() {
            queued += 1;
        }
        assert_eq!(queued, SEND_QUEUE_FRAMES_MAX);
        let mut bytes = 0;
        while room.push(Lane::Bulk, frame(0, 1 << 20)).is_ok() {
            bytes += 1 << 20;
        }
        assert!(bytes <= SEND_QUEUE_BYTES_MAX && bytes > SEND_QUEUE_BYTES_MAX - (1 << 20));
        assert!(
            SEND_QUEUE_BYTES_MAX > u64::from(FRAME_MAX),
            "every legal frame fits an empty queue"
        );
    }

    #[test]
    fn one_frame_may_exceed_the_room() {
        let mut room = Room::new();
        room.push(Lane::Control, frame(1, 500))
            .expect("there is space");
        room.push(Lane::Control, frame(2, 1))
            .expect("there is space");
        assert_eq!(room.pop(), None);
        room.add(Lane::Control, 1);
        assert_eq!(room.pop(), Some((Lane::Control, frame(1, 500))));
        room.add(Lane::Control, 499);
        assert_eq!(room.pop(), None, "the debt comes first");
        room.add(Lane::Control, 1);
        assert_eq!(room.pop(), Some((Lane::Control, frame(2, 1))));
        assert!(room.is_empty());
    }

    #[test]
    fn a_lane_exists_once_it_had_room() {
        let mut room = Room::new();
        assert!(!room.is_open(Lane::Bulk));
        room.add(Lane::Bulk, 0);
        assert!(!room.is_open(Lane::Bulk));
        room.add(Lane::Bulk, 5);
        assert!(room.is_open(Lane::Bulk));
    }

    #[test]
    fn a_stranger_gets_the_handshake_window_alone() {
        let mut grants = Grants::new();
        assert_eq!(grants.pop(), Some((Lane::Control, HANDSHAKE_WINDOW)));
        assert_eq!(grants.pop(), None);
        grants.consumed(Lane::Control, 100);
        assert_eq!(grants.pop(), None, "too little to be worth a grant");
        grants.consumed(Lane::Control, 20_000);
        assert_eq!(grants.pop(), Some((Lane::Control, 20_100)));
        grants.authenticated();
        let all: Vec<_> = core::iter::from_fn(|| grants.pop()).collect();
        assert_eq!(
            all,
            [
                (Lane::Control, LANE_WINDOW - HANDSHAKE_WINDOW),
                (Lane::Bulk, LANE_WINDOW)
            ]
        );
    }
}
