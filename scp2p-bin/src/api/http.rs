//! What every server of ours does with a connection, whatever it is over.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::sync::Arc;
use std::time::Duration;

use futures_lite::{AsyncRead, AsyncWrite, AsyncWriteExt, FutureExt};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use smol::Timer;
use smol_hyper::rt::{FuturesIo, SmolTimer};

use super::routes::Body;

/// How long to wait when the system cannot accept a connection, for want of descriptors say.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a request's head may take to arrive.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of a request's head, and of an answer written at a time.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How long connections may take to end after the node is done.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);

/// What is said to a connection too many, which must not cost a task.
const TOO_MANY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n\
    Connection: close\r\n\r\n{\"error\":{\"code\":\"too_many\",\"message\":\"too many connections\"}}\n";

/// The connections of a server, each for one request.
#[derive(Debug)]
pub struct Connections {
    max: usize,
    time_max: Option<Duration>,
    held: Arc<()>,
}

impl Connections {
    /// So many at a time. Every one costs a descriptor, which the network needs too. Each is cut off after so long, if that
    /// is limited.
    pub fn new(max: usize, time_max: Option<Duration>) -> Connections {
        Connections {
            max,
            time_max,
            held: Arc::new(()),
        }
    }

    /// Answers the request that comes over a connection, or says that there are too many.
    pub fn admit<S, F>(
        &self,
        stream: S,
        answer: impl Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    ) where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let held = self.held.clone();
        // One reference is our own, one is held here.
        if Arc::strong_count(&held) > self.max + 1 {
            tracing::debug!("more than {} connections", self.max);
            return refuse(stream);
        }
        let time_max = self.time_max;
        smol::spawn(async move {
            let late = async {
                match time_max {
                    Some(time) => drop(Timer::after(time).await),
                    None => pending().await,
                }
            };
            serve(stream, answer).or(late).await;
            drop(held);
        })
        .detach();
    }

    /// Waits until the answers under way are out, a second at most.
    pub async fn drain(&self) {
        let ended = async {
            while Arc::strong_count(&self.held) > 1 {
                Timer::after(Duration::from_millis(10)).await;
            }
        };
        let late = async {
            Timer::after(DRAIN_TIMEOUT).await;
        };
        ended.or(late).await;
    }
}

async fn serve<S, F>(stream: S, answer: impl Fn(Request<Incoming>) -> F)
where
    S: AsyncRead + AsyncWrite + Unpin,
    F: Future<Output = Response<Body>>,
{
    let service = service_fn(|request| {
        let response = answer(request);
        async move { Ok::<_, Infallible>(response.await) }
    });
    let served = http1::Builder::new()
        .timer(SmolTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .keep_alive(false)
        .serve_connection(FuturesIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "connection of a client");
    }
}

/// Says that there are too many; the socket's buffer takes it at once or not at all.
fn refuse(mut stream: impl AsyncWrite + Unpin) {
    let _ = smol::future::block_on(smol::future::poll_once(stream.write_all(TOO_MANY)));
}
