//! The log, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::settings::LogFormat;

/// What is logged can be changed while it is.
pub struct Log {
    refilter: Box<dyn Fn(EnvFilter) -> bool + Send + Sync>,
}

impl Log {
    /// Begins to log what the filter lets through.
    pub fn start(filter: EnvFilter, format: LogFormat) -> Log {
        let builder = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr);
        match format {
            LogFormat::Text => {
                let builder = builder
                    .with_ansi(std::io::stderr().is_terminal())
                    .with_filter_reloading();
                let handle = builder.reload_handle();
                builder.init();
                Log {
                    refilter: Box::new(move |filter| handle.reload(filter).is_ok()),
                }
            }
            LogFormat::Json => {
                let builder = builder.json().with_filter_reloading();
                let handle = builder.reload_handle();
                builder.init();
                Log {
                    refilter: Box::new(move |filter| handle.reload(filter).is_ok()),
                }
            }
        }
    }

    /// Lets through what this filter does from now on; false if the log is no more.
    pub fn refilter(&self, filter: EnvFilter) -> bool {
        (self.refilter)(filter)
    }
}
