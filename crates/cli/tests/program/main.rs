//! The program as a user runs it: output, files, exit status.

mod bench;
mod common;
mod devices;
mod usage;
