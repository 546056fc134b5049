//! The task of one link: TLS records between a socket and two channels.

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io::{self, BufRead, IoSlice, Read, Write};
use std::mem;
use std::net::{Shutdown, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll};

use async_channel::{Receiver, Sender, TrySendError};
use async_io::{Async, Timer};
use bytes::Bytes;
use futures_lite::Stream;
use rustls::Connection;
use scp2p_proto::id::LinkId;
use scp2p_proto::io::{DialError, Frame, Lane, LinkError, LinkEvent};
use scp2p_proto::session::EXPORTER_LABEL;

use super::super::{CLOSING_TIME_MAX, CONTROL_ROOM, READ_MAX, ROOM_PARTS};
use super::{Report, ToLink};

/// Encrypted bytes that may wait for the socket: enough that a write is worth its system call.
const ENCRYPTED_MAX: u64 = 256 << 10;
/// Bytes asked of the socket at a time.
const SOCKET_READ: usize = 128 << 10;
/// Wishes taken before the link's own work is looked after again.
const WISHES_AT_ONCE: usize = 64;

/// Ends the TLS handshake and derives the channel's exporter value.
pub(super) async fn shake_hands(
    stream: Async<TcpStream>,
    mut tls: Connection,
) -> Result<(Async<TcpStream>, Connection, [u8; 32]), DialError> {
    poll_fn(|cx| poll_handshake(&stream, &mut tls, cx)).await?;
    tls.set_buffer_limit(None);
    let exporter = tls
        .export_keying_material([0; 32], EXPORTER_LABEL.as_bytes(), None)
        .map_err(|_| DialError::Tls)?;
    Ok((stream, tls, exporter))
}

fn poll_handshake(
    stream: &Async<TcpStream>,
    tls: &mut Connection,
    cx: &mut Context<'_>,
) -> Poll<Result<(), DialError>> {
    loop {
        while tls.wants_write() {
            match tls.write_tls(&mut stream.get_ref()) {
                Ok(_) => {}
                Err(error) if is_blocked(&error) => match stream.poll_writable(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(_)) => return Poll::Ready(Err(DialError::Tls)),
                    Poll::Pending => return Poll::Pending,
                },
                Err(_) => return Poll::Ready(Err(DialError::Tls)),
            }
        }
        if !tls.is_handshaking() {
            return Poll::Ready(Ok(()));
        }
        match tls.read_tls(&mut stream.get_ref()) {
            Ok(0) => return Poll::Ready(Err(DialError::Tls)),
            Ok(_) => {
                if tls.process_new_packets().is_err() {
                    // The alert says why; whether it arrives does not matter.
                    let _ = tls.write_tls(&mut stream.get_ref());
                    return Poll::Ready(Err(DialError::Tls));
                }
            }
            Err(error) if is_blocked(&error) => match stream.poll_readable(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Err(DialError::Tls)),
                Poll::Pending => return Poll::Pending,
            },
            Err(_) => return Poll::Ready(Err(DialError::Tls)),
        }
    }
}

/// A link that is up.
pub(super) struct LinkTask {
    id: LinkId,
    stream: Async<TcpStream>,
    tls: Connection,
    wishes: Pin<Box<Receiver<ToLink>>>,
    reports: Sender<(LinkId, Report)>,
    /// A report that waits for a place.
    reporting: Option<Pin<Box<dyn Future<Output = bool> + Send>>>,
    /// Frames that are not encrypted yet.
    queue: VecDeque<Frame>,
    /// Bytes encrypted, as plain text, that the socket has not taken all of.
    encrypted: u64,
    /// Bytes that the socket has taken since room was last given back.
    freed: u64,
    granted: u64,
    /// Bytes of the last read.
    came: usize,
    input: Input,
    phase: Phase,
}

enum Phase {
    Open,
    /// Closed by the node: what it sent goes out, then the end of the stream.
    Flushing(Timer),
    /// Everything is sent; the remote's end is awaited, because closing over unread
    /// bytes would take back what it has not received.
    Lingering(Timer),
}

impl LinkTask {
    pub(super) fn new(
        id: LinkId,
        stream: Async<TcpStream>,
        tls: Connection,
        wishes: Receiver<ToLink>,
        reports: Sender<(LinkId, Report)>,
    ) -> LinkTask {
        LinkTask {
            id,
            stream,
            tls,
            wishes: Box::pin(wishes),
            reports,
            reporting: None,
            queue: VecDeque::new(),
            encrypted: 0,
            freed: u64::from(CONTROL_ROOM),
            granted: 0,
            came: 0,
            input: Input::default(),
            phase: Phase::Open,
        }
    }

    /// Works until the link is over, and reports how it ended.
    pub(super) async fn run(mut self) {
        let end = poll_fn(|cx| self.poll(cx)).await;
        if let Some(reporting) = self.reporting.take() {
            reporting.await;
        }
        let report = match (&self.phase, end) {
            (Phase::Open, Some(why)) => Report::Event(LinkEvent::Closed(why)),
            (Phase::Open, None) | (Phase::Flushing(_) | Phase::Lingering(_), _) => Report::Gone,
        };
        let _ = self.reports.send((self.id, report)).await;
    }

    /// How the link ended; nothing if nobody is left who wants it.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<LinkError>> {
        loop {
            // While a report waits nothing is read; writing goes on.
            let _ = self.poll_reporting(cx);
            let Ok(more) = self.take_wishes(cx) else {
                return Poll::Ready(None);
            };
            if let Err(why) = self.write(cx) {
                return Poll::Ready(Some(why));
            }
            if self.is_late(cx) {
                return Poll::Ready(None);
            }
            let read = match self.phase {
                Phase::Open => self.read(cx),
                Phase::Flushing(_) => Ok(false),
                Phase::Lingering(_) => self.discard(cx),
            };
            match read {
                Err(why) => return Poll::Ready(Some(why)),
                Ok(read) if read || more => {}
                Ok(_) => return Poll::Pending,
            }
        }
    }

    /// Whether there may be more wishes; an error if there is no driver.
    fn take_wishes(&mut self, cx: &mut Context<'_>) -> Result<bool, ()> {
        if !matches!(self.phase, Phase::Open) {
            return Ok(false);
        }
        for _ in 0..WISHES_AT_ONCE {
            match self.wishes.as_mut().poll_next(cx) {
                Poll::Ready(Some(ToLink::Send(frame))) => self.queue.push_back(frame),
                Poll::Ready(Some(ToLink::Grant(bytes))) => {
                    self.granted = self.granted.saturating_add(u64::from(bytes));
                }
                Poll::Ready(Some(ToLink::Close)) => {
                    self.phase = Phase::Flushing(Timer::after(CLOSING_TIME_MAX));
                    return Ok(false);
                }
                Poll::Ready(None) => return Err(()),
                Poll::Pending => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Encrypts and writes until the socket is full or everything is out.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<(), LinkError> {
        loop {
            while self.encrypted < ENCRYPTED_MAX
                && let Some(frame) = self.queue.pop_front()
            {
                let pieces = [IoSlice::new(&frame.head), IoSlice::new(&frame.body)];
                let written = self.tls.writer().write_vectored(&pieces);
                assert_eq!(
                    written.ok(),
                    Some(frame.len()),
                    "the buffer of TLS has no limit"
                );
                self.encrypted += frame.len() as u64;
            }
            while self.tls.wants_write() {
                match self.tls.write_tls(&mut self.stream.get_ref()) {
                    Ok(_) => {}
                    Err(error) if is_blocked(&error) => match self.stream.poll_writable(cx) {
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(_)) => return Err(LinkError::Lost),
                        Poll::Pending => return Ok(()),
                    },
                    Err(_) => return Err(LinkError::Lost),
                }
            }
            self.freed += self.encrypted;
            self.encrypted = 0;
            self.report_room(cx);
            if self.queue.is_empty() {
                break;
            }
        }
        if matches!(self.phase, Phase::Flushing(_)) {
            self.tls.send_close_notify();
            let _ = self.tls.write_tls(&mut self.stream.get_ref());
            let _ = self.stream.get_ref().shutdown(Shutdown::Write);
            self.phase = Phase::Lingering(Timer::after(CLOSING_TIME_MAX));
        }
        Ok(())
    }

    /// Gives room back in pieces worth an event, as soon as there is a place for the report.
    fn report_room(&mut self, cx: &mut Context<'_>) {
        if self.freed >= u64::from(CONTROL_ROOM / ROOM_PARTS)
            && matches!(self.phase, Phase::Open)
            && self.reporting.is_none()
        {
            let room = u32::try_from(self.freed).unwrap_or(u32::MAX);
            self.freed -= u64::from(room);
            self.report(cx, LinkEvent::Room(Lane::Control, room));
        }
    }

    /// Reads within the grant. Whether anything was read.
    fn read(&mut self, cx: &mut Context<'_>) -> Result<bool, LinkError> {
        if self.reporting.is_some() || self.granted == 0 {
            return Ok(false);
        }
        let most = usize::try_from(self.granted).map_or(READ_MAX, |granted| granted.min(READ_MAX));
        // As much is likely to come as came last time.
        let mut plain = Vec::with_capacity(self.came.min(most));
        let mut end = None;
        while plain.len() < most && end.is_none() {
            match self.tls.reader().fill_buf() {
                Ok([]) => end = Some(LinkError::Closed),
                Ok(decrypted) => {
                    let taken = decrypted.len().min(most - plain.len());
                    plain.extend_from_slice(&decrypted[..taken]);
                    self.tls.reader().consume(taken);
                }
                Err(error) if is_blocked(&error) => match self.read_records(cx) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(why) => end = Some(why),
                },
                // The remote dropped its socket without saying that it would.
                Err(_) => end = Some(LinkError::Closed),
            }
        }
        if !plain.is_empty() {
            self.granted -= plain.len() as u64;
            self.came = plain.len();
            // A large buffer is not kept for few bytes.
            if plain.len() < plain.capacity() / 2 {
                plain.shrink_to_fit();
            }
            self.report(cx, LinkEvent::Bytes(Lane::Control, Bytes::from(plain)));
            // An end is met again by the next read.
            return Ok(true);
        }
        end.map_or(Ok(false), Err)
    }

    /// Gives TLS bytes of the socket. False if there are none now.
    fn read_records(&mut self, cx: &mut Context<'_>) -> Result<bool, LinkError> {
        if self.input.rest().is_empty() {
            match self.input.fill(self.stream.get_ref()) {
                Ok(()) => {}
                Err(error) if is_blocked(&error) => {
                    return match self.stream.poll_readable(cx) {
                        Poll::Ready(Ok(())) => Ok(true),
                        Poll::Ready(Err(_)) => Err(LinkError::Lost),
                        Poll::Pending => {
                            mem::take(&mut self.input).put_back();
                            Ok(false)
                        }
                    };
                }
                Err(_) => return Err(LinkError::Lost),
            }
        }
        // TLS learns of the end of the stream by being given nothing.
        let taken = self
            .tls
            .read_tls(&mut self.input.rest())
            .map_err(|_| LinkError::Lost)?;
        self.input.start += taken;
        self.tls
            .process_new_packets()
            .map_err(|_| LinkError::Lost)?;
        Ok(true)
    }

    /// Reads and forgets. Whether there may be more; an error at the end.
    fn discard(&mut self, cx: &mut Context<'_>) -> Result<bool, LinkError> {
        let mut buffer = [0; 4096];
        match self.stream.get_ref().read(&mut buffer) {
            Ok(0) => Err(LinkError::Closed),
            Ok(_) => Ok(true),
            Err(error) if is_blocked(&error) => match self.stream.poll_readable(cx) {
                Poll::Ready(Ok(())) => Ok(true),
                Poll::Ready(Err(_)) => Err(LinkError::Lost),
                Poll::Pending => Ok(false),
            },
            Err(_) => Err(LinkError::Lost),
        }
    }

    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        match &mut self.phase {
            Phase::Open => false,
            Phase::Flushing(timer) | Phase::Lingering(timer) => Pin::new(timer).poll(cx).is_ready(),
        }
    }

    fn report(&mut self, cx: &mut Context<'_>, event: LinkEvent) {
        match self.reports.try_send((self.id, Report::Event(event))) {
            Ok(()) => {}
            Err(TrySendError::Full(report)) => {
                let reports = self.reports.clone();
                self.reporting = Some(Box::pin(async move { reports.send(report).await.is_ok() }));
                let _ = self.poll_reporting(cx);
            }
            // Nobody is left to be told; the next look at the wishes ends the task.
            Err(TrySendError::Closed(_)) => {}
        }
    }

    fn poll_reporting(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(reporting) = &mut self.reporting else {
            return Poll::Ready(());
        };
        if reporting.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        self.reporting = None;
        Poll::Ready(())
    }
}

thread_local! {
    /// A buffer that no link of this thread reads into now: one for each link would be much memory, and a new one for
    /// each read is as much work as the read.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Bytes from the socket that TLS has not taken. TLS asks for few at a time, which would
/// be a system call each.
#[derive(Default)]
struct Input {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Input {
    fn rest(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    fn fill(&mut self, mut socket: &TcpStream) -> io::Result<()> {
        if self.buffer.is_empty() {
            self.buffer = SPARE.take();
            self.buffer.resize(SOCKET_READ, 0);
        }
        (self.start, self.end) = (0, 0);
        self.end = socket.read(&mut self.buffer)?;
        Ok(())
    }

    /// Leaves the buffer to the next link that reads.
    fn put_back(self) {
        SPARE.set(self.buffer);
    }
}

fn is_blocked(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}
