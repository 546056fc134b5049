//! Health and counters over HTTP, for programs that watch a node. Only on loopback: there is no password.

mod page;

use std::net::{IpAddr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use futures_lite::FutureExt;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use scp2p_proto::command::CommandError;
use smol::{Async, Timer};

use self::page::Counters;
use crate::api::Node;
use crate::api::http::{ACCEPT_PAUSE, Connections};
use crate::api::routes::Body;
use crate::failure::Failure;

/// Connections at a time: who watches comes now and then.
const CONNECTIONS_MAX: usize = 16;
/// How long a connection may last.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(30);
/// How long the node may take to answer before it is not healthy.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const PROMETHEUS: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Serves `/healthz` and `/metrics`.
#[derive(Debug)]
pub struct Metrics {
    listener: Async<TcpListener>,
    connections: Connections,
}

impl Metrics {
    /// Listens at an address of loopback.
    ///
    /// # Errors
    /// The system refuses.
    pub fn bind(address: SocketAddr) -> Result<Metrics, Failure> {
        let listener = Async::<TcpListener>::bind(address)
            .map_err(|error| Failure::Metrics(address, error))?;
        if let Ok(address) = listener.get_ref().local_addr() {
            tracing::info!("metrics at http://{address}/metrics");
        }
        Ok(Metrics {
            listener,
            connections: Connections::new(CONNECTIONS_MAX, Some(CONNECTION_TIME_MAX)),
        })
    }

    /// Accepts connections until dropped.
    pub async fn run(&self, node: &Arc<Node>) {
        loop {
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let node = node.clone();
                    self.connections.admit(stream, move |request| {
                        let node = node.clone();
                        async move { answer(&node, &request).await }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "metrics");
                    Timer::after(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn answer(node: &Node, request: &Request<Incoming>) -> Response<Body> {
    if !is_for_us(request) {
        let why = "only asked as localhost or by an IP address\n";
        return text(StatusCode::FORBIDDEN, TEXT, why);
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut refusal = text(StatusCode::METHOD_NOT_ALLOWED, TEXT, "GET only\n");
        let allowed = HeaderValue::from_static("GET, HEAD");
        refusal.headers_mut().insert(header::ALLOW, allowed);
        return refusal;
    }
    match request.uri().path() {
        "/healthz" => match in_time(node.status()).await {
            Some(_) => text(StatusCode::OK, TEXT, "ok\n"),
            None => silent(),
        },
        "/metrics" => match in_time(Counters::of(node)).await {
            Some(counters) => text(StatusCode::OK, PROMETHEUS, counters.page()),
            None => silent(),
        },
        _ => text(
            StatusCode::NOT_FOUND,
            TEXT,
            "there are /healthz and /metrics\n",
        ),
    }
}

/// Whether a request names this host by an address or as the local one. A page in a browser whose name was made to lead here
/// names itself.
fn is_for_us(request: &Request<Incoming>) -> bool {
    let named = request.headers().get(header::HOST);
    let Some(host) = named.and_then(|host| host.to_str().ok()) else {
        // Browsers always name one.
        return named.is_none();
    };
    let host = host.parse::<hyper::http::uri::Authority>();
    host.is_ok_and(|authority| {
        let host = authority.host().trim_matches(['[', ']']);
        host == "localhost" || host.parse::<IpAddr>().is_ok()
    })
}

/// What the node answers; none if it is stopping or takes too long.
async fn in_time<T>(answer: impl Future<Output = Result<T, CommandError>>) -> Option<T> {
    let answer = async { answer.await.ok() };
    let late = async {
        Timer::after(ANSWER_TIME_MAX).await;
        None
    };
    answer.or(late).await
}

fn silent() -> Response<Body> {
    let status = StatusCode::SERVICE_UNAVAILABLE;
    text(status, TEXT, "the node does not answer\n")
}

fn text(status: StatusCode, kind: HeaderValue, text: impl Into<String>) -> Response<Body> {
    let mut response = Response::new(Full::new(text.into().into()).boxed());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
