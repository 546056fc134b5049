//! UDP and TCP sockets on hosts, and what their peers see of them.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use super::SOON;
use super::common::until;
use super::internet::{Host, Nat};

/// Where clients send from.
pub const PORT: u16 = 7000;

/// A socket that does not block, and its endpoint; at any port for 0.
pub fn udp(host: &Host, port: u16) -> (UdpSocket, SocketAddrV4) {
    let socket = host.enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)));
    let socket = socket.expect("a free port");
    socket.set_nonblocking(true).expect("it can be");
    let port = socket.local_addr().expect("it is bound").port();
    (socket, SocketAddrV4::new(host.address(), port))
}

/// What has come, and from whom.
pub fn receive(socket: &UdpSocket) -> Option<(Vec<u8>, SocketAddrV4)> {
    let mut buffer = [0; 2000];
    let (length, from) = socket.recv_from(&mut buffer).ok()?;
    Some((buffer[..length].to_vec(), v4(from)))
}

fn v4(address: SocketAddr) -> SocketAddrV4 {
    match address {
        SocketAddr::V4(address) => address,
        SocketAddr::V6(_) => panic!("all is IPv4 here"),
    }
}

/// Sends something, and says from which endpoint it came; panics if it does not.
pub fn observe(from: &UdpSocket, to: &UdpSocket, at: SocketAddrV4) -> SocketAddrV4 {
    from.send_to(b"hello", at).expect("it has a route");
    let (payload, source) = until("a datagram", SOON, || receive(to));
    assert_eq!(payload, b"hello");
    source
}

/// Sends something to an endpoint of the NAT, and says whether it comes to the host inside.
pub fn is_let_in(nat: &Nat, from: &UdpSocket, at: SocketAddrV4, inside: &UdpSocket) -> bool {
    let before = nat.traffic().refused.packets;
    from.send_to(b"knock", at).expect("it has a route");
    until("it comes or is refused", SOON, || {
        let came = receive(inside).map(|(payload, _)| assert_eq!(payload, b"knock"));
        let refused = nat.traffic().refused.packets > before;
        came.map(|()| true).or(refused.then_some(false))
    })
}

/// Begins to connect from a port that others of the host connect from too.
pub fn connect(host: &Host, port: u16, to: SocketAddrV4) -> TcpStream {
    host.enter(|| {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None);
        let socket = socket.expect("a socket");
        sockopt::set_socket_reuseaddr(&socket, true).expect("it can be");
        let own = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port);
        rustix::net::bind(&socket, &own).expect("a free port");
        let begun = rustix::net::connect(&socket, &to);
        assert_eq!(begun, Err(rustix::io::Errno::INPROGRESS));
        TcpStream::from(socket)
    })
}

/// Accepts connections, at any port.
pub fn listen(host: &Host) -> (TcpListener, SocketAddrV4) {
    let listener = host.enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)));
    let listener = listener.expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    (listener, SocketAddrV4::new(host.address(), port))
}

/// Connects, has a byte echoed, and says from which endpoint the connection came. It stays open.
pub fn echo(from: &Host, to: &TcpListener, at: SocketAddrV4) -> ([TcpStream; 2], SocketAddrV4) {
    let mut near = connect(from, PORT, at);
    let (mut far, source) = to.accept().expect("it comes");
    near.set_nonblocking(false).expect("it can be");
    let mut byte = [0];
    near.write_all(b"x").expect("it is open");
    far.read_exact(&mut byte).expect("it is open");
    far.write_all(&byte).expect("it is open");
    near.read_exact(&mut byte).expect("it is open");
    assert_eq!(byte, *b"x");
    ([near, far], v4(source))
}

/// Connects to an endpoint of the NAT, and says whether that comes to the host inside.
pub fn is_syn_let_in(nat: &Nat, from: &Host, at: SocketAddrV4) -> bool {
    let before = nat.traffic();
    let _stream = connect(from, 0, at);
    until("it comes or is refused", SOON, || {
        let now = nat.traffic();
        let came = now.inn.packets > before.inn.packets;
        (came || now.refused.packets > before.refused.packets).then_some(came)
    })
}
