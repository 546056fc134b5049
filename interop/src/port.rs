//! Ports of those who take one and do not tell which.

use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// A TCP port on loopback that the kernel chose. As long as this is held the kernel gives it to nobody else, but whoever
/// names it can listen there.
pub struct Reserved {
    socket: Socket,
}

impl Reserved {
    /// Has the kernel choose one.
    pub fn new() -> Reserved {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        // Sockets that allow it share a port of which none of them listens yet.
        socket.set_reuse_address(true).expect("an option");
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        socket.bind(&any.into()).expect("a port");
        Reserved { socket }
    }

    /// Where to listen.
    pub fn addr(&self) -> SocketAddr {
        let bound = self.socket.local_addr().expect("it is bound");
        bound.as_socket().expect("an address of IPv4")
    }
}

impl Default for Reserved {
    fn default() -> Reserved {
        Reserved::new()
    }
}
