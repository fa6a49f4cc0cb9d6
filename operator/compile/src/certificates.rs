//! PEM certificates out of a bundle.
//!
//! Only blocks labelled CERTIFICATE are passed on: a bundle that also holds a private key does not spread it. Whether each
//! is a certificate that TLS accepts is the data plane's to say; here its outer form is checked (base64, one DER
//! sequence of the stated length).

use base64::{Engine, engine::general_purpose::STANDARD};

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

/// The certificates of a bundle, one after the other, or what is wrong with it.
pub(crate) fn read(bundle: &[u8]) -> Result<String, &'static str> {
    let mut rest = std::str::from_utf8(bundle).map_err(|_| "is not text")?;
    let mut out = String::new();
    while let Some((_, tail)) = rest.split_once(BEGIN) {
        let (body, tail) = tail.split_once(END).ok_or("has a certificate without an end")?;
        let compact: String = body.split_ascii_whitespace().collect();
        let der = STANDARD.decode(&compact).map_err(|_| "has a certificate that is not base64")?;
        if !is_sequence(&der) {
            return Err("has a certificate that is not DER");
        }
        out.push_str(BEGIN);
        out.push('\n');
        out.push_str(body.trim());
        out.push('\n');
        out.push_str(END);
        out.push('\n');
        rest = tail;
    }
    if out.is_empty() { Err("holds no PEM certificate") } else { Ok(out) }
}

/// Whether these bytes are one DER SEQUENCE (X.690, 8.1): tag 0x30, a length, and exactly that much content.
fn is_sequence(der: &[u8]) -> bool {
    let Some((&[0x30, first], rest)) = der.split_first_chunk::<2>() else {
        return false;
    };
    if first < 0x80 {
        return rest.len() == usize::from(first);
    }
    let digits = usize::from(first & 0x7f);
    let Some((length, content)) = rest.split_at_checked(digits) else {
        return false;
    };
    let length = length.iter().fold(0usize, |sum, byte| sum.saturating_mul(256).saturating_add((*byte).into()));
    content.len() == length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pem(der: &[u8]) -> String {
        format!("{BEGIN}\n{}\n{END}\n", STANDARD.encode(der))
    }

    #[test]
    fn keeps_certificates_and_nothing_else() {
        let one = pem(&[0x30, 1, 7]);
        let long = pem(&[&[0x30, 0x82, 1, 0][..], &[5; 256]].concat());
        let key = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
        assert_eq!(read(format!("# a root\r\n{one}{key}{long}").as_bytes()).unwrap(), format!("{one}{long}"));
    }

    #[test]
    fn says_what_is_wrong() {
        assert_eq!(read(b""), Err("holds no PEM certificate"));
        assert_eq!(read(b"\xff\xfe"), Err("is not text"));
        assert_eq!(read(format!("{BEGIN}\nMAEH").as_bytes()), Err("has a certificate without an end"));
        assert_eq!(read(format!("{BEGIN}\n!!\n{END}").as_bytes()), Err("has a certificate that is not base64"));
        assert_eq!(read(pem(&[0x30, 9, 7]).as_bytes()), Err("has a certificate that is not DER"));
    }
}
