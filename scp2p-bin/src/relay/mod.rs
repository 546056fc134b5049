//! `scp2p relay`: a node that relays, and what an operator asks of it.

mod install;

use crate::api::Client;
use crate::cli::{RelayArgs, RelayCommand};
use crate::commands::Session;
use crate::failure::{Failure, Misuse};
use crate::node::{self, Run};
use crate::output;
use crate::settings::Role;

pub use install::InstallError;

/// Runs a relay until it is told to stop, or does with it what a further command says.
///
/// # Errors
/// It did not start, or the command failed.
pub async fn run(args: &RelayArgs) -> Result<(), Failure> {
    let starts_none = |command| match args.has_no_settings() {
        true => Ok(()),
        false => Err(Misuse::SettingsOfRunning(command)),
    };
    match &args.command {
        None => {
            node::run(Run {
                role: Role::Relay,
                flags: args.flags(),
                json: args.json,
                stop_on_stdin_eof: args.stop_on_stdin_eof,
            })
            .await
        }
        Some(RelayCommand::Circuits(_)) => {
            starts_none("circuits")?;
            let session = Session::new(&args.common())?;
            session.show(Client::relay, output::relay).await
        }
        Some(RelayCommand::Install(install)) => {
            if args.data_dir.is_some() {
                return Err(Misuse::DataDirOfService.into());
            }
            install::install(install, install.flags().or(args.flags()))
        }
        Some(RelayCommand::Uninstall(uninstall)) => {
            starts_none("uninstall")?;
            install::uninstall(uninstall)
        }
    }
}
