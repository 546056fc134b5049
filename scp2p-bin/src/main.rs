//! The `scp2p` command: a node, and everything that one asks of it.
#![forbid(unsafe_code)]

mod api;
mod cli;
mod commands;
mod demo;
mod dirs;
mod failure;
mod metrics;
mod node;
mod output;
mod progress;
mod relay;
mod resolve;
mod settings;
mod sim;

use std::process::ExitCode;

use api::Client;
use cli::{Cli, Command, Common};
use commands::Session;
use failure::{Failure, Misuse, USAGE};
use settings::Role;

fn main() -> ExitCode {
    let args: Result<Vec<String>, _> = std::env::args_os()
        .skip(1)
        .map(|arg| arg.into_string())
        .collect();
    let args = match args {
        Ok(args) => args,
        Err(arg) => {
            Failure::from(Misuse::NotUtf8(arg.into())).report(false);
            return ExitCode::from(USAGE);
        }
    };
    let cli = match Cli::parse(&args) {
        Ok(cli) => cli,
        Err(exit) if exit.status.is_ok() => return print(&exit.output),
        Err(exit) => {
            eprint!("scp2p: {}", exit.output);
            return ExitCode::from(USAGE);
        }
    };
    if cli.version {
        return print(concat!("scp2p ", env!("CARGO_PKG_VERSION"), "\n"));
    }
    let json = cli
        .command
        .as_ref()
        .is_some_and(|command| command.common().json);
    match smol::block_on(run(cli.command)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            failure.report(json);
            ExitCode::from(failure.exit_code())
        }
    }
}

fn print(text: &str) -> ExitCode {
    match output::print(text) {
        Ok(_) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

async fn run(command: Option<Command>) -> Result<(), Failure> {
    let Some(command) = command else {
        return Err(Misuse::NoCommand.into());
    };
    let session = || Session::new(&command.common());
    match &command {
        Command::Status(_) => session()?.show(Client::status, output::status).await,
        Command::Id(_) => session()?.show(Client::id, output::identity).await,
        Command::Peers(_) => {
            session()?
                .show(Client::peers, |peers| output::peers(peers))
                .await
        }
        Command::Shares(_) => {
            session()?
                .show(Client::shares, |shares| output::shares(shares))
                .await
        }
        Command::Subscriptions(_) => {
            session()?
                .show(Client::subscriptions, |list| output::subscriptions(list))
                .await
        }
        Command::Public(_) => {
            session()?
                .show(Client::public, |list| output::public(list))
                .await
        }
        Command::Downloads(_) => {
            session()?
                .show(Client::downloads, |list| output::downloads(list))
                .await
        }
        Command::Publish(args) => session()?.publish(args).await,
        Command::Unpublish(args) => session()?.unpublish(&args.share).await,
        Command::Link(args) => session()?.link(&args.share).await,
        Command::Subscribe(args) => session()?.subscribe(&args.share).await,
        Command::Unsubscribe(args) => session()?.unsubscribe(&args.share).await,
        Command::Sync(args) => session()?.sync(args.share.as_deref()).await,
        Command::Browse(args) => session()?.browse(args).await,
        Command::Search(args) => session()?.search(args).await,
        Command::Get(args) => session()?.get(args).await,
        Command::Pause(args) => session()?.pause(args.id).await,
        Command::Resume(args) => session()?.resume(args.id).await,
        Command::Cancel(args) => session()?.cancel(args.id).await,
        Command::Events(_) => session()?.events().await,
        Command::Stop(_) => session()?.stop().await,
        Command::Node(args) => {
            let stop_on_stdin_eof = args.stop_on_stdin_eof;
            let run = node::Run {
                role: Role::Node,
                flags: args.flags(),
                json: args.json,
                stop_on_stdin_eof,
            };
            node::run(run).await
        }
        Command::Relay(args) => relay::run(args).await,
        Command::Demo(args) => demo::run(args).await,
        Command::Sim(args) => sim::run(args),
    }
}

impl Command {
    /// The arguments that commands have in common.
    fn common(&self) -> Common {
        match self {
            Command::Node(args) => args.common(),
            Command::Relay(args) => args.common(),
            Command::Demo(_) => Common {
                data_dir: None,
                json: false,
            },
            Command::Sim(args) => Common {
                data_dir: None,
                json: args.json,
            },
            Command::Status(args) => args.common(),
            Command::Id(args) => args.common(),
            Command::Peers(args) => args.common(),
            Command::Publish(args) => args.common(),
            Command::Shares(args) => args.common(),
            Command::Unpublish(args) => args.common(),
            Command::Link(args) => args.common(),
            Command::Subscribe(args) => args.common(),
            Command::Unsubscribe(args) => args.common(),
            Command::Subscriptions(args) => args.common(),
            Command::Public(args) => args.common(),
            Command::Sync(args) => args.common(),
            Command::Browse(args) => args.common(),
            Command::Search(args) => args.common(),
            Command::Get(args) => args.common(),
            Command::Downloads(args) => args.common(),
            Command::Pause(args) => args.common(),
            Command::Resume(args) => args.common(),
            Command::Cancel(args) => args.common(),
            Command::Events(args) => args.common(),
            Command::Stop(args) => args.common(),
        }
    }
}
