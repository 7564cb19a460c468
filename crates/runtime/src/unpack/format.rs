//! What an archive is, by its first bytes, and a reader of its content.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{At, Error, Result};

/// The most memory that a decoder may take.
const DECODER_BYTES: u64 = 256 << 20;
/// Windows of zstd up to 128 MiB.
const WINDOW_LOG: u32 = 27;

/// What stands in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Gzip,
    Xz,
    Zstd,
    Bzip2,
    Tar,
    Squashfs,
}

/// Reads the magic bytes (formats.md, section 1).
///
/// # Errors
/// `Unsupported` names what it is, or that it is nothing known.
pub fn recognise(file: &File, origin: &str) -> Result<Format> {
    let step = "recognise the archive";
    let mut head = [0; 512];
    let got = file.read_at(&mut head, 0).at(step, "pread()")?;
    let head = head.get(..got).unwrap_or_default();
    let starts = |magic: &[u8]| head.starts_with(magic);
    if starts(&[0x1F, 0x8B]) {
        Ok(Format::Gzip)
    } else if starts(&[0xFD, b'7', b'z', b'X', b'Z', 0]) {
        Ok(Format::Xz)
    } else if starts(&[0x28, 0xB5, 0x2F, 0xFD]) || (head.get(1..4) == Some(&[0x2A, 0x4D, 0x18]) && head.first().is_some_and(|byte| byte & 0xF0 == 0x50)) {
        Ok(Format::Zstd)
    } else if starts(b"BZh") {
        Ok(Format::Bzip2)
    } else if starts(b"hsqs") {
        Ok(Format::Squashfs)
    } else if head.get(257..262) == Some(b"ustar") || has_header_sum(head) {
        Ok(Format::Tar)
    } else {
        let what = if starts(b"QFI\xFB") {
            "a disk image of a virtual machine (qcow2)"
        } else if starts(&[0x89, b'L', b'Z', b'O']) {
            "compressed with lzop"
        } else {
            "no archive that Berth knows"
        };
        Err(Error::unsupported(step, format!("{origin} is {what}")).hint("use a tar archive (plain, gzip, xz, zstd or bzip2) or a squashfs image"))
    }
}

/// Whether the sum of a header without magic is right (tar of before 1988).
fn has_header_sum(head: &[u8]) -> bool {
    let Some(field) = head.get(148..156).filter(|_| head.len() == 512) else {
        return false;
    };
    let text = String::from_utf8_lossy(field);
    let told = u32::from_str_radix(text.trim_matches(|c: char| c == '\0' || c == ' '), 8).ok();
    let sum: u32 = head
        .iter()
        .enumerate()
        .map(|(at, byte)| if (148..156).contains(&at) { u32::from(b' ') } else { u32::from(*byte) })
        .sum();
    told == Some(sum) && sum > 8 * u32::from(b' ')
}

/// A reader that counts what it took.
#[derive(Debug)]
pub struct Counted<R> {
    inner: R,
    taken: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let got = self.inner.read(buffer)?;
        self.taken.fetch_add(got as u64, Ordering::Relaxed);
        Ok(got)
    }
}

/// The tar inside, with the number of compressed bytes taken so far.
///
/// # Errors
/// A decoder cannot be made.
pub fn tar_inside(file: File, format: Format, taken: Arc<AtomicU64>) -> io::Result<Box<dyn Read>> {
    let counted = BufReader::with_capacity(256 << 10, Counted { inner: file, taken });
    Ok(match format {
        // All members, frames and streams: parallel compressors write many.
        Format::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(counted)),
        Format::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(counted)),
        Format::Xz => {
            let stream = liblzma::stream::Stream::new_stream_decoder(DECODER_BYTES, liblzma::stream::CONCATENATED).map_err(io::Error::other)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(counted, stream))
        }
        Format::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(counted)?;
            decoder.window_log_max(WINDOW_LOG)?;
            Box::new(decoder)
        }
        Format::Tar | Format::Squashfs => Box::new(counted),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn recognised(bytes: &[u8]) -> Result<Format> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        recognise(&file, "x")
    }

    #[test]
    fn the_content_tells_and_not_the_name() {
        assert_eq!(recognised(&[0x1F, 0x8B, 8]).unwrap(), Format::Gzip);
        assert_eq!(recognised(b"hsqs....").unwrap(), Format::Squashfs);
        assert_eq!(recognised(&[0x52, 0x2A, 0x4D, 0x18, 0]).unwrap(), Format::Zstd);
        assert!(recognised(b"QFI\xFB").unwrap_err().message.contains("qcow2"));
        assert!(recognised(&[0; 512]).is_err());
        assert!(recognised(b"").is_err());
    }
}
