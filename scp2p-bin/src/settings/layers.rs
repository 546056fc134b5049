//! Where settings are given: options, else the environment, else a file.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fmt, fs};

use toml::de::{DeTable, DeValue};

use super::{Setting, SettingError};

/// The variable that names the settings file.
const CONFIG_VARIABLE: &str = "SCP2P_CONFIG";
/// Bytes of a settings file: far more than all settings with comments take.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The environment variables that settings come from.
pub fn variables() -> impl Iterator<Item = &'static str> {
    let own = Setting::ALL.iter().map(|setting| setting.variable());
    own.chain([CONFIG_VARIABLE])
}

/// What a command line says about settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// The settings file.
    pub config: Option<PathBuf>,
    /// The values of options; a switch that is given is `true`.
    pub values: BTreeMap<Setting, Vec<String>>,
}

impl Flags {
    /// With these values, those that are not given left out.
    pub fn new(
        config: Option<&Path>,
        values: impl IntoIterator<Item = (Setting, Vec<String>)>,
    ) -> Flags {
        let given = values.into_iter().filter(|(_, values)| !values.is_empty());
        Flags {
            config: config.map(Path::to_owned),
            values: given.collect(),
        }
    }

    /// These, and where they say nothing the others.
    pub fn or(mut self, others: Flags) -> Flags {
        self.config = self.config.or(others.config);
        for (setting, values) in others.values {
            self.values.entry(setting).or_insert(values);
        }
        self
    }

    /// Whether they say nothing.
    pub fn is_empty(&self) -> bool {
        self.config.is_none() && self.values.is_empty()
    }
}

/// Where a value was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// This option.
    Option(&'static str),
    /// This environment variable.
    Variable(&'static str),
    /// A line of a file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The field.
        field: &'static str,
    },
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Option(name) | Origin::Variable(name) => f.write_str(name),
            Origin::File { path, line, field } => {
                write!(f, "{}, line {line}: {field}", path.display())
            }
        }
    }
}

/// What was given for one setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// Where.
    pub origin: Origin,
    /// The values, not split at commas.
    pub values: Vec<String>,
}

/// What was given for each setting, by the layer that counts.
#[derive(Debug, Default)]
pub struct Layers(BTreeMap<Setting, Given>);

impl Layers {
    /// Reads the environment and the settings file, if one is named.
    ///
    /// # Errors
    /// A variable is not UTF-8, the file cannot be read, is no TOML, or has a field that is no setting.
    pub fn read(
        flags: &Flags,
        env: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Layers, SettingError> {
        let config = match &flags.config {
            Some(config) => Some(config.clone()),
            None => env(CONFIG_VARIABLE).map(PathBuf::from),
        };
        let mut layers = match config {
            Some(path) => Layers(read_file(&path)?),
            None => Layers::default(),
        };
        for setting in Setting::ALL {
            let given = match flags.values.get(setting) {
                Some(values) => Some((Origin::Option(setting.option()), values.clone())),
                None => in_env(*setting, &env)?,
            };
            if let Some((origin, values)) = given {
                layers.0.insert(*setting, Given { origin, values });
            }
        }
        Ok(layers)
    }

    /// What was given for a setting.
    pub fn given(&self, setting: Setting) -> Option<&Given> {
        self.0.get(&setting)
    }

    /// The values of all settings that were given.
    pub fn into_values(self) -> BTreeMap<Setting, Vec<String>> {
        let given = self.0.into_iter();
        given
            .map(|(setting, given)| (setting, given.values))
            .collect()
    }
}

fn in_env(
    setting: Setting,
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<Option<(Origin, Vec<String>)>, SettingError> {
    let name = setting.variable();
    let Some(value) = env(name) else {
        return Ok(None);
    };
    let value = value
        .into_string()
        .map_err(|_| SettingError::NotUtf8(name))?;
    Ok(Some((Origin::Variable(name), vec![value])))
}

fn read_file(path: &Path) -> Result<BTreeMap<Setting, Given>, SettingError> {
    let failed = |reason: String| SettingError::File {
        path: path.to_owned(),
        reason,
    };
    let metadata = fs::metadata(path).map_err(|error| failed(error.to_string()))?;
    if metadata.len() > FILE_BYTES_MAX {
        return Err(failed("too large for a settings file".to_owned()));
    }
    let text = fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    parse(path, &text)
}

/// The settings in the text of a file.
fn parse(path: &Path, text: &str) -> Result<BTreeMap<Setting, Given>, SettingError> {
    let line = |at: usize| {
        let before = text.get(..at).unwrap_or(text);
        before.bytes().filter(|byte| *byte == b'\n').count() + 1
    };
    let syntax = |at: Option<usize>, message: String| SettingError::Line {
        path: path.to_owned(),
        line: at.map_or(1, line),
        message,
    };
    let table = DeTable::parse(text).map_err(|error| {
        let at = error.span().map(|span| span.start);
        syntax(at, error.message().to_owned())
    })?;
    let mut given = BTreeMap::new();
    for (name, value) in table.get_ref() {
        let at = name.span().start;
        let setting = Setting::ALL
            .iter()
            .find(|setting| setting.field() == name.get_ref().as_ref())
            .ok_or_else(|| syntax(Some(at), format!("{} is not a setting", name.get_ref())))?;
        let values = values(value.get_ref()).ok_or_else(|| {
            let message = format!(
                "{}: neither text, a whole number, true, false nor a list of these",
                setting.field()
            );
            syntax(Some(at), message)
        })?;
        let origin = Origin::File {
            path: path.to_owned(),
            line: line(at),
            field: setting.field(),
        };
        given.insert(*setting, Given { origin, values });
    }
    Ok(given)
}

/// The texts of a value; none if it has a form that no setting has.
fn values(value: &DeValue<'_>) -> Option<Vec<String>> {
    match value {
        DeValue::Array(list) => list.iter().map(|value| text(value.get_ref())).collect(),
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Boolean(_)
        | DeValue::Float(_)
        | DeValue::Datetime(_)
        | DeValue::Table(_) => Some(vec![text(value)?]),
    }
}

fn text(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.as_ref().to_owned()),
        DeValue::Boolean(value) => Some(value.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .ok()
            .map(|number| number.to_string()),
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}
