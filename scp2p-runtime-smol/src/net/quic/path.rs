//! Whether a remote has proved that it has its address (RFC 9000 §8.2).
//!
//! quinn takes packets from another address and answers there at once, and goes back if the remote does not prove in
//! time that it has that address. It tells nobody that it did. But a path's congestion controller hears of
//! acknowledgements only once the path is proven, and every path has one of its own.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use quinn_proto::congestion::{Controller, ControllerFactory, ControllerMetrics};
use quinn_proto::{Connection, RttEstimator};

/// Whether the remote has proved the address that it has now.
pub(super) fn is_proven(quic: &Connection) -> bool {
    let copy = quic.congestion_state().clone_box().into_any();
    copy.downcast::<Watched>().is_ok_and(|copy| copy.of_proven)
}

/// Makes controllers that can be asked.
pub(super) struct Watching(pub(super) Arc<dyn ControllerFactory + Send + Sync>);

impl ControllerFactory for Watching {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Watched {
            inner: self.0.clone().build(now, current_mtu),
            is_proven: false,
            of_proven: false,
        })
    }
}

/// A controller that notes whether its path is proven. A copy is for another path.
struct Watched {
    inner: Box<dyn Controller>,
    is_proven: bool,
    /// Whether that was so of the path of which this is a copy.
    of_proven: bool,
}

impl Controller for Watched {
    fn on_sent(&mut self, now: Instant, bytes: u64, last_packet_number: u64) {
        self.inner.on_sent(now, bytes, last_packet_number);
    }

    fn on_ack(
        &mut self,
        now: Instant,
        sent: Instant,
        bytes: u64,
        app_limited: bool,
        rtt: &RttEstimator,
    ) {
        self.is_proven = true;
        self.inner.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_end_acks(
        &mut self,
        now: Instant,
        in_flight: u64,
        app_limited: bool,
        largest_packet_num_acked: Option<u64>,
    ) {
        self.inner
            .on_end_acks(now, in_flight, app_limited, largest_packet_num_acked);
    }

    fn on_congestion_event(
        &mut self,
        now: Instant,
        sent: Instant,
        is_persistent_congestion: bool,
        lost_bytes: u64,
    ) {
        self.inner
            .on_congestion_event(now, sent, is_persistent_congestion, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.inner.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        self.inner.window()
    }

    fn metrics(&self) -> ControllerMetrics {
        self.inner.metrics()
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(Watched {
            inner: self.inner.clone_box(),
            is_proven: false,
            of_proven: self.is_proven,
        })
    }

    fn initial_window(&self) -> u64 {
        self.inner.initial_window()
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
