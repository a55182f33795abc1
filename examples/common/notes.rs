//! What the library notes of a call, a retry for example, on standard error.

use log::{Level, LevelFilter, Log, Metadata, Record};

use super::tell;

/// For the program of this name.
pub struct Notes(pub &'static str);

impl Notes {
    pub fn show(&'static self) {
        // There is one already: then that shows them.
        if log::set_logger(self).is_ok() {
            log::set_max_level(LevelFilter::Info);
        }
    }
}

impl Log for Notes {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.target().starts_with("h2o_chat") && metadata.level() <= Level::Info
    }

    fn log(&self, record: &Record) {
        if self.enabled(record.metadata()) {
            tell(self.0, &record.args().to_string());
        }
    }

    fn flush(&self) {}
}
