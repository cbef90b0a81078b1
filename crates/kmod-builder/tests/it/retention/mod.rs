//! Clean-ups from outside: the program as shipped, against a stand-in for GitHub that keeps GitHub's rules and shares
//! its truth with a real registry, against that registry alone, and against a directory.

mod github;
mod package;
mod program;
mod world;

mod guarantees;
mod kernels;
mod many;
mod others;
mod rules;
mod runs;
mod trouble;
