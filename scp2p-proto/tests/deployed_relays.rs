//! Tunnels of deployed peers, with a node of ours as the relay.

mod common;

use std::time::Duration;

use bytes::Bytes;
use common::World;
use scp2p_proto::command::{Command, Reply};
use scp2p_proto::config::{Config, RelayLimits};
use scp2p_proto::id::{ContentId, LinkId, RelaySlotId};
use scp2p_proto::limits::CHUNK_LEN;
use scp2p_proto::view::Tunnel;
use scp2p_proto::wire::{
    Answer, AnswerError, Envelope, RelayRegister, RelayStream, RelayStreamKind, Request,
};

type Answered = Result<Answer, String>;

fn relays(config: &mut Config) {
    config.relay = Some(RelayLimits {
        content: true,
        ..RelayLimits::default()
    });
    config.capabilities.relay = true;
}

fn refused(text: &str) -> Answered {
    Err(format!("the peer refused: {text}"))
}

fn content() -> (ContentId, Vec<u8>) {
    let bytes: Vec<u8> = (0..CHUNK_LEN + 9)
        .map(|place| (place % 251) as u8)
        .collect();
    (ContentId(*blake3::hash(&bytes).as_bytes()), bytes)
}

fn register(slot: Option<RelaySlotId>, tunnel: bool) -> Request {
    Request::RelayRegister(RelayRegister { slot, tunnel })
}

fn slot_of(answer: &Answered) -> RelaySlotId {
    match answer {
        Ok(Answer::RelayRegistered(registered)) => registered.slot,
        other => panic!("{other:?}"),
    }
}

/// A request for a chunk, to be relayed.
fn chunk(slot: RelaySlotId, index: u32, req_id: u32) -> Request {
    let content = content().0;
    let inner = Request::GetChunk { content, index }.to_envelope(req_id);
    Request::RelayStream(RelayStream::for_owner(slot, inner))
}

/// What the owner answered, as it is in the relay's answer.
fn inner(answer: &Answered) -> Envelope {
    match answer {
        Ok(Answer::RelayStream(stream)) => stream.inner().expect("an envelope"),
        other => panic!("{other:?}"),
    }
}

fn is_chunk(answer: &Answered, index: u32, req_id: u32) -> bool {
    let inner = inner(answer);
    let (content, bytes) = content();
    let data = bytes.chunks(CHUNK_LEN as usize).nth(index as usize);
    let data = Bytes::copy_from_slice(data.expect("a chunk"));
    let kind = Request::GetChunk { content, index }.kind();
    let expected = Answer::Chunk {
        content,
        index,
        data,
    };
    inner.req_id == req_id && Answer::decode(kind, &inner) == Ok(expected)
}

/// A relay of ours, a deployed owner with its tunnel, and a deployed requester with its session.
struct Scene {
    world: World,
    relay: usize,
    owner: usize,
    tunnel: LinkId,
    slot: RelaySlotId,
    asker: usize,
    session: LinkId,
}

fn scene() -> Scene {
    let mut world = World::new();
    let owner = world.add_deployed();
    let (content, bytes) = content();
    world.deployed(owner).contents.insert(content, bytes);
    let asker = world.add_deployed();
    let relay = world.add_with(&[], relays);
    let tunnel = world.session_from(owner, relay);
    let slot = slot_of(&world.asked_on(owner, tunnel, &[register(None, true)])[0]);
    let session = world.session_from(asker, relay);
    Scene {
        world,
        relay,
        owner,
        tunnel,
        slot,
        asker,
        session,
    }
}

impl Scene {
    fn asked(&mut self, requests: &[Request]) -> Vec<Answered> {
        self.world.asked_on(self.asker, self.session, requests)
    }

    fn ask(&mut self, requests: &[Request]) {
        self.world.ask_on(self.asker, self.session, requests);
    }

    fn answers(&mut self) -> Vec<Answered> {
        let asker = self.world.deployed(self.asker);
        asker.answers.values().cloned().collect()
    }

    /// The requests that have reached the owner.
    fn reached(&mut self) -> u32 {
        self.world.deployed(self.owner).answered
    }
}

#[test]
fn who_is_no_relay_says_so_and_the_session_goes_on() {
    let disabled = |config: &mut Config| {
        relays(config);
        config.deployed_relays = false;
    };
    for change in [(|_| {}) as fn(&mut Config), disabled] {
        let mut world = World::new();
        let asker = world.add_deployed();
        let node = world.add_with(&[], change);
        let link = world.session_from(asker, node);
        let asked = [
            register(None, true),
            register(Some(RelaySlotId(5)), false),
            Request::RelayConnect(RelaySlotId(5)),
            chunk(RelaySlotId(5), 0, 1),
        ];
        for answer in world.asked_on(asker, link, &asked) {
            assert_eq!(answer, refused("not a relay"));
        }
        let list = Request::ListRelays { max_count: 16 };
        let answers = world.asked_on(asker, link, &[list, Request::PexRequest { max_peers: 1 }]);
        assert_eq!(answers[0], Ok(Answer::Relays(Vec::new())));
        assert!(matches!(answers[1], Ok(Answer::Peers(_))));
    }
}

#[test]
fn a_deployed_requester_gets_chunks_of_a_deployed_owner() {
    let mut scene = scene();
    let connect = Request::RelayConnect(scene.slot);
    assert_eq!(scene.asked(&[connect]), [Ok(Answer::Ack)]);
    let slot = scene.slot;
    let answers = scene.asked(&[chunk(slot, 0, 77), chunk(slot, 1, 77)]);
    assert!(is_chunk(&answers[0], 0, 77) && is_chunk(&answers[1], 1, 77));
    let Request::RelayStream(mut stream) = chunk(slot, 1, 3) else {
        panic!("it is one")
    };
    stream.kind = RelayStreamKind::Control;
    stream.stream_id = 9;
    let answers = scene.asked(&[Request::RelayStream(stream)]);
    assert!(is_chunk(&answers[0], 1, 3));
    let Ok(Answer::RelayStream(reply)) = &answers[0] else {
        panic!("it is one")
    };
    let head = (reply.slot, reply.stream_id, reply.kind);
    assert_eq!(head, (slot, 9, RelayStreamKind::Control));
    let view = scene.world.node(scene.relay).peers();
    let owner = scene.world.key(scene.owner);
    let session = view.iter().find(|view| view.key == owner);
    let session = session.and_then(|view| view.session.clone());
    assert_eq!(session.and_then(|it| it.tunnel), Some(Tunnel::Relay));
}

/// What goes through a tunnel can be read, so control is told from content.
#[test]
fn a_relay_for_control_passes_no_chunks() {
    let mut scene = scene();
    let control = RelayLimits::default();
    let relay = scene.relay;
    let set = scene.world.run(relay, Command::SetRelay(control));
    assert_eq!(set, Ok(Reply::Ok));
    let list = Request::GetChunkHashes(content().0).to_envelope(2);
    let list = Request::RelayStream(RelayStream::for_owner(scene.slot, list));
    let answers = scene.asked(&[chunk(scene.slot, 0, 1), list]);
    assert_eq!(answers[0], refused("no content is relayed here"));
    assert!(!inner(&answers[1]).is_error());
}

/// An error of the owner is a success of the relay.
#[test]
fn an_error_of_the_owner_is_within_the_reply() {
    let mut scene = scene();
    let answers = scene.asked(&[chunk(scene.slot, 5, 2)]);
    let inner = inner(&answers[0]);
    assert!(inner.is_error() && inner.req_id == 2);
    let error = Answer::decode(inner.kind, &inner);
    assert!(matches!(error, Err(AnswerError::Refused { .. })));
}

#[test]
fn what_is_no_request_is_not_relayed() {
    let mut scene = scene();
    let slot = scene.slot;
    let stream = |inner| Request::RelayStream(RelayStream::for_owner(slot, inner));
    let reply = Envelope {
        kind: 500,
        req_id: 1,
        flags: 1,
        payload: Bytes::new(),
    };
    let long = Envelope {
        flags: 0,
        payload: vec![0; 200_000].into(),
        ..reply.clone()
    };
    let answers = scene.asked(&[
        stream(Bytes::from_static(b"\xa0")),
        stream(reply.encode()),
        stream(long.encode()),
    ]);
    assert!(answers.iter().all(Result::is_err), "{answers:?}");
    assert_eq!(scene.reached(), 0);
}

/// A slot is its owner's, and is neither had without limit nor by many keys of one host.
#[test]
fn slots_are_renewed_by_their_owners_and_bounded() {
    let mut scene = scene();
    let (slot, relay) = (scene.slot, scene.relay);
    let theirs = scene.asked(&[
        register(Some(slot), false),
        register(Some(RelaySlotId(slot.0 ^ 1)), false),
        register(None, false),
    ]);
    assert_eq!(theirs[0], refused("relay slot owner mismatch"));
    assert_eq!(theirs[1], refused("relay slot not found"));
    assert!(slot_of(&theirs[2]).0 != 0);
    let world = &mut scene.world;
    world.pass(Duration::from_secs(400));
    let other = world.session_from(scene.owner, relay);
    let renewed = world.asked_on(scene.owner, other, &[register(Some(slot), false)]);
    assert_eq!(slot_of(&renewed[0]), slot);
    world.pass(Duration::from_secs(400));
    let more = vec![register(None, false); 4];
    let more = world.asked_on(scene.owner, other, &more);
    assert!(more[..3].iter().all(Result::is_ok), "{more:?}");
    assert_eq!(more[3], refused("rate limit: relay slot limit reached"));
    // All hosts of this world that dial have one address each, so the requester's are counted for themselves.
    let theirs = scene.asked(&[register(None, false)]);
    assert!(theirs[0].is_ok(), "the one of before is over");
}

#[test]
fn slots_are_no_more_than_the_tunnels_that_are_told() {
    let mut scene = scene();
    scene.limit(|limits| limits.circuits_max = 2);
    let [second, third] = [(); 2].map(|()| scene.asked(&[register(None, false)]).remove(0));
    assert!(second.is_ok(), "{second:?}");
    assert_eq!(third, refused("rate limit: relay slot limit reached"));
}

/// An owner that says something by itself, or nothing for long, harms nobody but those who ask it.
#[test]
fn what_an_owner_sends_unasked_reaches_nobody() {
    let mut scene = scene();
    let (owner, tunnel, slot) = (scene.owner, scene.tunnel, scene.slot);
    let (kind, text) = (500, "nobody asked");
    let unasked = [
        register(Some(slot), false).to_frame(1),
        Answer::error_frame(kind, 1, text),
    ];
    for frame in unasked {
        scene.world.blurt(owner, tunnel, frame);
    }
    scene.world.pass(Duration::from_secs(1));
    scene.world.deployed(owner).held = Some(Vec::new());
    scene.ask(&[chunk(slot, 1, 4)]);
    scene.world.until("the request", |world| {
        world.hosts[owner]
            .deployed
            .as_ref()
            .is_some_and(|it| it.answered == 1)
    });
    let other = Answer::error_frame(kind, 99, text);
    scene.world.blurt(owner, tunnel, other);
    scene.world.pass(Duration::from_secs(1));
    assert!(scene.answers().is_empty());
    scene.world.release(owner);
    scene.world.pass(Duration::from_secs(1));
    assert!(is_chunk(&scene.answers()[0], 1, 4));
}

#[test]
fn a_late_reply_is_for_nobody_and_the_next_request_goes_out_after_it() {
    let mut scene = scene();
    let (owner, slot) = (scene.owner, scene.slot);
    scene.world.deployed(owner).held = Some(Vec::new());
    scene.ask(&[chunk(slot, 0, 1)]);
    scene.world.pass(Duration::from_secs(31));
    let late = format!("relay tunnel response timed out for slot {}", slot.0);
    assert_eq!(scene.answers(), [refused(&late)]);
    scene.ask(&[chunk(slot, 1, 2)]);
    scene.world.pass(Duration::from_secs(5));
    assert_eq!(scene.reached(), 1, "the owner is asked one thing at a time");
    scene.world.release(owner);
    scene.world.pass(Duration::from_secs(1));
    assert_eq!(scene.reached(), 2);
    let answers = scene.answers();
    assert!(is_chunk(&answers[1], 1, 2));
}

#[test]
fn a_requester_that_goes_does_not_hold_others_up() {
    let mut scene = scene();
    let (owner, slot) = (scene.owner, scene.slot);
    scene.world.deployed(owner).held = Some(Vec::new());
    let other = scene.world.session_from(scene.asker, scene.relay);
    scene
        .world
        .ask_on(scene.asker, other, &[chunk(slot, 0, 1), chunk(slot, 0, 2)]);
    scene.world.pass(Duration::from_secs(1));
    scene.ask(&[chunk(slot, 1, 3)]);
    scene.world.hang_up(scene.asker, other);
    scene.world.pass(Duration::from_secs(1));
    scene.world.release(owner);
    scene.world.pass(Duration::from_secs(1));
    assert_eq!(
        scene.reached(),
        2,
        "what was not asked yet is not asked any more"
    );
    let answers = scene.answers();
    assert!(answers.len() == 1 && is_chunk(&answers[0], 1, 3));
}

#[test]
fn an_owner_that_never_answers_loses_its_tunnel() {
    let mut scene = scene();
    let (owner, tunnel, slot) = (scene.owner, scene.tunnel, scene.slot);
    scene.world.deployed(owner).gives_chunks = false;
    scene.ask(&[chunk(slot, 0, 1)]);
    scene.world.pass(Duration::from_secs(110));
    assert!(scene.world.deployed(owner).is_up(tunnel));
    scene.ask(&[chunk(slot, 0, 2)]);
    scene.world.pass(Duration::from_secs(11));
    assert!(!scene.world.deployed(owner).is_up(tunnel));
    let dropped = format!("relay bridge dropped response for slot {}", slot.0);
    assert_eq!(scene.answers()[1], refused(&dropped));
    let none = format!("relay slot {} has no tunnel", slot.0);
    assert_eq!(scene.asked(&[chunk(slot, 0, 3)]), [refused(&none)]);
}

#[test]
fn the_end_of_an_owner_fails_what_waits_and_its_slot_may_have_a_tunnel_again() {
    let mut scene = scene();
    let (owner, slot) = (scene.owner, scene.slot);
    scene.world.deployed(owner).held = Some(Vec::new());
    scene.ask(&[chunk(slot, 0, 1), chunk(slot, 1, 2)]);
    scene.world.pass(Duration::from_secs(1));
    scene.world.hang_up(owner, scene.tunnel);
    scene.world.pass(Duration::from_secs(1));
    let dropped = format!("relay bridge dropped response for slot {}", slot.0);
    assert_eq!(scene.answers(), [refused(&dropped), refused(&dropped)]);
    scene.world.deployed(owner).held = None;
    for _ in 0..2 {
        // The second time the tunnel before is still there: it ends, and the new one works.
        let tunnel = scene.world.session_from(owner, scene.relay);
        let again = [register(Some(slot), true)];
        let again = scene.world.asked_on(owner, tunnel, &again);
        assert_eq!(slot_of(&again[0]), slot);
        scene.world.pass(Duration::from_secs(1));
        let answers = scene.asked(&[chunk(slot, 1, 3)]);
        assert!(is_chunk(&answers[0], 1, 3));
    }
}

/// Whatever was sent to it besides would be taken for a request.
#[test]
fn who_waits_for_an_answer_has_no_tunnel_on_that_session() {
    let mut scene = scene();
    scene.world.deployed(scene.owner).held = Some(Vec::new());
    let link = scene.world.session_from(scene.asker, scene.relay);
    let both = [chunk(scene.slot, 0, 1), register(None, true)];
    scene.world.ask_on(scene.asker, link, &both);
    scene.world.pass(Duration::from_secs(1));
    assert!(!scene.world.deployed(scene.asker).is_up(link));
}

#[test]
fn nothing_is_sent_on_a_tunnel_but_requests_that_are_relayed() {
    let mut scene = scene();
    // Long enough for pings, exchanges of peers and all that is done regularly.
    scene.world.pass(Duration::from_secs(7200));
    assert_eq!(scene.reached(), 0);
    let slot = scene.slot;
    let answers = scene.asked(&[chunk(slot, 1, 3)]);
    assert!(is_chunk(&answers[0], 1, 3), "a tunnel outlives its slot");
}

#[test]
fn requests_of_one_session_and_of_one_address_are_bounded() {
    let mut scene = scene();
    let (owner, slot) = (scene.owner, scene.slot);
    scene.world.deployed(owner).held = Some(Vec::new());
    scene.ask(&vec![chunk(slot, 1, 1); 5]);
    scene.world.pass(Duration::from_secs(1));
    let limit = refused("rate limit: too many requests under way");
    assert_eq!(scene.answers(), [limit]);
    scene.world.release(owner);
    scene.world.pass(Duration::from_secs(1));
    let other = scene.world.session_from(scene.asker, scene.relay);
    let many = vec![chunk(RelaySlotId(0), 1, 1); 100];
    let answers = scene.world.asked_on(scene.asker, other, &many);
    assert_eq!(answers[0], refused("relay slot not found"));
    assert_eq!(
        answers[99],
        refused("rate limit: too many requests to relay")
    );
}

/// One is asked of the owner and 32 wait, from however many they come.
#[test]
fn of_34_requests_at_a_slot_the_last_is_refused_and_all_others_are_answered() {
    let mut scene = scene();
    let (owner, slot) = (scene.owner, scene.slot);
    scene.world.deployed(owner).held = Some(Vec::new());
    let four = vec![chunk(slot, 1, 1); 4];
    scene.ask(&four);
    let others: Vec<_> = (0..7).map(|_| scene.other()).collect();
    for (other, link) in &others {
        scene.world.ask_on(*other, *link, &four);
    }
    scene.world.pass(Duration::from_secs(1));
    let (last, link) = scene.other();
    let two = vec![chunk(slot, 1, 1); 2];
    let answers = |scene: &mut Scene, of: usize| {
        let answers = scene.world.deployed(of).answers.values();
        answers.cloned().collect::<Vec<_>>()
    };
    scene.world.ask_on(last, link, &two);
    scene.world.pass(Duration::from_secs(1));
    let full = format!("rate limit: too many requests for relay slot {}", slot.0);
    assert_eq!(answers(&mut scene, last), [refused(&full)]);
    assert_eq!(scene.reached(), 1);
    scene.world.release(owner);
    scene.world.pass(Duration::from_secs(20));
    for (other, _) in others {
        let answers = answers(&mut scene, other);
        assert_eq!(answers.len(), 4);
        assert!(answers.iter().all(|it| is_chunk(it, 1, 1)), "{answers:?}");
    }
    assert!(scene.answers().iter().all(|it| is_chunk(it, 1, 1)));
    assert!(
        answers(&mut scene, last)
            .iter()
            .any(|it| is_chunk(it, 1, 1))
    );
}

#[test]
fn a_slot_without_a_tunnel_that_is_not_renewed_is_forgotten() {
    let mut scene = scene();
    let (owner, relay) = (scene.owner, scene.relay);
    let link = scene.world.session_from(owner, relay);
    let registered = scene.world.asked_on(owner, link, &[register(None, false)]);
    let slot = slot_of(&registered[0]);
    let asked = [chunk(slot, 0, 1), Request::RelayConnect(slot)];
    let none = format!("relay slot {} has no tunnel", slot.0);
    assert_eq!(scene.asked(&asked), [refused(&none), Ok(Answer::Ack)]);
    scene.world.pass(Duration::from_secs(601));
    let not_found = refused("relay slot not found");
    assert_eq!(scene.asked(&asked), [not_found.clone(), not_found.clone()]);
    let again = [register(Some(slot), false)];
    let again = scene.world.asked_on(owner, link, &again);
    assert_eq!(again, [not_found]);
}

impl Scene {
    fn limit(&mut self, change: impl FnOnce(&mut RelayLimits)) {
        let mut limits = RelayLimits {
            content: true,
            ..RelayLimits::default()
        };
        change(&mut limits);
        let set = self.world.run(self.relay, Command::SetRelay(limits));
        assert_eq!(set, Ok(Reply::Ok));
    }

    /// Another requester, at an address of its own.
    fn other(&mut self) -> (usize, LinkId) {
        let other = self.world.add_deployed();
        (other, self.world.session_from(other, self.relay))
    }

    /// How many seconds it takes until all of these are answered.
    fn seconds(&mut self, requests: &[Request]) -> u64 {
        let before = self.world.now;
        let answers = self.asked(requests);
        assert!(
            answers.iter().all(|it| !inner(it).is_error()),
            "{answers:?}"
        );
        self.world.now.since(before).as_secs()
    }
}

#[test]
fn who_used_up_a_quota_by_tunnels_is_refused_for_the_hour() {
    let mut scene = scene();
    let (other, session) = scene.other();
    let (slot, relay) = (scene.slot, scene.relay);
    scene.limit(|limits| limits.hourly_per_ip = Some(400_000));
    let used_up = refused("rate limit: the relay's quota is used up");
    let answers = scene.asked(&vec![chunk(slot, 0, 1); 3]);
    assert!(is_chunk(&answers[0], 0, 1) && is_chunk(&answers[1], 0, 1));
    assert_eq!(answers[2], used_up);
    let theirs = scene.world.asked_on(other, session, &[chunk(slot, 0, 1)]);
    assert!(is_chunk(&theirs[0], 0, 1), "it is another address");
    let totals = scene.world.node(relay).relay().totals;
    let chunks = 3 * u64::from(CHUNK_LEN);
    assert!(
        (chunks..chunks + 1000).contains(&totals.bytes),
        "{totals:?}"
    );
    assert_eq!((totals.tunnelled, totals.refused), (totals.bytes, 1));
    scene.world.pass(Duration::from_secs(3601));
    assert!(is_chunk(&scene.asked(&[chunk(slot, 0, 2)])[0], 0, 2));
    scene.limit(|limits| limits.hourly_total = Some(200_000));
    let mut answers = scene.asked(&[chunk(slot, 1, 3)]);
    answers.extend(scene.world.asked_on(other, session, &[chunk(slot, 1, 3)]));
    assert_eq!(answers, vec![used_up; 2], "it is the relay's");
}

#[test]
fn tunnels_keep_to_the_rate_of_all() {
    let mut scene = scene();
    scene.limit(|limits| limits.rate_total = Some(100_000));
    let chunks = vec![chunk(scene.slot, 0, 1); 4];
    // One second's worth may be ahead, and the last answer need not be waited for.
    let least = 3 * u64::from(CHUNK_LEN) / 100_000 - 1;
    let took = scene.seconds(&chunks);
    assert!((least..least + 2).contains(&took), "{took} s");
}

/// Those who wait at one address do not hold up others at the same tunnel.
#[test]
fn tunnels_keep_to_the_rate_of_an_address() {
    let mut scene = scene();
    let (other, session) = scene.other();
    scene.limit(|limits| limits.rate_per_ip = Some(100_000));
    let chunks = vec![chunk(scene.slot, 0, 1); 4];
    scene.ask(&chunks);
    let before = scene.world.now;
    let theirs = scene.world.asked_on(other, session, &chunks[..1]);
    assert!(is_chunk(&theirs[0], 0, 1));
    assert!(scene.world.now.since(before) < Duration::from_secs(1));
    scene.world.pass(Duration::from_secs(20));
    assert!(scene.answers().iter().all(|answer| is_chunk(answer, 0, 1)));
    let least = 3 * u64::from(CHUNK_LEN) / 100_000 - 1;
    let took = scene.seconds(&chunks);
    assert!((least..least + 2).contains(&took), "{took} s");
}

/// The slots that the relay lists: who has them, what passed, and who waits.
#[test]
fn slots_are_listed_with_what_passed_and_who_waits() {
    let mut scene = scene();
    let (relay, owner, slot) = (scene.relay, scene.owner, scene.slot);
    let (owner_key, asker_key) = (scene.world.key(owner), scene.world.key(scene.asker));
    assert!(is_chunk(&scene.asked(&[chunk(slot, 0, 1)])[0], 0, 1));
    scene.asked(&[register(None, false)]);
    scene.world.pass(Duration::from_secs(20));
    scene.world.deployed(owner).held = Some(Vec::new());
    scene.ask(&[chunk(slot, 0, 2), chunk(slot, 1, 3)]);
    scene.world.pass(Duration::from_secs(5));
    let view = scene.world.node(relay).relay();
    assert_eq!(view.under_way(), 2);
    let [first, second] = view.slots.as_slice() else {
        panic!("two slots: {:?}", view.slots);
    };
    assert_eq!((first.slot, first.owner), (slot, owner_key));
    assert_eq!((second.owner, &second.tunnel), (asker_key, &None));
    let tunnel = first.tunnel.as_ref().expect("it is up");
    assert_eq!(tunnel.requests, 2, "one waits");
    assert_eq!(tunnel.bytes, view.totals.tunnelled);
    assert!(tunnel.bytes > u64::from(CHUNK_LEN));
    // The node's clock is that of what it was told last.
    let least = Duration::from_secs(15);
    assert!(first.age >= tunnel.age && tunnel.age >= least, "{first:?}");
    assert!(tunnel.idle < least, "{first:?}");
    let peers = tunnel.asking.iter().map(|asker| asker.peer);
    assert_eq!(peers.collect::<Vec<_>>(), [asker_key; 2]);
    assert!(tunnel.asking.iter().all(|it| it.age < least));
    scene.world.release(owner);
    scene.world.pass(Duration::from_secs(1));
    assert_eq!(scene.world.node(relay).relay().under_way(), 0);
}

#[test]
fn an_owner_that_is_taken_off_the_list_loses_its_slot_and_its_tunnel_at_once() {
    let mut scene = scene();
    let (owner, slot) = (scene.world.key(scene.owner), scene.slot);
    scene.limit(|limits| limits.allowed = Some([owner].into()));
    assert!(is_chunk(&scene.asked(&[chunk(slot, 0, 1)])[0], 0, 1));
    let held = scene.owner;
    scene.world.deployed(held).held = Some(Vec::new());
    scene.ask(&[chunk(slot, 1, 2)]);
    scene.world.pass(Duration::from_secs(1));
    scene.limit(|limits| limits.allowed = Some([].into()));
    scene.world.pass(Duration::from_secs(1));
    let dropped = format!("relay bridge dropped response for slot {}", slot.0);
    assert_eq!(scene.answers().last(), Some(&refused(&dropped)));
    assert!(scene.world.node(scene.relay).relay().slots.is_empty());
    let peers = scene.world.node(scene.relay).peers();
    let session = peers.iter().find(|peer| peer.key == owner);
    assert_eq!(session.and_then(|peer| peer.session.clone()), None);
    let answers = scene.asked(&[chunk(slot, 0, 3)]);
    assert_eq!(answers, [refused("relay slot not found")]);
    let (owner, relay) = (scene.owner, scene.relay);
    let link = scene.world.session_from(owner, relay);
    let again = scene.world.asked_on(owner, link, &[register(None, true)]);
    assert_eq!(again, [refused("not on the relay's list")]);
}

#[test]
fn chunks_that_wait_for_an_owner_are_refused_when_a_relay_takes_no_content_any_more() {
    let mut scene = scene();
    let (owner, slot) = (scene.owner, scene.slot);
    scene.world.deployed(owner).held = Some(Vec::new());
    scene.ask(&[chunk(slot, 0, 1), chunk(slot, 1, 2)]);
    scene.world.pass(Duration::from_secs(1));
    scene.limit(|limits| limits.content = false);
    scene.world.pass(Duration::from_secs(1));
    assert_eq!(scene.answers(), [refused("no content is relayed here")]);
    scene.world.release(owner);
    scene.world.pass(Duration::from_secs(1));
    let answers = scene.answers();
    assert!(answers.iter().flatten().count() == 1, "{answers:?}");
    assert_eq!(scene.reached(), 1);
}

#[test]
fn a_relay_that_is_about_to_stop_ends_what_is_asked_and_takes_nothing_new() {
    let mut scene = scene();
    let (owner, slot) = (scene.owner, scene.slot);
    scene.world.deployed(owner).held = Some(Vec::new());
    scene.ask(&[chunk(slot, 0, 1)]);
    scene.world.pass(Duration::from_secs(1));
    scene.limit(|limits| limits.closing = true);
    let (other, session) = scene.other();
    let asked = [chunk(slot, 0, 1), register(None, false)];
    let theirs = scene.world.asked_on(other, session, &asked);
    assert_eq!(theirs, vec![refused("the relay is about to stop"); 2]);
    scene.world.release(owner);
    scene.world.pass(Duration::from_secs(1));
    assert!(is_chunk(&scene.answers()[0], 0, 1));
}
