use std::fmt;

/// The letters of the kernel's taint flags, bit 0 first (kernel documentation, `admin-guide/tainted-kernels.rst`).
const LETTERS: [char; 20] =
    ['P', 'F', 'S', 'R', 'M', 'B', 'U', 'D', 'A', 'W', 'C', 'I', 'O', 'E', 'L', 'K', 'X', 'T', 'N', 'J'];
/// Expected with OpenZFS: P (to the kernel, the CDDL is proprietary), O (out of tree) and E (unsigned).
const EXPECTED: u64 = 1 | 1 << 12 | 1 << 13;

/// The number in `/proc/sys/kernel/tainted`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taints(u64);

impl Taints {
    pub fn parse(text: &str) -> Option<Self> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().ok()).flatten().map(Self)
    }

    /// The taints that loading OpenZFS does not explain, if any.
    pub fn unexpected(self) -> Option<Self> {
        let others = self.0 & !EXPECTED;
        (others != 0).then_some(Self(others))
    }
}

impl fmt::Display for Taints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for bit in (0..u64::BITS).filter(|bit| self.0 >> bit & 1 == 1) {
            write!(f, "{}", LETTERS.get(bit as usize).unwrap_or(&'?'))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_taints_of_openzfs_are_expected() {
        let unexpected = |text| Taints::parse(text).unwrap().unexpected().map(|taints| taints.to_string());
        assert_eq!(unexpected("0"), None);
        // P, O and E, as on Fedora.
        assert_eq!(unexpected("12289"), None);
        assert_eq!(unexpected("12801").as_deref(), Some("W"));
        assert_eq!(unexpected("4225").as_deref(), Some("D"));
        assert_eq!(unexpected("3").as_deref(), Some("F"));
        assert_eq!(unexpected("18446744073709551615").unwrap().matches('?').count(), 44);
        for text in ["", "-1", "+1", "P", "1 ", "18446744073709551616"] {
            assert_eq!(Taints::parse(text), None, "{text}");
        }
    }
}
