//! Just enough DER (ITU-T X.690) to write certificates and timestamps, and to read a timestamp's request.

/// `INTEGER`.
pub(crate) const INTEGER: u8 = 0x02;
/// `OCTET STRING`.
pub(crate) const OCTETS: u8 = 0x04;
/// `UTF8String`.
pub(crate) const UTF8: u8 = 0x0c;
/// `UTCTime`.
pub(crate) const UTC_TIME: u8 = 0x17;
/// `GeneralizedTime`.
pub(crate) const GENERALIZED_TIME: u8 = 0x18;
/// `SEQUENCE`.
const SEQUENCE: u8 = 0x30;
/// `SET`.
pub(crate) const SET: u8 = 0x31;

/// A value with its tag and length.
pub(crate) fn tagged(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut out = vec![tag];
    if length < 0x80 {
        out.push(u8::try_from(length).expect("below 128"));
    } else {
        let bytes: Vec<u8> = length.to_be_bytes().into_iter().skip_while(|&byte| byte == 0).collect();
        out.push(0x80 | u8::try_from(bytes.len()).expect("a length has at most eight bytes"));
        out.extend(bytes);
    }
    out.extend_from_slice(content);
    out
}

/// `SEQUENCE` of values that are written already.
pub(crate) fn sequence<const N: usize>(parts: [&[u8]; N]) -> Vec<u8> {
    tagged(SEQUENCE, &parts.concat())
}

/// `[number]` around values that are written already: explicit, or implicit for a type that is made of parts.
pub(crate) fn context(number: u8, content: &[u8]) -> Vec<u8> {
    tagged(0xa0 | number, content)
}

/// `INTEGER` for a number that is not negative.
pub(crate) fn integer(number: u64) -> Vec<u8> {
    let mut bytes: Vec<u8> = number.to_be_bytes().into_iter().skip_while(|&byte| byte == 0).collect();
    if bytes.first().is_none_or(|&first| first >= 0x80) {
        bytes.insert(0, 0);
    }
    tagged(INTEGER, &bytes)
}

/// `BOOLEAN TRUE`.
pub(crate) fn yes() -> Vec<u8> {
    tagged(0x01, &[0xff])
}

/// `BIT STRING` of whole bytes.
pub(crate) fn bits(content: &[u8]) -> Vec<u8> {
    tagged(0x03, &[&[0], content].concat())
}

/// `OBJECT IDENTIFIER`, from its dotted form.
pub(crate) fn oid(dotted: &str) -> Vec<u8> {
    let mut arcs = dotted.split('.').map(|arc| arc.parse::<u64>().expect("a number between dots"));
    let (first, second) = (arcs.next().expect("two arcs"), arcs.next().expect("two arcs"));
    let mut content = Vec::new();
    for arc in std::iter::once(first * 40 + second).chain(arcs) {
        let groups = (1..10).rev().map(|group| arc >> (7 * group)).skip_while(|&rest| rest == 0);
        content.extend(groups.map(|rest| 0x80 | u8::try_from(rest & 0x7f).expect("seven bits")));
        content.push(u8::try_from(arc & 0x7f).expect("seven bits"));
    }
    tagged(0x06, &content)
}

/// `AlgorithmIdentifier` without parameters.
pub(crate) fn algorithm(dotted: &str) -> Vec<u8> {
    sequence([&oid(dotted)])
}

/// The values in a sequence, each with its tag and length as they stand there; `None` if it is not one.
pub(crate) fn parts(sequence: &[u8]) -> Option<Vec<&[u8]>> {
    let (SEQUENCE, mut rest) = content(sequence)? else { return None };
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let (_, inner) = content(rest)?;
        let header = inner.as_ptr() as usize - rest.as_ptr() as usize;
        let (part, after) = rest.split_at(header + inner.len());
        parts.push(part);
        rest = after;
    }
    Some(parts)
}

/// Tag and content of the value at the beginning.
fn content(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        (length.iter().try_fold(0usize, |sum, &byte| sum.checked_mul(256)?.checked_add(byte.into()))?, rest)
    };
    Some((tag, rest.get(..length)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_the_standard_says() {
        assert_eq!(integer(0), [2, 1, 0]);
        assert_eq!(integer(128), [2, 2, 0, 128]);
        assert_eq!(oid("1.2.840.10045.2.1"), [6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1]);
        assert_eq!(tagged(OCTETS, &[7; 200])[..3], [4, 0x81, 200]);
        assert_eq!(tagged(OCTETS, &[7; 300])[..4], [4, 0x82, 1, 44]);
    }

    #[test]
    fn sequences_are_taken_apart() {
        let long = tagged(OCTETS, &[7; 300]);
        let whole = sequence([&integer(1), &long, &yes()]);
        assert_eq!(parts(&whole).unwrap(), [integer(1).as_slice(), &long, &yes()]);
        assert!(parts(&whole[..20]).is_none() && parts(&integer(1)).is_none() && parts(&[]).is_none());
    }
}
