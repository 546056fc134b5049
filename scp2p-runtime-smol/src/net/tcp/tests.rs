use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, Shutdown};

use super::*;
use bytes::Bytes;
use futures_lite::future::block_on;
use scp2p_proto::io::{Host, LinkError};

use crate::net::{CONTROL_ROOM, HALF_OPEN_PER_IP_MAX};

/// An end that listens on loopback, with threads of its own.
struct End {
    links: TcpLinks,
    addr: SocketAddr,
    _stop: Sender<()>,
}

fn end() -> End {
    let executor = Arc::new(Executor::new());
    let identity = Identity::generate().expect("a certificate");
    let mut links = TcpLinks::new(Arc::downgrade(&executor), identity, AcceptedIds::default());
    let addr = links
        .listen((Ipv4Addr::LOCALHOST, 0).into())
        .expect("a port");
    let (stop, stopped) = async_channel::bounded(1);
    std::thread::spawn(move || {
        let _ = smol::block_on(executor.run(stopped.recv()));
    });
    End {
        links,
        addr,
        _stop: stop,
    }
}

impl End {
    /// The next event, within a time that is ample on any machine.
    fn next(&mut self) -> (LinkId, LinkEvent) {
        let next = async { Some(poll_fn(|cx| self.links.poll_event(cx)).await) };
        let late = async {
            Timer::after(Duration::from_secs(30)).await;
            None
        };
        block_on(future::or(next, late)).expect("an event in time")
    }

    fn dial(&mut self, id: LinkId, to: SocketAddr) {
        let dial = Dial {
            transport: Transport::Tcp,
            host: Host::Ip(to.ip()),
            port: to.port(),
        };
        self.links.dial(id, dial);
    }

    /// Bytes until there are so many.
    fn read(&mut self, len: usize) -> Vec<u8> {
        let mut got = Vec::new();
        while got.len() < len {
            match self.next() {
                (id, LinkEvent::Bytes(Lane::Control, bytes)) => {
                    got.extend_from_slice(&bytes);
                    self.links.grant(id, Lane::Control, bytes.len() as u32);
                }
                (_, LinkEvent::Room(..)) => {}
                other => panic!("{other:?}"),
            }
        }
        got
    }
}

/// Both ends of a link, their ids, and their exporter values.
fn pair() -> (End, End, LinkId, LinkId, [[u8; 32]; 2]) {
    let (mut a, mut b) = (end(), end());
    let id = LinkId(1);
    a.dial(id, b.addr);
    let (dialed, event) = a.next();
    let LinkEvent::Dialed(here) = event else {
        panic!("{event:?}")
    };
    let (accepted, event) = b.next();
    let LinkEvent::Accepted(there) = event else {
        panic!("{event:?}")
    };
    assert_eq!(dialed, id);
    assert_eq!(accepted.0 >> 63, 1);
    assert_eq!(here.remote, b.addr);
    for end in [&mut a, &mut b] {
        let (_, event) = end.next();
        assert!(
            matches!(event, LinkEvent::Room(Lane::Control, CONTROL_ROOM)),
            "{event:?}"
        );
    }
    (a, b, id, accepted, [here.exporter, there.exporter])
}

fn frame(len: usize) -> Frame {
    let body: Bytes = (0..len).map(|i| (i % 251) as u8).collect();
    Frame {
        head: Bytes::from_static(b"head"),
        body,
    }
}

/// Both ends of a connection derive the same 32 bytes.
#[test]
fn exporters_agree() {
    let (.., [here, there]) = pair();
    assert_eq!(here, there);
}

/// Somebody in between who speaks TLS with both ends is noticed: the values differ.
#[test]
fn exporters_differ_through_a_middle_man() {
    let (mut a, mut b, mut middle) = (end(), end(), end());
    a.dial(LinkId(1), middle.addr);
    let (_, event) = middle.next();
    assert!(matches!(event, LinkEvent::Accepted(_)), "{event:?}");
    middle.dial(LinkId(2), b.addr);
    let (_, event) = a.next();
    let LinkEvent::Dialed(here) = event else {
        panic!("{event:?}")
    };
    let (_, event) = b.next();
    let LinkEvent::Accepted(there) = event else {
        panic!("{event:?}")
    };
    assert_ne!(here.exporter, there.exporter);
}

/// Frames of all sizes arrive whole, in both directions at once, and their room comes back.
#[test]
fn frames_arrive_whole() {
    let (mut a, mut b, here, there, _) = pair();
    let sizes = [0, 1, 100, 16 << 10, 256 << 10, 1 << 20, 7];
    let total: usize = sizes.iter().map(|len| len + 4).sum();
    let expected: Vec<u8> = sizes
        .iter()
        .flat_map(|len| [frame(*len).head.to_vec(), frame(*len).body.to_vec()].concat())
        .collect();
    a.links.grant(here, Lane::Control, 64 << 10);
    b.links.grant(there, Lane::Control, 64 << 10);
    for len in sizes {
        a.links.send(here, frame(len));
        b.links.send(there, frame(len));
    }
    let reader = std::thread::spawn(move || (b.read(total), b));
    assert!(a.read(total) == expected);
    let (got, mut b) = reader.join().expect("the reader");
    assert!(got == expected);
    // Rooms may have come between; what is sent now and the rest of them add up.
    b.links.close(there, CloseCode::Done);
    loop {
        match a.next() {
            (_, LinkEvent::Room(..)) => {}
            (id, LinkEvent::Closed(why)) => {
                assert_eq!((id, why), (here, LinkError::Closed));
                break;
            }
            other => panic!("{other:?}"),
        }
    }
}

/// No byte beyond the grant is delivered.
#[test]
fn grants_bound_what_is_read() {
    let (mut a, mut b, here, there, _) = pair();
    b.links.grant(there, Lane::Control, 1000);
    a.links.send(here, frame(5000));
    assert_eq!(b.read_only(), 1000);
    b.links.grant(there, Lane::Control, 500);
    assert_eq!(b.read_only(), 500);
}

impl End {
    /// How many bytes come before the link falls silent.
    fn read_only(&mut self) -> usize {
        let mut len = 0;
        loop {
            let next = async { Some(poll_fn(|cx| self.links.poll_event(cx)).await) };
            let silence = async {
                Timer::after(Duration::from_millis(300)).await;
                None
            };
            match block_on(future::or(next, silence)) {
                Some((_, LinkEvent::Bytes(_, bytes))) => len += bytes.len(),
                Some((_, LinkEvent::Room(..))) => {}
                None => return len,
                other => panic!("{other:?}"),
            }
        }
    }
}

/// What was sent before a close arrives before the end of the link.
#[test]
fn a_close_delivers_what_was_sent() {
    let (mut a, mut b, here, there, _) = pair();
    b.links.grant(there, Lane::Control, 4 << 20);
    a.links.send(here, frame(1 << 20));
    a.links.close(here, CloseCode::Done);
    assert_eq!(b.read((1 << 20) + 4).len(), (1 << 20) + 4);
    let (_, event) = b.next();
    assert!(
        matches!(event, LinkEvent::Closed(LinkError::Closed)),
        "{event:?}"
    );
    block_on(poll_fn(|cx| {
        while a.links.poll_event(cx).is_ready() {}
        if a.links.is_quiet() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }));
}

/// A dial that nobody listens to is refused at once; one that is answered with nonsense fails by
/// TLS.
#[test]
fn failed_dials_say_why() {
    let mut a = end();
    let nobody = {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        listener.local_addr().expect("its address")
    };
    a.dial(LinkId(1), nobody);
    let (id, event) = a.next();
    assert!(matches!(
        (id, event),
        (LinkId(1), LinkEvent::Failed(DialError::Refused))
    ));

    let nonsense = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let addr = nonsense.local_addr().expect("its address");
    let server = std::thread::spawn(move || {
        let (mut stream, _) = nonsense.accept().expect("a connection");
        let mut hello = [0; 1024];
        let _ = stream.read(&mut hello);
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
    });
    a.dial(LinkId(2), addr);
    let (id, event) = a.next();
    assert!(matches!(
        (id, event),
        (LinkId(2), LinkEvent::Failed(DialError::Tls))
    ));
    server.join().expect("the server");
}

/// Silent sockets and those that drip bytes keep nobody else out, and are cut in time.
#[test]
fn slow_handshakes_do_not_block_and_are_cut() {
    let (mut a, mut b) = (end(), end());
    let started = Instant::now();
    let silent: Vec<TcpStream> = (0..HALF_OPEN_PER_IP_MAX * 2)
        .map(|_| TcpStream::connect(b.addr).expect("a connection"))
        .collect();
    let mut dripping = TcpStream::connect(b.addr).expect("a connection");
    let drip = std::thread::spawn(move || {
        // The beginning of a TLS record that never gets whole.
        let record = [22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3];
        for byte in record.iter().chain(std::iter::repeat(&0)) {
            if dripping.write_all(&[*byte]).is_err() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    a.dial(LinkId(1), b.addr);
    let (_, event) = a.next();
    assert!(matches!(event, LinkEvent::Dialed(_)), "{event:?}");
    let (_, event) = b.next();
    assert!(matches!(event, LinkEvent::Accepted(_)), "{event:?}");
    assert!(
        started.elapsed() < OPENING_TIME_MAX,
        "an honest peer waits for nobody"
    );
    drip.join().expect("the dripping end");
    for mut stream in silent {
        stream
            .set_read_timeout(Some(OPENING_TIME_MAX * 2))
            .expect("a time-out");
        // An end of the stream or a reset; a time-out would be neither.
        match stream.read(&mut [0; 16]) {
            Ok(len) => assert_eq!(len, 0),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::ConnectionReset),
        }
    }
    assert!(started.elapsed() < OPENING_TIME_MAX * 3);
}

/// Both families can have one port, and a port that is taken says so.
#[test]
fn families_share_a_port_and_a_taken_one_is_told() {
    let v4 = bind((Ipv4Addr::UNSPECIFIED, 0).into()).expect("a port");
    let port = v4.local_addr().expect("its address").port();
    if let Err(error) = bind((Ipv6Addr::UNSPECIFIED, port).into()) {
        // A host without IPv6, or another program with the same port there.
        assert_ne!(error.kind(), io::ErrorKind::InvalidInput);
    }
    let again = bind((Ipv4Addr::UNSPECIFIED, port).into()).expect_err("the port is taken");
    assert_eq!(again.kind(), io::ErrorKind::AddrInUse);
}

/// A peer that drops its socket without a word, as deployed ones do, closes the link.
#[test]
fn a_dropped_socket_closes_the_link() {
    let mut b = end();
    let identity = Identity::generate().expect("a certificate");
    let stream = TcpStream::connect(b.addr).expect("a connection");
    let name = ServerName::try_from(SERVER_NAME).expect("a name");
    let mut tls = ClientConnection::new(identity.client, name).expect("a client");
    while tls.is_handshaking() || tls.wants_write() {
        tls.complete_io(&mut &stream).expect("a handshake");
    }
    let (id, event) = b.next();
    assert!(matches!(event, LinkEvent::Accepted(_)), "{event:?}");
    b.links.grant(id, Lane::Control, 1000);
    let _ = b.next();
    stream.shutdown(Shutdown::Both).expect("an open socket");
    let (_, event) = b.next();
    assert!(
        matches!(event, LinkEvent::Closed(LinkError::Closed)),
        "{event:?}"
    );
}
