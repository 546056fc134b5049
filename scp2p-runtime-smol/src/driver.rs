//! The task that owns the node: it takes inputs from everywhere and carries outputs out.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Weak;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use async_channel::{Receiver, Sender};
use async_io::Timer;
use futures_lite::{Stream, stream};
use scp2p_proto::Node;
use scp2p_proto::command::{Command, CommandError, Reply};
use scp2p_proto::id::{LinkId, OpId};
use scp2p_proto::io::{Dial, DialError, Host, HostEvent, Input, LinkEvent, Output, Transport};
use smol::Executor;

use crate::clock::{Clock, Moment};
use crate::disk::{Completions, Disk, DiskEvent};
use crate::event_log::EventLog;
use crate::events::EventSource;
use crate::handle::Ask;
use crate::net::OPENING_TIME_MAX;
use crate::net::resolve::{resolve, share_of_time};
use crate::net::tcp::TcpLinks;
use crate::net::udp::UdpEndpoint;

/// Inputs taken before datagrams are received and sent again.
const INPUTS_AT_ONCE: usize = 64;
/// Rounds before other tasks of the executor have their turn.
const ROUNDS_AT_ONCE: usize = 16;
/// The longest sleep: how late a wake-up of the host may be noticed.
const SLEEP_MAX: Duration = Duration::from_secs(10);
/// Commands under way at a time.
const COMMANDS_MAX: usize = 1024;
/// How long a stopping runtime waits for links to deliver what was sent.
const STOP_TIME_MAX: Duration = Duration::from_secs(2);
/// Names looked up at a time.
const RESOLVED_MAX: usize = 64;

/// Owns the node and everything that it acts through.
pub(crate) struct Driver {
    node: Node,
    clock: Clock,
    moment: Moment,
    executor: Weak<Executor<'static>>,
    udp: Vec<UdpEndpoint>,
    tcp: TcpLinks,
    dials: HashMap<LinkId, QuicDial>,
    resolver: Sender<Resolved>,
    disk: Disk,
    sources: Sources,
    commands: HashMap<OpId, Sender<Result<Reply, CommandError>>>,
    last_op: u64,
    events: EventSource,
    event_log: EventLog,
    timer: Timer,
    /// When the timer fires; it may be earlier than necessary, because setting it costs more than a
    /// round for nothing.
    armed: Option<Instant>,
}

/// What a driver is made of.
pub(crate) struct Parts {
    pub(crate) node: Node,
    pub(crate) clock: Clock,
    pub(crate) executor: Weak<Executor<'static>>,
    pub(crate) udp: Vec<UdpEndpoint>,
    pub(crate) tcp: TcpLinks,
    pub(crate) disk: Disk,
    pub(crate) completions: Completions,
    pub(crate) asks: Receiver<Ask>,
    pub(crate) host: Receiver<HostEvent>,
    pub(crate) events: EventSource,
}

/// Where inputs come from, links apart.
struct Sources {
    disk: Pin<Box<dyn Stream<Item = DiskEvent> + Send>>,
    asks: Pin<Box<Receiver<Ask>>>,
    host: Pin<Box<Receiver<HostEvent>>>,
    resolved: Pin<Box<Receiver<Resolved>>>,
}

/// What became of the host name of a QUIC dial.
struct Resolved {
    id: LinkId,
    addresses: Result<Vec<SocketAddr>, DialError>,
}

/// A QUIC dial whose name has addresses that were not tried.
struct QuicDial {
    until: Instant,
    untried: Vec<SocketAddr>,
}

/// One of the places that inputs come from.
#[derive(Debug, Clone, Copy)]
enum Source {
    Udp(usize),
    Tcp,
    Disk,
    Ask,
    Host,
    Resolved,
}

impl Driver {
    pub(crate) fn new(parts: Parts) -> Driver {
        let Parts {
            node,
            mut clock,
            executor,
            udp,
            tcp,
            disk,
            completions,
            asks,
            host,
            events,
        } = parts;
        let (resolver, resolved) = async_channel::bounded(RESOLVED_MAX);
        let disk_events = stream::unfold(completions, |completions| async move {
            completions.next().await.map(|event| (event, completions))
        });
        let moment = clock.moment();
        Driver {
            event_log: EventLog::new(moment.now.mono),
            moment,
            node,
            clock,
            executor,
            udp,
            tcp,
            dials: HashMap::new(),
            resolver,
            disk,
            sources: Sources {
                disk: Box::pin(disk_events),
                asks: Box::pin(asks),
                host: Box::pin(host),
                resolved: Box::pin(resolved),
            },
            commands: HashMap::new(),
            last_op: 0,
            events,
            timer: Timer::never(),
            armed: None,
        }
    }

    /// Runs until the node is done, then lets links deliver what was sent and the disk write what
    /// it has.
    pub(crate) async fn run(mut self) {
        self.carry_out();
        poll_fn(|cx| self.poll(cx)).await;
        let mut late = Timer::after(STOP_TIME_MAX);
        poll_fn(|cx| match Pin::new(&mut late).poll(cx) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => self.poll_quiet(cx),
        })
        .await;
        let Driver {
            disk,
            sources,
            udp,
            tcp,
            ..
        } = self;
        drop((sources, udp, tcp));
        smol::unblock(move || drop(disk)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..ROUNDS_AT_ONCE {
            let mut busy = self.receive(cx);
            busy |= self.take_inputs(cx);
            busy |= self.tick();
            busy |= self.send(cx);
            if self.node.is_done() {
                return Poll::Ready(());
            }
            if !busy && self.poll_timer(cx).is_pending() {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// After the node is done: ready when no link has anything left to deliver.
    fn poll_quiet(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let mut busy = self.receive(cx);
            for endpoint in &mut self.udp {
                while endpoint.links.poll_event(self.moment.instant).is_some() {}
            }
            while self.tcp.poll_event(cx).is_ready() {}
            busy |= self.send(cx);
            if self.tcp.is_quiet() && self.udp.iter().all(UdpEndpoint::is_quiet) {
                return Poll::Ready(());
            }
            if !busy && self.poll_timer(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Takes the time and what has arrived. Whether there may be more.
    fn receive(&mut self, cx: &mut Context<'_>) -> bool {
        self.moment = self.clock.moment();
        let mut busy = false;
        for endpoint in &mut self.udp {
            busy |= endpoint.poll_receive(cx, self.moment.instant).is_ready();
            endpoint.links.timeout(self.moment.instant);
        }
        busy
    }

    /// Sends what the links have to send. Whether there may be more.
    fn send(&mut self, cx: &mut Context<'_>) -> bool {
        let instant = self.moment.instant;
        let mut busy = false;
        for endpoint in &mut self.udp {
            busy |= endpoint.poll_send(cx, instant).is_ready();
        }
        busy
    }

    /// Lets the node do what is due. Whether anything was.
    fn tick(&mut self) -> bool {
        if self.moment.resumed {
            self.moment.resumed = false;
            self.step(Input::Host(HostEvent::Resumed));
        }
        let due = self
            .node
            .deadline()
            .is_some_and(|(due, _)| due <= self.moment.now.mono);
        if due {
            self.step(Input::Tick);
        }
        due
    }

    /// Takes inputs from everywhere in turn, one each. Whether there were any.
    fn take_inputs(&mut self, cx: &mut Context<'_>) -> bool {
        let others = [
            Source::Tcp,
            Source::Disk,
            Source::Ask,
            Source::Host,
            Source::Resolved,
        ];
        let mut ready: Vec<Source> = (0..self.udp.len()).map(Source::Udp).chain(others).collect();
        let mut taken = 0;
        while !ready.is_empty() && taken < INPUTS_AT_ONCE {
            ready.retain(|source| {
                let input = self.take_input(*source, cx);
                taken += usize::from(input);
                input
            });
        }
        taken > 0
    }

    /// Takes one input from a source. Whether there was one.
    fn take_input(&mut self, source: Source, cx: &mut Context<'_>) -> bool {
        match source {
            Source::Udp(n) => {
                let Some((id, event)) = self.udp[n].links.poll_event(self.moment.instant) else {
                    return false;
                };
                self.on_quic(id, event);
            }
            Source::Tcp => {
                let Poll::Ready((id, event)) = self.tcp.poll_event(cx) else {
                    return false;
                };
                self.step(Input::Link(id, event));
            }
            Source::Disk => {
                let Poll::Ready(Some(event)) = self.sources.disk.as_mut().poll_next(cx) else {
                    return false;
                };
                self.step(match event {
                    DiskEvent::Loaded(id, result) => Input::Loaded(id, result),
                    DiskEvent::Written(id, result) => Input::Written(id, result),
                    DiskEvent::Committed(id, result) => Input::Committed(id, result),
                });
            }
            Source::Ask => {
                let Poll::Ready(Some(ask)) = self.sources.asks.as_mut().poll_next(cx) else {
                    return false;
                };
                self.on_ask(ask);
            }
            Source::Host => {
                let Poll::Ready(Some(event)) = self.sources.host.as_mut().poll_next(cx) else {
                    return false;
                };
                self.step(Input::Host(event));
            }
            Source::Resolved => {
                let resolved = self.sources.resolved.as_mut().poll_next(cx);
                let Poll::Ready(Some(resolved)) = resolved else {
                    return false;
                };
                self.on_resolved(resolved);
            }
        }
        true
    }

    fn on_quic(&mut self, id: LinkId, event: LinkEvent) {
        match event {
            LinkEvent::Failed(error) => self.dial_next(id, error),
            LinkEvent::Dialed(info) => {
                self.dials.remove(&id);
                self.step(Input::Link(id, LinkEvent::Dialed(info)));
            }
            event @ (LinkEvent::Accepted(_)
            | LinkEvent::Bytes(..)
            | LinkEvent::Room(..)
            | LinkEvent::Moved(_)
            | LinkEvent::Closed(_)) => self.step(Input::Link(id, event)),
        }
    }

    fn on_resolved(&mut self, Resolved { id, addresses }: Resolved) {
        // A dial that the node has closed meanwhile is not there any more.
        let Some(dial) = self.dials.get_mut(&id) else {
            return;
        };
        let error = match addresses {
            Ok(mut addresses) => {
                addresses.reverse();
                dial.untried = addresses;
                DialError::Unreachable
            }
            Err(error) => error,
        };
        self.dial_next(id, error);
    }

    fn on_ask(&mut self, ask: Ask) {
        // Whoever has gone meanwhile does not want the answer.
        match ask {
            Ask::Command(command, answer) => self.on_command(command, answer),
            Ask::Status(answer) => drop(answer.try_send(self.node.status())),
            Ask::Peers(answer) => drop(answer.try_send(self.node.peers())),
            Ask::Shares(answer) => drop(answer.try_send(self.node.shares())),
            Ask::Subscriptions(answer) => drop(answer.try_send(self.node.subscriptions())),
            Ask::Downloads(answer) => drop(answer.try_send(self.node.downloads())),
            Ask::Relay(answer) => drop(answer.try_send(self.node.relay())),
            Ask::Stats(answer) => drop(answer.try_send(self.node.stats())),
            Ask::Search(query, answer) => {
                let disk = self.disk.clone();
                self.spawn(async move {
                    let found = disk.search(query).await;
                    let _ = answer.try_send(found);
                });
            }
        }
    }

    fn on_command(&mut self, command: Command, answer: Sender<Result<Reply, CommandError>>) {
        if self.commands.len() >= COMMANDS_MAX {
            let limit = u32::try_from(COMMANDS_MAX).unwrap_or(u32::MAX);
            let _ = answer.try_send(Err(CommandError::LimitReached("commands under way", limit)));
            return;
        }
        self.last_op += 1;
        let op = OpId(self.last_op);
        self.commands.insert(op, answer);
        self.step(Input::Command(op, command));
    }

    /// Gives the node an input and carries out what it asks for.
    fn step(&mut self, input: Input) {
        self.node.handle(self.moment.now, input);
        self.carry_out();
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.node.poll_output() {
            self.act(output);
        }
    }

    fn act(&mut self, output: Output) {
        match output {
            Output::Dial(id, dial) => match dial.transport {
                Transport::Quic => self.dial_quic(id, dial),
                Transport::Tcp => self.tcp.dial(id, dial),
            },
            Output::Send(id, lane, frame) => match self.quic_of(id) {
                Some(endpoint) => endpoint.links.send(id, lane, frame),
                None => self.tcp.send(id, frame),
            },
            Output::Grant(id, lane, bytes) => match self.quic_of(id) {
                Some(endpoint) => endpoint.links.grant(id, lane, bytes),
                None => self.tcp.grant(id, lane, bytes),
            },
            Output::Close(id, code) => {
                self.dials.remove(&id);
                let instant = self.moment.instant;
                match self.quic_of(id) {
                    Some(endpoint) => endpoint.links.close(instant, id, code),
                    None => self.tcp.close(id, code),
                }
            }
            Output::Load(id, load) => self.disk.load(id, load),
            Output::Write(id, piece) => self.disk.write(id, piece),
            Output::Commit(id, batch) => self.disk.commit(id, batch),
            Output::Done(op, result) => {
                if let Some(answer) = self.commands.remove(&op) {
                    let _ = answer.try_send(result);
                }
            }
            Output::Event(event) => {
                self.event_log.write(self.moment.now.mono, &event);
                self.events.send(self.moment.now.unix, &event);
            }
        }
    }

    fn quic_of(&mut self, id: LinkId) -> Option<&mut UdpEndpoint> {
        self.udp.iter_mut().find(|endpoint| endpoint.links.has(id))
    }

    fn dial_quic(&mut self, id: LinkId, dial: Dial) {
        let until = self.moment.instant + OPENING_TIME_MAX;
        match dial.host {
            Host::Ip(ip) => {
                let untried = vec![SocketAddr::new(ip, dial.port)];
                self.dials.insert(id, QuicDial { until, untried });
                self.dial_next(id, DialError::Unreachable);
            }
            Host::Name(_) => {
                self.dials.insert(
                    id,
                    QuicDial {
                        until,
                        untried: Vec::new(),
                    },
                );
                let resolver = self.resolver.clone();
                self.spawn(async move {
                    let addresses = resolve(&dial, until).await;
                    let _ = resolver.send(Resolved { id, addresses }).await;
                });
            }
        }
    }

    /// Tries the next address of a dial; without one the dial has failed, for this reason.
    fn dial_next(&mut self, id: LinkId, error: DialError) {
        let now = self.moment.instant;
        if let Some(dial) = self.dials.get_mut(&id) {
            while let Some(remote) = dial.untried.pop() {
                let until = share_of_time(now, dial.until, dial.untried.len() + 1);
                if let Some(endpoint) = self.udp.iter_mut().find(|udp| udp.reaches(remote)) {
                    endpoint.links.dial(now, id, remote, until);
                    return;
                }
            }
        }
        self.dials.remove(&id);
        self.step(Input::Link(id, LinkEvent::Failed(error)));
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        if let Some(executor) = self.executor.upgrade() {
            executor.spawn(task).detach();
        }
    }

    /// Sleeps until something is due. Ready if it is already.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let moment = self.moment;
        let quic = self
            .udp
            .iter()
            .filter_map(|endpoint| endpoint.links.deadline());
        let node = self.node.deadline().map(|(due, _)| moment.instant_of(due));
        let due = quic
            .chain(node)
            .fold(moment.instant + SLEEP_MAX, Instant::min);
        if self.armed.is_none_or(|armed| due < armed) {
            self.timer.set_at(due);
            self.armed = Some(due);
        }
        match Pin::new(&mut self.timer).poll(cx) {
            Poll::Ready(_) => {
                self.armed = None;
                Poll::Ready(())
            }
            Poll::Pending => Poll::Pending,
        }
    }
}
