//! Where values come from: a TOML file and flags, each value with its origin. Nothing here knows what a key means.
//!
//! Invariant: every key that is held is one of the table; flags replace what the file says.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use toml::de::{DeTable, DeValue};

use super::keys;
use super::limits::ConfigLimits;

/// Where a value was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nowhere: the default.
    Default,
    /// In the file of that name, at that line (from 1).
    File(Arc<str>, usize),
    /// By a flag.
    Flag,
}

/// A value as it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Raw {
    /// A string, or any flag's value.
    Text(String),
    /// A TOML integer.
    Integer(i64),
    /// A TOML boolean, or a flag without value.
    Boolean(bool),
}

/// A bad configuration: which key, where it was given, what is wrong and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    key: String,
    origin: Origin,
    text: String,
}

/// Every value that was given.
#[derive(Debug, Default)]
pub struct Sources {
    values: BTreeMap<&'static str, (Raw, Origin)>,
}

impl Sources {
    /// No value given: all defaults.
    pub fn none() -> Self {
        Self::default()
    }

    /// Reads a TOML file. Errors: unreadable, too large, not TOML, unknown keys, tables or other values that no key takes.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let name: Arc<str> = path.display().to_string().into();
        let failed = |text: String| ConfigError::new("", Origin::File(Arc::clone(&name), 0), text);
        let file = fs::File::open(path).map_err(|error| failed(format!("cannot be opened: {error}")))?;
        let mut text = String::new();
        let read = file.take(ConfigLimits::FILE_BYTES_MAX + 1).read_to_string(&mut text);
        read.map_err(|error| failed(format!("cannot be read: {error}")))?;
        if text.len() as u64 > ConfigLimits::FILE_BYTES_MAX {
            return Err(failed(format!("is larger than {} bytes", ConfigLimits::FILE_BYTES_MAX)));
        }
        Self::parse(&name, &text)
    }

    /// Parses the text of a TOML file called `name`.
    pub fn parse(name: &str, text: &str) -> Result<Self, ConfigError> {
        let name: Arc<str> = name.into();
        let at = |offset: usize| Origin::File(Arc::clone(&name), line_of(text, offset));
        let table = DeTable::parse(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            ConfigError::new("", at(offset), error.message().replace('\n', ", "))
        })?;
        let mut sources = Self::default();
        for (key, value) in table.get_ref() {
            let origin = at(key.span().start);
            let Some(known) = keys::find(key.get_ref()) else {
                return Err(unknown_key(key.get_ref(), origin));
            };
            let read = if known.is_list { Raw::from_toml_list } else { Raw::from_toml };
            let raw =
                read(value.get_ref()).map_err(|text| ConfigError::new(known.name, at(value.span().start), text))?;
            sources.values.insert(known.name, (raw, origin));
        }
        Ok(sources)
    }

    /// Adds a flag's value. Panics on a key that is not in the table: flags are ours.
    pub fn flag(&mut self, key: &'static str, value: Raw) {
        let known = keys::find(key).expect("every flag sets a key of the table");
        self.values.insert(known.name, (value, Origin::Flag));
    }

    /// The value of `key`, read by `read`; `None` when it was not given.
    pub(super) fn get<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Raw) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        assert!(keys::find(key).is_some(), "every key that is read is in the table: {key}");
        let Some((raw, _)) = self.values.get(key) else {
            return Ok(None);
        };
        read(raw).map(Some).map_err(|text| self.error(key, text))
    }

    /// Where `key` was given.
    pub(super) fn origin(&self, key: &str) -> Origin {
        self.values.get(key).map_or(Origin::Default, |(_, origin)| origin.clone())
    }

    /// An error about `key`, named by where it was given.
    pub(super) fn error(&self, key: &'static str, text: impl Into<String>) -> ConfigError {
        ConfigError::new(key, self.origin(key), text.into())
    }
}

impl Raw {
    fn from_toml(value: &DeValue<'_>) -> Result<Self, String> {
        match value {
            DeValue::String(text) => Ok(Self::Text(text.to_string())),
            DeValue::Boolean(value) => Ok(Self::Boolean(*value)),
            DeValue::Integer(integer) => {
                let parsed = i64::from_str_radix(integer.as_str(), integer.radix());
                parsed.map(Self::Integer).map_err(|_| format!("{} does not fit 64 bits", integer.as_str()))
            }
            other => Err(format!("a {} is not a value of this key", other.type_str())),
        }
    }

    /// An array of strings as one string with commas, or what [`Raw::from_toml`] reads.
    fn from_toml_list(value: &DeValue<'_>) -> Result<Self, String> {
        let DeValue::Array(array) = value else { return Self::from_toml(value) };
        let texts = array.iter().map(|element| Self::from_toml(element.get_ref())?.text());
        Ok(Self::Text(texts.collect::<Result<Vec<_>, _>>()?.join(",")))
    }

    /// The value as text, whatever it was; errors on a boolean.
    pub(super) fn text(&self) -> Result<String, String> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::Integer(integer) => Ok(integer.to_string()),
            Self::Boolean(value) => Err(format!("{value} is not a value of this key")),
        }
    }
}

impl ConfigError {
    pub(super) fn new(key: &str, origin: Origin, text: String) -> Self {
        Self { key: key.to_owned(), origin, text }
    }

    /// The key, empty when the file as a whole is meant.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Where it was given.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::File(name, 0) => write!(formatter, "{name}: ")?,
            Origin::File(name, line) => write!(formatter, "{name}:{line}: ")?,
            Origin::Flag => write!(formatter, "--")?,
            Origin::Default => {}
        }
        if !self.key.is_empty() {
            write!(formatter, "{}: ", self.key)?;
        }
        formatter.write_str(&self.text)
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => formatter.write_str("default"),
            Self::File(name, line) => write!(formatter, "{name}:{line}"),
            Self::Flag => formatter.write_str("flag"),
        }
    }
}

fn unknown_key(name: &str, origin: Origin) -> ConfigError {
    let text = match keys::similar(name) {
        Some(similar) => format!("unknown key `{name}`; did you mean `{similar}`?"),
        None => format!("unknown key `{name}`"),
    };
    ConfigError::new("", origin, text)
}

/// The line, from 1, that holds the byte at `offset`.
fn line_of(text: &str, offset: usize) -> usize {
    let offset = offset.min(text.len());
    1 + text.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count()
}
