//! Published nodes against the command. `docs/interop.md` lists the cases.

/// Makes tests of a case: `a_quic`, `a_tcp`, `b_quic` and so on, by the profile of the release and the transport.
macro_rules! rows {
    ($case:ident) => {
        rows!($case: a_quic V0_3 Quic, a_tcp V0_3 Tcp, b_quic V0_4 Quic, b_tcp V0_4 Tcp, c_quic V0_6 Quic, c_tcp V0_6 Tcp);
    };
    ($case:ident over tcp) => {
        rows!($case: a_tcp V0_3 Tcp, b_tcp V0_4 Tcp, c_tcp V0_6 Tcp);
    };
    ($case:ident: $($row:ident $release:ident $transport:ident),*) => {
        mod $case {
            use scp2p_interop::theirs::Release;
            use scp2p_proto::io::Transport;

            $(
                #[test]
                fn $row() {
                    super::$case(Release::$release, Transport::$transport);
                }
            )*
        }
    };
}

mod catalogs;
mod dht;
mod files;
mod handshake;
mod hostile;
mod network;
mod programs;
mod relays;
mod serving;
mod table;

use std::time::Duration;

/// What must come comes within this time, even on a machine that does much else.
const SOON: Duration = Duration::from_secs(120);
