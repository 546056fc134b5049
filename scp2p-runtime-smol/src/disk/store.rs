//! Rows: a durable part in redb and what was committed since in memory.

use std::collections::btree_map::{self, BTreeMap};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;
use redb::{
    Builder, Database, DatabaseError, Durability, Error, ReadableDatabase, ReadableTable,
    TableDefinition, TableError, WriteTransaction,
};
use scp2p_proto::storage::{RowOp, Saved, StoreError, Table};

use super::OpenError;
use super::error::is_full;

/// The layout of the data directory that this version reads and writes.
const LAYOUT: u64 = 1;
/// The driver's own numbers: the layout and how many transactions there were.
const DRIVER: TableDefinition<&str, u64> = TableDefinition::new("driver");
const LAYOUT_KEY: &str = "layout";
const COMMITS_KEY: &str = "commits";
/// The store's file.
const FILE: &str = "store.redb";
/// Pages kept in memory: rows of large tables are read one by one and rarely twice.
const CACHE_BYTES: usize = 32 << 20;

/// All tables. Rows are *staged* when a batch is handed in, so that every later read sees them,
/// *applied* by one durable transaction, and *unstaged* when that has happened or was given up.
pub(super) struct Store {
    path: PathBuf,
    /// How the file is opened, at start and again after it refused a write.
    backing: Box<dyn Fn() -> Result<Database, DatabaseError> + Send + Sync>,
    /// None if the file could not be opened again.
    database: RwLock<Option<Database>>,
    staged: Mutex<Staged>,
    /// Why nothing is written any more.
    broken: Mutex<Option<StoreError>>,
}

impl Store {
    /// Opens the store below a data directory that is locked, makes it where it is missing,
    /// and reads the rows of resident tables.
    pub(super) fn open(dir: &Path) -> Result<(Store, Saved), OpenError> {
        let path = dir.join(FILE);
        let file = path.clone();
        Store::with_backing(path, move || cached().create_file(private_file(&file)?))
    }

    /// The latest value of a row.
    pub(super) fn read(&self, table: Table, key: &Bytes) -> Result<Option<Bytes>, StoreError> {
        // In this order: a row leaves the staged ones only after it can be read from the file.
        if let Some(latest) = lock(&self.staged).latest(table, key) {
            return Ok(latest.value.clone());
        }
        let database = self.database();
        let database = database.as_ref().ok_or_else(|| self.unavailable())?;
        read_row(database, table, key).map_err(|error| self.failed(&error))
    }

    /// Lets readers see the rows of batch `seq`; each batch has a higher number than those before.
    pub(super) fn stage(&self, seq: u64, rows: &[RowOp]) {
        lock(&self.staged).insert(seq, rows);
    }

    /// Takes the rows of batch `seq` away again: they are applied, or the batch failed.
    pub(super) fn unstage(&self, seq: u64, rows: &[RowOp]) {
        lock(&self.staged).remove(seq, rows);
    }

    /// Applies rows in order in one transaction and returns when it is durable. If it fails, none
    /// of it has happened, and a full disk may be tried again. After any other failure of the
    /// system nobody knows what the file holds, so everything is refused until the next start.
    /// Called from one thread only.
    pub(super) fn apply<'a>(
        &self,
        rows: impl Iterator<Item = &'a RowOp>,
    ) -> Result<(), StoreError> {
        if let Some(error) = &*lock(&self.broken) {
            return Err(error.clone());
        }
        let number = self.commits()?.saturating_add(1);
        let written = match self.database().as_ref() {
            Some(database) => write_rows(database, number, rows),
            None => return Err(self.unavailable()),
        };
        let Err(error) = written else { return Ok(()) };
        if !is_no_room(&error) {
            return Err(self.break_down(&error));
        }
        // What was refused may be the last step only: the file itself tells.
        if let Err(error) = self.reopen() {
            return Err(self.break_down(&error));
        }
        if self.commits()? == number {
            Ok(())
        } else {
            Err(StoreError::Full)
        }
    }

    fn break_down(&self, error: &Error) -> StoreError {
        let path = self.path.display();
        let advice = "check the disk, then start the node again";
        let failure = StoreError::Failed(format!("{path}: {error}; {advice}"));
        *lock(&self.broken) = Some(failure.clone());
        failure
    }

    /// Opens the file anew, as redb wants it after a failed write.
    fn reopen(&self) -> Result<(), Error> {
        let mut database = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        // Closed first: the file is locked.
        *database = None;
        *database = Some((self.backing)()?);
        Ok(())
    }

    /// How many transactions there were.
    fn commits(&self) -> Result<u64, StoreError> {
        let database = self.database();
        let database = database.as_ref().ok_or_else(|| self.unavailable())?;
        let number = driver_number(database, COMMITS_KEY).map_err(|error| self.failed(&error))?;
        Ok(number.unwrap_or(0))
    }

    fn database(&self) -> RwLockReadGuard<'_, Option<Database>> {
        self.database.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn with_backing(
        path: PathBuf,
        backing: impl Fn() -> Result<Database, DatabaseError> + Send + Sync + 'static,
    ) -> Result<(Store, Saved), OpenError> {
        let damaged = |error: Error| open_error(&path, error);
        let database = backing().map_err(|error| damaged(error.into()))?;
        match layout(&database).map_err(damaged)? {
            None => write_layout(&database).map_err(damaged)?,
            Some(LAYOUT) => {}
            Some(found) => return Err(OpenError::Newer { path, found }),
        }
        let saved = read_resident(&database).map_err(damaged)?;
        let (staged, broken) = (Mutex::default(), Mutex::default());
        let database = RwLock::new(Some(database));
        Ok((
            Store {
                path,
                backing: Box::new(backing),
                database,
                staged,
                broken,
            },
            saved,
        ))
    }

    fn failed(&self, error: &Error) -> StoreError {
        StoreError::Failed(format!("{}: {error}", self.path.display()))
    }

    fn unavailable(&self) -> StoreError {
        StoreError::Failed(format!("{}: cannot be opened", self.path.display()))
    }
}

/// Rows of batches that are not durable yet: for each the values it got, oldest first.
#[derive(Default)]
struct Staged {
    rows: BTreeMap<(Table, Bytes), Vec<StagedValue>>,
}

/// What a batch made of a row.
struct StagedValue {
    seq: u64,
    value: Option<Bytes>,
}

impl Staged {
    fn latest(&self, table: Table, key: &Bytes) -> Option<&StagedValue> {
        self.rows
            .get(&(table, key.clone()))
            .and_then(|values| values.last())
    }

    fn insert(&mut self, seq: u64, rows: &[RowOp]) {
        for row in rows {
            let (row, value) = match row {
                RowOp::Put(table, key, value) => ((*table, key.clone()), Some(value.clone())),
                RowOp::Delete(table, key) => ((*table, key.clone()), None),
            };
            self.rows
                .entry(row)
                .or_default()
                .push(StagedValue { seq, value });
        }
    }

    fn remove(&mut self, seq: u64, rows: &[RowOp]) {
        for row in rows {
            let (RowOp::Put(table, key, _) | RowOp::Delete(table, key)) = row;
            if let btree_map::Entry::Occupied(mut values) = self.rows.entry((*table, key.clone())) {
                values.get_mut().retain(|staged| staged.seq != seq);
                if values.get().is_empty() {
                    values.remove();
                }
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn cached() -> Builder {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    builder
}

fn private_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
}

fn definition(table: Table) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(table.name())
}

fn read_row(database: &Database, table: Table, key: &[u8]) -> Result<Option<Bytes>, Error> {
    match database.begin_read()?.open_table(definition(table)) {
        Ok(rows) => Ok(rows
            .get(key)?
            .map(|value| Bytes::copy_from_slice(value.value()))),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn read_resident(database: &Database) -> Result<Saved, Error> {
    let read = database.begin_read()?;
    let mut saved = Saved::default();
    for table in Table::ALL.into_iter().filter(|table| table.resident()) {
        let rows = match read.open_table(definition(table)) {
            Ok(rows) => rows,
            Err(TableError::TableDoesNotExist(_)) => continue,
            Err(error) => return Err(error.into()),
        };
        for row in rows.iter()? {
            let (key, value) = row?;
            let copy = Bytes::copy_from_slice;
            saved
                .rows
                .push((table, copy(key.value()), copy(value.value())));
        }
    }
    Ok(saved)
}

fn layout(database: &Database) -> Result<Option<u64>, Error> {
    driver_number(database, LAYOUT_KEY)
}

fn driver_number(database: &Database, key: &str) -> Result<Option<u64>, Error> {
    match database.begin_read()?.open_table(DRIVER) {
        Ok(numbers) => Ok(numbers.get(key)?.map(|number| number.value())),
        Err(TableError::TableDoesNotExist(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn write_layout(database: &Database) -> Result<(), Error> {
    let write = durable(database)?;
    write.open_table(DRIVER)?.insert(LAYOUT_KEY, LAYOUT)?;
    Ok(write.commit()?)
}

fn write_rows<'a>(
    database: &Database,
    number: u64,
    rows: impl Iterator<Item = &'a RowOp>,
) -> Result<(), Error> {
    let write = durable(database)?;
    write.open_table(DRIVER)?.insert(COMMITS_KEY, number)?;
    {
        let mut tables = BTreeMap::new();
        for row in rows {
            let (RowOp::Put(table, key, _) | RowOp::Delete(table, key)) = row;
            let rows = match tables.entry(*table) {
                btree_map::Entry::Occupied(open) => open.into_mut(),
                btree_map::Entry::Vacant(closed) => {
                    closed.insert(write.open_table(definition(*table))?)
                }
            };
            match row {
                RowOp::Put(_, _, value) => drop(rows.insert(&key[..], &value[..])?),
                RowOp::Delete(..) => drop(rows.remove(&key[..])?),
            }
        }
    }
    Ok(write.commit()?)
}

/// A transaction that is durable when it is committed. In two phases, because peers choose
/// what many rows say, and could choose it so that a torn commit has the checksum of a whole one.
fn durable(database: &Database) -> Result<WriteTransaction, Error> {
    let mut write = database.begin_write()?;
    write.set_durability(Durability::Immediate)?;
    write.set_two_phase_commit(true);
    Ok(write)
}

/// Whether the disk is full.
fn is_no_room(error: &Error) -> bool {
    if let Error::Io(error) = error {
        is_full(error)
    } else {
        false
    }
}

fn open_error(path: &Path, error: Error) -> OpenError {
    let path = path.to_owned();
    if let Error::Io(error) = error {
        return OpenError::Io { path, error };
    }
    if let Error::DatabaseAlreadyOpen = error {
        return OpenError::Busy { path };
    }
    OpenError::Damaged {
        path,
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redb::StorageBackend;
    use redb::backends::FileBackend;
    use rustix::io::Errno;
    use std::sync::Arc;

    /// When a disk fails: after how many more writes and flushes, how often, with what.
    #[derive(Debug, Clone, Copy)]
    struct Faults {
        after: u32,
        times: u32,
        error: Errno,
    }

    const SOUND: Faults = Faults {
        after: 0,
        times: 0,
        error: Errno::IO,
    };

    fn step(faults: &Mutex<Faults>) -> io::Result<()> {
        let mut faults = lock(faults);
        if faults.after > 0 {
            faults.after -= 1;
        } else if faults.times > 0 {
            faults.times -= 1;
            return Err(faults.error.into());
        }
        Ok(())
    }

    #[derive(Debug)]
    struct Faulty {
        file: FileBackend,
        faults: Arc<Mutex<Faults>>,
    }

    impl StorageBackend for Faulty {
        fn len(&self) -> io::Result<u64> {
            self.file.len()
        }

        fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
            self.file.read(offset, out)
        }

        fn set_len(&self, len: u64) -> io::Result<()> {
            step(&self.faults)?;
            self.file.set_len(len)
        }

        fn sync_data(&self) -> io::Result<()> {
            step(&self.faults)?;
            self.file.sync_data()
        }

        fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
            step(&self.faults)?;
            self.file.write(offset, data)
        }

        fn close(&self) -> io::Result<()> {
            self.file.close()
        }
    }

    fn open(dir: &Path, faults: &Arc<Mutex<Faults>>) -> (Store, Saved) {
        let (path, faults) = (dir.join(FILE), faults.clone());
        let file = path.clone();
        let backing = move || {
            let file = FileBackend::new(private_file(&file)?)?;
            cached().create_with_backend(Faulty {
                file,
                faults: faults.clone(),
            })
        };
        Store::with_backing(path, backing).expect("store opens")
    }

    fn row(key: u32, len: usize) -> RowOp {
        let key = Bytes::copy_from_slice(&key.to_be_bytes());
        RowOp::Put(Table::Values, key, vec![7; len].into())
    }

    fn has(store: &Store, key: u32) -> bool {
        let key = Bytes::copy_from_slice(&key.to_be_bytes());
        store.read(Table::Values, &key).expect("readable").is_some()
    }

    /// Applies row 1, then row 2 with these faults, then row 3 without; what the two said, and
    /// which rows are there before and after a restart.
    fn run(faults: Faults) -> ([Result<(), StoreError>; 2], [[bool; 3]; 2]) {
        let dir = tempfile::tempdir().expect("temporary directory");
        let switch = Arc::new(Mutex::new(SOUND));
        let (store, _) = open(dir.path(), &switch);
        store.apply([row(1, 10)].iter()).expect("sound");
        *lock(&switch) = faults;
        let second = store.apply([row(2, 2_000_000)].iter());
        *lock(&switch) = SOUND;
        let results = [second, store.apply([row(3, 10)].iter())];
        let before = [1, 2, 3].map(|key| store.database().is_some() && has(&store, key));
        drop(store);
        let (store, _) = open(dir.path(), &switch);
        (results, [before, [1, 2, 3].map(|key| has(&store, key))])
    }

    /// At whichever step there is no room, the transaction has happened or has not, as it
    /// says, and the store goes on when there is room again.
    #[test]
    fn a_full_disk_loses_nothing_and_is_outlived() {
        let mut refused = 0;
        for after in 0..40 {
            let ([second, third], rows) = run(Faults {
                after,
                times: 1,
                error: Errno::NOSPC,
            });
            assert_eq!(third, Ok(()), "{after}");
            assert_eq!(rows, [[true, second.is_ok(), true]; 2], "{after}");
            refused += u32::from(second == Err(StoreError::Full));
        }
        assert!((1..40).contains(&refused), "{refused}");
    }

    /// A flush that failed is not tried again, nor is a store used whose last transaction
    /// may or may not have happened: only a new start finds out what the disk holds.
    #[test]
    fn nothing_is_written_once_the_disk_is_not_to_be_trusted() {
        let mut broken = 0;
        for (after, times, error) in (0..40).flat_map(|after| {
            [
                (after, 1, Errno::IO),
                (after, 99, Errno::IO),
                (after, 99, Errno::NOSPC),
            ]
        }) {
            let ([second, third], [_, rows]) = run(Faults {
                after,
                times,
                error,
            });
            let case = (after, times, error, &second, &third);
            assert!(rows[0], "{case:?}");
            match &second {
                Ok(()) => assert!(rows[1], "{case:?}"),
                Err(StoreError::Failed(_)) => {
                    assert_eq!(third, second, "{case:?}");
                    assert!(!rows[2], "{case:?}");
                    broken += 1;
                }
                other => panic!("neither done nor broken: {other:?}"),
            }
        }
        assert!(broken > 3);
    }

    #[test]
    fn a_newer_layout_is_refused() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let (store, _) = Store::open(dir.path()).expect("store opens");
        if let Some(database) = store.database().as_ref() {
            let write = durable(database).expect("transaction");
            write
                .open_table(DRIVER)
                .expect("table")
                .insert(LAYOUT_KEY, LAYOUT + 1)
                .expect("row");
            write.commit().expect("commit");
        }
        drop(store);
        let opened = Store::open(dir.path()).map(drop);
        assert!(matches!(opened, Err(OpenError::Newer { found, .. }) if found == LAYOUT + 1));
    }

    #[test]
    fn a_batch_that_is_given_up_uncovers_what_was_before() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let (store, _) = Store::open(dir.path()).expect("store opens");
        let key = Bytes::copy_from_slice(&1u32.to_be_bytes());
        let delete = [RowOp::Delete(Table::Values, key)];
        store.stage(1, &[row(1, 10)]);
        store.stage(2, &delete);
        assert!(!has(&store, 1));
        store.unstage(2, &delete);
        assert!(has(&store, 1));
        store.unstage(1, &[row(1, 10)]);
        assert!(!has(&store, 1));
    }
}
