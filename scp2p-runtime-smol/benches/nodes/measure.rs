//! Time and processor time.

use std::fmt;
use std::num::ParseFloatError;
use std::str::FromStr;
use std::time::{Duration, Instant};

/// How long something took.
pub struct Sample {
    wall: Duration,
    /// Processor time in seconds.
    pub cpu: f64,
}

/// In seconds, for another process to read.
impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.wall.as_secs_f64(), self.cpu)
    }
}

impl FromStr for Sample {
    type Err = ParseFloatError;

    fn from_str(text: &str) -> Result<Sample, ParseFloatError> {
        let (wall, cpu) = text.split_once(' ').unwrap_or((text, "0"));
        Ok(Sample {
            wall: Duration::from_secs_f64(wall.parse()?),
            cpu: cpu.parse()?,
        })
    }
}

/// Does it and says how long it took.
pub fn measured(work: impl FnOnce()) -> Sample {
    let (start, cpu) = (Instant::now(), cpu_seconds());
    work();
    Sample {
        wall: start.elapsed(),
        cpu: cpu_seconds() - cpu,
    }
}

/// Repetitions of one thing.
#[derive(Default)]
pub struct Series(Vec<Sample>);

impl Series {
    pub fn push(&mut self, sample: Sample) {
        self.0.push(sample);
    }

    /// The median time, in seconds.
    pub fn median(&self) -> f64 {
        median(self.0.iter().map(|sample| sample.wall.as_secs_f64()))
    }

    /// What this is when so many MiB were moved each time.
    pub fn throughput(&self, mib: u64) -> String {
        let cpu = median(self.0.iter().map(|sample| sample.cpu));
        format!(
            "{:6.0} MiB/s, {:.2} CPU seconds per GiB",
            mib as f64 / self.median(),
            cpu * 1024.0 / mib as f64
        )
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Processor time of this process so far.
pub fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// The most memory this process ever had, in MiB.
pub fn peak_memory() -> f64 {
    memory("VmHWM:")
}

/// The memory that this process has, in MiB.
pub fn memory_now() -> f64 {
    memory("VmRSS:")
}

fn memory(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.parse::<f64>().ok())
        .expect("a peak in KiB")
        / 1024.0
}
