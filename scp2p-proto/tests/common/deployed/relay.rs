//! A deployed relay: it asks the owners of slots on their tunnels, one request at a time, and takes whatever they send
//! for the answer.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use scp2p_proto::id::{LinkId, RelaySlotId};
use scp2p_proto::io::{Lane, Output};
use scp2p_proto::time::{Now, UnixTime};
use scp2p_proto::wire::{Answer, Envelope, RelayRegistered, RelayStream, Request};

/// Its slots, with what they wait for.
#[derive(Default)]
pub struct Relaying {
    /// Slots that it gave, with their tunnels.
    pub slots: BTreeMap<RelaySlotId, Slot>,
    /// Slots registered again.
    pub renewed: u32,
    /// Requests relayed.
    pub relayed: u32,
    /// The most that waited for one owner at a time.
    pub waited: usize,
    /// Refuses everybody with this text.
    pub refuses: Option<String>,
    pub refused: u32,
    next: u64,
}

#[derive(Default)]
pub struct Slot {
    pub tunnel: Option<LinkId>,
    asked: Option<Asker>,
    waiting: VecDeque<(Asker, Bytes)>,
}

struct Asker {
    link: LinkId,
    kind: u16,
    req_id: u32,
    stream: RelayStream,
}

impl Relaying {
    /// What comes of a message; none if it is none of a relay's.
    pub(super) fn message(
        &mut self,
        now: Now,
        link: LinkId,
        envelope: &Envelope,
    ) -> Option<Vec<Output>> {
        let mut slots = self.slots.iter_mut();
        let tunnel = slots.find(|(_, slot)| slot.tunnel == Some(link));
        if let Some((id, slot)) = tunnel {
            let asker = slot.asked.take().expect("owners say nothing by themselves");
            let reply = answer(*id, asker, envelope.clone());
            return Some([reply].into_iter().chain(slot.next()).collect());
        }
        let send = |frame| Some(vec![Output::Send(link, Lane::Control, frame)]);
        let (kind, req_id) = (envelope.kind, envelope.req_id);
        let refuse = |text: &str| send(Answer::error_frame(kind, req_id, text));
        if envelope.is_response() {
            return None;
        }
        match Request::decode(kind, &envelope.payload) {
            Ok(Request::RelayRegister(_) | Request::RelayStream(_)) if self.refuses.is_some() => {
                self.refused += 1;
                refuse(self.refuses.as_ref()?)
            }
            Ok(Request::RelayRegister(register)) => {
                let slot = register.slot.unwrap_or_else(|| {
                    self.next += 1;
                    RelaySlotId(self.next)
                });
                self.renewed += u32::from(register.slot.is_some());
                let tunnel = register.tunnel.then_some(link);
                self.slots.entry(slot).or_default().tunnel = tunnel;
                let registered = RelayRegistered {
                    slot,
                    expires_at: UnixTime(now.unix.0 + 600),
                };
                send(Answer::RelayRegistered(registered).to_frame(kind, req_id))
            }
            Ok(Request::RelayStream(stream)) => {
                let Some(slot) = self.slots.get_mut(&stream.slot) else {
                    return refuse("relay slot not found");
                };
                self.relayed += 1;
                let inner = stream.inner().expect("an envelope");
                assert_eq!(inner.req_id, req_id, "one number outside and inside");
                let payload = stream.payload.clone();
                let asker = Asker {
                    link,
                    kind,
                    req_id,
                    stream,
                };
                slot.waiting.push_back((asker, payload));
                self.waited = self.waited.max(slot.waiting.len());
                Some(slot.next().into_iter().collect())
            }
            Ok(_) | Err(_) => None,
        }
    }

    /// A session has ended: what waited for its owner fails.
    pub(super) fn down(&mut self, link: LinkId) -> Vec<Output> {
        let mut slots = self.slots.values_mut();
        let Some(slot) = slots.find(|slot| slot.tunnel == Some(link)) else {
            return Vec::new();
        };
        slot.tunnel = None;
        let waiting = std::mem::take(&mut slot.waiting);
        let waiting = waiting.into_iter().map(|(asker, _)| asker);
        let lost = slot.asked.take().into_iter().chain(waiting);
        let refuse = |asker: Asker| {
            let text = "relay bridge dropped response";
            let frame = Answer::error_frame(asker.kind, asker.req_id, text);
            Output::Send(asker.link, Lane::Control, frame)
        };
        lost.map(refuse).collect()
    }
}

impl Slot {
    fn next(&mut self) -> Option<Output> {
        let tunnel = self.tunnel.filter(|_| self.asked.is_none())?;
        let (asker, payload) = self.waiting.pop_front()?;
        self.asked = Some(asker);
        let inner = Envelope::decode(&payload).expect("an envelope");
        Some(Output::Send(tunnel, Lane::Control, inner.into_frame()))
    }
}

fn answer(slot: RelaySlotId, asker: Asker, reply: Envelope) -> Output {
    let stream = RelayStream {
        slot,
        payload: reply.encode(),
        ..asker.stream
    };
    let frame = Answer::RelayStream(stream).to_frame(asker.kind, asker.req_id);
    Output::Send(asker.link, Lane::Control, frame)
}
