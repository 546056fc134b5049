//! Rows: a durable part in redb and what was committed since in memory.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};

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
    /// None while the file cannot be opened.
    database: RwLock<Option<Database>>,
    staged: Mutex<Staged>,
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
            return Ok(latest);
        }
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
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
    /// of it has happened. A full disk may be tried again; after any other failure of
    /// the system nobody knows what the file holds, so it refuses until the next start.
    pub(super) fn apply<'a>(
        &self,
        rows: impl Iterator<Item = &'a RowOp>,
    ) -> Result<(), StoreError> {
        let mut database = self
            .database
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        if database.is_none() {
            *database = Some((self.backing)().map_err(|error| self.failed(&error.into()))?);
        }
        let open = database.as_ref().ok_or_else(|| self.unavailable())?;
        let number = commits(open)
            .map_err(|error| self.failed(&error))?
            .saturating_add(1);
        let Err(error) = write_rows(open, number, rows) else {
            return Ok(());
        };
        let failure = self.failed(&error);
        if failure == StoreError::Full {
            // What was refused may be the last step only: the file itself tells.
            *database = None;
            let reopened = (self.backing)().map_err(|error| self.failed(&error.into()))?;
            let done = commits(&reopened).map_err(|error| self.failed(&error))? == number;
            *database = Some(reopened);
            if done {
                return Ok(());
            }
        }
        Err(failure)
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
        let (database, staged) = (RwLock::new(Some(database)), Mutex::default());
        Ok((
            Store {
                path,
                backing: Box::new(backing),
                database,
                staged,
            },
            saved,
        ))
    }

    fn failed(&self, error: &Error) -> StoreError {
        match error {
            Error::Io(error) if is_full(error) => StoreError::Full,
            error => StoreError::Failed(format!(
                "{}: {error}; check the disk, then start the node again",
                self.path.display()
            )),
        }
    }

    fn unavailable(&self) -> StoreError {
        StoreError::Failed(format!("{}: cannot be opened", self.path.display()))
    }
}

/// Rows of batches that are not durable yet: for each the values it got, oldest first.
#[derive(Default)]
struct Staged {
    rows: BTreeMap<(Table, Bytes), Vec<(u64, Option<Bytes>)>>,
}

impl Staged {
    fn latest(&self, table: Table, key: &Bytes) -> Option<Option<Bytes>> {
        let values = self.rows.get(&(table, key.clone()))?;
        values.last().map(|(_, value)| value.clone())
    }

    fn insert(&mut self, seq: u64, rows: &[RowOp]) {
        for row in rows {
            let (row, value) = match row {
                RowOp::Put(table, key, value) => ((*table, key.clone()), Some(value.clone())),
                RowOp::Delete(table, key) => ((*table, key.clone()), None),
            };
            self.rows.entry(row).or_default().push((seq, value));
        }
    }

    fn remove(&mut self, seq: u64, rows: &[RowOp]) {
        for row in rows {
            let (RowOp::Put(table, key, _) | RowOp::Delete(table, key)) = row;
            let row = (*table, key.clone());
            if let Some(values) = self.rows.get_mut(&row) {
                values.retain(|(at, _)| *at != seq);
                if values.is_empty() {
                    self.rows.remove(&row);
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

fn commits(database: &Database) -> Result<u64, Error> {
    Ok(driver_number(database, COMMITS_KEY)?.unwrap_or(0))
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
                Entry::Occupied(open) => open.into_mut(),
                Entry::Vacant(closed) => closed.insert(write.open_table(definition(*table))?),
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

fn open_error(path: &Path, error: Error) -> OpenError {
    match error {
        Error::DatabaseAlreadyOpen => OpenError::Busy {
            path: path.to_owned(),
        },
        Error::Io(error) => OpenError::Io {
            path: path.to_owned(),
            error,
        },
        other => OpenError::Damaged {
            path: path.to_owned(),
            reason: other.to_string(),
        },
    }
}
