//! Everything a stranger can put into a frame.

use alloc::string::ToString;
use alloc::vec::Vec;
use bytes::Bytes;

use crate::io::Frame;
use crate::limits::{FRAME_MAX, HANDSHAKE_FRAME_MAX};
use crate::wire::{
    Answer, AnswerError, BootstrapAddr, Envelope, FLAG_RESPONSE, FrameError, FrameReader, Hello,
    Request,
};

/// The wire target: the bytes as a stream of frames, as an envelope, as a hello, as the payload of every
/// request and reply, and as a bootstrap address. What can be read must be the same after it
/// was written and read again, however the stream was cut.
pub fn wire(data: &[u8]) {
    let data = Bytes::copy_from_slice(data);
    let (frames, end) = read_frames([data.clone()]);
    assert_eq!(
        (&frames, end),
        (
            &read_frames(data.chunks(1).map(Bytes::copy_from_slice)).0,
            end
        )
    );
    for body in frames.iter().chain([&data]) {
        check_envelope(body);
        check_hello(body);
    }
    for kind in 100..700 {
        check_request(kind, &data);
        check_answer(kind, kind, &data);
        check_answer(kind, kind + 1, &data);
        check_answer(kind, kind.saturating_sub(1), &data);
    }
    if let Ok(text) = core::str::from_utf8(&data)
        && let Ok(addr) = text.parse::<BootstrapAddr>()
    {
        assert_eq!(addr.to_string().parse(), Ok(addr.clone()));
        assert!(addr.dials().iter().all(|dial| dial.port != 0));
    }
}

fn read_frames(pieces: impl IntoIterator<Item = Bytes>) -> (Vec<Bytes>, Option<FrameError>) {
    let mut reader = FrameReader::new(HANDSHAKE_FRAME_MAX);
    let mut frames = Vec::new();
    for piece in pieces {
        reader.push(piece);
        loop {
            match reader.next() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
            reader.set_limit(FRAME_MAX);
        }
    }
    (frames, None)
}

fn check_envelope(body: &Bytes) {
    let Ok(envelope) = Envelope::decode(body) else {
        return;
    };
    let again = Envelope::decode(&body_of(envelope.clone().into_frame()));
    assert_eq!(again.as_ref(), Ok(&envelope));
    assert_eq!(Envelope::decode(&envelope.clone().encode()), again);
    check_request(envelope.kind, &envelope.payload);
    let refused = Answer::decode(envelope.kind, &envelope);
    assert_eq!(
        matches!(refused, Err(AnswerError::Refused { .. })),
        envelope.is_error()
    );
}

fn check_hello(body: &Bytes) {
    let Ok(hello) = Hello::decode(body) else {
        return;
    };
    let again = Hello::decode(&hello.encode()).expect("a hello that was read can be read again");
    assert_eq!(again, hello);
    assert_eq!(again.verify(), hello.verify());
}

fn check_request(kind: u16, payload: &Bytes) {
    let Ok(request) = Request::decode(kind, payload) else {
        return;
    };
    assert_eq!(request.kind(), kind);
    let envelope = envelope_of(request.to_frame(1));
    let bare = Envelope::decode(&request.to_envelope(1));
    assert_eq!(bare.as_ref(), Ok(&envelope), "with a length or without");
    assert_eq!(Request::decode(kind, &envelope.payload), Ok(request));
}

fn check_answer(request_kind: u16, kind: u16, payload: &Bytes) {
    let envelope = Envelope {
        kind,
        req_id: 1,
        flags: FLAG_RESPONSE,
        payload: payload.clone(),
    };
    let Ok(answer) = Answer::decode(request_kind, &envelope) else {
        return;
    };
    let again = envelope_of(answer.to_frame(request_kind, 1));
    // Written our way an answer may be too long for a payload.
    if !again.is_error() {
        assert_eq!(Answer::decode(request_kind, &again), Ok(answer));
    }
}

fn envelope_of(frame: Frame) -> Envelope {
    Envelope::decode(&body_of(frame)).expect("our own envelopes can be read")
}

fn body_of(frame: Frame) -> Bytes {
    let mut reader = FrameReader::new(FRAME_MAX);
    reader.push(frame.head);
    reader.push(frame.body);
    let body = reader.next().expect("our own frames can be read");
    body.expect("our own frames are complete")
}
