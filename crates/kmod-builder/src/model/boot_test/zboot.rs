#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZbootCompression {
    Gzip,
    Zstd,
}

/// The compressed kernel within an EFI zboot program; `None` for other kernels.
///
/// Fedora's aarch64 kernels need EFI to unpack themselves (`drivers/firmware/efi/libstub/zboot-header.S`), which the
/// guest does not have. `Err` has the name of an unsupported compression.
pub fn zboot_payload(vmlinuz: &[u8]) -> Result<Option<(ZbootCompression, &[u8])>, String> {
    let Some(header) = vmlinuz.first_chunk::<56>() else { return Ok(None) };
    if header[..2] != *b"MZ" || header[4..8] != *b"zimg" {
        return Ok(None);
    }
    let number = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let name: Vec<u8> = header[24..56].iter().copied().take_while(|&byte| byte != 0).collect();
    let compression = match name.as_slice() {
        b"gzip" => ZbootCompression::Gzip,
        b"zstd" | b"zstd22" => ZbootCompression::Zstd,
        other => return Err(format!("it is compressed with `{}`", other.escape_ascii())),
    };
    let (start, size) = (number(8) as usize, number(12) as usize);
    let kernel = start.checked_add(size).and_then(|end| vmlinuz.get(start..end));
    kernel.map(|kernel| Some((compression, kernel))).ok_or_else(|| "it ends too early".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zimg(compression: &str) -> Vec<u8> {
        let mut bytes = b"MZ\0\0zimg".to_vec();
        bytes.extend(64_u32.to_le_bytes());
        bytes.extend(6_u32.to_le_bytes());
        bytes.resize(24, 0);
        bytes.extend(compression.as_bytes());
        bytes.resize(64, 0);
        bytes.extend(b"kernel");
        bytes
    }

    #[test]
    fn finds_the_kernel_in_a_zboot_image() {
        for (name, compression) in [("gzip", ZbootCompression::Gzip), ("zstd22", ZbootCompression::Zstd)] {
            assert_eq!(zboot_payload(&zimg(name)), Ok(Some((compression, &b"kernel"[..]))), "{name}");
        }
        // An x86_64 kernel is an EFI program too, but boots without EFI.
        assert_eq!(zboot_payload(&[&b"MZ"[..], &[0; 100]].concat()), Ok(None));
        assert_eq!(zboot_payload(b"MZ"), Ok(None));
        assert!(zboot_payload(&zimg("lzma")).is_err());
        assert!(zboot_payload(&zimg("gzip")[..66]).is_err());
    }
}
