/// In bytes. The file is sparse.
pub const DISK_SIZE: u64 = 1 << 30;

const FIRST_SECTOR: u32 = 2048;
const SECTOR: usize = 512;
const PARTITION_TYPE: u8 = 0xbf;

/// The first sector of the disk: an MBR with one partition that takes the rest.
///
/// Given a whole disk, `zpool` would partition it and wait for udev, which the guest does not have.
pub fn partition_table() -> [u8; SECTOR] {
    let sectors =
        u32::try_from(DISK_SIZE / SECTOR as u64).expect("a gibibyte has two million sectors") - FIRST_SECTOR;
    let mut sector = [0; SECTOR];
    // The first of four entries. The CHS addresses are not read.
    sector[446 + 4] = PARTITION_TYPE;
    sector[446 + 8..446 + 12].copy_from_slice(&FIRST_SECTOR.to_le_bytes());
    sector[446 + 12..446 + 16].copy_from_slice(&sectors.to_le_bytes());
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_partition_takes_the_disk() {
        let table = partition_table();
        let number = |at: usize| u64::from(u32::from_le_bytes(table[at..at + 4].try_into().unwrap()));
        assert_eq!((number(454) + number(458)) * SECTOR as u64, DISK_SIZE);
        assert_eq!((table[450], &table[510..]), (0xbf, &[0x55, 0xaa][..]));
    }
}
