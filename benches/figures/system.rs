//! The system's figures for a process.

use std::fs;

/// A process's figure in KiB, if the system has it.
pub fn status(process: u32, name: &str) -> Option<f64> {
    figure(&fs::read_to_string(format!("/proc/{process}/status")).ok()?, name)
}

/// The resident memory of this process in KiB. It is counted page by page, because `status` lags
/// behind in each thread. NaN if the system does not report it.
pub fn resident() -> f64 {
    let rollup = fs::read_to_string("/proc/self/smaps_rollup").unwrap_or_default();
    figure(&rollup, "Rss:").unwrap_or(f64::NAN)
}

/// The maximum number of open files of this process.
pub fn open_files() -> Option<usize> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    limit?.split_whitespace().next()?.parse().ok()
}

pub fn processor() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown", |model| model.trim_start_matches([' ', '\t', ':']));
    model.to_owned()
}

fn figure(text: &str, name: &str) -> Option<f64> {
    let figure = text.lines().find_map(|line| line.strip_prefix(name));
    figure?.trim().strip_suffix(" kB")?.parse().ok()
}
