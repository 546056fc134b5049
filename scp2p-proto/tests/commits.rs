//! Batches that the disk refuses: who waited for one learns of it, and nobody else's rows are lost.

mod common;

use std::time::Duration;

use common::World;
use scp2p_proto::command::{Command, CommandError, Publish};
use scp2p_proto::storage::{Batch, LocalPath, RowOp, Table};

fn publish() -> Command {
    Command::Publish(Publish::new("share", vec![LocalPath("/files".into())]))
}

fn touches(batch: &Batch, table: Table) -> bool {
    batch.rows.iter().any(|row| match row {
        RowOp::Put(of, ..) | RowOp::Delete(of, _) => *of == table,
    })
}

#[test]
fn rows_that_share_a_failed_batch_with_a_promise_are_written_later() {
    let mut world = World::new();
    let node = world.add(&[]);
    let disk = &mut world.hosts[node].disk;
    disk.put("/files/f", vec![1; 10]);
    disk.refuse = Some(|batch| touches(batch, Table::Shares) && touches(batch, Table::Sources));
    let result = world.run(node, publish());
    assert!(matches!(result, Err(CommandError::Store(_))), "{result:?}");
    assert!(world.hosts[node].disk.refuse.is_none());
    let disk = &world.hosts[node].disk;
    assert!(disk.table(Table::Sources).is_empty());
    let shares = disk.table(Table::Shares);
    world.pass(Duration::from_secs(10));
    let disk = &world.hosts[node].disk;
    assert_eq!(disk.table(Table::Sources).len(), 1, "the other's row");
    assert_eq!(
        disk.table(Table::Shares),
        shares,
        "what was reported as failed stays failed"
    );
}

#[test]
fn rows_that_wait_for_another_try_are_written_when_the_node_stops() {
    let mut world = World::new();
    let node = world.add(&[]);
    let disk = &mut world.hosts[node].disk;
    disk.put("/files/f", vec![1; 10]);
    disk.refuse = Some(|batch| touches(batch, Table::Shares) && touches(batch, Table::Sources));
    assert!(world.run(node, publish()).is_err());
    world.run(node, Command::Shutdown).expect("stopped");
    assert_eq!(world.hosts[node].disk.table(Table::Sources).len(), 1);
}
