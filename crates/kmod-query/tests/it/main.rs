//! Everything that asks the network, against a server on this machine.

#[cfg(test)]
mod coreos;
#[cfg(test)]
mod headers;
#[cfg(test)]
mod http;
#[cfg(test)]
mod image;
#[cfg(test)]
mod openzfs;
#[cfg(test)]
mod support;
#[cfg(test)]
mod upstream;
