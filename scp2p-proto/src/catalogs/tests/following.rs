//! What followers of shares can rely on.

use alloc::vec::Vec;
use core::time::Duration;

use super::bench::{Bench, Owner};
use crate::command::{CommandError, Reply};
use crate::event::{Event, ShareRejection};
use crate::id::{ContentId, NodeKey, OpId, ShareId};
use crate::record::Manifest;
use crate::storage::{IndexOp, StoreError, Table};
use crate::time::UnixTime;
use crate::wire::{Answer, Request};
use crate::wish::{Conduct, Found, Want, Wish};

/// A subscriber who holds the revision of this number, and a connected peer who gave it.
fn follower(owner: &Owner, seq: u64) -> (Bench, NodeKey) {
    let mut bench = Bench::new();
    bench.subscribe(owner);
    let peer = bench.connect(7);
    let (head, manifest) = owner.revision(seq);
    bench.announce(peer, owner, &head);
    bench.give_manifest(Some(&manifest));
    assert_eq!(bench.catalogs.subscription_views()[0].seq, seq);
    (bench, peer)
}

#[test]
fn a_pushed_head_brings_the_catalog_and_is_passed_on_once() {
    let owner = Owner::new(5);
    let (mut bench, peer) = follower(&owner, 1);
    let fellow = bench.connect(8);
    assert_eq!(bench.watch(fellow, &[owner.id()])[0].head.latest_seq, 1);
    assert_eq!(bench.watch(peer, &[owner.id()])[0].head.latest_seq, 1);
    let (head, manifest) = owner.revision(2);
    bench.announce(peer, &owner, &head);
    assert!(bench.told(fellow).is_empty());
    assert_eq!(bench.give_manifest(Some(&manifest)), peer);
    let updated = Event::ManifestUpdated {
        share: owner.id(),
        seq: 2,
        manifest: manifest.id(),
    };
    assert_eq!(
        bench
            .events
            .iter()
            .filter(|event| **event == updated)
            .count(),
        1
    );
    assert_eq!(bench.told(fellow), [2]);
    assert!(bench.told(peer).is_empty(), "it told us");
    bench.announce(fellow, &owner, &head);
    assert_eq!(bench.told(fellow), [2]);
    assert!(
        bench
            .index
            .contains(&IndexOp::Set(owner.id(), manifest.id()))
    );
}

#[test]
fn only_the_newest_two_manifests_are_kept() {
    let owner = Owner::new(5);
    let (mut bench, peer) = follower(&owner, 1);
    for seq in 2..5 {
        let (head, manifest) = owner.revision(seq);
        bench.announce(peer, &owner, &head);
        bench.give_manifest(Some(&manifest));
    }
    let kept = |seq| {
        bench
            .row(Table::Manifests, &owner.revision(seq).1.id().0)
            .is_some()
    };
    assert_eq!([1, 2, 3, 4].map(kept), [false, false, true, true]);
}

#[test]
fn the_list_of_shares_goes_to_every_node_of_ours() {
    let mut bench = Bench::new();
    let peer = bench.connect(7);
    assert!(bench.calls.is_empty());
    let (one, two) = (Owner::new(5), Owner::new(6));
    bench.subscribe(&one);
    bench.subscribe(&two);
    bench.pass(Duration::from_secs(1));
    let watched = |calls: &[(_, Request, _)]| {
        calls
            .iter()
            .filter(|(_, request, _)| matches!(request, Request::Watch(_)))
            .count()
    };
    assert_eq!(watched(&bench.calls), 1, "both in one list");
    let other = bench.connect(8);
    let Some((to, Request::Watch(shares), _)) = bench.calls.last() else {
        panic!("no list")
    };
    assert_eq!((*to, shares.len()), (other, 2));
    assert_ne!(peer, other);
}

#[test]
fn rollback_equivocation_and_forgery_change_nothing() {
    let owner = Owner::new(5);
    let (mut bench, peer) = follower(&owner, 5);
    bench.events.clear();
    bench.announce(peer, &owner, &owner.revision(4).0);
    assert!(bench.events.is_empty());
    let (other, _) = owner.revision_with(5, 5, |manifest| manifest.title = None);
    bench.announce(peer, &owner, &other);
    let (mut forged, _) = owner.revision(6);
    forged.signature[0] ^= 1;
    let stranger = bench.connect(9);
    for _ in 0..3 {
        bench.announce(stranger, &owner, &forged);
    }
    let rejected = |reason| Event::ShareRejected {
        share: owner.id(),
        reason,
    };
    assert_eq!(
        bench.events,
        [
            rejected(ShareRejection::Equivocation),
            rejected(ShareRejection::Signature)
        ]
    );
    assert_eq!(bench.catalogs.subscription_views()[0].seq, 5);
    let judged = |wish: &&Wish| matches!(wish, Wish::Judge(peer, _) if *peer == stranger);
    assert_eq!(bench.wishes.iter().filter(judged).count(), 3);
    // After all that the real next revision is taken.
    let (head, manifest) = owner.revision(6);
    bench.announce(peer, &owner, &head);
    bench.give_manifest(Some(&manifest));
    assert_eq!(bench.catalogs.subscription_views()[0].seq, 6);
}

/// A follower of revision 1 refuses revision 2 for this reason and does not fetch it again.
fn refuses(reason: ShareRejection, seq: u64, change: impl FnOnce(&mut Manifest)) {
    let owner = Owner::new(5);
    let (mut bench, peer) = follower(&owner, 1);
    let (head, manifest) = owner.revision_with(2, seq, change);
    bench.announce(peer, &owner, &head);
    bench.give_manifest(Some(&manifest));
    let share = owner.id();
    assert_eq!(
        bench.events.last(),
        Some(&Event::ShareRejected { share, reason })
    );
    bench.calls.clear();
    bench.announce(peer, &owner, &head);
    bench.pass(Duration::from_secs(600));
    let asked = |(_, request, _): &(_, Request, _)| matches!(request, Request::GetManifest(_));
    assert!(!bench.calls.iter().any(asked));
    assert_eq!(bench.catalogs.subscription_views()[0].seq, 1);
}

#[test]
fn a_head_over_an_older_or_bad_manifest_is_refused() {
    let expire = |at| move |manifest: &mut Manifest| manifest.expires_at = Some(UnixTime(at));
    refuses(ShareRejection::Frozen, 1, |_| ());
    refuses(ShareRejection::Expired, 2, expire(1_650_000_000));
    refuses(ShareRejection::Malformed, 2, expire(1));
}

#[test]
fn a_manifest_is_looked_for_at_one_source_after_another() {
    let owner = Owner::new(5);
    let (mut bench, peer) = follower(&owner, 1);
    let (head, manifest) = owner.revision(2);
    bench.announce(peer, &owner, &head);
    // Wrong bytes are held against the peer, who is not believed.
    assert_eq!(bench.give_manifest(Some(&owner.revision(1).1)), peer);
    assert!(
        bench
            .wishes
            .iter()
            .any(|wish| matches!(wish, Wish::Judge(judged, Conduct::Corrupt) if *judged == peer))
    );
    bench.end_lookup(Want::Manifest, Found::Nothing { asked: 3 });
    // All have failed: again later, or at once from somebody new.
    bench.pass(Duration::from_secs(3));
    assert_eq!(bench.give_manifest(None), peer);
    bench.end_lookup(Want::Manifest, Found::Nothing { asked: 3 });
    let fellow = bench.connect(8);
    bench.announce(fellow, &owner, &head);
    bench.give_manifest(None);
    bench.give_manifest(Some(&manifest));
    assert_eq!(bench.catalogs.subscription_views()[0].seq, 2);
}

#[test]
fn a_share_is_looked_up_often_until_it_is_found() {
    let owner = Owner::new(5);
    let mut bench = Bench::new();
    bench.subscribe(&owner);
    let mut lookups = 0;
    for _ in 0..30 {
        while bench.lookups(Want::Head) > 0 {
            lookups += 1;
            bench.end_lookup(Want::Head, Found::Nothing { asked: 0 });
            bench.end_lookup(Want::Providers, Found::Nothing { asked: 0 });
        }
        bench.pass(Duration::from_secs(1));
    }
    assert!((4..=8).contains(&lookups), "{lookups} lookups in 30 s");
    bench.pass(Duration::from_secs(100));
    let (head, manifest) = owner.revision(3);
    let (mut forged, _) = owner.revision(9);
    forged.signature = [3; 64];
    bench.end_lookup(Want::Head, Found::Heads(Vec::from([forged, head])));
    bench.end_lookup(Want::Manifest, Found::Manifest(manifest.into()));
    assert_eq!(bench.catalogs.subscription_views()[0].seq, 3);
}

#[test]
fn those_who_follow_a_share_look_for_revisions_in_turns() {
    let owner = Owner::new(5);
    let (mut bench, _) = follower(&owner, 1);
    let (head, _) = owner.revision(1);
    let mut known = 1;
    for (holders, times) in [(1, 48..=80), (5, 9..=16), (40, 4..=8)] {
        for peer in known..holders {
            let peer = bench.connect(100 + peer);
            bench.announce(peer, &owner, &head);
        }
        known = holders;
        let mut lookups = 0;
        for _ in 0..3600 {
            while bench.lookups(Want::Head) > 0 {
                lookups += 1;
                bench.end_lookup(Want::Head, Found::Nothing { asked: 1 });
            }
            bench.pass(Duration::from_secs(1));
        }
        assert!(times.contains(&lookups), "{lookups} with {holders} others");
    }
}

#[test]
fn subscriptions_survive_and_end_as_told() {
    let owner = Owner::new(5);
    let (bench, _) = follower(&owner, 4);
    let mut bench = bench.restarted();
    let manifest = owner.revision(4).1.id();
    assert_eq!(
        bench.index,
        [
            IndexOp::Retain(Vec::from([owner.id()])),
            IndexOp::Set(owner.id(), manifest)
        ]
    );
    assert_eq!(bench.catalogs.subscription_views()[0].seq, 4);
    let op = bench.subscribe(&owner);
    assert_eq!(
        bench.done[&op],
        Ok(Reply::Subscribed {
            share: owner.id(),
            new: false
        })
    );
    let op = bench.command(|catalogs, cx, op| catalogs.on_unsubscribe(cx, op, owner.id()));
    assert_eq!(bench.done[&op], Ok(Reply::Ok));
    assert!(bench.rows.is_empty());
    assert_eq!(bench.index.last(), Some(&IndexOp::Retain(Vec::new())));
    bench.pass(Duration::from_secs(600));
    assert!(bench.restarted().catalogs.subscription_views().is_empty());
}

#[test]
fn a_command_that_is_not_durable_fails_and_leaves_no_trace() {
    let owner = Owner::new(5);
    let mut bench = Bench::new();
    bench.disk_fails = true;
    let op = bench.subscribe(&owner);
    assert_eq!(bench.done[&op], Err(CommandError::Store(StoreError::Full)));
    assert!(bench.catalogs.subscription_views().is_empty());
    let (mut bench, peer) = follower(&owner, 1);
    bench.disk_fails = true;
    let op = bench.command(|catalogs, cx, op| catalogs.on_unsubscribe(cx, op, owner.id()));
    assert_eq!(bench.done[&op], Err(CommandError::Store(StoreError::Full)));
    assert_eq!(bench.catalogs.subscription_views()[0].seq, 1);
    // A revision that could not be stored is stored later.
    let (head, manifest) = owner.revision(2);
    bench.announce(peer, &owner, &head);
    bench.give_manifest(Some(&manifest));
    assert_eq!(bench.catalogs.subscription_views()[0].seq, 1);
    bench.disk_fails = false;
    bench.pass(Duration::from_secs(3));
    bench.give_manifest(Some(&manifest));
    assert_eq!(bench.catalogs.subscription_views()[0].seq, 2);
}

#[test]
fn one_bad_share_does_not_hold_up_another() {
    let (good, bad) = (Owner::new(5), Owner::new(6));
    let (mut bench, peer) = follower(&good, 1);
    bench.subscribe(&bad);
    for seq in 1..9 {
        let (head, _) = bad.revision(seq);
        bench.announce(peer, &bad, &head);
    }
    let (head, manifest) = good.revision(2);
    bench.announce(peer, &good, &head);
    let is_good = |request: &Request| *request == Request::GetManifest(manifest.id());
    let place = bench
        .calls
        .iter()
        .position(|(_, request, _)| is_good(request));
    let call = bench.calls.remove(place.expect("it is asked for at once"));
    bench.calls.insert(0, call);
    bench.give_manifest(Some(&manifest));
    let views = bench.catalogs.subscription_views();
    assert_eq!(views.iter().map(|view| view.seq).max(), Some(2));
}

#[test]
fn a_sync_ends_when_all_were_asked_or_time_is_up() {
    let owner = Owner::new(5);
    let (mut bench, _) = follower(&owner, 1);
    let sync = |bench: &mut Bench, share| {
        bench.command(|catalogs, cx, op| catalogs.on_sync(cx, op, share))
    };
    let op = sync(&mut bench, Some(ShareId([1; 32])));
    assert_eq!(bench.done[&op], Err(CommandError::UnknownShare));
    // The lookup that the subscription began does not count: it may be older than the newest head.
    let op = sync(&mut bench, None);
    assert_eq!(bench.lookups(Want::Head), 1);
    let (head, manifest) = owner.revision(2);
    bench.end_lookup(Want::Head, Found::Nothing { asked: 1 });
    bench.end_lookup(Want::Providers, Found::Nothing { asked: 1 });
    bench.end_lookup(Want::Head, Found::Heads(Vec::from([head])));
    bench.end_lookup(Want::Manifest, Found::Manifest(manifest.into()));
    assert!(!bench.done.contains_key(&op), "a peer has not answered");
    for (peer, request, tag) in core::mem::take(&mut bench.calls) {
        if matches!(request, Request::Watch(_)) {
            bench.answer(peer, tag, Answer::Heads(Vec::new()));
        }
    }
    assert_eq!(
        bench.done[&op],
        Ok(Reply::Synced {
            shares: 1,
            updated: 1
        })
    );
    let op = sync(&mut bench, Some(owner.id()));
    bench.pass(Duration::from_secs(31));
    assert_eq!(
        bench.done[&op],
        Ok(Reply::Synced {
            shares: 1,
            updated: 0
        })
    );
}

#[test]
fn who_serves_a_followed_share_becomes_its_provider() {
    let owner = Owner::new(5);
    let (mut bench, _) = follower(&owner, 1);
    bench.wishes.clear();
    let provided = |bench: &Bench| {
        bench
            .wishes
            .iter()
            .filter(|wish| matches!(wish, Wish::Provide { .. }))
            .count()
    };
    bench.pass(Duration::from_secs(1000));
    assert_eq!(provided(&bench), 0);
    bench.act(|catalogs, cx| catalogs.on_serving(cx, owner.id()));
    assert_eq!(provided(&bench), 1);
    bench.pass(Duration::from_secs(1000));
    assert!((4..=7).contains(&provided(&bench)));
}

#[test]
fn who_unsubscribes_is_no_longer_a_provider_of_the_share() {
    let owner = Owner::new(5);
    let (mut bench, _) = follower(&owner, 1);
    bench.act(|catalogs, cx| catalogs.on_serving(cx, owner.id()));
    bench.wishes.clear();
    bench.act(|catalogs, cx| catalogs.on_unsubscribe(cx, OpId(99), owner.id()));
    let withdrawn = |wish: &&Wish| matches!(wish, Wish::Withdrawn(contents) if *contents == [ContentId(owner.id().0)]);
    assert_eq!(bench.wishes.iter().filter(withdrawn).count(), 1);
    bench.pass(Duration::from_secs(1000));
    let provided = |wish: &Wish| matches!(wish, Wish::Provide { .. });
    assert!(!bench.wishes.iter().any(provided));
}
