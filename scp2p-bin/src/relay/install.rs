//! A relay as a service of systemd: its unit and its settings file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{env, fmt, fs, io};

use toml::Value;

use crate::cli::{RelayInstallArgs, RelayUninstallArgs};
use crate::failure::Failure;
use crate::output;
use crate::settings::{Flags, Role, Setting, Settings};

/// The unit; packages can install it as it is.
const UNIT: &str = include_str!("../../dist/scp2p-relay.service");
/// The program that the unit starts.
const UNIT_PROGRAM: &str = "/usr/bin/scp2p";
/// A settings file that sets nothing.
const CONFIG: &str = include_str!("../../dist/relay.toml");
/// Where units of the administrator are.
const UNIT_PLACE: &str = "etc/systemd/system/scp2p-relay.service";
/// Where the unit looks for settings.
const CONFIG_PLACE: &str = "etc/scp2p/relay.toml";
/// Where systemd keeps the service's data, as its unit says.
const DATA_PLACE: &str = "var/lib/scp2p-relay";

/// `scp2p relay install`: the settings file gets what options and the environment say.
///
/// # Errors
/// A setting is wrong, or a file cannot be written.
pub fn install(args: &RelayInstallArgs, flags: Flags) -> Result<(), Failure> {
    let service = Service::new(args.root.as_deref())?;
    // The data directory is the service's own.
    let env = |name: &str| match name == Setting::DataDir.variable() {
        true => None,
        false => env::var_os(name),
    };
    let data_dir = Flags::new(None, [(Setting::DataDir, vec!["/".to_owned()])]);
    let mut given = Settings::resolve(Role::Relay, &flags.or(data_dir), env)?.given;
    given.remove(&Setting::DataDir);

    let unit = unit()?;
    if args.dry_run {
        let text = format!(
            "# {}\n{unit}\n# {}\n{}",
            service.unit.display(),
            service.config.display(),
            config(&given)
        );
        return print(&text);
    }
    service.may_write()?;
    if !service.has_unit(&unit)? {
        write(&service.unit, &unit)?;
    }
    let kept = if service.config.exists() {
        &["It was there and is as it was; what is given here is not in it."]
            [usize::from(given.is_empty())..]
    } else {
        write(&service.config, &config(&given))?;
        &[]
    };
    let mut lines = vec![
        format!(
            "unit      {}",
            output::shown(&service.unit.display().to_string())
        ),
        format!(
            "settings  {}",
            output::shown(&service.config.display().to_string())
        ),
    ];
    lines.extend(kept.iter().map(|line| format!("          {line}")));
    lines
        .push("start it  systemctl daemon-reload && systemctl enable --now scp2p-relay".to_owned());
    lines.push("its key   journalctl -u scp2p-relay".to_owned());
    print(&format!("{}\n", lines.join("\n")))
}

/// `scp2p relay uninstall`: removes the unit and says what stays.
///
/// # Errors
/// There is none, or it cannot be removed.
pub fn uninstall(args: &RelayUninstallArgs) -> Result<(), Failure> {
    let service = Service::new(args.root.as_deref())?;
    service.may_write()?;
    if !service.unit.exists() {
        return Err(InstallError::NoUnit(service.unit).into());
    }
    fs::remove_file(&service.unit).map_err(|error| Failure::File(service.unit.clone(), error))?;
    let shown = |path: &Path| output::shown(&path.display().to_string());
    print(&format!(
        "removed   {}\nstop it   systemctl stop scp2p-relay && systemctl daemon-reload\nstays     {} (settings)\nstays     {} (the relay's key and data)\n",
        shown(&service.unit),
        shown(&service.config),
        shown(&service.data)
    ))
}

/// The files of the service.
struct Service {
    root: Option<PathBuf>,
    unit: PathBuf,
    config: PathBuf,
    data: PathBuf,
}

impl Service {
    fn new(root: Option<&Path>) -> Result<Service, InstallError> {
        if !cfg!(target_os = "linux") {
            return Err(InstallError::NoSystemd);
        }
        let below = |place: &str| root.unwrap_or(Path::new("/")).join(place);
        Ok(Service {
            root: root.map(Path::to_owned),
            unit: below(UNIT_PLACE),
            config: below(CONFIG_PLACE),
            data: below(DATA_PLACE),
        })
    }

    /// Below / only root may write, which is said before anything is tried.
    fn may_write(&self) -> Result<(), InstallError> {
        let is_root = rustix::process::geteuid().is_root();
        (is_root || self.root.is_some())
            .then_some(())
            .ok_or(InstallError::NotRoot)
    }

    /// Whether this unit is there already. Another one is not replaced.
    fn has_unit(&self, unit: &str) -> Result<bool, Failure> {
        match fs::read_to_string(&self.unit) {
            Ok(there) if there == unit => Ok(true),
            Ok(_) => Err(InstallError::OtherUnit(self.unit.clone()).into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Failure::File(self.unit.clone(), error)),
        }
    }
}

/// The unit that starts this very program.
fn unit() -> Result<String, Failure> {
    let program = env::current_exe().map_err(|error| Failure::System("this program", error))?;
    let text = program.to_str().filter(|path| is_plain(path));
    let Some(path) = text else {
        return Err(InstallError::ProgramPath(program).into());
    };
    Ok(UNIT.replace(UNIT_PROGRAM, path))
}

/// Whether systemd takes a path as it is.
fn is_plain(path: &str) -> bool {
    let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte);
    path.bytes().all(is_safe)
}

/// The settings file with these values in the places of the defaults.
fn config(given: &BTreeMap<Setting, Vec<String>>) -> String {
    let mut text = String::new();
    for line in CONFIG.lines() {
        let set = given
            .iter()
            .find(|(setting, _)| line.starts_with(&format!("#{} = ", setting.field())));
        match set {
            Some((setting, values)) => {
                text.push_str(&format!("{} = {}\n", setting.field(), array(values)))
            }
            None => text.extend([line, "\n"]),
        }
    }
    text
}

/// One text, or a list of several.
fn array(values: &[String]) -> Value {
    match values {
        [value] => Value::String(value.clone()),
        values => Value::Array(values.iter().cloned().map(Value::String).collect()),
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let failed = |error| Failure::File(path.to_owned(), error);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut file = fs::OpenOptions::new();
    let mut file = file
        .write(true)
        .create_new(true)
        .open(path)
        .map_err(failed)?;
    io::Write::write_all(&mut file, text.as_bytes()).map_err(failed)
}

fn print(text: &str) -> Result<(), Failure> {
    output::print(text)
        .map(drop)
        .map_err(|error| Failure::System("standard output", error))
}

/// Why there is no service, or no longer one.
#[derive(Debug)]
pub enum InstallError {
    /// The system has another way to run services.
    NoSystemd,
    /// Only root may write there.
    NotRoot,
    /// Somebody changed the unit, or another version wrote it.
    OtherUnit(PathBuf),
    /// There is no unit to remove.
    NoUnit(PathBuf),
    /// The program's path has characters that mean something in a unit.
    ProgramPath(PathBuf),
}

impl fmt::Display for InstallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InstallError::NoSystemd => f.write_str(
                "a service is made for systemd on Linux only; have `scp2p relay` run by what runs services here",
            ),
            InstallError::NotRoot => f.write_str(
                "only root may do that; run it with sudo, or see with `scp2p relay install --dry-run` what would be written",
            ),
            InstallError::OtherUnit(path) => write!(
                f,
                "{}: there is another unit of this name; remove it with `scp2p relay uninstall`, and change units with `systemctl edit`",
                path.display()
            ),
            InstallError::NoUnit(path) => {
                write!(f, "{}: there is no such unit; nothing was removed", path.display())
            }
            InstallError::ProgramPath(path) => write!(
                f,
                "{}: systemd would take this path for something else; put the program into /usr/local/bin",
                path.display()
            ),
        }
    }
}

impl std::error::Error for InstallError {}

impl From<InstallError> for Failure {
    fn from(error: InstallError) -> Self {
        Failure::Install(error)
    }
}
