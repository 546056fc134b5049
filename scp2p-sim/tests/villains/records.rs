//! Villains that attack heads, provider lists and what others keep.

use std::collections::BTreeMap;
use std::time::Duration;

use scp2p_proto::event::{Event, ShareRejection};
use scp2p_proto::io::CloseCode;
use scp2p_proto::limits::VALUE_MAX;
use scp2p_proto::storage::Table;
use scp2p_sim::scenario::VillainKind;

use crate::world::{FRIEND, PUBLISHER, World};

const MINUTE: Duration = Duration::from_secs(60);

/// No share goes back to an older revision.
fn goes_forward(world: &World, host: usize) {
    let mut seqs = BTreeMap::new();
    for event in &world.hosts[host].events {
        if let Event::ManifestUpdated { share, seq, .. } = event {
            let before = seqs.insert(*share, *seq);
            assert!(before < Some(*seq), "{share}: {before:?}, then {seq}");
        }
    }
}

#[test]
fn other_times_change_nothing() {
    let mut world = World::new(VillainKind::ClockLiar);
    let link = world.villain().share().expect("a share");
    let share = link.share();
    world.subscribe(FRIEND, link);
    world.pass(10 * MINUTE);
    world.did("hellos of another time", 20);
    world.did("revisions of another time", 4);
    world.did("lists of another time", 50);
    assert!(
        world.seq(FRIEND, &share) > 0,
        "{:?}",
        world.hosts[FRIEND].events
    );
    let refused = |host: usize| world.hosts[host].closed_as(CloseCode::Handshake);
    assert!(refused(PUBLISHER) + refused(FRIEND) >= 20);
    goes_forward(&world, FRIEND);
    let late = world.add_node(&[PUBLISHER]);
    let genuine = world.share.clone().expect("a share");
    world.subscribe(late, genuine.clone());
    world.until("the catalog", |world| world.seq(late, &genuine.share()) > 0);
    world.is_well();
}

#[test]
fn a_flood_of_providers_hides_nobody() {
    let mut world = World::new(VillainKind::ProviderFlooder);
    world.pass(4 * MINUTE);
    world.did("lists of fakes stored", 200);
    world.did("lists of fakes taken", 50);
    for host in [PUBLISHER, FRIEND] {
        let status = world.node(host).status();
        assert!(status.values <= 1000, "{status:?}");
        let rows = world.hosts[host].disk.table(Table::Values);
        assert!(rows.iter().all(|(_, row)| row.len() <= 2 * VALUE_MAX));
    }
    let genuine = world.share.clone().expect("a share");
    let late = world.add_node(&[FRIEND]);
    world.subscribe(late, genuine.clone());
    world.until("the catalog", |world| world.seq(late, &genuine.share()) > 0);
    assert!(world.hosts[late].dials.len() > 1, "it tried some of them");
    for host in [PUBLISHER, FRIEND, late] {
        world.dials_are_public(host);
    }
    world.is_well();
}

#[test]
fn no_share_is_rolled_back_or_forked() {
    let mut world = World::new(VillainKind::HeadForker);
    let link = world.villain().share().expect("a share");
    let share = link.share();
    world.subscribe(FRIEND, link.clone());
    world.subscribe(PUBLISHER, link);
    world.pass(2 * MINUTE);
    world.is_well();
    world.pass(5 * MINUTE);
    for deed in [
        "forks",
        "rollbacks",
        "freezes",
        "rollbacks of others",
        "forgeries",
    ] {
        world.did(deed, 10);
    }
    assert!(world.seq(FRIEND, &share) >= 5);
    let mut reasons = Vec::new();
    for host in [PUBLISHER, FRIEND] {
        goes_forward(&world, host);
        for event in &world.hosts[host].events {
            if let Event::ShareRejected { reason, .. } = event {
                reasons.push(*reason);
            }
        }
    }
    let told = [
        ShareRejection::Equivocation,
        ShareRejection::Frozen,
        ShareRejection::Signature,
    ];
    for reason in told {
        assert!(reasons.contains(&reason), "{reason:?}: {reasons:?}");
    }
    world.is_well();
}

#[test]
fn a_full_store_still_takes_what_is_wanted() {
    let mut world = World::new(VillainKind::StorageExhauster);
    world.pass(5 * MINUTE);
    world.did("stores", 500);
    world.did("stores taken", 150);
    world.did("stores refused", 50);
    for host in [PUBLISHER, FRIEND] {
        let status = world.node(host).status();
        assert!(status.values <= 20_000, "{status:?}");
        let bytes: usize = world.hosts[host]
            .disk
            .table(Table::Values)
            .iter()
            .map(|(_, row)| row.len())
            .sum();
        assert!(bytes <= 256 << 20, "{bytes} bytes of values");
    }
    let genuine = world.share.clone().expect("a share");
    let late = world.add_node(&[FRIEND]);
    world.subscribe(late, genuine.clone());
    world.until("the catalog", |world| world.seq(late, &genuine.share()) > 0);
    world.is_well();
}
