//! A peer that is no node: it says who it is and asks, one thing after another.

use std::io::{self, Error, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use scp2p_proto::id::NodeKey;
use scp2p_proto::io::Frame;
use scp2p_proto::keys::Keys;
use scp2p_proto::limits::FRAME_MAX;
use scp2p_proto::wire::{Answer, AnswerError, Envelope, FrameReader, Request};

use super::{bare, stranger};

/// A session over TLS.
pub struct Client {
    stream: rustls::StreamOwned<rustls::ClientConnection, TcpStream>,
    frames: FrameReader,
    buffer: Vec<u8>,
    asked: u32,
    key: NodeKey,
}

impl Client {
    /// Opens a session with the node at an address, from an address of this host, with the key of this number.
    pub fn meet(from: Ipv4Addr, to: SocketAddr, n: u32) -> io::Result<Client> {
        let mut stream = bare::dial_tls_from(from, to)?;
        stranger::greet(&mut stream, n)?;
        Ok(Client {
            stream,
            frames: FrameReader::new(FRAME_MAX),
            buffer: vec![0; 1 << 16],
            asked: 0,
            key: Keys::from_seed(stranger::seed(n)).public(),
        })
    }

    pub fn key(&self) -> NodeKey {
        self.key
    }

    pub fn send(&mut self, frame: &Frame) -> io::Result<()> {
        self.stream.write_all(&frame.head)?;
        self.stream.write_all(&frame.body)
    }

    /// Sends a request and says its number.
    pub fn ask(&mut self, request: &Request) -> io::Result<u32> {
        self.asked += 1;
        self.send(&request.to_frame(self.asked))?;
        Ok(self.asked)
    }

    /// Asks, and waits for the answer.
    pub fn call(&mut self, request: &Request) -> io::Result<Result<Answer, AnswerError>> {
        let asked = self.ask(request)?;
        loop {
            let envelope = self.next()?;
            if envelope.is_response() && envelope.req_id == asked {
                return Ok(Answer::decode(request.kind(), &envelope));
            }
        }
    }

    /// The next answer or circuit frame. Circuits are taken, and nothing else is known.
    pub fn next(&mut self) -> io::Result<Envelope> {
        loop {
            while let Some(body) = self.frames.next().map_err(Error::other)? {
                let envelope = Envelope::decode(&body).map_err(Error::other)?;
                if envelope.is_response() {
                    return Ok(envelope);
                }
                let frame = match Request::decode(envelope.kind, &envelope.payload) {
                    Ok(Request::Incoming(_)) => {
                        Answer::Ack.to_frame(envelope.kind, envelope.req_id)
                    }
                    Ok(_) => Answer::error_frame(envelope.kind, envelope.req_id, "not found"),
                    Err(_) => return Ok(envelope),
                };
                self.send(&frame)?;
            }
            let len = self.stream.read(&mut self.buffer)?;
            if len == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.frames.push(self.buffer[..len].to_vec().into());
        }
    }
}
