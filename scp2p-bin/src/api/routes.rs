//! What each route does.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use futures_lite::{FutureExt, stream};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::{Method, Request, Response, StatusCode, Uri, header};
use scp2p_proto::command::{CommandError, Get, GetWhat, Publish};
use scp2p_proto::id::DownloadId;
use scp2p_proto::record::{ParseLinkError, ShareLink};
use scp2p_proto::storage::LocalPath;
use scp2p_runtime_smol::{Handle, SearchError, SearchQuery};
use serde::Serialize;
use serde::de::DeserializeOwned;
use smol::Timer;

use super::{
    ApiError, Catalog, Done, Download, DownloadRequest, ErrorBody, EventLine, Found, GetRequest,
    Identity, Link, Node, PREFIX, Peer, PublicShare, PublishRequest, Published, REQUEST_BYTES_MAX,
    Share, ShareRequest, Started, SubscribeRequest, Subscribed, Subscription, SyncRequest, Synced,
    convert, query,
};

/// How long a request's body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Results of a search that names no limit.
const SEARCH_LIMIT: u32 = 20;

/// The body of an answer.
pub type Body = BoxBody<Bytes, Infallible>;

/// Answers a request.
pub async fn answer(node: &Node, request: Request<Incoming>) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let answer = match Route::of(&parts.method, &parts.uri) {
        Ok(Route::Look(what)) => look(node, what, &parts.uri).await,
        Ok(Route::Do(what)) => act(node, what, body).await,
        Err(refusal) => Err(refusal),
    };
    answer.unwrap_or_else(Refusal::into_response)
}

/// The routes, by their method.
enum Route {
    /// GET.
    Look(Look),
    /// POST.
    Do(Do),
}

#[derive(Clone, Copy)]
enum Look {
    Status,
    Id,
    Peers,
    Shares,
    Subscriptions,
    Public,
    Downloads,
    Relay,
    Catalog,
    Link,
    Search,
    Events,
}

#[derive(Clone, Copy)]
enum Do {
    Publish,
    Subscribe,
    Unsubscribe,
    Unpublish,
    Sync,
    Get,
    Pause,
    Resume,
    Cancel,
    Stop,
}

impl Route {
    fn of(method: &Method, uri: &Uri) -> Result<Route, Refusal> {
        let (allowed, route) = match uri.path().strip_prefix(PREFIX).unwrap_or_default() {
            "status" => (Method::GET, Route::Look(Look::Status)),
            "id" => (Method::GET, Route::Look(Look::Id)),
            "peers" => (Method::GET, Route::Look(Look::Peers)),
            "shares" => (Method::GET, Route::Look(Look::Shares)),
            "subscriptions" => (Method::GET, Route::Look(Look::Subscriptions)),
            "public" => (Method::GET, Route::Look(Look::Public)),
            "downloads" => (Method::GET, Route::Look(Look::Downloads)),
            "relay" => (Method::GET, Route::Look(Look::Relay)),
            "catalog" => (Method::GET, Route::Look(Look::Catalog)),
            "link" => (Method::GET, Route::Look(Look::Link)),
            "search" => (Method::GET, Route::Look(Look::Search)),
            "events" => (Method::GET, Route::Look(Look::Events)),
            "publish" => (Method::POST, Route::Do(Do::Publish)),
            "subscribe" => (Method::POST, Route::Do(Do::Subscribe)),
            "unsubscribe" => (Method::POST, Route::Do(Do::Unsubscribe)),
            "unpublish" => (Method::POST, Route::Do(Do::Unpublish)),
            "sync" => (Method::POST, Route::Do(Do::Sync)),
            "get" => (Method::POST, Route::Do(Do::Get)),
            "pause" => (Method::POST, Route::Do(Do::Pause)),
            "resume" => (Method::POST, Route::Do(Do::Resume)),
            "cancel" => (Method::POST, Route::Do(Do::Cancel)),
            "stop" => (Method::POST, Route::Do(Do::Stop)),
            _ => return Err(Refusal::NoRoute(uri.path().to_owned())),
        };
        if method == allowed {
            Ok(route)
        } else {
            Err(Refusal::Method(allowed))
        }
    }
}

async fn look(node: &Node, what: Look, uri: &Uri) -> Result<Response<Body>, Refusal> {
    let mut query = Query::of(uri)?;
    let handle = &node.handle;
    match what {
        Look::Status => {
            query.end()?;
            json(&node.status().await?)
        }
        Look::Id => {
            query.end()?;
            json(&Identity::from(handle.status().await?))
        }
        Look::Peers => {
            query.end()?;
            json(
                &handle
                    .peers()
                    .await?
                    .into_iter()
                    .map(Peer::from)
                    .collect::<Vec<_>>(),
            )
        }
        Look::Shares => {
            query.end()?;
            json(
                &handle
                    .shares()
                    .await?
                    .into_iter()
                    .map(Share::from)
                    .collect::<Vec<_>>(),
            )
        }
        Look::Subscriptions => {
            query.end()?;
            json(
                &handle
                    .subscriptions()
                    .await?
                    .into_iter()
                    .map(Subscription::from)
                    .collect::<Vec<_>>(),
            )
        }
        Look::Public => {
            query.end()?;
            json(
                &handle
                    .list_public()
                    .await?
                    .into_iter()
                    .map(PublicShare::from)
                    .collect::<Vec<_>>(),
            )
        }
        Look::Downloads => {
            let id: Option<u64> = query.parsed("id")?;
            query.end()?;
            let wanted = |download: &Download| id.is_none_or(|id| download.id == id);
            json(
                &handle
                    .downloads()
                    .await?
                    .into_iter()
                    .map(Download::from)
                    .filter(wanted)
                    .collect::<Vec<_>>(),
            )
        }
        Look::Relay => {
            query.end()?;
            json(&node.relay().await?)
        }
        Look::Catalog => {
            let share = query.required("share")?;
            query.end()?;
            json(&Catalog::from(handle.browse(share).await?))
        }
        Look::Link => {
            let share = query.required("share")?;
            query.end()?;
            json(&Link {
                link: handle.link(share).await?.to_string(),
            })
        }
        Look::Search => search(handle, query).await,
        Look::Events => {
            query.end()?;
            Ok(events(handle))
        }
    }
}

async fn search(handle: &Handle, mut query: Query) -> Result<Response<Body>, Refusal> {
    let search = SearchQuery {
        text: query.required("q")?,
        share: query.parsed("share")?,
        offset: query.parsed("offset")?.unwrap_or(0),
        limit: query.parsed("limit")?.unwrap_or(SEARCH_LIMIT),
    };
    query.end()?;
    let first = u64::from(search.offset) + 1;
    let page = handle.search(search).await?;
    let hits = (first..)
        .zip(page.hits)
        .map(|(number, hit)| convert::hit(number, hit))
        .collect();
    json(&Found {
        total: page.total,
        hits,
    })
}

/// One line per event, without end while the node runs.
fn events(handle: &Handle) -> Response<Body> {
    let lines = stream::unfold(handle.events(), |mut events| async move {
        let mut line =
            serde_json::to_vec(&EventLine::from(events.next().await?)).unwrap_or_default();
        line.push(b'\n');
        Some((Ok(Frame::data(Bytes::from(line))), events))
    });
    let mut response = Response::new(StreamBody::new(lines).boxed());
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/x-ndjson"),
    );
    response
}

async fn act(node: &Node, what: Do, body: Incoming) -> Result<Response<Body>, Refusal> {
    let body = read(body).await?;
    let handle = &node.handle;
    match what {
        Do::Publish => json(&Published::from(
            handle.publish(publish(parse(&body)?)?).await?,
        )),
        Do::Subscribe => {
            let request: SubscribeRequest = parse(&body)?;
            let link: ShareLink = request.link.trim().parse().map_err(Refusal::BadLink)?;
            json(&Subscribed::from(handle.subscribe(link).await?))
        }
        Do::Unsubscribe => {
            let request: ShareRequest = parse(&body)?;
            handle.unsubscribe(request.share.0).await?;
            json(&Done {})
        }
        Do::Unpublish => {
            let request: ShareRequest = parse(&body)?;
            handle.unpublish(request.share.0).await?;
            json(&Done {})
        }
        Do::Sync => {
            let request = if body.is_empty() {
                SyncRequest::default()
            } else {
                parse(&body)?
            };
            json(&Synced::from(
                handle.sync(request.share.map(|share| share.0)).await?,
            ))
        }
        Do::Get => json(&Started::from(handle.get(get(parse(&body)?)?).await?)),
        Do::Pause => {
            handle.pause(download(&body)?).await?;
            json(&Done {})
        }
        Do::Resume => {
            handle.resume(download(&body)?).await?;
            json(&Done {})
        }
        Do::Cancel => {
            handle.cancel(download(&body)?).await?;
            json(&Done {})
        }
        Do::Stop => json(&node.stop()),
    }
}

fn download(body: &[u8]) -> Result<DownloadId, Refusal> {
    let request: DownloadRequest = parse(body)?;
    Ok(DownloadId(request.download))
}

fn publish(request: PublishRequest) -> Result<Publish, Refusal> {
    let paths = request
        .paths
        .into_iter()
        .map(absolute)
        .collect::<Result<_, _>>()?;
    Ok(Publish {
        name: request.name,
        paths,
        title: request.title,
        description: request.description,
        tags: request.tags,
        visibility: request.visibility.map(Into::into),
    })
}

fn get(request: GetRequest) -> Result<Get, Refusal> {
    let what = match (request.share, request.content, request.path) {
        (Some(share), None, path) => GetWhat::Share {
            share: share.0,
            path,
        },
        (None, Some(content), None) => GetWhat::Content(content.0),
        (Some(_), Some(_), _) | (None, Some(_), Some(_)) | (None, None, _) => {
            return Err(Refusal::GetWhat);
        }
    };
    Ok(Get {
        what,
        root: absolute(request.folder)?,
    })
}

fn absolute(path: String) -> Result<LocalPath, Refusal> {
    if Path::new(&path).is_absolute() {
        Ok(LocalPath(path))
    } else {
        Err(Refusal::Relative(path))
    }
}

async fn read(body: Incoming) -> Result<Bytes, Refusal> {
    let whole = async {
        Limited::new(body, REQUEST_BYTES_MAX)
            .collect()
            .await
            .map_err(Refusal::from_body)
    };
    let late = async {
        Timer::after(BODY_TIMEOUT).await;
        Err(Refusal::Slow)
    };
    Ok(whole.or(late).await?.to_bytes())
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body).map_err(Refusal::Json)
}

fn json<T: Serialize>(value: &T) -> Result<Response<Body>, Refusal> {
    let mut body = serde_json::to_vec(value).map_err(Refusal::Json)?;
    body.push(b'\n');
    let mut response = Response::new(Full::new(Bytes::from(body)).boxed());
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static("application/json"),
    );
    Ok(response)
}

/// The parameters of a request that nobody has asked for yet.
struct Query(BTreeMap<String, String>);

impl Query {
    fn of(uri: &Uri) -> Result<Query, Refusal> {
        query::read(uri.query().unwrap_or_default())
            .map(Query)
            .map_err(Refusal::Query)
    }

    fn parsed<T: FromStr>(&mut self, name: &'static str) -> Result<Option<T>, Refusal> {
        let value = self.0.remove(name);
        value
            .map(|value| {
                value
                    .parse()
                    .map_err(|_| Refusal::Parameter { name, value })
            })
            .transpose()
    }

    fn required<T: FromStr>(&mut self, name: &'static str) -> Result<T, Refusal> {
        self.parsed(name)?.ok_or(Refusal::Missing(name))
    }

    /// Nobody knows what is left: it is a mistake.
    fn end(self) -> Result<(), Refusal> {
        self.0
            .into_keys()
            .next()
            .map_or(Ok(()), |name| Err(Refusal::Query(name)))
    }
}

/// Why a request is not carried out.
#[derive(Debug)]
enum Refusal {
    /// There is no such path.
    NoRoute(String),
    /// The path takes another method.
    Method(Method),
    /// A part of the query string that means nothing.
    Query(String),
    /// A parameter is not of its form.
    Parameter { name: &'static str, value: String },
    /// A parameter is missing.
    Missing(&'static str),
    /// The body is longer than allowed.
    TooLarge,
    /// The body ended early.
    BodyBroken,
    /// The body took too long.
    Slow,
    /// The body is not the JSON wanted.
    Json(serde_json::Error),
    /// A path is not absolute.
    Relative(String),
    /// The text is not a link.
    BadLink(ParseLinkError),
    /// Neither a share nor a content is named, or both.
    GetWhat,
    /// The node refuses.
    Command(CommandError),
    /// The index refuses.
    Search(SearchError),
}

impl From<CommandError> for Refusal {
    fn from(error: CommandError) -> Self {
        Refusal::Command(error)
    }
}

impl From<SearchError> for Refusal {
    fn from(error: SearchError) -> Self {
        Refusal::Search(error)
    }
}

impl Refusal {
    fn from_body(error: Box<dyn std::error::Error + Send + Sync>) -> Refusal {
        if error.is::<LengthLimitError>() {
            Refusal::TooLarge
        } else {
            Refusal::BodyBroken
        }
    }

    fn into_response(self) -> Response<Body> {
        let (status, code) = self.status();
        let error = ApiError {
            code: code.to_owned(),
            message: self.message(),
        };
        let mut response =
            json(&ErrorBody { error }).unwrap_or_else(|_| Response::new(Full::default().boxed()));
        *response.status_mut() = status;
        if let Refusal::Method(allowed) = self
            && let Ok(value) = header::HeaderValue::from_str(allowed.as_str())
        {
            response.headers_mut().insert(header::ALLOW, value);
        }
        response
    }

    fn status(&self) -> (StatusCode, &'static str) {
        match self {
            Refusal::NoRoute(_) => (StatusCode::NOT_FOUND, "no_route"),
            Refusal::Method(_) => (StatusCode::METHOD_NOT_ALLOWED, "method"),
            Refusal::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
            Refusal::Slow => (StatusCode::REQUEST_TIMEOUT, "timeout"),
            Refusal::Query(_)
            | Refusal::Parameter { .. }
            | Refusal::Missing(_)
            | Refusal::BodyBroken
            | Refusal::Json(_)
            | Refusal::Relative(_)
            | Refusal::GetWhat
            | Refusal::Search(SearchError::Limit(_)) => (StatusCode::BAD_REQUEST, "bad_request"),
            Refusal::BadLink(_) => (StatusCode::BAD_REQUEST, "bad_link"),
            Refusal::Command(error) => command_status(error),
            Refusal::Search(SearchError::Unavailable(_)) => {
                (StatusCode::INTERNAL_SERVER_ERROR, "store")
            }
            Refusal::Search(SearchError::Stopping) => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        }
    }

    fn message(&self) -> String {
        match self {
            Refusal::NoRoute(path) => format!("{path}: no such path in this API"),
            Refusal::Method(allowed) => format!("this path takes {allowed} only"),
            Refusal::Query(part) => format!("{part:?} means nothing in this query"),
            Refusal::Parameter { name, value } => {
                format!("{value:?} is not what the parameter {name} takes")
            }
            Refusal::Missing(name) => format!("the parameter {name} is missing"),
            Refusal::TooLarge => format!("the request is longer than {REQUEST_BYTES_MAX} bytes"),
            Refusal::BodyBroken => "the request ended early".to_owned(),
            Refusal::Slow => "the request took too long to arrive".to_owned(),
            Refusal::Json(error) => format!("not the JSON this path takes: {error}"),
            Refusal::Relative(path) => format!("{path:?} is not an absolute path"),
            Refusal::BadLink(error) => error.to_string(),
            Refusal::GetWhat => "name either a share, perhaps with a path, or a content".to_owned(),
            Refusal::Command(error) => error.to_string(),
            Refusal::Search(error) => error.to_string(),
        }
    }
}

fn command_status(error: &CommandError) -> (StatusCode, &'static str) {
    match error {
        CommandError::UnknownShare => (StatusCode::NOT_FOUND, "unknown_share"),
        CommandError::UnknownDownload => (StatusCode::NOT_FOUND, "unknown_download"),
        CommandError::DownloadEnded => (StatusCode::CONFLICT, "download_ended"),
        CommandError::NoSuchItem => (StatusCode::NOT_FOUND, "no_such_item"),
        CommandError::UnknownContent => (StatusCode::NOT_FOUND, "unknown_content"),
        CommandError::NoCatalog => (StatusCode::CONFLICT, "no_catalog"),
        CommandError::Busy => (StatusCode::CONFLICT, "busy"),
        CommandError::OwnShare => (StatusCode::CONFLICT, "own_share"),
        CommandError::LimitReached(..) => (StatusCode::CONFLICT, "limit"),
        CommandError::Refused(_) => (StatusCode::UNPROCESSABLE_ENTITY, "refused"),
        CommandError::BadName => (StatusCode::UNPROCESSABLE_ENTITY, "bad_name"),
        CommandError::TooLong(..) => (StatusCode::UNPROCESSABLE_ENTITY, "too_long"),
        CommandError::NothingToPublish => (StatusCode::UNPROCESSABLE_ENTITY, "nothing_to_publish"),
        CommandError::DuplicatePath(_) => (StatusCode::UNPROCESSABLE_ENTITY, "duplicate_path"),
        CommandError::PathTooLong(_) => (StatusCode::UNPROCESSABLE_ENTITY, "path_too_long"),
        CommandError::TooManyItems { .. } => (StatusCode::UNPROCESSABLE_ENTITY, "too_many_items"),
        CommandError::ManifestTooLarge { .. } => {
            (StatusCode::UNPROCESSABLE_ENTITY, "manifest_too_large")
        }
        CommandError::Store(_) => (StatusCode::INTERNAL_SERVER_ERROR, "store"),
        CommandError::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping"),
    }
}
