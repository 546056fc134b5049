//! Settings that are read again while the node runs.

use std::collections::BTreeMap;
use std::env;

use super::log::Log;
use crate::api::Node;
use crate::settings::{Flags, Role, Setting, SettingError, Settings, TakesEffect};

/// What a running node was told last.
pub struct Reload {
    role: Role,
    flags: Flags,
    given: BTreeMap<Setting, Vec<String>>,
    log: Log,
}

impl Reload {
    /// For a node that was started with this.
    pub fn new(
        role: Role,
        flags: Flags,
        given: BTreeMap<Setting, Vec<String>>,
        log: Log,
    ) -> Reload {
        Reload {
            role,
            flags,
            given,
            log,
        }
    }

    /// Reads the settings again, does what can be done while the node runs, and logs what changed. Wrong settings change
    /// nothing.
    pub async fn reload(&mut self, node: &Node) {
        match Settings::resolve(self.role, &self.flags, |name| env::var_os(name)) {
            Ok(settings) => self.apply(node, settings).await,
            Err(error) => self.refuse(&error),
        }
    }

    fn refuse(&self, error: &SettingError) {
        tracing::error!(%error, "the settings were not read again; those of before hold");
    }

    async fn apply(&mut self, node: &Node, settings: Settings) {
        let Settings {
            relay, log, given, ..
        } = settings;
        // Whether it relays at all is decided at the start.
        if let Some(limits) = relay.filter(|_| node.limits().is_some())
            && let Err(error) = node.set_relay(limits).await
        {
            tracing::error!(%error, "the settings were read again but not taken");
            return;
        }
        let mut changed = 0;
        for setting in Setting::ALL {
            let (before, now) = (self.given.get(setting), given.get(setting));
            if before == now {
                continue;
            }
            let (field, from, to) = (setting.field(), shown(before), shown(now));
            changed += 1;
            match setting.takes_effect() {
                TakesEffect::AtOnce => {
                    tracing::info!("{field} is {to} now, no longer {from}");
                    match now {
                        Some(values) => self.given.insert(*setting, values.clone()),
                        None => self.given.remove(setting),
                    };
                }
                TakesEffect::AtStart => {
                    tracing::warn!("{field} stays {from} until the next start, then it is {to}");
                }
            }
        }
        if changed == 0 {
            tracing::info!("the settings were read again; nothing changed");
        }
        if !self.log.refilter(log) {
            tracing::error!("log_level stays as it was: the log takes no other");
        }
    }
}

fn shown(values: Option<&Vec<String>>) -> String {
    values.map_or("the default".to_owned(), |values| {
        format!("{:?}", values.join(","))
    })
}
