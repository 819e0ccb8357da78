//! The program as a user runs it: output, files, exit status.

mod bad_input;
mod bench;
mod common;
mod devices;
mod pipes;
mod predict;
mod profile;
mod reports;
mod resume;
mod train;
mod tune;
mod usage;
