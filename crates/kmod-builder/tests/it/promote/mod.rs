//! Promotions by the program with a real registry and real images with evidence. Only the boot test is replaced: its
//! result is signed directly, or an emulator prints it.

mod environment;
mod evidence;
mod kills;
mod lifecycle;
mod proxy;
mod tags;
mod tested;
