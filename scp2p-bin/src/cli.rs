//! The command line.

use std::path::PathBuf;

use argh::{EarlyExit, FromArgs, SubCommands};

use crate::sim::SimArgs;

/// A peer-to-peer network of subscribed catalogs: publish folders, follow what others publish,
/// search it, download it from everybody who has it.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(
    help_triggers("-h", "--help"),
    example = "\
    {command_name} demo\n\
    {command_name} node\n\
    {command_name} publish ~/Photos --share photos --title 'Our photos'\n\
    {command_name} subscribe scp2p://s/...\n\
    {command_name} search summer lake\n\
    {command_name} get 1 -o ~/Downloads",
    note = "A SHARE is an own share's name, a share's title, the first digits of its id (four or more), or the\n\
    number of a search result. Text that a command prints for people is not for parsing: use --json.",
    error_code(0, "done"),
    error_code(1, "failed; the message says what and what to do"),
    error_code(2, "the command line or the environment is wrong"),
    error_code(3, "no node is running on the data directory"),
    error_code(4, "nothing of this name or id, or several"),
    error_code(5, "another node has the data directory"),
    error_code(6, "a port is taken"),
    error_code(130, "interrupted")
)]
pub struct Cli {
    /// print the version
    #[argh(switch, short = 'V')]
    pub version: bool,

    /// what to do
    #[argh(subcommand)]
    pub command: Option<Command>,
}

impl Cli {
    /// Parses the arguments after the program's name. `help COMMAND` is taken for `COMMAND --help`
    /// and `--option=value` for `--option value`.
    ///
    /// # Errors
    /// What to print and whether that was asked for.
    pub fn parse(args: &[String]) -> Result<Cli, EarlyExit> {
        let mut words: Vec<&str> = Vec::new();
        let mut args = args.iter().map(String::as_str);
        while let Some(arg) = args.next() {
            match arg.split_once('=') {
                _ if arg == "--" => {
                    words.push(arg);
                    words.extend(args.by_ref());
                }
                Some((option, value)) if option.starts_with("--") => words.extend([option, value]),
                Some(_) | None => words.push(arg),
            }
        }
        if let Some(first @ ("help" | "--help" | "-h")) = words.first().copied() {
            words = match words.get(1) {
                Some(command) if !command.starts_with('-') => vec![command, "--help"],
                Some(_) | None => vec![if first == "help" { "--help" } else { first }],
            };
        }
        let command = words.first().copied().unwrap_or_default();
        let known = <Command as SubCommands>::COMMANDS
            .iter()
            .any(|info| info.name == command);
        Cli::from_args(&["scp2p"], &words).map_err(|mut exit| {
            if exit.status.is_err() {
                let of = if known {
                    format!("{command} ")
                } else {
                    String::new()
                };
                exit.output = format!("{}\nSee: scp2p {of}--help\n", exit.output.trim_end());
            }
            exit
        })
    }
}

/// The commands.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(subcommand)]
pub enum Command {
    /// `scp2p node`
    Node(NodeArgs),
    /// `scp2p demo`
    Demo(DemoArgs),
    /// `scp2p status`
    Status(StatusArgs),
    /// `scp2p id`
    Id(IdArgs),
    /// `scp2p peers`
    Peers(PeersArgs),
    /// `scp2p publish`
    Publish(PublishArgs),
    /// `scp2p shares`
    Shares(SharesArgs),
    /// `scp2p unpublish`
    Unpublish(UnpublishArgs),
    /// `scp2p link`
    Link(LinkArgs),
    /// `scp2p subscribe`
    Subscribe(SubscribeArgs),
    /// `scp2p unsubscribe`
    Unsubscribe(UnsubscribeArgs),
    /// `scp2p subscriptions`
    Subscriptions(SubscriptionsArgs),
    /// `scp2p public`
    Public(PublicArgs),
    /// `scp2p sync`
    Sync(SyncArgs),
    /// `scp2p browse`
    Browse(BrowseArgs),
    /// `scp2p search`
    Search(SearchArgs),
    /// `scp2p get`
    Get(GetArgs),
    /// `scp2p downloads`
    Downloads(DownloadsArgs),
    /// `scp2p pause`
    Pause(PauseArgs),
    /// `scp2p resume`
    Resume(ResumeArgs),
    /// `scp2p cancel`
    Cancel(CancelArgs),
    /// `scp2p events`
    Events(EventsArgs),
    /// `scp2p stop`
    Stop(StopArgs),
    /// `scp2p sim`
    Sim(SimArgs),
}

/// What every command that talks to a node takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Common {
    /// The data directory of the node, if not the default.
    pub data_dir: Option<PathBuf>,
    /// Print JSON.
    pub json: bool,
}

/// Defines the arguments of a command: its own, and `--data-dir` and `--json`.
macro_rules! command_args {
    ($(#[$doc:meta])* $name:ident = $command:tt { $($own:tt)* }) => {
        $(#[$doc])*
        #[derive(FromArgs, Debug, PartialEq)]
        #[argh(subcommand, name = $command, help_triggers("-h", "--help"))]
        pub struct $name {
            $($own)*

            /// the node's data directory (SCP2P_DATA_DIR)
            #[argh(option, arg_name = "dir")]
            pub data_dir: Option<PathBuf>,

            /// print JSON
            #[argh(switch)]
            pub json: bool,
        }

        impl $name {
            /// The arguments that all commands take.
            pub fn common(&self) -> Common {
                Common { data_dir: self.data_dir.clone(), json: self.json }
            }
        }
    };
}

command_args! {
    /// Run a node until it is told to stop. Options beat environment variables (in parentheses),
    /// which beat defaults.
    NodeArgs = "node" {
        /// listen for QUIC on IP:PORT; repeat for more, "" for none; default UDP 7000 on IPv4 and IPv6 (SCP2P_BIND_QUIC, comma separated)
        #[argh(option, arg_name = "ip:port")]
        pub bind_quic: Vec<String>,

        /// listen for TLS on IP:PORT; repeat for more, "" for none; default TCP 7001 on IPv4 and IPv6 (SCP2P_BIND_TCP, comma separated)
        #[argh(option, arg_name = "ip:port")]
        pub bind_tcp: Vec<String>,

        /// peers to start from, `[tcp://|quic://]HOST:PORT[@KEY]`; repeat or separate by commas (SCP2P_BOOTSTRAP)
        #[argh(option, arg_name = "peer")]
        pub bootstrap: Vec<String>,

        /// refuse peers that cannot prove that nobody sits between us and them
        #[argh(switch)]
        pub require_binding: bool,

        /// carry circuits between peers that cannot dial each other; what passes is sealed and cannot be read here
        #[argh(switch)]
        pub relay: bool,

        /// do not use relays of deployed peers, which read what they relay, and with --relay be none for them either
        #[argh(switch)]
        pub no_readable_relays: bool,

        /// off, error, warn, info, debug, trace, or a filter such as info,scp2p_proto=debug; default info (SCP2P_LOG)
        #[argh(option, arg_name = "level")]
        pub log_level: Option<String>,

        /// stop when standard input ends, for programs that start a node
        #[argh(switch)]
        pub stop_on_stdin_eof: bool,
    }
}

/// Show the whole job with real nodes on this machine: publish, subscribe, search, download, and a
/// new revision that arrives by itself; every byte is verified.
#[derive(FromArgs, Debug, PartialEq)]
#[argh(subcommand, name = "demo", help_triggers("-h", "--help"))]
pub struct DemoArgs {
    /// file or folder to publish, never modified; default a folder made for it
    #[argh(positional)]
    pub path: Option<PathBuf>,

    /// keep the folders
    #[argh(switch)]
    pub keep: bool,
}

command_args! {
    /// Show the node at a glance.
    StatusArgs = "status" {}
}

command_args! {
    /// Show the node's key, id and addresses.
    IdArgs = "id" {}
}

command_args! {
    /// List the peers known.
    PeersArgs = "peers" {}
}

command_args! {
    /// Publish files and folders as the next revision of an own share, which is made if there is none.
    /// They stay where they are and must not change; publish again after a change.
    PublishArgs = "publish" {
        /// files and folders
        #[argh(positional, arg_name = "path")]
        pub paths: Vec<PathBuf>,

        /// the share's name on this node
        #[argh(option, arg_name = "name")]
        pub share: String,

        /// title shown to subscribers
        #[argh(option, arg_name = "text")]
        pub title: Option<String>,

        /// description shown to subscribers
        #[argh(option, arg_name = "text")]
        pub description: Option<String>,

        /// tag for every item; repeat for more
        #[argh(option, arg_name = "text")]
        pub tag: Vec<String>,

        /// peers may list the share
        #[argh(switch)]
        pub public: bool,

        /// only who has the link finds the share (default at first)
        #[argh(switch)]
        pub private: bool,
    }
}

command_args! {
    /// List the own shares.
    SharesArgs = "shares" {}
}

command_args! {
    /// Print the link of a share, to give to others.
    LinkArgs = "link" {
        /// the share
        #[argh(positional)]
        pub share: String,
    }
}

command_args! {
    /// Take back a share of your own: its files are no longer served for it, and it is announced no more. What
    /// others have of it stays with them. Publishing under the same name goes on with the next revision.
    UnpublishArgs = "unpublish" {
        /// the share
        #[argh(positional)]
        pub share: String,
    }
}

command_args! {
    /// Follow a share.
    SubscribeArgs = "subscribe" {
        /// the link, scp2p://s/..., or a public share's title or the first digits of its id
        #[argh(positional)]
        pub share: String,
    }
}

command_args! {
    /// Stop following a share. What was downloaded stays.
    UnsubscribeArgs = "unsubscribe" {
        /// the share
        #[argh(positional)]
        pub share: String,
    }
}

command_args! {
    /// List the shares followed.
    SubscriptionsArgs = "subscriptions" {}
}

command_args! {
    /// List the public shares of the peers connected.
    PublicArgs = "public" {}
}

command_args! {
    /// Look for new revisions now, of one share or of all.
    SyncArgs = "sync" {
        /// the share
        #[argh(positional)]
        pub share: Option<String>,
    }
}

command_args! {
    /// List what is in a share.
    BrowseArgs = "browse" {
        /// the share, or SHARE/PATH for what is at or below the path
        #[argh(positional)]
        pub share: String,

        /// only what is at or below this path
        #[argh(option)]
        pub path: Option<String>,
    }
}

command_args! {
    /// Search the shares followed. The results are numbered; `get`, `browse` and others take the numbers.
    SearchArgs = "search" {
        /// words
        #[argh(positional)]
        pub query: Vec<String>,

        /// results at most, 1 to 200; default 20
        #[argh(option, default = "20")]
        pub limit: u32,

        /// results to skip
        #[argh(option, default = "0")]
        pub offset: u32,

        /// search this share only
        #[argh(option)]
        pub share: Option<String>,
    }
}

command_args! {
    /// Download: SHARE, SHARE/PATH, a content id, or the number of a search result.
    GetArgs = "get" {
        /// what to download
        #[argh(positional)]
        pub what: String,

        /// folder to write into; default the current one
        #[argh(option, short = 'o', arg_name = "dir")]
        pub output: Option<PathBuf>,

        /// do not wait until it is complete
        #[argh(switch, short = 'd')]
        pub detach: bool,
    }
}

command_args! {
    /// List the downloads.
    DownloadsArgs = "downloads" {}
}

command_args! {
    /// Ask nobody for a download until it is resumed, after a restart of the node too. Nothing that came is lost.
    PauseArgs = "pause" {
        /// its number in `downloads`
        #[argh(positional)]
        pub id: u64,
    }
}

command_args! {
    /// Go on with a download that was paused.
    ResumeArgs = "resume" {
        /// its number in `downloads`
        #[argh(positional)]
        pub id: u64,
    }
}

command_args! {
    /// End a download and delete its partial files.
    CancelArgs = "cancel" {
        /// its number in `downloads`
        #[argh(positional)]
        pub id: u64,
    }
}

command_args! {
    /// Print what happens, as it happens.
    EventsArgs = "events" {}
}

command_args! {
    /// Stop the node.
    StopArgs = "stop" {}
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Cli, EarlyExit> {
        let args: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        Cli::parse(&args)
    }

    #[test]
    fn options_take_their_value_with_or_without_an_equals_sign() {
        let one = parse("publish a b --share=photos --tag=x=y --json").expect("accepted");
        let two = parse("publish a b --share photos --tag x=y --json").expect("accepted");
        assert_eq!(one, two);
        let Some(Command::Publish(args)) = one.command else {
            panic!("not publish")
        };
        assert_eq!(args.paths, [PathBuf::from("a"), PathBuf::from("b")]);
        assert_eq!(args.tag, ["x=y"]);
        assert!(args.common().json);
    }

    #[test]
    fn words_after_two_dashes_are_no_options() {
        let cli = parse("search -- --limit=3 help").expect("accepted");
        let Some(Command::Search(args)) = cli.command else {
            panic!("not search")
        };
        assert_eq!(args.query, ["--limit=3", "help"]);
        assert_eq!(args.limit, 20);
    }

    #[test]
    fn help_is_a_word_to_search_for_but_a_command_of_its_own() {
        let cli = parse("search help").expect("accepted");
        let Some(Command::Search(args)) = cli.command else {
            panic!("not search")
        };
        assert_eq!(args.query, ["help"]);
        for line in ["help get", "get --help", "--help get", "get -h"] {
            let exit = parse(line).expect_err("help");
            assert_eq!(exit.status, Ok(()), "{line}");
            assert!(
                exit.output.contains("SHARE/PATH"),
                "{line}: {}",
                exit.output
            );
        }
        assert!(
            parse("help")
                .expect_err("help")
                .output
                .contains("subscriptions")
        );
    }

    #[test]
    fn wrong_arguments_name_the_argument_and_where_to_read_on() {
        for (line, names) in [
            ("get --detatch x", "--detatch"),
            ("cancel x", "'x'"),
            ("publish a", "--share"),
            ("frobnicate", "frobnicate"),
            ("search a --limit", "--limit"),
        ] {
            let exit = parse(line).expect_err("wrong");
            assert_eq!(exit.status, Err(()), "{line}");
            assert!(exit.output.contains(names), "{line}: {}", exit.output);
            assert!(exit.output.contains("--help"), "{line}: {}", exit.output);
        }
        let exit = parse("frobnicate").expect_err("wrong");
        assert!(exit.output.contains("scp2p --help"), "{}", exit.output);
    }
}
