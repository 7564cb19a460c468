//! Files with holes as GNU tar writes them into pax archives (format 1.0): the map stands in front of the content, and the
//! real name and size in the extended header. The older format of GNU archives is read by the library.

use std::fs::File;
use std::io::{Read, Seek as _, SeekFrom, Write as _};

use tar::{Entry, EntryType};

use super::archive::{Account, damaged};
use super::tree::refuse;
use crate::error::{At, Result};

const KEY: &str = "GNU.sparse.";
const BLOCK: usize = 512;
/// Pieces of one file; a file system with blocks of 4 KiB has so many in 1 GiB that is half holes.
const MOST_PIECES: u64 = 131_072;

/// What the extended header says.
#[derive(Debug, PartialEq, Eq)]
pub struct Sparse {
    pub name: Vec<u8>,
    size: u64,
}

impl Sparse {
    /// The description of a file with holes; `None` for every other entry.
    ///
    /// # Errors
    /// Formats 0.0 and 0.1, which nobody has written since 2006, and incomplete descriptions.
    pub fn of<R: Read>(entry: &mut Entry<'_, R>) -> Result<Option<Self>> {
        if !matches!(entry.header().entry_type(), EntryType::Regular | EntryType::Continuous) {
            return Ok(None);
        }
        let path = entry.path_bytes().into_owned();
        let (mut major, mut name, mut size, mut is_sparse) = (None, None, None, false);
        for extension in entry.pax_extensions().map_err(damaged)?.into_iter().flatten() {
            let extension = extension.map_err(damaged)?;
            let Some(key) = extension.key().ok().and_then(|key| key.strip_prefix(KEY)) else {
                continue;
            };
            is_sparse = true;
            match key {
                "major" => major = extension.value().ok().map(str::to_owned),
                "name" => name = Some(extension.value_bytes().to_vec()),
                "realsize" => size = extension.value().ok().and_then(|text| text.parse().ok()),
                _ => {}
            }
        }
        match (is_sparse, major.as_deref(), name, size) {
            (false, ..) => Ok(None),
            (true, Some("1"), Some(name), Some(size)) => Ok(Some(Self { name, size })),
            _ => Err(refuse(
                &path,
                "it has holes in a form that Berth does not read (pack it with GNU tar's --sparse-version=1.0)",
            )),
        }
    }

    /// Copies the pieces to their places. Holes count like content: whoever reads the file reads them.
    ///
    /// # Errors
    /// The map is wrong, a cap is reached, the archive is damaged or the disk is full.
    pub fn copy(&self, from: &mut dyn Read, to: &mut File, account: &mut Account<'_>) -> Result<()> {
        account.bytes(self.size)?;
        let mut buffer = vec![0; 128 << 10];
        for (offset, length) in self.map(from)? {
            to.seek(SeekFrom::Start(offset)).at("unpack the archive", "lseek()")?;
            let mut left = length;
            while left > 0 {
                account.tell_if_due()?;
                let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
                let piece = buffer.get_mut(..most).unwrap_or_default();
                from.read_exact(piece).map_err(damaged)?;
                to.write_all(piece).at("unpack the archive", "write()")?;
                left -= most as u64;
            }
        }
        to.set_len(self.size).at("unpack the archive", "ftruncate()")
    }

    /// Decimal numbers, a line each: how many pieces, then offset and length of each; filled up to a whole block.
    fn map(&self, from: &mut dyn Read) -> Result<Vec<(u64, u64)>> {
        let mut lines = Lines {
            from,
            block: [0; BLOCK],
            at: BLOCK,
        };
        let wrong = || refuse(&self.name, "the map of its holes is wrong");
        let count = lines.number().map_err(damaged)?.filter(|count| *count <= MOST_PIECES).ok_or_else(wrong)?;
        let mut pieces = Vec::new();
        let mut end = 0;
        for _ in 0..count {
            let offset = lines.number().map_err(damaged)?.filter(|offset| *offset >= end).ok_or_else(wrong)?;
            let length = lines.number().map_err(damaged)?.ok_or_else(wrong)?;
            end = offset.checked_add(length).filter(|end| *end <= self.size).ok_or_else(wrong)?;
            pieces.push((offset, length));
        }
        Ok(pieces)
    }
}

/// Lines out of whole blocks, so that what follows the last block is content.
struct Lines<'a> {
    from: &'a mut dyn Read,
    block: [u8; BLOCK],
    at: usize,
}

impl Lines<'_> {
    /// `None`: this line is not a number.
    fn number(&mut self) -> std::io::Result<Option<u64>> {
        let mut value: u64 = 0;
        for index in 0..=20 {
            if self.at == BLOCK {
                self.from.read_exact(&mut self.block)?;
                self.at = 0;
            }
            let byte = self.block.get(self.at).copied().unwrap_or_default();
            self.at += 1;
            let next = match byte {
                b'\n' => return Ok((index > 0).then_some(value)),
                b'0'..=b'9' => value.checked_mul(10).and_then(|value| value.checked_add(u64::from(byte - b'0'))),
                _ => None,
            };
            let Some(next) = next else { return Ok(None) };
            value = next;
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(text: &str, size: u64) -> Result<Vec<(u64, u64)>> {
        let mut block = text.as_bytes().to_vec();
        block.resize(block.len().next_multiple_of(BLOCK), 0);
        Sparse { name: b"x".to_vec(), size }.map(&mut &block[..])
    }

    #[test]
    fn a_map_lies_within_the_file_and_in_order() {
        assert_eq!(map("2\n0\n10\n4096\n1\n", 8192).unwrap(), [(0, 10), (4096, 1)]);
        for wrong in [
            "2\n10\n5\n0\n1\n",
            "1\n0\n9000\n",
            "9999999999\n",
            "-1\n",
            "x",
            "1\n18446744073709551615\n2\n",
            "\n",
        ] {
            assert!(map(wrong, 8192).is_err(), "{wrong:?}");
        }
    }
}
