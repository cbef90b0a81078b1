//! Clean-ups from outside: the program as shipped, against a stand-in for GitHub that keeps GitHub's rules and shares
//! its truth with a real registry, against that registry alone, and against a directory.

mod environment;
mod github;
mod package;
mod program;

mod backends;
mod directories;
mod faults;
mod guarantees;
mod kernels;
mod many;
mod registry_faults;
mod rules;
mod runs;
mod stored_documents;
