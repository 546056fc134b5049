//! Frames come out of a stream the same however it was cut.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use scp2p_proto::wire::{FrameError, FrameReader};

const LIMIT: u32 = 300_000;

fn stream_of(bodies: &[Vec<u8>]) -> Bytes {
    let frame = |body: &Vec<u8>| [&(body.len() as u32).to_be_bytes()[..], body].concat();
    bodies.iter().flat_map(frame).collect()
}

/// The pieces between the cuts.
fn cut(mut stream: Bytes, lens: &[usize]) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    for len in lens {
        pieces.push(stream.split_to((*len).min(stream.len())));
    }
    pieces.push(stream);
    pieces
}

proptest! {
    /// However a stream is cut, its frames come out as they went in, each as soon as its last byte is there,
    /// and nothing but bytes of unfinished frames is held.
    #[test]
    fn frames_do_not_depend_on_the_cuts(
        bodies in vec(prop_oneof![9 => vec(any::<u8>(), 1..50), 1 => vec(any::<u8>(), 60_000..200_000)], 0..8),
        lens in vec(prop_oneof![0..8_usize, 0..90_000_usize], 0..40),
    ) {
        let mut reader = FrameReader::new(LIMIT);
        let mut read = Vec::new();
        let (mut pushed, mut taken) = (0, 0);
        for piece in cut(stream_of(&bodies), &lens) {
            pushed += piece.len();
            reader.push(piece);
            while let Some(body) = reader.next().expect("the stream is well-formed") {
                taken += body.len() + 4;
                read.push(body.to_vec());
            }
            prop_assert_eq!(reader.buffered(), pushed - taken);
            let complete = bodies.iter().scan(0, |end, body| {
                *end += body.len() + 4;
                Some(*end)
            });
            prop_assert_eq!(read.len(), complete.filter(|end| *end <= pushed).count());
        }
        prop_assert_eq!(read, bodies);
    }

    /// A length beyond the limit, or of zero, ends the stream for ever, after all frames before it.
    #[test]
    fn a_bad_length_ends_the_stream(body in vec(any::<u8>(), 1..50), len in prop_oneof![Just(0), LIMIT + 1..]) {
        let mut reader = FrameReader::new(LIMIT);
        let error = if len == 0 { FrameError::Empty } else { FrameError::TooLong(len) };
        reader.push(stream_of(std::slice::from_ref(&body)));
        reader.push(Bytes::copy_from_slice(&len.to_be_bytes()));
        prop_assert_eq!(reader.next(), Ok(Some(Bytes::from(body))));
        prop_assert_eq!(reader.next(), Err(error));
        reader.push(stream_of(&[vec![1]]));
        prop_assert_eq!(reader.next(), Err(error));
        prop_assert_eq!(reader.buffered(), 0);
    }
}

#[test]
fn a_changed_limit_holds_for_lengths_not_read_yet() {
    let mut reader = FrameReader::new(10);
    reader.push(stream_of(&[vec![1; 10], vec![2; 20]]));
    assert_eq!(reader.next(), Ok(Some(vec![1; 10].into())));
    reader.set_limit(20);
    assert_eq!(reader.next(), Ok(Some(vec![2; 20].into())));
}

#[test]
fn a_frame_within_one_piece_is_not_copied() {
    let stream = stream_of(&[vec![1; 100], vec![2; 100]]);
    let held = stream.as_ptr_range();
    let mut reader = FrameReader::new(LIMIT);
    reader.push(stream);
    for _ in 0..2 {
        let body = reader.next().expect("well-formed").expect("complete");
        assert!(held.contains(&body.as_ptr()));
    }
}
