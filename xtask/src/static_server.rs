//! Serves a folder over plain HTTP on loopback, with Range: an image server for the benchmark.

use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};

/// Starts serving in the background for as long as the process lives.
///
/// # Errors
/// No port could be had.
pub fn start(root: PathBuf) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let root = root.clone();
            // A client that hangs up in the middle is its own business.
            std::thread::spawn(move || drop(answer(&root, stream)));
        }
    });
    Ok(address)
}

fn answer(root: &Path, mut stream: TcpStream) -> anyhow::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let Some((method, path, range)) = request(&mut reader)? else {
            return Ok(());
        };
        let file = root.join(path.trim_start_matches('/'));
        let plain = Path::new(&path)
            .components()
            .all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
        let Some(mut file) = plain
            .then(|| std::fs::File::open(&file).ok())
            .flatten()
            .filter(|file| file.metadata().is_ok_and(|meta| meta.is_file()))
        else {
            stream.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")?;
            continue;
        };
        let size = file.metadata()?.len();
        let head = match range {
            Some(start) if start < size => format!("206 Partial Content\r\ncontent-range: bytes {start}-{}/{size}", size - 1),
            _ => "200 OK".to_owned(),
        };
        let start = range.filter(|start| *start < size).unwrap_or(0);
        write!(
            stream,
            "HTTP/1.1 {head}\r\ncontent-length: {}\r\netag: \"{size}\"\r\naccept-ranges: bytes\r\n\r\n",
            size - start
        )?;
        if method != "HEAD" {
            file.seek(SeekFrom::Start(start))?;
            std::io::copy(&mut file.take(size - start), &mut stream)?;
        }
    }
}

/// Method, path and start of the range; `None` when the client is done.
fn request(reader: &mut BufReader<TcpStream>) -> anyhow::Result<Option<(String, String, Option<u64>)>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (method, path) = (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
    let mut range = None;
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header)? == 0 || header.trim().is_empty() {
            return Ok(Some((method, path.split('?').next().unwrap_or_default().to_owned(), range)));
        }
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("range: bytes=") {
            range = value.trim().trim_end_matches('-').parse().ok();
        }
    }
}
