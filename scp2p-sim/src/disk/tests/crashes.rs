//! What a crash leaves.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

/// Chunks of each download.
const COUNT: usize = 3;
const RELS: [&str; 2] = ["a/b", "c"];

/// What happens to a disk.
#[derive(Debug, Clone)]
enum Step {
    Write { file: usize, chunk: usize },
    Note { file: usize },
    Finish { file: usize },
    Discard { file: usize },
    Durable,
    Stop { seed: u64, kill: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let file = || 0..RELS.len();
    prop_oneof![
        8 => (file(), 0..COUNT).prop_map(|(file, chunk)| Step::Write { file, chunk }),
        3 => file().prop_map(|file| Step::Note { file }),
        1 => file().prop_map(|file| Step::Finish { file }),
        1 => file().prop_map(|file| Step::Discard { file }),
        1 => Just(Step::Durable),
        2 => any::<(u64, bool)>().prop_map(|(seed, kill)| Step::Stop { seed, kill }),
    ]
}

struct Downloads {
    disk: Disk,
    chunks: Chunks,
    contents: Vec<Vec<u8>>,
}

impl Downloads {
    fn new() -> Downloads {
        let len = COUNT * CHUNK - 5;
        Downloads {
            disk: disk(),
            chunks: Chunks::default(),
            contents: (0..RELS.len())
                .map(|file| content(len, file as u8 + 100))
                .collect(),
        }
    }

    fn has(&self, path: &str, file: usize, chunk: usize) -> bool {
        let bytes = self.contents[file]
            .chunks(CHUNK)
            .nth(chunk)
            .expect("a chunk");
        self.disk.chunk_hash(path, chunk as u32) == Some(blake3::hash(bytes).into())
    }

    fn run(&mut self, step: &Step) {
        let (disk, chunks) = (&mut self.disk, &mut self.chunks);
        match step {
            Step::Write { file, chunk } => {
                let piece = piece(&part(RELS[*file]), &self.contents[*file], *chunk);
                disk.write(piece, chunks).expect("there is room");
            }
            Step::Note { file } => self.note(*file),
            Step::Finish { file } => {
                let part = part(RELS[*file]);
                let mut batch = finish(&part);
                let noted = (0..COUNT).map(|chunk| RowOp::Delete(Table::Have, key(*file, chunk)));
                batch.rows.extend(noted);
                batch.rows.push(put_row(Table::Sources, *file as u8, 1));
                let path = format!("/dl/{}.part", part.rel);
                if (0..COUNT).all(|chunk| self.has(&path, *file, chunk)) {
                    // It is refused where the file is finished already.
                    let _ = self.disk.commit(batch, &mut self.chunks);
                }
            }
            Step::Discard { file } => {
                let mut batch = discard(&part(RELS[*file]));
                let noted = (0..COUNT).map(|chunk| RowOp::Delete(Table::Have, key(*file, chunk)));
                batch.rows.extend(noted);
                disk.commit(batch, chunks).expect("nothing is in the way");
            }
            Step::Durable => disk.durable(disk.last()),
            Step::Stop { kill: true, .. } => disk.kill(),
            Step::Stop { seed, kill: false } => disk.crash(&mut rng(*seed)),
        }
    }

    /// Makes durable and says in rows what is there of a file.
    fn note(&mut self, file: usize) {
        let part = part(RELS[file]);
        let path = format!("/dl/{}.part", part.rel);
        let there = (0..COUNT).filter(|chunk| self.has(&path, file, *chunk));
        let rows = there.map(|chunk| RowOp::Put(Table::Have, key(file, chunk), Bytes::new()));
        let batch = Batch {
            sync: vec![part],
            rows: rows.collect(),
            ..Batch::default()
        };
        // It is refused where there is no such part.
        let _ = self.disk.commit(batch, &mut self.chunks);
    }

    /// Whether all rows speak of what is there; if the process alone died, it may be at its final name already.
    fn rows_are_true(&self, killed: bool) -> Result<(), TestCaseError> {
        for (table, key, _) in self.disk.rows() {
            let file = usize::from(key[0]);
            let path = format!("/dl/{}", RELS[file]);
            let part = format!("{path}.part");
            let there =
                |chunk| self.has(&part, file, chunk) || (killed && self.has(&path, file, chunk));
            if table == Table::Have {
                prop_assert!(there(usize::from(key[1])), "{key:?}");
            } else {
                let finished = (0..COUNT).all(|chunk| self.has(&path, file, chunk));
                prop_assert!(finished, "{key:?}");
            }
        }
        Ok(())
    }
}

fn key(file: usize, chunk: usize) -> Bytes {
    vec![file as u8, chunk as u8].into()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    // Whatever commits are made, after a crash the rows are those of a commit no older than the last durable one.
    #[test]
    fn rows_after_a_crash_are_those_of_some_commit(
        commits in prop::collection::vec(
            (prop::collection::vec((0u8..4, prop::option::of(any::<u8>())), 0..4), any::<bool>()), 0..12),
        seed: u64, kill: bool,
    ) {
        let (mut disk, mut chunks) = (disk(), Chunks::default());
        let mut possible = vec![all_rows(&disk)];
        for (ops, durable) in commits {
            let ops = ops.into_iter().map(|(key, value)| match value {
                Some(value) => put_row(Table::Meta, key, value),
                None => RowOp::Delete(Table::Meta, vec![key].into()),
            });
            let commit = disk.commit(rows(ops.collect()), &mut chunks).expect("nothing fails");
            possible.push(all_rows(&disk));
            if durable {
                disk.durable(commit);
                possible.drain(..possible.len() - 1);
            }
        }
        if kill { disk.kill() } else { disk.crash(&mut rng(seed)) }
        let left = all_rows(&disk);
        prop_assert!(possible.contains(&left));
        disk.crash(&mut rng(!seed));
        prop_assert_eq!(all_rows(&disk), left);
    }

    // No row speaks of a chunk that is not on disk with the right bytes, and none of a finished file that is not.
    #[test]
    fn rows_speak_of_what_is_there(steps in prop::collection::vec(step(), 0..40), kills: bool) {
        let mut downloads = Downloads::new();
        let mut killed = false;
        for step in steps {
            match step {
                // A process that dies may have deleted what its rows still speak of.
                Step::Discard { .. } if kills => continue,
                Step::Stop { kill: true, .. } if !kills => continue,
                Step::Stop { kill, .. } => killed |= kill,
                Step::Write { .. }
                | Step::Note { .. }
                | Step::Finish { .. }
                | Step::Discard { .. }
                | Step::Durable => {}
            }
            downloads.run(&step);
            downloads.rows_are_true(killed)?;
        }
    }

    // The same happens again with the same numbers drawn.
    #[test]
    fn the_same_steps_leave_the_same(steps in prop::collection::vec(step(), 0..20)) {
        let mut twice = [Downloads::new(), Downloads::new()];
        for downloads in &mut twice {
            steps.iter().for_each(|step| downloads.run(step));
        }
        let [one, other] = twice.map(|end| (all_rows(&end.disk), all_files(&end.disk)));
        prop_assert_eq!(one, other);
    }

    // What the user did last to a file stays, whatever the node had done to it before.
    #[test]
    fn the_users_files_are_durable(
        before in prop::collection::vec(step(), 0..20), seed: u64, name in 0usize..4,
    ) {
        let mut downloads = Downloads::new();
        before.iter().for_each(|step| downloads.run(step));
        let disk = &mut downloads.disk;
        let path = format!("/dl/{}{}", RELS[name % 2], ["", ".part"][name / 2]);
        let bytes = Bytes::from_static(b"mine");
        disk.put(&path, [bytes.clone()], &mut downloads.chunks);
        disk.put("/dl/other", [bytes.clone()], &mut downloads.chunks);
        disk.remove("/dl/other");
        disk.crash(&mut rng(seed));
        prop_assert_eq!(disk.file(&path), Some(vec![bytes]));
        prop_assert_eq!(disk.file("/dl/other"), None);
    }
}

#[test]
fn what_is_not_synced_is_kept_or_lost_or_torn() {
    let bytes = content(2 * CHUNK, 7);
    let part = part("x");
    let mut seen = BTreeSet::new();
    for seed in 0..60 {
        let (mut disk, mut chunks) = (disk(), Chunks::default());
        write_all(&mut disk, &mut chunks, &part, &bytes);
        disk.crash(&mut rng(seed));
        let right = Some(<[u8; 32]>::from(blake3::hash(&bytes[CHUNK..])));
        seen.insert(match disk.chunk_hash("/dl/x.part", 1) {
            None => "lost",
            hash if hash == right => "kept",
            Some(_) => "torn",
        });
        if disk.parts().next().is_none() {
            seen.insert("gone");
        }
    }
    assert_eq!(seen, BTreeSet::from(["gone", "kept", "lost", "torn"]));
}

#[test]
fn a_move_survives_with_its_rows_or_not_at_all_unless_the_system_stays() {
    let bytes = content(CHUNK + 1, 7);
    let mut seen = BTreeSet::new();
    for seed in 0..40 {
        for kill in [false, true] {
            let mut chunks = Chunks::default();
            let mut disk = Disk::new(scenario::Disk::default(), rng(seed));
            let part = part("x");
            write_all(&mut disk, &mut chunks, &part, &bytes);
            let mut batch = finish(&part);
            batch.rows.push(put_row(Table::Sources, 1, 1));
            disk.commit(batch, &mut chunks).expect("it is complete");
            if kill {
                disk.kill();
            } else {
                disk.crash(&mut rng(seed));
            }
            let noted = disk.row(Table::Sources, &[1]).is_some();
            let moved = disk.is_finished_right("/dl/x", &id(&bytes), &mut chunks);
            seen.insert((kill, noted, moved));
        }
    }
    let expected = [
        (false, false, false),
        (false, true, true),
        (true, false, true),
        (true, true, true),
    ];
    assert_eq!(seen, BTreeSet::from(expected));
}
