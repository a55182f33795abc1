//! The same promises on every generation of the server that is spoken to, walked over from one table.

#[path = "dialects/answers.rs"]
mod answers;
#[path = "dialects/detection.rs"]
mod detection;
#[path = "dialects/interruptions.rs"]
mod interruptions;
#[path = "dialects/lifecycle.rs"]
mod lifecycle;
#[path = "dialects/limits.rs"]
mod limits;
#[path = "dialects/lists.rs"]
mod lists;
#[path = "dialects/system_prompt.rs"]
mod system_prompt;
#[path = "dialects/trials.rs"]
mod trials;
#[path = "dialects/turns.rs"]
mod turns;

mod stand_in;
#[path = "dialects/table.rs"]
mod table;
