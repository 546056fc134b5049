//! The other end of the control socket.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt, io};

use bytes::{Buf, Bytes, BytesMut};
use futures_lite::FutureExt;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode, header};
use scp2p_proto::id::ShareId;
use serde::Serialize;
use serde::de::DeserializeOwned;
use smol::Timer;
use smol::net::unix::UnixStream;
use smol_hyper::rt::FuturesIo;

use super::{
    ApiError, Catalog, Done, Download, DownloadRequest, ErrorBody, EventLine, Found, GetRequest,
    Identity, Link, PREFIX, Peer, PublicShare, PublishRequest, Published, Relay, Share,
    ShareRequest, Started, Status, Stopping, SubscribeRequest, Subscribed, Subscription,
    SyncRequest, Synced, Text, query,
};
use crate::dirs;

/// How long a node may take to tell what it knows. Nothing that it does keeps it that long.
const LOOK_TIME_MAX: Duration = Duration::from_secs(15);
/// The longest line of the event stream that is read, in bytes.
const LINE_BYTES_MAX: usize = 1024 * 1024;

/// Talks to the node that runs on a data directory; every method is a route of the API.
#[derive(Debug, Clone)]
pub struct Client {
    data_dir: PathBuf,
}

impl Client {
    /// For the node on this data directory, which need not run yet.
    pub fn new(data_dir: &Path) -> Client {
        Client {
            data_dir: data_dir.to_owned(),
        }
    }

    /// `GET status`.
    pub async fn status(&self) -> Result<Status, ClientError> {
        self.look("status", &[]).await
    }

    /// `GET id`.
    pub async fn id(&self) -> Result<Identity, ClientError> {
        self.look("id", &[]).await
    }

    /// `GET peers`.
    pub async fn peers(&self) -> Result<Vec<Peer>, ClientError> {
        self.look("peers", &[]).await
    }

    /// `GET shares`.
    pub async fn shares(&self) -> Result<Vec<Share>, ClientError> {
        self.look("shares", &[]).await
    }

    /// `GET subscriptions`.
    pub async fn subscriptions(&self) -> Result<Vec<Subscription>, ClientError> {
        self.look("subscriptions", &[]).await
    }

    /// `GET public`.
    pub async fn public(&self) -> Result<Vec<PublicShare>, ClientError> {
        self.look("public", &[]).await
    }

    /// `GET downloads`.
    pub async fn downloads(&self) -> Result<Vec<Download>, ClientError> {
        self.look("downloads", &[]).await
    }

    /// `GET downloads?id=`; none if there is no such download.
    pub async fn download(&self, id: u64) -> Result<Option<Download>, ClientError> {
        let mut found: Vec<Download> = self.look("downloads", &[("id", &id.to_string())]).await?;
        Ok(found.pop())
    }

    /// `GET relay`.
    pub async fn relay(&self) -> Result<Relay, ClientError> {
        self.look("relay", &[]).await
    }

    /// `GET catalog`.
    pub async fn catalog(&self, share: &ShareId) -> Result<Catalog, ClientError> {
        self.look("catalog", &[("share", &share.to_string())]).await
    }

    /// `GET link`.
    pub async fn link(&self, share: &ShareId) -> Result<Link, ClientError> {
        self.look("link", &[("share", &share.to_string())]).await
    }

    /// `GET search`.
    pub async fn search(
        &self,
        text: &str,
        share: Option<ShareId>,
        offset: u32,
        limit: u32,
    ) -> Result<Found, ClientError> {
        let (offset, limit) = (offset.to_string(), limit.to_string());
        let share = share.map(|share| share.to_string());
        let mut pairs = vec![("q", text), ("offset", &offset), ("limit", &limit)];
        pairs.extend(share.as_deref().map(|share| ("share", share)));
        self.look("search", &pairs).await
    }

    /// `POST publish`.
    pub async fn publish(&self, request: &PublishRequest) -> Result<Published, ClientError> {
        self.act("publish", request).await
    }

    /// `POST subscribe`.
    pub async fn subscribe(&self, link: &str) -> Result<Subscribed, ClientError> {
        self.act(
            "subscribe",
            &SubscribeRequest {
                link: link.to_owned(),
            },
        )
        .await
    }

    /// `POST unsubscribe`.
    pub async fn unsubscribe(&self, share: ShareId) -> Result<Done, ClientError> {
        self.act("unsubscribe", &ShareRequest { share: Text(share) })
            .await
    }

    /// `POST unpublish`.
    pub async fn unpublish(&self, share: ShareId) -> Result<Done, ClientError> {
        self.act("unpublish", &ShareRequest { share: Text(share) })
            .await
    }

    /// `POST sync`.
    pub async fn sync(&self, share: Option<ShareId>) -> Result<Synced, ClientError> {
        self.act(
            "sync",
            &SyncRequest {
                share: share.map(Text),
            },
        )
        .await
    }

    /// `POST get`.
    pub async fn get(&self, request: &GetRequest) -> Result<Started, ClientError> {
        self.act("get", request).await
    }

    /// `POST pause`.
    pub async fn pause(&self, download: u64) -> Result<Done, ClientError> {
        self.act("pause", &DownloadRequest { download }).await
    }

    /// `POST resume`.
    pub async fn resume(&self, download: u64) -> Result<Done, ClientError> {
        self.act("resume", &DownloadRequest { download }).await
    }

    /// `POST cancel`.
    pub async fn cancel(&self, download: u64) -> Result<Done, ClientError> {
        self.act("cancel", &DownloadRequest { download }).await
    }

    /// `POST stop`. The node is gone when nobody answers any more.
    pub async fn stop(&self) -> Result<Stopping, ClientError> {
        self.act("stop", &Done {}).await
    }

    /// `GET events`.
    pub async fn events(&self) -> Result<EventLines, ClientError> {
        let response = self.send(Method::GET, "events", &[], Bytes::new()).await?;
        Ok(EventLines {
            body: response.into_body(),
            buffer: BytesMut::new(),
            data_dir: self.data_dir.clone(),
        })
    }

    async fn look<T: DeserializeOwned>(
        &self,
        route: &str,
        pairs: &[(&str, &str)],
    ) -> Result<T, ClientError> {
        let answer = async {
            let response = self.send(Method::GET, route, pairs, Bytes::new()).await?;
            self.read(response).await
        };
        let late = async {
            Timer::after(LOOK_TIME_MAX).await;
            Err(ClientError::Silent {
                data_dir: self.data_dir.clone(),
            })
        };
        answer.or(late).await
    }

    async fn act<T: DeserializeOwned>(
        &self,
        route: &str,
        request: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_vec(request).map_err(ClientError::Json)?;
        let response = self.send(Method::POST, route, &[], body.into()).await?;
        self.read(response).await
    }

    /// Sends a request on a connection of its own; an answer that is not 200 is an error.
    async fn send(
        &self,
        method: Method,
        route: &str,
        pairs: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Response<Incoming>, ClientError> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{PREFIX}{route}{}", query::write(pairs)))
            .header(header::HOST, "scp2p")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .expect("the method and header are constants and the query is percent-encoded");
        let stream = self.connect().await?;
        let (mut sender, connection) = http1::handshake(FuturesIo::new(stream))
            .await
            .map_err(|error| self.broken(error))?;
        smol::spawn(async move { drop(connection.await) }).detach();
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| self.broken(error))?;
        if response.status() == StatusCode::OK {
            return Ok(response);
        }
        let body: ErrorBody = self.read(response).await?;
        Err(ClientError::Refused(body.error))
    }

    async fn connect(&self) -> Result<UnixStream, ClientError> {
        let path = dirs::control_socket(&self.data_dir);
        UnixStream::connect(&path).await.map_err(|error| {
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
            ) {
                ClientError::NoNode {
                    data_dir: self.data_dir.clone(),
                }
            } else {
                ClientError::Connect { path, error }
            }
        })
    }

    async fn read<T: DeserializeOwned>(
        &self,
        response: Response<Incoming>,
    ) -> Result<T, ClientError> {
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(|error| self.broken(error))?;
        serde_json::from_reader(body.aggregate().reader()).map_err(ClientError::Json)
    }

    fn broken(&self, error: hyper::Error) -> ClientError {
        ClientError::Broken {
            data_dir: self.data_dir.clone(),
            error,
        }
    }
}

/// The lines of the event stream.
#[derive(Debug)]
pub struct EventLines {
    body: Incoming,
    buffer: BytesMut,
    data_dir: PathBuf,
}

impl EventLines {
    /// The next line as it came and what it says; none when the node is gone.
    ///
    /// # Errors
    /// The connection broke, or the line is not an event.
    pub async fn next(&mut self) -> Result<Option<(Bytes, EventLine)>, ClientError> {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end + 1).freeze();
                let event = serde_json::from_slice(&line).map_err(ClientError::Json)?;
                return Ok(Some((line, event)));
            }
            if self.buffer.len() > LINE_BYTES_MAX {
                return Err(ClientError::LongLine);
            }
            let Some(frame) = self.body.frame().await else {
                return Ok(None);
            };
            let frame = frame.map_err(|error| ClientError::Broken {
                data_dir: self.data_dir.clone(),
                error,
            })?;
            if let Some(data) = frame.data_ref() {
                self.buffer.extend_from_slice(data);
            }
        }
    }
}

/// Why a request came to nothing.
#[derive(Debug)]
pub enum ClientError {
    /// No node is running on the data directory.
    NoNode {
        /// The directory.
        data_dir: PathBuf,
    },
    /// The control socket cannot be used.
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// The connection broke: the node stopped.
    Broken {
        /// The node's data directory.
        data_dir: PathBuf,
        /// What happened.
        error: hyper::Error,
    },
    /// The node does not answer.
    Silent {
        /// Its data directory.
        data_dir: PathBuf,
    },
    /// The other end does not speak as it should; it may be of another version.
    Json(serde_json::Error),
    /// A line of the event stream does not end.
    LongLine,
    /// The node refuses.
    Refused(ApiError),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::NoNode { data_dir } => write!(
                f,
                "no node is running on {0}; start one in another terminal: scp2p node --data-dir {0}",
                data_dir.display()
            ),
            ClientError::Connect { path, error } => write!(f, "{}: {error}", path.display()),
            ClientError::Broken { data_dir, error } => write!(
                f,
                "the node on {0} went away ({error}); start it again: scp2p node --data-dir {0}",
                data_dir.display()
            ),
            ClientError::Silent { data_dir } => write!(
                f,
                "the node on {} does not answer within {LOOK_TIME_MAX:?}; is it stopped or its disk stuck?",
                data_dir.display()
            ),
            ClientError::Json(error) => {
                write!(
                    f,
                    "the node answers in a form unknown here ({error}); is it of another version?"
                )
            }
            ClientError::LongLine => {
                f.write_str("the node sends an event without end; is it of another version?")
            }
            ClientError::Refused(error) => f.write_str(&error.message),
        }
    }
}

impl std::error::Error for ClientError {}
