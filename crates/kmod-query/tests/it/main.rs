//! Network requests to local servers.

#[cfg(test)]
mod coreos;
#[cfg(test)]
mod http;
#[cfg(test)]
mod image;
#[cfg(test)]
mod kernel_packages;
#[cfg(test)]
mod openzfs;
#[cfg(test)]
mod support;
