//! Reading catalogs for the application.

use alloc::collections::BTreeSet;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use alloc::boxed::Box;

use super::revision::Revision;
use super::{Catalogs, Tag};
use crate::command::{CommandError, Get, GetWhat, Reply};
use crate::cx::{Cx, Outcome};
use crate::id::{ContentId, ManifestId, NodeKey, OpId, ShareId, ShareKey};
use crate::io::Host;
use crate::limits::PUBLISHED_HINTS_MAX;
use crate::record::{Manifest, ShareLink};
use crate::storage::{Load, Loaded, Table};
use crate::wire::{BootstrapAddr, PeerAddr};
use crate::wish::{DownloadWish, Wish};

impl Catalogs {
    pub(crate) fn on_link(&mut self, cx: &mut Cx<'_>, op: OpId, share: ShareId) {
        let own = self.shares.get(&share).filter(|own| self.is_listed(own));
        let own = own.map(|own| link(cx, own.key(), &[], true));
        let followed = self.subscriptions.get(&share);
        let link = own.or_else(|| {
            followed.map(|known| link(cx, known.key, &known.hints, known.revision.is_some()))
        });
        cx.done(op, link.map(Reply::Link).ok_or(CommandError::UnknownShare));
    }

    pub(crate) fn on_browse(&mut self, cx: &mut Cx<'_>, op: OpId, share: ShareId) {
        match self.newest(&share) {
            Ok(manifest) => load(cx, manifest, Tag::Browsed(op)),
            Err(error) => cx.done(op, Err(error)),
        }
    }

    pub(super) fn browsed(&mut self, cx: &mut Cx<'_>, op: OpId, outcome: Outcome) {
        let catalog = loaded(outcome).map(|manifest| Reply::Catalog(Box::new(manifest)));
        cx.done(op, catalog);
    }

    pub(crate) fn on_get(&mut self, cx: &mut Cx<'_>, op: OpId, get: Get) {
        match &get.what {
            GetWhat::Share { share, .. } => match self.newest(share) {
                Ok(manifest) => load(cx, manifest, Tag::GetShare(op, get)),
                Err(error) => cx.done(op, Err(error)),
            },
            GetWhat::Content(content) => {
                let content = *content;
                self.search(cx, op, get, content, None);
            }
        }
    }

    pub(super) fn get_share_loaded(
        &mut self,
        cx: &mut Cx<'_>,
        op: OpId,
        get: Get,
        outcome: Outcome,
    ) {
        let manifest = match loaded(outcome) {
            Ok(manifest) => manifest,
            Err(error) => return cx.done(op, Err(error)),
        };
        let path = match &get.what {
            GetWhat::Share { path, .. } => path.as_deref(),
            GetWhat::Content(_) => None,
        };
        let last = path.and_then(|path| path.trim_end_matches('/').rsplit('/').next());
        let name = match last {
            Some(last) if !last.is_empty() => last.to_string(),
            Some(_) | None => self.name_of(&manifest),
        };
        download(cx, op, get, name, Some(manifest));
    }

    pub(super) fn get_content_loaded(
        &mut self,
        cx: &mut Cx<'_>,
        op: OpId,
        get: Get,
        at: ManifestId,
        outcome: Outcome,
    ) {
        let GetWhat::Content(content) = get.what else {
            return;
        };
        let manifest = loaded(outcome).ok();
        let listed = manifest.as_ref().and_then(|manifest| {
            let item = manifest.items.iter().find(|item| item.content == content)?;
            Some(item.name.clone())
        });
        match listed {
            Some(name) => download(cx, op, get, name, manifest),
            None => self.search(cx, op, get, content, Some(at)),
        }
    }

    /// Looks for a catalog that lists a content, in the order of their ids, after `at`.
    fn search(
        &mut self,
        cx: &mut Cx<'_>,
        op: OpId,
        get: Get,
        content: ContentId,
        at: Option<ManifestId>,
    ) {
        let own = self.shares.values().filter_map(|own| own.revision.as_ref());
        let followed = self
            .subscriptions
            .values()
            .filter_map(|known| known.revision.as_ref());
        let manifests: BTreeSet<_> = own.chain(followed).map(Revision::manifest).collect();
        match manifests.into_iter().find(|manifest| Some(*manifest) > at) {
            Some(at) => load(cx, at, Tag::GetContent { op, get, at }),
            None => download(cx, op, get, content.to_string(), None),
        }
    }

    /// The newest manifest held of an own or subscribed share.
    fn newest(&self, share: &ShareId) -> Result<ManifestId, CommandError> {
        let own = self.shares.get(share).filter(|own| self.is_listed(own));
        let own = own.map(|own| &own.revision);
        let followed = || self.subscriptions.get(share).map(|known| &known.revision);
        let revision = own.or_else(followed).ok_or(CommandError::UnknownShare)?;
        revision
            .as_ref()
            .map(Revision::manifest)
            .ok_or(CommandError::NoCatalog)
    }

    fn name_of(&self, manifest: &Manifest) -> String {
        match (&manifest.title, self.shares.get(&manifest.share)) {
            (Some(title), _) if !title.is_empty() => title.clone(),
            (_, Some(own)) => own.name.clone(),
            (_, None) => manifest.share.to_string(),
        }
    }
}

/// The link of a share: some of these hints, where we can be reached if we have its catalog (the relays that lead to us
/// first, for then nobody can dial us), the other hints, and the peers we start from.
pub(super) fn link(cx: &Cx<'_>, key: ShareKey, hints: &[BootstrapAddr], have: bool) -> ShareLink {
    let own = cx.roster.own_addrs.iter().filter(|_| have);
    let (relays, direct): (Vec<&PeerAddr>, Vec<&PeerAddr>) =
        own.partition(|addr| addr.relay_via.is_some());
    let here = relays
        .into_iter()
        .chain(direct)
        .map(|addr| match &addr.relay_via {
            Some(route) => hint(&route.relay, route.relay.key),
            None => hint(addr, Some(cx.keys.public())),
        });
    let mut bootstrap: Vec<BootstrapAddr> = Vec::new();
    let (first, others) = hints.split_at(hints.len().min(PUBLISHED_HINTS_MAX / 2));
    let hints = first.iter().cloned().chain(here);
    let others = others.iter().chain(&cx.config.bootstrap).cloned();
    for hint in hints.chain(others) {
        if bootstrap.len() < PUBLISHED_HINTS_MAX && !bootstrap.contains(&hint) {
            bootstrap.push(hint);
        }
    }
    ShareLink { key, bootstrap }
}

fn hint(addr: &PeerAddr, key: Option<NodeKey>) -> BootstrapAddr {
    BootstrapAddr {
        transport: Some(addr.transport),
        host: Host::Ip(addr.ip),
        port: addr.port,
        key,
    }
}

fn load(cx: &mut Cx<'_>, manifest: ManifestId, tag: Tag) {
    cx.load(Load::Row(Table::Manifests, manifest.0.to_vec().into()), tag);
}

fn loaded(outcome: Outcome) -> Result<Manifest, CommandError> {
    let Outcome::Loaded(result) = outcome else {
        return Err(CommandError::NoCatalog);
    };
    match result.map_err(CommandError::Store)? {
        Loaded::Row(Some(row)) => Manifest::decode(&row).map_err(|_| CommandError::NoCatalog),
        Loaded::Row(None)
        | Loaded::Piece(_)
        | Loaded::Scan(_)
        | Loaded::Hash(_)
        | Loaded::Resume(_) => Err(CommandError::NoCatalog),
    }
}

fn download(cx: &mut Cx<'_>, op: OpId, get: Get, name: String, manifest: Option<Manifest>) {
    let Get { what, root } = get;
    cx.wish(Wish::Download(Box::new(DownloadWish {
        op,
        what,
        root,
        name,
        manifest,
    })));
}
