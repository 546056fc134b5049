//! The start of a download: which items, under which names.

use alloc::string::ToString;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::job::{self, Begun, Item, ItemState, Job, Known};
use super::{Downloads, Tag, Timer};
use crate::command::{CommandError, GetWhat, RefusedItem, RefusedReason, Reply};
use crate::content::chunk_count;
use crate::cx::{CallError, Cx};
use crate::event::Event;
use crate::id::{ContentId, DownloadId, NodeKey};
use crate::limits::{CONTENT_LEN_MAX, DOWNLOADS_MAX};
use crate::path::{CollisionSet, RelPath};
use crate::record::{self, Manifest, providers_key};
use crate::storage::{StoreError, Table};
use crate::wire::{Answer, Request};
use crate::wish::{DownloadWish, Want, Wish};

/// How long somebody who has a content is looked for.
const SEARCH_TIME: Duration = Duration::from_secs(10);

/// A content that no catalog lists: its size is asked of whoever has it.
pub(super) struct Search {
    wish: DownloadWish,
    content: ContentId,
}

impl Downloads {
    pub(in crate::transfers) fn begin(&mut self, cx: &mut Cx<'_>, wish: DownloadWish) {
        let unfinished = self
            .jobs
            .values()
            .filter(|job| !job.state.has_ended())
            .count();
        if unfinished.saturating_add(self.searches.len()) >= DOWNLOADS_MAX {
            let error = CommandError::LimitReached("downloads", DOWNLOADS_MAX as u32);
            return cx.done(wish.op, Err(error));
        }
        let chosen = match (&wish.what, &wish.manifest) {
            (GetWhat::Share { path, .. }, Some(manifest)) => below(manifest, path.as_deref()),
            (GetWhat::Content(content), Some(manifest)) => {
                let listed = manifest.items.iter().find(|item| item.content == *content);
                listed.cloned().into_iter().collect()
            }
            (GetWhat::Content(content), None) => return self.search(cx, *content, wish),
            (GetWhat::Share { .. }, None) => {
                return cx.done(wish.op, Err(CommandError::NoCatalog));
            }
        };
        if chosen.is_empty() {
            return cx.done(wish.op, Err(CommandError::NoSuchItem));
        }
        self.create(cx, wish, &chosen);
    }

    fn create(&mut self, cx: &mut Cx<'_>, wish: DownloadWish, chosen: &[record::Item]) {
        let (items, refused) = checked(chosen);
        if items.is_empty()
            && let Some(first) = refused.first()
        {
            return cx.done(wish.op, Err(CommandError::Refused(first.clone())));
        }
        let share = wish.manifest.as_ref().map(|manifest| manifest.share);
        let id = self.fresh_id();
        let mut job = Job::new(wish.name, wish.root, share, cx.now.unix, items);
        job.begun = Some(Begun {
            op: wish.op,
            refused,
        });
        cx.put(Table::Downloads, job::job_key(id), job.row(job.state));
        cx.commit(Tag::Begun(id));
        self.jobs.insert(id, job);
    }

    fn fresh_id(&mut self) -> DownloadId {
        loop {
            // A damaged row may have said any number.
            self.last_id = self.last_id.wrapping_add(1);
            let id = DownloadId(self.last_id);
            if !self.jobs.contains_key(&id) {
                return id;
            }
        }
    }

    pub(super) fn on_begun(
        &mut self,
        cx: &mut Cx<'_>,
        id: DownloadId,
        result: Result<(), StoreError>,
    ) {
        let Some(job) = self.jobs.get_mut(&id) else {
            return;
        };
        let Some(begun) = job.begun.take() else {
            return;
        };
        if let Err(error) = result {
            self.jobs.remove(&id);
            return cx.done(begun.op, Err(CommandError::Store(error)));
        }
        job.moved = cx.now.mono;
        let (items, bytes) = (job.totals.items, job.totals.bytes);
        for item in &begun.refused {
            cx.event(Event::ItemRefused {
                download: id,
                item: item.clone(),
            });
        }
        cx.done(
            begun.op,
            Ok(Reply::Started {
                download: id,
                items,
                bytes,
                refused: begun.refused,
            }),
        );
        self.refill = true;
        self.poll(cx, id);
    }

    fn search(&mut self, cx: &mut Cx<'_>, content: ContentId, wish: DownloadWish) {
        // A damaged row may have said any number.
        self.next = self.next.wrapping_add(1);
        let id = self.next;
        let until = cx.now.mono + SEARCH_TIME;
        self.searches.insert(id, Search { wish, content });
        self.timers.set(Timer::Search(id), until);
        let peers: Vec<NodeKey> = cx.roster.iter().map(|(key, _)| *key).collect();
        for peer in peers {
            self.ask_search(cx, id, peer);
        }
        cx.wish(Wish::Lookup {
            key: providers_key(&content),
            want: Want::Providers,
            tag: Tag::SearchLookup(id).into(),
        });
    }

    /// Asks a peer that has come up for what is searched.
    pub(super) fn ask_searches(&mut self, cx: &mut Cx<'_>, peer: NodeKey) {
        let searches: Vec<u64> = self.searches.keys().copied().collect();
        for search in searches {
            self.ask_search(cx, search, peer);
        }
    }

    fn ask_search(&mut self, cx: &mut Cx<'_>, id: u64, peer: NodeKey) {
        if let Some(search) = self.searches.get(&id)
            && cx.roster.is_ours(&peer)
        {
            let request = Request::Have(vec![search.content]);
            cx.call(peer, request, SEARCH_TIME, Tag::SearchHave(id));
        }
    }

    pub(super) fn on_search_have(
        &mut self,
        cx: &mut Cx<'_>,
        id: u64,
        answer: Result<Answer, CallError>,
    ) {
        let Ok(Answer::Have(have)) = answer else {
            return;
        };
        let Some(Some(size)) = have.sizes.first() else {
            return;
        };
        let Some(search) = self.searches.remove(&id) else {
            return;
        };
        self.timers.cancel(&Timer::Search(id));
        let item = record::Item {
            content: search.content,
            size: *size,
            name: search.wish.name.clone(),
            path: None,
            mime: None,
            tags: Vec::new(),
            chunk_count: 0,
            chunk_list_hash: [0; 32],
        };
        self.create(cx, search.wish, &[item]);
    }

    pub(super) fn give_up_search(&mut self, cx: &mut Cx<'_>, id: u64) {
        if let Some(search) = self.searches.remove(&id) {
            cx.done(search.wish.op, Err(CommandError::UnknownContent));
        }
    }
}

/// The items at or below a path of the catalog, or all.
fn below(manifest: &Manifest, path: Option<&str>) -> Vec<record::Item> {
    let path = path.map(|path| path.trim_end_matches('/'));
    let is_below = |item: &&record::Item| match path {
        None | Some("") => true,
        Some(path) => item
            .place()
            .strip_prefix(path)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
    };
    manifest.items.iter().filter(is_below).cloned().collect()
}

/// The items that can be written below a folder, and those that cannot.
fn checked(chosen: &[record::Item]) -> (Vec<Item>, Vec<RefusedItem>) {
    let mut taken = CollisionSet::new();
    let (mut items, mut refused) = (Vec::new(), Vec::new());
    for item in chosen {
        match check(item, &mut taken) {
            Ok(item) => items.push(item),
            Err(reason) => refused.push(RefusedItem {
                path: item.place().to_string(),
                reason,
            }),
        }
    }
    (items, refused)
}

fn check(item: &record::Item, taken: &mut CollisionSet) -> Result<Item, RefusedReason> {
    let rel = RelPath::from_untrusted(item.place()).map_err(RefusedReason::Path)?;
    let count = chunk_count(item.size).filter(|_| item.size <= CONTENT_LEN_MAX);
    // The format lets a publisher leave the count out.
    if count.is_none_or(|count| item.chunk_count != count && item.chunk_count != 0) {
        return Err(RefusedReason::Inconsistent);
    }
    taken
        .insert(rel.clone())
        .map_err(|_| RefusedReason::Collision)?;
    Ok(Item {
        content: item.content,
        size: item.size,
        rel,
        chunk_list_hash: (item.chunk_list_hash != [0; 32]).then_some(item.chunk_list_hash),
        state: ItemState::Waiting,
        known: Known::Unseen(None),
        done: 0,
        lies: 0,
    })
}
