//! Promotions from outside: the program as shipped, a real registry, real images with their evidence. Only the boot
//! itself is left out: its result is signed in its place, or an emulator says what it is told to say.

mod environment;
mod evidence;
mod kills;
mod proxy;
mod tags;
mod tested;
